"""Tiny networks of the family with made-up weights, and other rates, shapes and lookaheads.

A module for the table `actors.models.MODELS`, like `actors.denoiser.dfn2`.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.config import Config
from actors.denoiser.graph import Design, GraphBuilder, Network
from actors.denoiser.weights import Layer
from actors.models import ModelRow

_BASE = Config(
    sr=16000,
    fft_size=320,
    hop_size=160,
    nb_erb=8,
    nb_df=20,
    min_nb_erb_freqs=2,
    norm_tau=0.3,
    lsnr_min=-10,
    lsnr_max=30,
    conv_lookahead=0,
    df_order=4,
    df_lookahead=0,
    filters_masked=False,
)
CONFIGS: Mapping[str, Config] = {
    "tiny_noisy": replace(_BASE, conv_lookahead=2, df_lookahead=2),
    "tiny_noisy_df_ahead": replace(_BASE, conv_lookahead=1, df_lookahead=3),
    "tiny_noisy_conv_ahead": replace(_BASE, conv_lookahead=3, df_lookahead=1),
    "tiny_noisy_ll": _BASE,
    "tiny_masked": replace(_BASE, conv_lookahead=1, df_lookahead=3, filters_masked=True),
}
ROWS = {name: ModelRow(__name__, archive="", sha256="") for name in CONFIGS}


def load(name: str) -> Design:
    """Make up a network, always the same one for a name."""
    config = CONFIGS[name]
    return Design(config, lambda hops: _Builder(config, hops).build())


class _Builder(GraphBuilder):
    """A convolution over three frames, a GRU, and a linear layer for each answer."""

    def __init__(self, config: Config, hops: int) -> None:
        super().__init__("tiny", config, hops)
        self._dice = np.random.default_rng(1)

    def build(self) -> Network:
        config, width = self._config, 12
        nb_coefs = 2 * config.df_order
        feat_erb, feat_spec = self._features()
        conv = Layer("Conv", {}, (self._made_up(4, 1, 3, 1, fan_in=3),))
        x = self._with_context("conv", feat_erb, config.nb_erb, conv)
        x = self._freqs_outside(self._conv_relu(x, [conv]))  # [B, T, nb_erb, 4]
        x = self._by_time(self._reshape(x, (-1, 4 * config.nb_erb)), 4 * config.nb_erb)
        emb = self._gru("gru", x, self._made_up_gru(4 * config.nb_erb, width))
        flat = self._reshape(emb, (-1, width))
        gains = self._op("Sigmoid", self._by_stream(self._linear(flat, width, 8), (8,)))
        coefs = self._by_stream(
            self._linear(flat, width, config.nb_df * nb_coefs), (config.nb_df, nb_coefs)
        )
        fir = Layer("Conv", {"group": 1}, (self._made_up(nb_coefs, 2, 3, 1, fan_in=6),))
        pathway = self._freqs_outside(self._fir("fir", feat_spec, fir, config.nb_df))
        coefs = self._reshape(self._op("Add", coefs, pathway), (-1, *self._coefs_shape))
        matmul = Layer("MatMul", {}, (self._made_up(width, 1, fan_in=width),))
        add = Layer("Add", {}, (self._made_up(1, fan_in=1),))
        return self._answer(gains, coefs, self._local_snr(emb, matmul, add))

    def _linear(self, x: str, nb_in: int, nb_out: int) -> str:
        return self._op("MatMul", x, self._constant(self._made_up(nb_in, nb_out, fan_in=nb_in)))

    def _made_up_gru(self, nb_in: int, width: int) -> Layer:
        weights = (
            self._made_up(1, 3 * width, nb_in, fan_in=nb_in),
            self._made_up(1, 3 * width, width, fan_in=width),
            self._made_up(1, 6 * width, fan_in=4),
        )
        return Layer("GRU", {"hidden_size": width, "linear_before_reset": 1}, weights)

    def _made_up(self, *shape: int, fan_in: int) -> NDArray[np.float32]:
        weights = self._dice.normal(0, 1 / np.sqrt(fan_in), shape)
        return weights.astype(np.float32)
