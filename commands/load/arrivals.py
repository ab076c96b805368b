"""What reached one listener, and when: frames missing, frames late, mouth to ear."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.opus import FRAME_SAMPLES, SAMPLE_RATE, OpusDecoder, Sound
from commands.load.marker import Ruler

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
LATE_S = 0.06
"""A frame this much later than the fastest one finds a browser's usual buffer empty."""
STALLED_S = 0.2
"""Longer silence before the end of the measurement counts as missing frames."""
PIECE_FRAMES = 50
"""How much sound is searched for at once: one second."""
MAX_CONCEALED_FRAMES = 50


@dataclass(frozen=True)
class FrameCounts:
    """What happened to a listener's frames of 20 ms."""

    expected: int
    received: int
    lost: int
    """Sequence numbers that never arrived: lost on the way."""
    unsent: int
    """Frames of the timeline to which the server gave no sequence number: it dropped them or
    stopped sending before the end."""
    late: int
    """Arrived, but more than 60 ms later than the fastest."""


class Arrivals:
    """The packets of one listener, in order of arrival."""

    def __init__(self, *, keep_sound: bool) -> None:
        self.first_at: float | None = None
        self.keeps_sound = keep_sound
        self._came: list[tuple[float, int, int, bytes]] = []
        self._sequence = self._timestamp = 0

    def add(self, at: float, sequence: int, timestamp: int, payload: bytes) -> None:
        """Note a packet that arrived `at` (time.monotonic); both numbers may wrap."""
        if self.first_at is None:
            self.first_at, self._sequence, self._timestamp = at, sequence, timestamp
        self._sequence += _signed(sequence - self._sequence, 16)
        self._timestamp += _signed(timestamp - self._timestamp, 32)
        kept = payload if self.keeps_sound else b""
        self._came.append((at, self._sequence, self._timestamp, kept))

    def counts(self, ended_at: float) -> FrameCounts:
        """Count frames from the first arrival to `ended_at`."""
        if not self._came:
            return FrameCounts(0, 0, 0, 0, 0)
        at, sequence, timestamp, _ = zip(*self._came, strict=True)
        sequences = set(sequence)
        numbered = max(sequences) - min(sequences) + 1
        in_timeline = (max(timestamp) - min(timestamp)) // FRAME_SAMPLES + 1
        stalled_s = ended_at - max(at)
        stalled = round(stalled_s / FRAME_S) if stalled_s > STALLED_S else 0
        delays = np.array(at) - np.array(timestamp) / SAMPLE_RATE
        return FrameCounts(
            expected=in_timeline + stalled,
            received=len(sequences),
            lost=numbered - len(sequences),
            unsent=max(0, in_timeline - numbered) + stalled,
            late=int(np.count_nonzero(delays > delays.min() + LATE_S)),
        )

    def mouth_to_ear_s(self, ruler: Ruler, began: float) -> NDArray[np.float64]:
        """Get the time from speaking to arrival of each frame, in seconds; empty if none is found.

        `began` is when the publisher sent its first frame, whose last sample was spoken then. A
        frame counts as playable on arrival: no jitter buffer is included.
        """
        order = sorted(self._came, key=lambda each: each[1])
        latencies = []
        for piece in _pieces(order):
            found = ruler.find(_decoded(piece))
            if found is None:
                continue
            first_at, _, first_timestamp, _ = piece[0]
            spoken_at = began - FRAME_S + found / SAMPLE_RATE
            round_s = ruler.length / SAMPLE_RATE
            spoken_at += (
                (first_at - spoken_at) // round_s * round_s
            )  # the latest time it was spoken
            for at, _, timestamp, _ in piece:
                latencies.append(at - spoken_at - (timestamp - first_timestamp) / SAMPLE_RATE)
        return np.array(latencies)


def _pieces(
    came: list[tuple[float, int, int, bytes]],
) -> Iterator[list[tuple[float, int, int, bytes]]]:
    for start in range(0, len(came) - PIECE_FRAMES + 1, PIECE_FRAMES):
        yield came[start : start + PIECE_FRAMES]


def _decoded(piece: list[tuple[float, int, int, bytes]]) -> Sound:
    """Decode packets to sound [T] in which every frame has its place; gaps are concealed."""
    decoder = OpusDecoder()
    sound = []
    expected = piece[0][2]
    for _, _, timestamp, payload in piece:
        missing = min(MAX_CONCEALED_FRAMES * FRAME_SAMPLES, timestamp - expected)
        if missing > 0:
            sound.append(decoder.conceal(missing))
        sound.append(decoder.decode(payload))
        expected = timestamp + FRAME_SAMPLES
    return np.concatenate(sound)


def _signed(difference: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (difference + half) % (2 * half) - half
