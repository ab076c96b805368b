"""A second witness: the tract runtime, DeepFilterNet's own for live sound, runs DeepFilterNet3."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from actors.denoiser import Denoiser, ModelName, load_model
from actors.denoiser.cpu_executor import CpuExecutor
from actors.models import MODELS
from bench.contestants import _tract
from tests.denoiser.clips import Sound, noisy_clip, worst

HOP = 480
EXACT = 1e-5
"""What we promise. About 4e-7 was measured: rounding."""
LAST_BIN = 3e-4
"""tract's post-filter takes four bins at a time, and so leaves out the last one of 481: 24 kHz."""


def _by_tract(name: ModelName, sound: Sound, beta: float) -> Sound:
    """Stream sound through tract, without an attenuation limit."""
    library, dfn3 = _tract()
    archive = Path(dfn3.decode()).parents[1] / MODELS[name].archive
    stream = ctypes.c_void_p(library.df_create(str(archive).encode(), 100.0, None))
    assert stream.value
    library.df_set_post_filter_beta(stream, ctypes.c_float(beta))
    heard = np.empty_like(sound)
    for start in range(0, len(sound), HOP):
        hop, made = sound[start : start + HOP].copy(), heard[start : start + HOP]
        library.df_process_frame(stream, hop.ctypes.data, made.ctypes.data)
    library.df_free(stream)
    return heard


def _by_ours(name: ModelName, sound: Sound, *, post_filter: bool) -> Sound:
    """Stream sound through ours, which asks the network from the first hop on, as tract does.

    The official program and ours do so only once there is a frame to answer for.
    """
    model = load_model(name)
    denoiser = Denoiser(model)
    denoiser.post_filter = post_filter
    executor = denoiser._engine._executor
    assert isinstance(executor, CpuExecutor)
    executor._filtered.frames += model.config.conv_lookahead
    return denoiser.process(sound)


@pytest.mark.parametrize("name", ["dfn3", pytest.param("dfn3_ll", marks=pytest.mark.slow)])
@pytest.mark.parametrize("post_filter", [False, True])
def test_tract_hears_the_same(name: ModelName, post_filter: bool) -> None:
    """Hop by hop, with the same latency, tract and the streaming denoiser give the same sound."""
    sound = noisy_clip("voice", 1.0)[: 90 * HOP]
    tract = _by_tract(name, sound, beta=0.02 if post_filter else 0)
    bound = LAST_BIN if post_filter else EXACT
    assert worst(_by_ours(name, sound, post_filter=post_filter), tract) <= bound
    # The comparison means something: the post-filter does more than that.
    assert worst(_by_ours(name, sound, post_filter=not post_filter), tract) > 10 * LAST_BIN
    assert np.std(tract) > 0.1 * np.std(sound)
