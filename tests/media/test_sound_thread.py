"""One thread for many streams: it batches those that are ready, and one's failure is its own."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from actors.denoiser import Denoiser, Engine, EngineFull, load_model
from actors.denoiser.cpu_executor import CpuExecutor
from actors.denoiser.executor import Batch, Result
from actors.sound_thread import Lane, SoundThread
from tests.denoiser.clips import Sound, noisy_clip, worst

ROUNDING = 2e-6
"""How much batches of different sizes may differ."""


@pytest.fixture
def thread() -> Iterator[SoundThread]:
    sound_thread = SoundThread(load_model(), streams=4)
    sound_thread.start()
    yield sound_thread
    sound_thread.close()


class Stream:
    """A lane that denoises what is pushed and fails on an empty piece."""

    def __init__(self, thread: SoundThread, capacity: int = 1000) -> None:
        self.heard: list[Sound] = []
        self.dropped: list[Sound] = []
        self.errors: list[BaseException] = []
        self.thread_ids: set[int] = set()
        self._thread = thread
        self.lane = Lane[Sound](
            thread,
            "test",
            capacity=capacity,
            work=self._work,
            passed_on=self._pass_on,
            finished=self._finish,
            dropped=self.dropped.append,
            failed=self.errors.append,
        )

    def _work(self, sound: Sound) -> None:
        self.thread_ids.add(threading.get_ident())
        if not len(sound):
            raise RuntimeError("an empty piece")
        if not self.lane.passes:
            self.lane.slot.push(sound)

    def _pass_on(self) -> None:
        self.heard.append(self.lane.slot.take())

    def _finish(self) -> None:
        rest = self.lane.slot.end()
        self._thread.run_out(self.lane.slot)
        self.heard.append(self.lane.slot.take()[:rest])

    def play(self, sound: Sound, then: Callable[[], None] = lambda: None) -> None:
        """Push a clip in frames of 20 ms, with a call in the middle."""
        frames = np.array_split(sound, len(sound) // 960)
        for number, frame in enumerate(frames):
            if number == len(frames) // 2:
                then()
            self.lane.push(frame)

    def sound(self) -> Sound:
        """Get the whole output."""
        return np.concatenate(self.heard)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what the thread does."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _alone(sound: Sound) -> Sound:
    denoiser = Denoiser(load_model())
    return np.concatenate((denoiser.process(sound), denoiser.flush()))


def test_each_stream_hears_what_it_would_alone(thread: SoundThread) -> None:
    """Four streams at a time, one late and one ending early, all on one thread."""
    streams = [Stream(thread) for _ in range(4)]
    clips = [noisy_clip("voice", 0.5 + 0.25 * n) for n in range(4)]
    for stream, clip in zip(streams[:3], clips, strict=False):
        thread.open(stream.lane)
        stream.play(clip)
    streams[0].lane.close()
    thread.open(streams[3].lane)
    streams[3].play(clips[3])
    for stream, clip in zip(streams, clips, strict=True):
        stream.lane.close()
        assert not stream.errors and not stream.dropped
        expected = _alone(clip)
        assert worst(stream.sound()[: len(expected)], expected) <= ROUNDING
    assert len(set().union(*(stream.thread_ids for stream in streams))) == 1


def test_one_streams_error_ends_no_other(thread: SoundThread) -> None:
    """A stream whose work raises is told and removed; the others notice nothing."""
    good, bad = Stream(thread), Stream(thread)
    clip = noisy_clip("voice", 1.0)
    for stream in (good, bad):
        thread.open(stream.lane)
    good.play(clip, then=lambda: bad.lane.push(np.empty(0, np.float32)))
    for stream in (good, bad):
        stream.lane.close()
    assert [str(error) for error in bad.errors] == ["an empty piece"]
    assert not good.errors and thread.alive
    assert worst(good.sound()[: len(clip)], _alone(clip)[: len(clip)]) <= ROUNDING
    for _ in range(4):
        more = Stream(thread)
        thread.open(more.lane)
        more.play(clip[:9600])
        more.lane.close()
        assert len(more.sound()) >= 9600


def test_one_stream_too_many_is_told(thread: SoundThread) -> None:
    """A stream without a place fails; the others go on."""
    streams = [Stream(thread) for _ in range(5)]
    for stream in streams:
        thread.open(stream.lane)
    streams[0].play(noisy_clip("voice", 0.2))
    for stream in streams:
        stream.lane.close()
    assert isinstance(streams[4].errors[0], EngineFull)
    assert not any(stream.errors for stream in streams[:4])
    assert len(streams[0].sound()) >= 9600


def test_a_full_lane_drops_its_oldest(thread: SoundThread) -> None:
    """What does not fit is handed back at once: push never waits."""
    stream = Stream(thread, capacity=3)
    pieces = [np.full(480, n, np.float32) for n in range(5)]
    for piece in pieces:
        stream.lane.push(piece)
    assert [piece[0] for piece in stream.dropped] == [0, 1]
    assert stream.lane.waiting == 3
    thread.open(stream.lane)
    stream.lane.close()


class Slow(CpuExecutor):
    """Takes long for every hop, of which each stream has one every 10 ms."""

    hop_s = 0.006

    def run(self, batch: Batch) -> Result:
        """Give back what came, late."""
        time.sleep(self.hop_s * batch.hops.shape[0] * batch.hops.shape[1])
        return Result(batch.hops.copy(), np.zeros(len(batch.slots), np.float32))


def test_in_overload_streams_pass_that_may_and_others_lose_what_is_late() -> None:
    """There is time for half of them: those that may pass until there is room, one by one."""
    model = load_model()
    thread = SoundThread(model, streams=3)
    thread._engines = {model.name: Engine(model, 3, executor=Slow)}
    streams = [Stream(thread) for _ in range(3)]
    for stream in streams:
        thread.open(stream.lane)
    thread.start()
    over = threading.Event()

    def play() -> None:
        """Push 20 ms to each every 20 ms."""
        due = time.monotonic()
        while not over.is_set():
            for stream in streams:
                stream.lane.push(np.zeros(960, np.float32))
            due += 0.02
            time.sleep(max(0.0, due - time.monotonic()))

    playing = threading.Thread(target=play)
    playing.start()
    try:
        wait_until(lambda: thread.overloaded and bool(streams[0].dropped))
        assert not any(stream.lane.passes for stream in streams), "nobody may"
        for stream in streams[1:]:
            stream.lane.may_pass = True
        wait_until(lambda: all(stream.lane.passes for stream in streams[1:]))
        assert not streams[0].lane.passes
        streams[1].lane.may_pass = False
        wait_until(lambda: not streams[1].lane.passes)
        streams[1].lane.may_pass = True
        wait_until(lambda: not thread.overloaded)
        Slow.hop_s = 0.001
        wait_until(lambda: not any(stream.lane.passes for stream in streams))
        assert not thread.overloaded
    finally:
        over.set()
        playing.join()
        Slow.hop_s = 0.006
        for stream in streams:
            stream.lane.close()
        thread.close()
    assert not any(stream.errors for stream in streams)
