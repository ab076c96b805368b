"""What lost packets cost: latency, missing frames and noise; ours beside aiortc's jitter buffer.

    python -m bench.loss [--minutes 5]

Packets of 20 ms arrive with up to 8 ms of jitter; some never do. Latency is from the arrival of a
packet (of the next one, where it is lost) to its frame going to the decoder. SNR is of the whole
sound, with what concealment makes of it, against the sound decoded without loss (of the first
minute). No network, no clock.
"""

import argparse
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket
from numpy.typing import NDArray

from actors.aiortc_internals import as_received
from actors.opus import FRAME_SAMPLES, OpusDecoder
from actors.pipeline import decode
from actors.receive import Opus, RtpOrder, Segment, Silence
from bench.sounds import noisy_streams
from commands.load.peers import encode

FRAME_S = 0.02
JITTER_S = 0.008
LOSSES = {"0 %": (0.0, 1), "1 %": (0.01, 1), "5 %": (0.05, 1), "10 %": (0.10, 1),
          "5 % in bursts of 3": (0.05, 3)}  # fmt: skip


@dataclass(frozen=True)
class Arrivals:
    """When each packet arrives, in seconds; NaN: never."""

    packets: list[RtpPacket]
    times: NDArray[np.float64]

    @property
    def due(self) -> NDArray[np.float64]:
        """When each packet arrives, or the next one that does."""
        due = self.times.copy()
        for n in range(len(due) - 2, -1, -1):
            if np.isnan(due[n]):
                due[n] = due[n + 1]
        return due


class Row(NamedTuple):
    """Milliseconds of latency, and the share of frames that came out."""

    p50_ms: float
    p99_ms: float
    frames: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    count = round(parser.parse_args().minutes * 60 / FRAME_S)
    sound = noisy_streams(1)[:, 0].reshape(-1)
    payloads = encode(sound)
    print("loss                  ours p50   p99 ms  frames   aiortc p50   p99 ms  frames", end="")
    print("   SNR dB  of zeros")
    for name, (share, burst) in LOSSES.items():
        arrivals = _arrivals(payloads, count, share, burst)
        ours, theirs = _ours(arrivals), _aiortc(arrivals)
        snr_db, zeros_db = _snr_db(_first_minute(arrivals)) if share else (np.inf, np.inf)
        print(f"{name:20}{ours.p50_ms:10.1f}{ours.p99_ms:9.1f}{ours.frames:8.1%}"
              f"{theirs.p50_ms:13.1f}{theirs.p99_ms:9.1f}{theirs.frames:8.1%}"
              f"{snr_db:9.1f}{zeros_db:10.1f}")  # fmt: skip


def _arrivals(payloads: list[bytes], count: int, share: float, burst: int) -> Arrivals:
    dice = np.random.default_rng(1)
    packets = []
    for n in range(count):
        packet = RtpPacket(sequence_number=n & 0xFFFF, timestamp=n * FRAME_SAMPLES & 0xFFFFFFFF)
        packet.payload = payloads[n % len(payloads)]
        packets.append(as_received(packet))
    times = np.arange(count) * FRAME_S + dice.uniform(0, JITTER_S, count)
    begins = dice.random(count) < share / burst
    lost = np.convolve(begins, np.ones(burst))[:count] > 0
    lost[:10] = lost[-10:] = False
    times[lost] = np.nan
    return Arrivals(packets, times)


def _first_minute(arrivals: Arrivals) -> Arrivals:
    minute = slice(0, round(60 / FRAME_S))
    return Arrivals(arrivals.packets[minute], arrivals.times[minute])


def _row(arrivals: Arrivals, out: dict[int, float]) -> Row:
    late = np.array([1000 * (when - arrivals.due[n]) for n, when in out.items()])
    p50, p99 = np.percentile(late, (50, 99))
    return Row(float(p50), float(p99), len(out) / len(arrivals.packets))


def _ours(arrivals: Arrivals) -> Row:
    """Every 20 ms of the timeline that go to the decoder count, concealed ones too."""
    order, out, position = RtpOrder(), {}, 0
    for when, segments in _in_order(order, arrivals):
        for segment in segments:
            frames = 1 if isinstance(segment, Opus) else segment.samples // FRAME_SAMPLES
            for _ in range(frames):
                out[position] = when
                position += 1
    return _row(arrivals, out)


def _in_order(order: RtpOrder, arrivals: Arrivals) -> Iterator[tuple[float, list[Segment]]]:
    """Push what arrives, and pop when a gap is given up, as a stream does."""
    for packet, time in zip(arrivals.packets, arrivals.times, strict=True):
        if np.isnan(time):
            continue
        while (ends := order.gap_ends) is not None and ends <= time:
            yield ends, order.pop(ends)
        yield time, order.push(packet, time)


def _aiortc(arrivals: Arrivals) -> Row:
    """aiortc's receiver has a capacity of 16 and a prefetch of 4 for audio."""
    buffer, out = JitterBuffer(capacity=16, prefetch=4), {}
    wraps, last = 0, 0
    for packet, time in zip(arrivals.packets, arrivals.times, strict=True):
        frame = None if np.isnan(time) else buffer.add(packet)[1]
        if frame is not None:
            wraps += frame.timestamp < last - (1 << 31)
            last = frame.timestamp
            out[(frame.timestamp + (wraps << 32)) // FRAME_SAMPLES] = time
    return _row(arrivals, out)


def _snr_db(arrivals: Arrivals) -> tuple[float, float]:
    """Measure what replaces lost frames, and what silence in their place would be."""
    whole, order, decoder = OpusDecoder(), RtpOrder(), OpusDecoder()
    wanted: deque[NDArray[np.float32]] = deque()
    signal = noise = 0.0
    for packet in arrivals.packets:
        wanted.append(whole.decode(packet.payload))
    for _, segments in _in_order(order, arrivals):
        for segment in segments:
            assert not isinstance(segment, Silence)
            heard = decode(decoder, segment)
            sound = np.concatenate([wanted.popleft() for _ in range(len(heard) // FRAME_SAMPLES)])
            signal += float(np.sum(np.square(sound)))
            noise += float(np.sum(np.square(heard - sound)))
    lost = np.isnan(arrivals.times)
    silent = _lost_energy(arrivals, lost)
    return 10 * np.log10(signal / noise), 10 * np.log10(signal / silent)


def _lost_energy(arrivals: Arrivals, lost: NDArray[np.bool_]) -> float:
    decoder, energy = OpusDecoder(), 0.0
    for packet, gone in zip(arrivals.packets, lost, strict=True):
        sound = decoder.decode(packet.payload)
        energy += float(np.sum(np.square(sound))) if gone else 0.0
    return energy


if __name__ == "__main__":
    main()
