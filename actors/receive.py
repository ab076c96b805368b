"""RTP in, ordered sound segments out. No I/O and no decoding: packets in, segments out.

aiortc's own jitter buffer waits for packets that will never come, so that one loss costs
a third of a second for ever. Here what arrives in order goes on at once; at a gap a packet is
held back until a second one has come, or for as long as this source's packets have come out of
order lately, 10 to 60 ms, and then the gap is declared lost.
The timeline is that of the RTP timestamps: it neither shrinks nor grows. It may not run away from
time, though: a client makes its timestamps up, and what they say is recorded.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_HELD_PACKETS = 2
"""A third one would cost 20 ms more at p99 for packets two places out of order, which are rare."""
MAX_HELD_S = 0.06
MIN_HELD_S = 0.01
"""How long a gap is waited for while nothing came out of order: most are losses."""
EXPECTED_AGAIN = 1.5
"""A packet out of order is followed by others, up to so many times as late."""
CALMER = 0.999
"""By how much each packet in order shortens the wait again: by half in 14 s."""
GIVEN_UP_KNOWN = 64
SAMPLE_RATE = 48000
MAX_SILENCE_SAMPLES = 10 * SAMPLE_RATE
"""A longer jump of timestamps is a new timeline, not a pause of the old one."""
MAX_AHEAD_SAMPLES = 15 * SAMPLE_RATE
"""How far a timeline may be ahead of time: a pause that is told late, and a burst after it."""
MAX_SPEED = 1.01
"""How fast a client's clock may go to ours; crystals differ by a hundredth of that."""


class Packet(Protocol):
    """The fields of an RTP packet (RFC 3550, section 5.1) that order and time it."""

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
    """`samples` that did not arrive; `following` may carry the last of them as in-band FEC."""

    samples: int
    following: bytes | None


@dataclass(frozen=True)
class Silence:
    """`samples` that the sender left out on purpose (DTX, or a muted track)."""

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
    """Segments that were left out because their timeline was too far ahead of time."""

    @property
    def loss(self) -> float:
        """The share of packets that were lost, 0..1."""
        return self.lost / max(1, self.received + self.lost)


class RtpOrder:
    """Puts one publisher's packets in order and finds the gaps."""

    def __init__(self) -> None:
        self.counts = ReceiveCounts()
        self._held: dict[int, tuple[Packet, float]] = {}
        self._patience_s = MIN_HELD_S
        # The newest sequence numbers that were declared lost, and when the wait for them began.
        self._given_up: OrderedDict[int, float] = OrderedDict()
        self._ssrc: int | None = None
        self._next_sequence = 0
        self._next_timestamp = 0
        # How many samples may come out now, and when that was reckoned.
        self._credit = float(MAX_AHEAD_SAMPLES)
        self._reckoned_at: float | None = None

    def push(self, packet: Packet, now: float) -> list[Segment]:
        """Take a packet that arrived at `now` (seconds); get what is ready, in order."""
        if packet.ssrc != self._ssrc:
            self._begin(packet)
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
        """When the gap that is waited for now will be given up, None without one; call `pop`."""
        return self._waiting_since() + self._patience_s if self._held else None

    def pop(self, now: float) -> list[Segment]:
        """Get what is ready at `now`, because it is in order or was waited for long enough."""
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
        """Tell whether time has been going on for long enough for this one, and take it off."""
        if self._reckoned_at is not None:
            self._credit += (now - self._reckoned_at) * SAMPLE_RATE * MAX_SPEED
        self._credit, self._reckoned_at = min(self._credit, MAX_AHEAD_SAMPLES), now
        samples = opus_samples(segment.payload) if isinstance(segment, Opus) else segment.samples
        if samples > self._credit:
            self.counts.ahead += 1
            return False
        self._credit -= samples
        return True

    def _begin(self, packet: Packet) -> None:
        """Start a timeline at this packet, be it the first one or of a new source."""
        self._held.clear()
        self._given_up.clear()
        self._ssrc = packet.ssrc
        self._next_sequence = packet.sequence_number
        self._next_timestamp = packet.timestamp

    def _held_ahead(self) -> set[int]:
        return {_signed16(number - self._next_sequence) for number in self._held}

    def _waiting_since(self) -> float:
        return min(arrival for _, arrival in self._held.values())

    def _expect_reordering(self, by_s: float) -> None:
        """Wait longer for a while, now that a packet came so much later than one behind it."""
        self._patience_s = min(MAX_HELD_S, max(self._patience_s, EXPECTED_AGAIN * by_s))

    def _gap_is_over(self, now: float) -> bool:
        return len(self._held) >= MAX_HELD_PACKETS or now >= (self.gap_ends or 0.0)

    def _declare_lost(self) -> Iterator[Segment]:
        """Give up what is missing before the first packet that is here."""
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
        if not packet.payload:  # padding only: a probe for bandwidth, without sound
            return
        left_out = _signed32(packet.timestamp - self._next_timestamp)
        if 0 < left_out <= MAX_SILENCE_SAMPLES:
            yield Silence(left_out)
        self._next_timestamp = (packet.timestamp + opus_samples(packet.payload)) & 0xFFFFFFFF
        yield Opus(packet.payload)


def opus_samples(payload: bytes) -> int:
    """Read from an Opus packet how many samples at 48 kHz it holds (RFC 6716, section 3.1)."""
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
