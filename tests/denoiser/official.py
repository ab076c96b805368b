"""The official program, offline, with which streaming is compared.

It runs the network over a whole clip at once, with features by libDF (the official library), and
does the rest as the official `df/enhance.py`, `df/deepfilternet2.py` and `df/deepfilternet3.py` do.
"""

from collections.abc import Callable
from functools import cache

import libdf
import numpy as np
from numpy.typing import NDArray

from actors.denoiser import ModelName, load_model
from actors.denoiser.config import Config
from actors.denoiser.onnx_session import Session
from actors.denoiser.weights import Checkpoint, GraphName, load_checkpoint

Sound = NDArray[np.float32]
Spec = NDArray[np.complex64]
OfflineNetwork = Callable[
    [NDArray[np.float32], NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]
]
"""From feat_erb [1, 1, T, nb_erb] and feat_spec [1, 2, T, nb_df] to gains [1, T, nb_erb] and coefs
[1, T, nb_df, df_order, 2]."""


_EPS = np.float32(1e-12)


class Offline:
    """A whole clip in, a whole clip out: `df.enhance(..., pad=True)`."""

    def __init__(self, config: Config, network: OfflineNetwork) -> None:
        self.config = config
        self._network = network
        self.libdf = libdf.DF(
            sr=config.sr,
            fft_size=config.fft_size,
            hop_size=config.hop_size,
            nb_bands=config.nb_erb,
            min_nb_erb_freqs=config.min_nb_erb_freqs,
        )

    def enhance(
        self, sound: Sound, atten_lim_db: float | None = None, *, post_filter: bool = False
    ) -> Sound:
        """Denoise a clip [T], without delay; `post_filter` as by the official `--pf`."""
        config = self.config
        padded = np.pad(sound, (0, config.fft_size))[None]
        spec: Spec = self.libdf.analysis(padded)  # [1, T, F]
        enhanced = self._filtered(spec, post_filter=post_filter)
        if atten_lim_db:
            share = 10 ** (-abs(atten_lim_db) / 20)
            enhanced = (spec * share + enhanced * (1 - share)).astype(np.complex64)
        clip: Sound = self.libdf.synthesis(enhanced)[0]
        return clip[config.hop_size : config.hop_size + len(sound)]

    def features(self, spec: Spec) -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
        """Compute libDF's features of a clip: ERB [1, T, nb_erb] and low bins [1, T, nb_df]."""
        alpha = self.config.norm_alpha
        erb = libdf.erb_norm(libdf.erb(spec, self.libdf.erb_widths()), alpha)
        low = libdf.unit_norm(np.ascontiguousarray(spec[..., : self.config.nb_df]), alpha)
        return erb, low

    def _filtered(self, spec: Spec, *, post_filter: bool) -> Spec:
        """Mask a clip's spectrum, and apply the deep filter to its lowest bins."""
        erb, low = self.features(spec)
        gains, coefs = self._network(
            self._look_ahead(erb[:, None]),
            self._look_ahead(np.stack((low.real, low.imag), axis=1)),
        )
        if post_filter and self.config.filters_masked:  # `Mask.pf` of the official modules.py
            gains = gains * _post_filter(gains)
        masked: Spec = spec * np.repeat(gains, self.libdf.erb_widths().astype(int), axis=-1)
        config, frames = self.config, spec.shape[1]
        read = (masked if config.filters_masked else spec)[..., : config.nb_df]
        before = config.df_order - 1 - config.df_lookahead
        read = np.pad(read, ((0, 0), (max(before, 0), config.df_lookahead), (0, 0)))
        read = read[:, max(-before, 0) :]
        taps = np.ascontiguousarray(coefs).view(np.complex64)[..., 0]  # [1, T, nb_df, df_order]
        masked[..., : config.nb_df] = sum(
            read[:, n : n + frames] * taps[..., n] for n in range(config.df_order)
        )
        if post_filter and not config.filters_masked:  # the end of DeepFilterNet3's `forward`
            left = np.abs(masked) / (np.abs(spec) + _EPS)
            masked *= _post_filter(np.clip(left, _EPS, 1).astype(np.float32))
        return masked

    def _look_ahead(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Shift features back by the network's lookahead, with zeros at the end."""
        lookahead = self.config.conv_lookahead
        padding = ((0, 0), (0, 0), (0, lookahead), (0, 0))
        return np.pad(features, padding)[:, :, lookahead:]


def _post_filter(gains: NDArray[np.float32]) -> NDArray[np.float32]:
    """Valin et al. (2020), as the official program has it."""
    beta = 0.02
    reduced = gains * np.maximum(np.sin(np.pi * gains / 2), _EPS)
    factors: NDArray[np.float32] = (1 + beta) / (1 + beta * np.square(gains / reduced))
    return factors


class OfficialNetwork:
    """The three official graphs of DeepFilterNet2."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._sessions = {
            graph: Session(model.SerializeToString()) for graph, model in checkpoint.graphs.items()
        }

    def __call__(
        self, feat_erb: NDArray[np.float32], feat_spec: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        e0, e1, e2, e3, emb, c0, _ = self._run("enc", feat_erb=feat_erb, feat_spec=feat_spec)
        (mask,) = self._run("erb_dec", emb=emb, e3=e3, e2=e2, e1=e1, e0=e0)
        coefs, _ = self._run("df_dec", emb=emb, c0=c0)
        return mask[:, 0], coefs.reshape(*coefs.shape[:3], -1, 2)

    def _run(self, graph: GraphName, **feed: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._sessions[graph].run(None, feed)
        return outputs


@cache
def official_model(name: ModelName = "dfn2") -> Offline:
    """Get the official model, loaded once for all tests."""
    return Offline(load_model(name).config, OfficialNetwork(load_checkpoint(name)))
