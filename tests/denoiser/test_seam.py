"""Another network of the family needs a module and a row; everything around it stays unchanged."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.denoiser import Denoiser, Engine, Model, ModelName, executor_on, load_model
from actors.denoiser.executor import Executor
from actors.denoiser.onnx_session import Session
from actors.denoiser.torch_executor import TorchExecutor
from actors.models import DEFAULT_MODEL, MODELS
from tests.denoiser import tiny
from tests.denoiser.clips import Sound, denoise, worst
from tests.denoiser.official import Offline

ROUNDING = 2e-6


@pytest.fixture(params=tiny.ROWS)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Model:
    """Load each tiny model by its row in the table."""
    table = cast(dict[str, object], MODELS)
    monkeypatch.setitem(table, request.param, tiny.ROWS[request.param])
    return load_model(request.param)


def _offline(model: Model) -> Offline:
    """Run the same network over whole clips, with the rest as in the official program."""

    def network(
        feat_erb: NDArray[np.float32], feat_spec: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        graph = tiny.load(model.name).build(feat_erb.shape[2])
        session = Session(graph.graph, graph.weights)
        at_start = {
            tensor.name: np.zeros([1 if dim == "B" else dim for dim in tensor.shape], np.float32)
            for tensor in session.get_inputs()
        }
        feed = {**at_start, "feat_erb": feat_erb, "feat_spec": feat_spec}
        gains, coefs = session.run(["gains", "coefs"], feed)
        return gains, coefs

    return Offline(model.config, network)


def _clip(seed: int, samples: int) -> Sound:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def test_the_name_of_each_row_is_a_model_name() -> None:
    """Settings and type checkers know exactly the models of the table, in its order."""
    assert get_args(ModelName) == tuple(MODELS)
    assert DEFAULT_MODEL in MODELS


@pytest.mark.parametrize("remainder", [0, 1, 159])
def test_streaming_is_the_offline_program(model: Model, remainder: int) -> None:
    """However a clip is cut, and wherever it ends, every sample equals the offline program's."""
    sound = _clip(1, 40 * model.hop_samples + remainder)
    offline = _offline(model).enhance(sound)
    assert worst(denoise(Denoiser(model), sound, [7, 0, 481, 160, 320] * 4), offline) <= ROUNDING
    # The comparison means something: filtering the other frames would give other sound.
    other = replace(
        model, config=replace(model.config, filters_masked=not model.config.filters_masked)
    )
    assert worst(_offline(other).enhance(sound)[-800:], offline[-800:]) > 0.01


def test_latency_is_what_the_model_says(model: Model) -> None:
    """Lookaheads add up if the deep filter reads masked frames; otherwise the longer one counts."""
    denoiser = Denoiser(model)
    denoiser.denoise = False
    impulse = np.zeros(1600, np.float32)
    impulse[777] = 1
    output = np.concatenate((denoiser.process(impulse), denoiser.flush()))
    assert int(np.argmax(np.abs(output))) == 777 + model.latency_samples
    hops = {"tiny_noisy": 3, "tiny_noisy_ll": 1, "tiny_masked": 5}.get(model.name, 4)
    assert model.latency_samples == hops * 160


@pytest.mark.parametrize("executor", [executor_on("cpu"), TorchExecutor])
def test_each_stream_of_a_batch_is_as_alone(
    model: Model, executor: Callable[[Model, int], Executor]
) -> None:
    """Streams of any length share batches on either executor, and each ends as it should."""
    engine = Engine(model, 4, executor=executor)
    slots = [engine.join() for _ in range(4)]
    clips = [_clip(n, 20 * model.hop_samples + 53 * n) for n in range(4)]
    lengths = []
    for n, (slot, clip) in enumerate(zip(slots, clips, strict=True)):
        slot.push(clip[: 160 * n])
        engine.step()
        slot.push(clip[160 * n :])
        lengths.append(slot.end())
    while engine.step():
        pass
    for slot, clip, length in zip(slots, clips, lengths, strict=True):
        assert length == model.latency_samples + len(clip) % model.hop_samples
        heard = slot.take()[model.latency_samples :][: len(clip)]
        assert worst(heard, _offline(model).enhance(clip)) <= ROUNDING
        assert -10 <= slot.lsnr <= 30


def test_mates_change_no_bit(model: Model) -> None:
    """In batches of one shape a stream's bits are the same beside any others."""

    def beside(seeds: list[int]) -> Sound:
        engine = Engine(model, 3)
        slots = [engine.join() for _ in range(3)]
        for slot, seed in zip(slots, [0, *seeds], strict=True):
            slot.push(_clip(seed, 30 * model.hop_samples))
        while engine.step():
            pass
        return slots[0].take()

    assert np.array_equal(beside([1, 2]), beside([3, 4]))
