"""The network as machine code says what onnxruntime says, and steps aside where it cannot."""

from dataclasses import replace
from typing import get_args

import numpy as np
import onnx
import pytest

from actors.denoiser import Denoiser, Model, ModelName, load_model
from actors.denoiser.compiled_signal import CompiledAnalysis, CompiledFilter
from actors.denoiser.config import Config
from actors.denoiser.features import Analysis, Features, Filter, Frames
from actors.denoiser.graph import Network
from actors.denoiser.network_slab import Answer, CompiledSlab, NetworkSlab, OnnxSlab
from tests.denoiser import tiny
from tests.denoiser.clips import noisy_clip, worst

BATCH = 16


def _features(model: Model, hops: int, seed: int = 1) -> Features:
    dice, config = np.random.default_rng(seed), model.config
    return Features(
        dice.normal(0, 0.5, (BATCH, 1, hops, config.nb_erb)).astype(np.float32),
        dice.normal(0, 0.5, (BATCH, 2, hops, config.nb_df)).astype(np.float32),
    )


def _compiled(model: Model) -> CompiledSlab:
    network = model.compiled()
    assert network
    return CompiledSlab(network, model.config, BATCH, BATCH)


def _answers(slab: NetworkSlab, model: Model, places: slice, hops: int) -> list[Answer]:
    """Run some of a batch for a while."""
    answers = []
    for seed in range(6):
        heard = _features(model, hops, seed)
        some = Features(heard.erb[places], heard.spec[places])
        gains, coefs, lsnr = slab.step(np.arange(BATCH)[places], some)
        answers.append((gains.copy(), coefs.copy(), lsnr.copy()))
    return answers


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("name", get_args(ModelName))
def test_it_says_what_onnxruntime_says(name: ModelName, hops: int) -> None:
    """Gains and filters of every model are those of its graph."""
    model = load_model(name)
    sessions = {hops: model.session(hops)}
    onnx_slab = OnnxSlab({1: model.session(1), **sessions}, model.config, BATCH, BATCH)
    some = slice(3, 10)
    ours = _answers(_compiled(model), model, some, hops)
    theirs = _answers(onnx_slab, model, some, hops)
    for our, their in zip(ours, theirs, strict=True):
        assert worst(our[0], their[0]) <= 5e-6
        assert worst(our[1], their[1]) <= 1e-5
        assert worst(our[2], their[2]) <= 1e-3


@pytest.mark.parametrize("hops", [1, 2])
def test_bits_do_not_depend_on_the_batch(model: Model, hops: int) -> None:
    """A stream's answers have the same bits in a batch of any size, at any place."""
    whole = _answers(_compiled(model), model, slice(0, BATCH), hops)
    for places in (slice(0, 1), slice(2, 4), slice(5, 12)):
        some = _answers(_compiled(model), model, places, hops)
        for few, all_ in zip(some, whole, strict=True):
            for ours, theirs in zip(few, all_, strict=True):
                assert np.array_equal(ours, theirs[places])


@pytest.mark.parametrize("normalise_level", [False, True])
@pytest.mark.parametrize("config", [*tiny.CONFIGS.values(), load_model().config])
def test_the_signal_around_it_is_that_of_numpy(config: Config, normalise_level: bool) -> None:
    """Features and sound of any configuration are those of `features.py`, one hop or two."""
    dice, slots = np.random.default_rng(1), np.array([0, 2, 3])
    pairs = [
        (kind(config, normalise_level=normalise_level), make(config))
        for kind, make in ((Analysis, Filter), (CompiledAnalysis, CompiledFilter))
    ]
    states = [(heard.initial_state(4), made.initial_state(4)) for heard, made in pairs]
    for turn in range(20):
        hops = 1 + turn % 2
        loud = (0, 1e-4, 0.1)[min(turn // 2, 2)] if turn < 10 else 1e-4
        sound = dice.normal(0, loud, (3, hops, config.hop_size))
        gains = dice.random((3, hops, config.nb_erb), np.float32)
        coefs = dice.normal(0, 1, (3, hops, config.nb_df, config.df_order, 2)).astype(np.float32)
        share = np.array([0, 0.3, turn % 3 / 2], np.float32)
        post_filtered = np.flatnonzero(turn % 4 == np.arange(3))
        made = []
        for (analysis, filter_), (heard, filtered) in zip(pairs, states, strict=True):
            spec, features = analysis(sound.astype(np.float32), heard, slots)
            out = filter_(Frames(spec, gains, coefs, share, post_filtered), filtered, slots)
            made.append((features.erb, features.spec, out))
        for numpy, code in zip(*made, strict=True):
            assert worst(numpy, code) <= 1e-6


def test_onnxruntime_runs_what_there_is_no_kernel_for(model: Model) -> None:
    """A network with an operation that is not listed runs all the same."""
    networks = {hops: _with_elu(network) for hops, network in model.networks.items()}
    other = replace(model, networks=networks, _sessions={}, _compiled=[])
    assert other.compiled() is None
    sound = noisy_clip("voice", 0.2)
    assert np.std(Denoiser(other).process(sound)) > 0


def test_onnxruntime_runs_on_processors_without_fused_multiply_add(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it takes the place of the code, and gives the same sound."""
    for module in ("model", "cpu_executor"):
        monkeypatch.setattr(f"actors.denoiser.{module}.can_compile", lambda: False)
    other = replace(model, _sessions={}, _compiled=[])
    assert other.compiled() is None
    sound = noisy_clip("voice", 0.5)
    there = Denoiser(other).process(sound)
    monkeypatch.undo()
    assert worst(there, Denoiser(model).process(sound)) <= 2e-6


def _with_elu(network: Network) -> Network:
    graph = onnx.load_from_string(network.graph)
    next(node for node in graph.graph.node if node.op_type == "Relu").op_type = "Elu"
    return Network(graph.SerializeToString(), network.weights)
