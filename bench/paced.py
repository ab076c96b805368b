"""How many live streams one core can do: N streams in real time, and who is late.

Every 20 ms two hops of each stream come at once, as in an Opus packet; the streams are anywhere in
these 20 ms, each at its own place. A hop is late when it comes out more than 20 ms after it came.
That says something about the denoiser only where others have not taken the core meanwhile: a run
that was disturbed is repeated.
"""

import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from actors.denoiser import Engine, load_model
from bench.sounds import HOP, Sound, noisy_streams

FRAME_S = 0.02
LATE_S = 0.02
SHORT_S = 5.0
MOST_STREAMS = 112
OVERSLEPT_S = 0.001
DISTURBED, DISTURBED_MS = 0.02, 5.0
TRIES, PAUSE_S = 12, 5.0
AROUND = (-4, -2, 2, 4)


@dataclass(frozen=True)
class Paced:
    """What came of one run."""

    streams: int
    seconds: float
    hops: int
    late: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    busy: float
    """Share of the core that this process took."""
    taken: float
    """Share of the time in which it wanted the core and others had it."""
    gap_ms: float
    """The longest time that others had it at once."""
    batch: float
    """Mean number of hops in a batch."""


class LiveStreams:
    """N streams and one engine, on the calling thread."""

    def __init__(self, streams: int, sound: Sound, max_wait_s: float | None) -> None:
        self._sound = sound
        self._engine = Engine(load_model(), capacity=streams, max_wait_s=max_wait_s)
        self._slots = [self._engine.join() for _ in range(streams)]
        dice = np.random.default_rng(streams)
        self._phases = np.sort(dice.uniform(0, FRAME_S, streams))
        self._came: list[deque[float]] = [deque() for _ in range(streams)]
        self.waits: list[float] = []
        self.batches: list[int] = []
        self.rested_s = 0.0
        self.gap_s = 0.0

    def run(self, seconds: float) -> None:
        """Feed and step in real time, until what came has come out."""
        clock, engine = time.monotonic, self._engine
        start, arrivals = clock() + FRAME_S, round(seconds / FRAME_S) * len(self._slots)
        arrival = 0
        while arrival < arrivals or engine.due_in_s is not None:
            while arrival < arrivals and self._time(arrival, start) <= clock():
                self._push(arrival, self._time(arrival, start))
                arrival += 1
            due = engine.due_in_s
            if due is not None and due <= 0:
                self._step()
                continue
            waits = [] if due is None else [due]
            if arrival < arrivals:
                waits.append(self._time(arrival, start) - clock())
            self._rest(max(0.0, min(waits)))

    def _rest(self, seconds: float) -> None:
        """Sleep; waking much too late means that others have the core."""
        began = time.monotonic()
        time.sleep(seconds)
        rested = time.monotonic() - began
        self.rested_s += min(rested, seconds + OVERSLEPT_S)
        self.gap_s = max(self.gap_s, rested - seconds - OVERSLEPT_S)

    def _time(self, arrival: int, start: float) -> float:
        frame, stream = divmod(arrival, len(self._slots))
        return start + frame * FRAME_S + float(self._phases[stream])

    def _push(self, arrival: int, came: float) -> None:
        frame, stream = divmod(arrival, len(self._slots))
        for n in (2 * frame, 2 * frame + 1):
            self._slots[stream].push(self._sound[n % len(self._sound), stream])
            self._came[stream].append(came)

    def _step(self) -> None:
        ready = [n for n, slot in enumerate(self._slots) if slot.waiting]
        began, began_cpu = time.monotonic(), time.process_time()
        self.batches.append(self._engine.step())
        out = time.monotonic()
        self.gap_s = max(self.gap_s, out - began - (time.process_time() - began_cpu))
        for n in ready:
            for _ in range(len(self._slots[n].take()) // HOP):
                self.waits.append(out - self._came[n].popleft())


def run(streams: int, seconds: float, sound: Sound, *, max_wait_s: float | None = None) -> Paced:
    """Run N streams for that long; a hop waits for a batch as in `Engine`."""
    live = LiveStreams(streams, sound, max_wait_s)
    began, began_cpu = time.monotonic(), time.process_time()
    live.run(seconds)
    took, took_cpu = time.monotonic() - began, time.process_time() - began_cpu
    waits = np.array(live.waits)
    p50, p99, worst = np.percentile(waits * 1000, (50, 99, 100))
    return Paced(
        streams=streams,
        seconds=seconds,
        hops=len(waits),
        late=int(np.sum(waits > LATE_S)),
        p50_ms=float(p50),
        p99_ms=float(p99),
        worst_ms=float(worst),
        busy=took_cpu / took,
        taken=max(0.0, 1 - (took_cpu + live.rested_s) / took),
        gap_ms=live.gap_s * 1000,
        batch=float(np.mean(live.batches)),
    )


def search(seconds: float) -> list[Paced]:
    """Find the most streams of which no hop is late: bisect, confirm, look around."""
    sound = noisy_streams(MOST_STREAMS)
    print("\nstreams  seconds    hops    late   p50 ms  p99 ms  worst   busy  taken  gap ms  batch")
    runs: list[Paced] = []

    def late(streams: int, length: float) -> int:
        for _ in range(TRIES):
            runs.append(run(streams, length, sound))
            print(_row(runs[-1]), flush=True)
            if not runs[-1].late or not _disturbed(runs[-1]):
                return runs[-1].late
            time.sleep(PAUSE_S)
        raise SystemExit("others use this core too much to tell who is late because of us")

    good, bad = 1, MOST_STREAMS + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        if late(middle, SHORT_S):
            bad = middle
        else:
            good = middle
    while late(good, seconds) and good > 1:
        good -= 1
    print(f"{good} streams without a late hop for {seconds:g} s; around it:")
    for more in AROUND:
        late(min(max(1, good + more), MOST_STREAMS), 2 * SHORT_S)
    return runs


def _disturbed(run: Paced) -> bool:
    return run.taken > DISTURBED or run.gap_ms > DISTURBED_MS


def _row(run: Paced) -> str:
    return (
        f"{run.streams:7}{run.seconds:9.0f}{run.hops:8}{run.late:8}{run.p50_ms:9.1f}"
        f"{run.p99_ms:8.1f}{run.worst_ms:7.1f}{run.busy:7.0%}{run.taken:7.1%}{run.gap_ms:8.1f}{run.batch:7.1f}"
    )
