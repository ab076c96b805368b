"""The official DeepFilterNet2, offline: what streaming is compared with.

The three official graphs over a whole clip at once, features by libDF (the official library), and
the rest as in the official program's `df/enhance.py` and `df/deepfilternet2.py`.
"""

from functools import cache

import libdf
import numpy as np
from numpy.typing import NDArray

from actors.denoiser.onnx_session import Session
from actors.denoiser.weights import GraphName, ModelName, load_checkpoint

Sound = NDArray[np.float32]
Spec = NDArray[np.complex64]


class OfficialModel:
    """A whole clip in, a whole clip out: `df.enhance(..., pad=True)`."""

    def __init__(self, name: ModelName) -> None:
        checkpoint = load_checkpoint(name)
        self.config = config = checkpoint.config
        self._sessions = {
            graph: Session(model.SerializeToString()) for graph, model in checkpoint.graphs.items()
        }
        self.libdf = libdf.DF(
            sr=config.sr,
            fft_size=config.fft_size,
            hop_size=config.hop_size,
            nb_bands=config.nb_erb,
            min_nb_erb_freqs=config.min_nb_erb_freqs,
        )

    def enhance(self, sound: Sound, atten_lim_db: float | None = None) -> Sound:
        """Denoise a clip [T], without delay."""
        config = self.config
        padded = np.pad(sound, (0, config.fft_size))[None]
        spec: Spec = self.libdf.analysis(padded)  # [1, T, F]
        masked, coefs = self._network(spec)
        enhanced = self._deep_filter(masked, coefs)
        if atten_lim_db:
            share = 10 ** (-abs(atten_lim_db) / 20)
            enhanced = (spec * share + enhanced * (1 - share)).astype(np.complex64)
        clip: Sound = self.libdf.synthesis(enhanced)[0]
        return clip[config.hop_size : config.hop_size + len(sound)]

    def features(self, spec: Spec) -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
        """Compute libDF's features of a clip: ERB [1, T, 32] and low bins [1, T, 96]."""
        alpha = self.config.norm_alpha
        erb = libdf.erb_norm(libdf.erb(spec, self.libdf.erb_widths()), alpha)
        low = libdf.unit_norm(np.ascontiguousarray(spec[..., : self.config.nb_df]), alpha)
        return erb, low

    def _network(self, spec: Spec) -> tuple[Spec, Spec]:
        """Mask a clip's spectrum, and estimate the deep filter [1, T, nb_df, df_order]."""
        erb, low = self.features(spec)
        # [1, 1, T, 32] and [1, 2, T, 96], from the future by the lookahead, zero at the end
        feat_erb = self._look_ahead(erb[:, None])
        feat_spec = self._look_ahead(np.stack((low.real, low.imag), axis=1))
        e0, e1, e2, e3, emb, c0, _ = self._run("enc", feat_erb=feat_erb, feat_spec=feat_spec)
        (mask,) = self._run("erb_dec", emb=emb, e3=e3, e2=e2, e1=e1, e0=e0)
        coefs, _ = self._run("df_dec", emb=emb, c0=c0)
        gains = np.repeat(mask[:, 0], self.libdf.erb_widths().astype(int), axis=-1)
        return spec * gains, coefs.view(np.complex64)

    def _deep_filter(self, masked: Spec, coefs: Spec) -> Spec:
        config = self.config
        frames = masked.shape[1]
        before = config.df_order - 1 - config.df_lookahead
        low = masked[..., : config.nb_df]
        low = np.pad(low, ((0, 0), (before, config.df_lookahead), (0, 0)))
        enhanced = masked.copy()
        enhanced[..., : config.nb_df] = sum(
            low[:, n : n + frames] * coefs[..., n] for n in range(config.df_order)
        )
        return enhanced

    def _look_ahead(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        lookahead = self.config.conv_lookahead
        padding = ((0, 0), (0, 0), (0, lookahead), (0, 0))
        return np.pad(features, padding)[:, :, lookahead:]

    def _run(self, graph: GraphName, **feed: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._sessions[graph].run(None, feed)
        return outputs


@cache
def official_model(name: ModelName = "dfn2") -> OfficialModel:
    """Get the official model, loaded once for all tests."""
    return OfficialModel(name)
