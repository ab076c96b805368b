"""What live streams notice of previews: how late hops come out, without and with previews beside.

    python -m bench.previews [--streams 1 4 8] [--seconds 30]

N live streams on a sound thread, in real time, 20 ms at a time, each at its own place in these
20 ms. Meanwhile previews of 10 s are made one after the other: by the worker of stream actors, or,
for comparison, by a thread of the same process. A hop is late when it comes out more than 20 ms
after it came; nobody hears it before the listener's jitter buffer is empty.
"""

import argparse
import asyncio
import io
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile

from actors.denoiser import load_model
from actors.preview import clean
from actors.previews import Previews
from actors.sound_thread import Lane, SoundThread
from bench.sounds import HOP, Sound, noisy_streams

FRAME_S = 0.02
LATE_S = 0.02
PREVIEW_S = 10


class LiveStream:
    """A lane that is fed in real time and notes how long each frame waits."""

    def __init__(self, thread: SoundThread, name: str, sound: Sound) -> None:
        self.waits: list[float] = []
        self._sound = sound.reshape(-1, 2 * HOP)
        self._fed = 0
        self._came: deque[float] = deque()
        self._lane = Lane[Sound](
            thread,
            name,
            capacity=50,
            work=lambda frame: self._lane.slot.push(frame),
            passed_on=self._note,
            finished=lambda: None,
            dropped=lambda frame: None,
            failed=lambda error: print(error),
        )
        thread.open(self._lane)

    def feed(self) -> None:
        """Give it the next frame."""
        self._came.append(time.monotonic())
        self._lane.push(self._sound[self._fed % len(self._sound)])
        self._fed += 1

    def close(self) -> None:
        """End it."""
        self._lane.close()

    def _note(self) -> None:
        for _ in range(len(self._lane.slot.take()) // (2 * HOP)):
            self.waits.append(time.monotonic() - self._came.popleft())


@dataclass
class Made:
    """How many previews were made, and how long each took."""

    seconds: list[float]


def preview() -> bytes:
    """Make a WAV of 10 s."""
    file = io.BytesIO()
    sound = noisy_streams(1).reshape(-1)[: PREVIEW_S * 48000]
    soundfile.write(file, sound, 48000, "PCM_16", format="WAV")
    return file.getvalue()


@contextmanager
def nothing(wav: bytes) -> Iterator[Made]:
    """Make no previews."""
    yield Made([])


@contextmanager
def beside(work: Callable[[], None], over: threading.Event) -> Iterator[None]:
    """Work in a thread until it is over."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def by_worker(wav: bytes) -> Iterator[Made]:
    """Make previews as a stream actor does."""
    made, over = Made([]), threading.Event()

    async def run() -> None:
        previews = Previews()
        while not over.is_set():
            began = time.monotonic()
            await previews.make(wav, None)
            made.seconds.append(time.monotonic() - began)
        await previews.close()

    with beside(lambda: asyncio.run(run()), over):
        yield made


@contextmanager
def by_thread(wav: bytes) -> Iterator[Made]:
    """Make previews in a thread beside the sound thread."""
    made, over = Made([]), threading.Event()
    model = load_model(normalise_level=True)

    def run() -> None:
        while not over.is_set():
            began = time.monotonic()
            clean(wav, model, None)
            made.seconds.append(time.monotonic() - began)

    with beside(run, over):
        yield made


WAYS: dict[str, Callable[[bytes], object]] = {
    "none": nothing,
    "by a worker": by_worker,
    "by a thread": by_thread,
}


def run(streams: int, seconds: float, way: str, wav: bytes) -> str:
    """Feed N streams for that long; returns the row."""
    thread = SoundThread(load_model(normalise_level=True), streams)
    thread.start()
    sound = noisy_streams(streams)
    lives = [LiveStream(thread, f"stream {n}", sound[:, n]) for n in range(streams)]
    with WAYS[way](wav) as made:  # type: ignore[attr-defined]
        start = time.monotonic()
        for arrival in range(round(seconds / FRAME_S) * streams):
            due = start + arrival * FRAME_S / streams
            time.sleep(max(0.0, due - time.monotonic()))
            lives[arrival % streams].feed()
        for live in lives:
            live.close()
    thread.close()
    waits = np.concatenate([live.waits for live in lives])
    p50, p99, worst = np.percentile(waits * 1000, (50, 99, 100))
    took = f"{len(made.seconds):4} of {np.median(made.seconds):.2f} s" if made.seconds else "   -"
    late = float(np.mean(waits > LATE_S))
    return f"{streams:7}  {way:12}{p50:8.1f}{p99:8.1f}{worst:8.1f}{late:8.2%}  {took}"


def main() -> None:
    """Measure all ways in turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    wav = preview()
    print("streams  previews      p50 ms  p99 ms   worst    late  made")
    for _ in range(options.rounds):
        for streams in options.streams:
            for way in WAYS:
                print(run(streams, options.seconds, way, wav), flush=True)


if __name__ == "__main__":
    main()
