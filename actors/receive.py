"""RTP packets in, ordered sound segments out. No I/O and no decoding.

aiortc's own jitter buffer waits for packets that will never come, so a single loss adds a third of
a second of delay for good. Here packets in order pass at once. At a gap, a packet waits until a
second one arrives or until 10 to 60 ms have passed, depending on how late this source's packets
have been lately; then the gap is declared lost.

The timeline is that of the RTP timestamps: it neither shrinks nor grows. But it may not run far
ahead of real time: clients choose their timestamps freely, and we record what they say.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_HELD_PACKETS = 2
"""Waiting for a third would cost 20 ms at p99, for the sake of rare packets two places late."""
MAX_HELD_S = 0.06
MIN_HELD_S = 0.01
"""How long to wait at a gap while nothing arrives out of order: most gaps are losses."""
EXPECTED_AGAIN = 1.5
"""After a late packet, expect others up to this many times as late."""
CALMER = 0.999
"""Each packet shortens the wait again by this factor: by half in 14 s."""
GIVEN_UP_KNOWN = 64
FORMER_SILENT_S = 0.2
"""How long a source must be silent before the one that it replaced may come back."""
MIN_SWITCH_S = 0.1
"""A pause between two sources of this length or more is kept as silence."""
SAMPLE_RATE = 48000
PACKET_S = 0.02
"""How much sound a packet usually holds."""
MAX_SILENCE_SAMPLES = 10 * SAMPLE_RATE
"""A longer jump in timestamps starts a new timeline rather than a pause in the old one."""
MAX_AHEAD_SAMPLES = 15 * SAMPLE_RATE
"""How far a timeline may run ahead of real time: a pause reported late, then a burst."""
MAX_SPEED = 1.01
"""How fast a client's clock may run against ours; crystals differ by a hundredth of this."""


class Packet(Protocol):
    """The fields of an RTP packet (RFC 3550, section 5.1) that give its order and time."""

    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes


@dataclass(frozen=True)
class Opus:
    """A packet that arrived."""

    payload: bytes


@dataclass(frozen=True)
class Lost:
    """`samples` that did not arrive; `following` may carry the last packet of them as FEC."""

    samples: int
    following: bytes | None


@dataclass(frozen=True)
class Silence:
    """`samples` that the sender skipped on purpose (DTX, or a muted track)."""

    samples: int


Segment = Opus | Lost | Silence


@dataclass
class ReceiveCounts:
    """What happened to a publisher's packets."""

    received: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    reordered: int = 0
    ahead: int = 0
    """Segments dropped because their timeline ran too far ahead of real time."""

    @property
    def loss(self) -> float:
        """The share of packets lost, 0..1."""
        return self.lost / max(1, self.received + self.lost)


class RtpOrder:
    """Puts one publisher's packets in order and finds the gaps."""

    def __init__(self) -> None:
        self.counts = ReceiveCounts()
        self.source: int | None = None
        """The SSRC of the sound that comes out: a new one needs a new decoder."""
        self._former: int | None = None
        self._arrived_at = 0.0
        self._held: dict[int, tuple[Packet, float]] = {}
        self._patience_s = MIN_HELD_S
        # The latest sequence numbers declared lost, and when the wait for each began.
        self._given_up: OrderedDict[int, float] = OrderedDict()
        self._next_sequence = 0
        self._next_timestamp = 0
        # How many samples may come out now, and when that was computed.
        self._credit = float(MAX_AHEAD_SAMPLES)
        self._reckoned_at: float | None = None

    def push(self, packet: Packet, now: float) -> list[Segment]:
        """Take a packet that arrived at `now` (seconds); returns what is ready, in order."""
        if packet.ssrc != self.source:
            if packet.ssrc == self._former and now - self._arrived_at < FORMER_SILENT_S:
                self.counts.late += 1
                return []
            self._begin(packet, now)
        self._arrived_at = now
        ahead = _signed16(packet.sequence_number - self._next_sequence)
        if ahead < 0:
            self.counts.late += 1
            if (waited_from := self._given_up.pop(packet.sequence_number, None)) is not None:
                self._expect_reordering(now - waited_from)
            return []
        if ahead in self._held_ahead():
            self.counts.duplicate += 1
            return []
        self.counts.received += 1
        self._held[packet.sequence_number] = (packet, now)
        if ahead == 0 and len(self._held) > 1:
            self.counts.reordered += 1
            self._expect_reordering(now - self._waiting_since())
        self._patience_s = max(MIN_HELD_S, self._patience_s * CALMER)
        return self.pop(now)

    @property
    def gap_ends(self) -> float | None:
        """When to give up on the current gap and call `pop`; None if there is no gap."""
        return self._waiting_since() + self._patience_s if self._held else None

    def pop(self, now: float) -> list[Segment]:
        """Get what is ready at `now`: in order, or after a gap that has lasted long enough."""
        segments: list[Segment] = []
        while self._held:
            held = self._held.pop(self._next_sequence, None)
            if held is not None:
                segments += self._deliver(held[0])
            elif self._gap_is_over(now):
                segments += self._declare_lost()
            else:
                break
        return [segment for segment in segments if self._is_due(segment, now)]

    def _is_due(self, segment: Segment, now: float) -> bool:
        """Tell whether enough real time has passed for this segment, and charge for it."""
        if self._reckoned_at is not None:
            self._credit += (now - self._reckoned_at) * SAMPLE_RATE * MAX_SPEED
        self._credit, self._reckoned_at = min(self._credit, MAX_AHEAD_SAMPLES), now
        samples = opus_samples(segment.payload) if isinstance(segment, Opus) else segment.samples
        if samples > self._credit:
            self.counts.ahead += 1
            return False
        self._credit -= samples
        return True

    def _begin(self, packet: Packet, now: float) -> None:
        """Go on with this packet, the first of a source, after the pause since the last one."""
        pause_s = now - self._arrived_at - PACKET_S if self.source is not None else 0.0
        pause = round(pause_s * SAMPLE_RATE) if pause_s >= MIN_SWITCH_S else 0
        self._held.clear()
        self._given_up.clear()
        self._former, self.source = self.source, packet.ssrc
        self._next_sequence = packet.sequence_number
        self._next_timestamp = (packet.timestamp - min(pause, MAX_SILENCE_SAMPLES)) & 0xFFFFFFFF

    def _held_ahead(self) -> set[int]:
        return {_signed16(number - self._next_sequence) for number in self._held}

    def _waiting_since(self) -> float:
        return min(arrival for _, arrival in self._held.values())

    def _expect_reordering(self, by_s: float) -> None:
        """Wait longer for a while, after a packet that arrived `by_s` behind its successor."""
        self._patience_s = min(MAX_HELD_S, max(self._patience_s, EXPECTED_AGAIN * by_s))

    def _gap_is_over(self, now: float) -> bool:
        return len(self._held) >= MAX_HELD_PACKETS or now >= (self.gap_ends or 0.0)

    def _declare_lost(self) -> Iterator[Segment]:
        """Give up on what is missing before the first held packet."""
        ahead = min(self._held_ahead())
        following, _ = self._held[(self._next_sequence + ahead) & 0xFFFF]
        gap = _signed32(following.timestamp - self._next_timestamp)
        self.counts.lost += ahead
        for number in range(max(0, ahead - GIVEN_UP_KNOWN), ahead):
            self._given_up[(self._next_sequence + number) & 0xFFFF] = self._waiting_since()
        while len(self._given_up) > GIVEN_UP_KNOWN:
            self._given_up.popitem(last=False)
        self._next_sequence = following.sequence_number
        if 0 < gap <= MAX_SILENCE_SAMPLES:
            self._next_timestamp = following.timestamp
            yield Lost(gap, following.payload)

    def _deliver(self, packet: Packet) -> Iterator[Segment]:
        self._next_sequence = (packet.sequence_number + 1) & 0xFFFF
        if not packet.payload:  # padding only: a bandwidth probe without sound
            return
        left_out = _signed32(packet.timestamp - self._next_timestamp)
        if 0 < left_out <= MAX_SILENCE_SAMPLES:
            yield Silence(left_out)
        self._next_timestamp = (packet.timestamp + opus_samples(packet.payload)) & 0xFFFFFFFF
        yield Opus(packet.payload)


def opus_samples(payload: bytes) -> int:
    """Count the samples at 48 kHz in an Opus packet, from its header (RFC 6716, section 3.1)."""
    configuration, code = payload[0] >> 3, payload[0] & 3
    if configuration < 12:
        frame = (480, 960, 1920, 2880)[configuration & 3]
    elif configuration < 16:
        frame = (480, 960)[configuration & 1]
    else:
        frame = (120, 240, 480, 960)[configuration & 3]
    if code == 3:
        return frame * (payload[1] & 0x3F if len(payload) > 1 else 0)
    return frame * (1 if code == 0 else 2)


def _signed16(difference: int) -> int:
    return (difference + 0x8000 & 0xFFFF) - 0x8000


def _signed32(difference: int) -> int:
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000
