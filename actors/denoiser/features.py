"""Signal processing around the network: what it hears, and what is done with its answer.

Everything works on a batch of B streams, one hop each. The numbers follow libDF, the library the
official models were trained with: <https://github.com/Rikorose/DeepFilterNet/tree/main/libDF>.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.weights import Config

Real = NDArray[np.float32]
Complex = NDArray[np.complex64]

_MEAN_NORM_INIT_DB = (-60.0, -90.0)
_UNIT_NORM_INIT = (0.001, 0.0001)
_UNIT_NORM_FLOOR = np.float32(1e-30)
"""80 s of digital silence would make the running norm denormal: slow, then 0/0."""
_MIN_POWER = np.float32(1e-10)
_ERB_SCALE_DB = np.float32(40)


@dataclass
class AnalysisState:
    """What the features of the next hop depend on."""

    last_hop: Real  # [B, hop]
    mean_norm: Real  # [B, nb_erb], dB
    unit_norm: Real  # [B, nb_df]


@dataclass
class FilterState:
    """What the next hop of sound depends on. The newest frame is the last one of each."""

    noisy: Complex  # [B, 1 + conv_lookahead + df_lookahead, F], as they came in
    masked: Complex  # [B, frames, F], with the gains applied; conv_lookahead behind `noisy`
    coefs: Complex  # [B, 1 + df_lookahead, df_order, nb_df], of the masked frames
    overlap: Real  # [B, hop], second half of the last window


@dataclass(frozen=True)
class Features:
    """The network's view of one hop of B streams."""

    erb: Real  # [B, 1, 1, nb_erb]
    spec: Real  # [B, 2, 1, nb_df], real and imaginary part


class Analysis:
    """STFT and features: 480 samples in, one spectrum and its normalised features out."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._window = vorbis_window(config.fft_size)
        widths = erb_widths(config)
        self._starts = np.cumsum(widths) - widths
        self._widths = widths.astype(np.float32)
        self._keep = np.float32(config.norm_alpha)
        self._take = np.float32(1) - self._keep

    def initial_state(self, batch: int) -> AnalysisState:
        """Make the state of streams that have heard nothing yet."""
        config = self._config
        mean_norm = np.linspace(*_MEAN_NORM_INIT_DB, config.nb_erb, dtype=np.float32)
        unit_norm = np.linspace(*_UNIT_NORM_INIT, config.nb_df, dtype=np.float32)
        return AnalysisState(
            last_hop=np.zeros((batch, config.hop_size), np.float32),
            mean_norm=np.tile(mean_norm, (batch, 1)),
            unit_norm=np.tile(unit_norm, (batch, 1)),
        )

    def silence(self, batch: int) -> Features:
        """Get the zero features that the official network pads a clip with at its end."""
        return Features(
            np.zeros((batch, 1, 1, self._config.nb_erb), np.float32),
            np.zeros((batch, 2, 1, self._config.nb_df), np.float32),
        )

    def __call__(self, hop: Real, state: AnalysisState) -> tuple[Complex, Features]:
        """Transform the window that ends with this hop [B, hop] to a spectrum [B, F]."""
        window = np.concatenate((state.last_hop, hop), axis=1)
        state.last_hop = window[:, -self._config.hop_size :]
        # libDF scales by 2 * hop / fft_size**2, which is 1 / fft_size at 50 % overlap.
        spec = np.fft.rfft(window * self._window, norm="forward").astype(np.complex64, copy=False)
        return spec, Features(self._erb(spec, state), self._unit_spec(spec, state))

    def _erb(self, spec: Complex, state: AnalysisState) -> Real:
        """Get the bands' mean powers in dB around their running mean."""
        power = np.square(spec.real) + np.square(spec.imag)
        bands = np.add.reduceat(power, self._starts, axis=1) / self._widths
        level = np.float32(10) * np.log10(bands + _MIN_POWER)
        state.mean_norm = level * self._take + state.mean_norm * self._keep
        return ((level - state.mean_norm) / _ERB_SCALE_DB)[:, None, None]

    def _unit_spec(self, spec: Complex, state: AnalysisState) -> Real:
        """Divide the lowest bins by the root of their running magnitude."""
        low = spec[:, : self._config.nb_df]
        norm = np.abs(low) * self._take + state.unit_norm * self._keep
        state.unit_norm = np.maximum(norm, _UNIT_NORM_FLOOR)
        low = low / np.sqrt(state.unit_norm)
        return np.stack((low.real, low.imag), axis=1)[:, :, None]


class Filter:
    """Applies gains and deep filter, and turns spectra into sound again."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._window = vorbis_window(config.fft_size)
        self._band_of_bin = np.repeat(np.arange(config.nb_erb), erb_widths(config))
        self._masked_frames = max(config.df_order, config.df_lookahead + 1)

    def initial_state(self, batch: int) -> FilterState:
        """Make the state of streams that have heard nothing yet."""
        config = self._config
        noisy_frames = config.conv_lookahead + config.df_lookahead + 1
        coefs = (batch, config.df_lookahead + 1, config.df_order, config.nb_df)
        return FilterState(
            noisy=np.zeros((batch, noisy_frames, config.nb_freqs), np.complex64),
            masked=np.zeros((batch, self._masked_frames, config.nb_freqs), np.complex64),
            coefs=np.zeros(coefs, np.complex64),
            overlap=np.zeros((batch, config.hop_size), np.float32),
        )

    def push_spec(self, spec: Complex, state: FilterState) -> None:
        """Take the newest spectrum [B, F]."""
        _push(state.noisy, spec)

    def push_answer(self, gains: Real, coefs: Real, state: FilterState) -> None:
        """Take what the network says of the frame `conv_lookahead` before the newest spectrum.

        Gains are [B, nb_erb], coefs [B, nb_df, df_order, 2].
        """
        noisy = state.noisy[:, -1 - self._config.conv_lookahead]
        _push(state.masked, noisy * gains[:, self._band_of_bin])
        _push(state.coefs, coefs.view(np.complex64)[..., 0].swapaxes(1, 2))

    def push_nothing(self, state: FilterState) -> None:
        """Take a frame outside of the clip, before its start or after its end."""
        _push(state.masked, 0)
        _push(state.coefs, 0)

    def __call__(self, noisy_share: Real, state: FilterState) -> Real:
        """Make the oldest frame's sound [B, hop].

        `noisy_share` [B], 0..1, is how much of the undenoised spectrum is in it. Where it changes,
        the overlap of the two windows is the crossfade, one hop long.
        """
        noisy = state.noisy[:, 0]
        spec = state.masked[:, -1 - self._config.df_lookahead].copy()
        frames = state.masked[:, -self._config.df_order :, : self._config.nb_df]
        spec[:, : self._config.nb_df] = (frames * state.coefs[:, 0]).sum(axis=1)
        spec += (noisy - spec) * noisy_share[:, None]
        sound = np.fft.irfft(spec, norm="forward").astype(np.float32, copy=False) * self._window
        hop = sound[:, : self._config.hop_size] + state.overlap
        state.overlap = sound[:, self._config.hop_size :]
        return hop


def vorbis_window(fft_size: int) -> Real:
    """Get the power-complementary window sin(pi/2 sin^2(pi n / N)), for analysis and synthesis."""
    sine = np.sin(np.pi * (np.arange(fft_size) + 0.5) / fft_size)
    window: Real = np.sin(np.pi / 2 * np.square(sine)).astype(np.float32)
    return window


def erb_widths(config: Config) -> NDArray[np.int64]:
    """Get how many frequency bins each ERB band has; they sum up to `nb_freqs`.

    Bands are equally wide on the ERB scale (Glasberg and Moore 1990), but at least
    `min_nb_erb_freqs` bins; what a narrow one takes too much, the next ones have less.
    """
    scale = 24.7 * 9.265
    highest = 9.265 * np.log1p(config.sr / 2 / scale)
    edges_hz = scale * np.expm1(np.linspace(0, highest, config.nb_erb + 1) / 9.265)
    edges = np.rint(edges_hz * config.fft_size / config.sr).astype(np.int64)
    widths = np.empty(config.nb_erb, np.int64)
    borrowed = 0
    for band, width in enumerate(np.diff(edges)):
        widths[band] = max(width - borrowed, config.min_nb_erb_freqs)
        borrowed = widths[band] - (width - borrowed)
    widths[-1] += config.nb_freqs - widths.sum()
    return widths


def _push(ring: Complex, frame: Complex | int) -> None:
    """Drop the oldest of [B, T, ...] and put the newest at the end."""
    ring[:, :-1] = ring[:, 1:]
    ring[:, -1] = frame
