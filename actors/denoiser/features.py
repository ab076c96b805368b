"""Signal processing around the network: its features, and what its answers do to the sound.

Everything works on a batch of n streams, T hops each; their states are rows of a slab of N. The
numbers follow libDF, the library that the official models were trained with:
<https://github.com/Rikorose/DeepFilterNet/tree/main/libDF>.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.config import Config

Real = NDArray[np.float32]
Complex = NDArray[np.complex64]
Slots = NDArray[np.intp]

_MEAN_NORM_INIT_DB = (-60.0, -90.0)
_UNIT_NORM_INIT = (0.001, 0.0001)
UNIT_NORM_FLOOR = np.float32(1e-30)
"""After 80 s of digital silence the running norm would be denormal: slow, then 0/0."""
MIN_POWER = np.float32(1e-10)
ERB_SCALE_DB = np.float32(40)
POST_FILTER_BETA = 0.02
"""The official program's; no checkpoint has another."""
LITTLE = np.float32(1e-12)
"""Added to a magnitude that something is divided by."""
LOUD = np.float32(10 ** (-25 / 20))
"""RMS of the loudest hops to which quiet sound is amplified: to more, and some clips lose more than
0.05 PESQ (`python -m bench.level`)."""
MOST_GAIN = np.float32(100)
GAIN_AS_IS = np.float32(10)
"""A stream that begins with less needs no lower unit norm."""
FAINTEST = np.float32(1e-6)
"""RMS below which a stream has not begun: no microphone is as silent."""
_PEAK_FALLS_DB_S = 3.0


@dataclass
class SlabState:
    """State of N streams: every field is an array [N, ...], a slot is a row of each."""

    def put(self, slot: int, state: Self) -> None:
        """Give a slot the first row of another state."""
        for field in fields(self):
            getattr(self, field.name)[slot] = getattr(state, field.name)[0]

    def move(self, source: int, target: int) -> None:
        """Copy one slot over another."""
        for field in fields(self):
            array = getattr(self, field.name)
            array[target] = array[source]


@dataclass
class AnalysisState(SlabState):
    """What the next hop's features depend on."""

    last_hop: Real  # [N, hop]
    mean_norm: Real  # [N, nb_erb], dB
    unit_norm: Real  # [N, nb_df]
    peak: Real  # [N], RMS of the loudest recent hop, 0 before sound; for a normalised level


@dataclass
class FilterState(SlabState):
    """What the next hop of sound depends on. Frame t is at index t modulo T of each ring."""

    frames: NDArray[np.int64]  # [N], how many came so far
    noisy: Complex  # [N, T, F], as they came
    gains: Real  # [N, T, nb_erb]
    low: Complex  # [N, T, nb_df], lowest bins as the deep filter reads them
    coefs: Complex  # [N, answer_waits + 1, df_order, nb_df]
    overlap: Real  # [N, hop], second half of the last window


@dataclass(frozen=True)
class Features:
    """What the network hears of T hops of n streams."""

    erb: Real  # [n, 1, T, nb_erb]
    spec: Real  # [n, 2, T, nb_df], real and imaginary part


@dataclass(frozen=True)
class Frames:
    """The newest spectra of n streams, and the network's answers of now."""

    spec: Complex  # [n, T, F]
    gains: Real  # [n, T, nb_erb], for the frames conv_lookahead hops ago; 0 outside a clip
    coefs: Real  # [n, T, nb_df, df_order, 2], for the same frames
    noisy_share: Real  # [n], 0..1, how much of the noisy spectrum is mixed in
    post_filtered: Slots  # which of the n have the post-filter


class Analysis:
    """STFT and features: for each hop one spectrum and its normalised features.

    With `normalise_level` the network hears quiet sound louder than it is. Without it, as in the
    official program, the unit norm removes only half of a level in dB: quiet speech has small
    features, and the model loses 4 to 7 dB of SI-SDR on sound that is 20 dB quieter.
    """

    def __init__(self, config: Config, *, normalise_level: bool = False) -> None:
        self._config = config
        self._normalise_level = normalise_level
        self._peak_keep = peak_keep(config)
        self._window = vorbis_window(config.fft_size)
        widths = erb_widths(config)
        self._starts = np.cumsum(widths) - widths
        self._widths = widths.astype(np.float32)
        self._keep, self._take = norm_factors(config)

    def initial_state(self, batch: int) -> AnalysisState:
        """Make the state of streams that have heard nothing yet."""
        config = self._config
        mean_norm = np.linspace(*_MEAN_NORM_INIT_DB, config.nb_erb, dtype=np.float32)
        unit_norm = np.linspace(*_UNIT_NORM_INIT, config.nb_df, dtype=np.float32)
        return AnalysisState(
            last_hop=np.zeros((batch, config.hop_size), np.float32),
            mean_norm=np.tile(mean_norm, (batch, 1)),
            unit_norm=np.tile(unit_norm, (batch, 1)),
            peak=np.zeros(batch, np.float32),
        )

    def silence(self, batch: int, hops: int) -> tuple[Complex, Features]:
        """Get the zeros that the official program pads a clip with at its end."""
        config = self._config
        return np.zeros((batch, hops, config.nb_freqs), np.complex64), Features(
            np.zeros((batch, 1, hops, config.nb_erb), np.float32),
            np.zeros((batch, 2, hops, config.nb_df), np.float32),
        )

    def __call__(self, hops: Real, state: AnalysisState, slots: Slots) -> tuple[Complex, Features]:
        """Transform the windows that end with these hops [n, T, hop] to spectra [n, T, F]."""
        halves = np.concatenate((state.last_hop[slots, None], hops), axis=1)
        windows = np.concatenate((halves[:, :-1], halves[:, 1:]), axis=2)
        state.last_hop[slots] = hops[:, -1]
        # libDF scales by 2 * hop / fft_size**2, which is 1 / fft_size at 50 % overlap.
        spec = np.fft.rfft(windows * self._window, norm="forward").astype(np.complex64, copy=False)
        if self._normalise_level:
            gain, lower = self._gain(hops, state, slots)
            low = self._unit_spec(spec, state, slots, lower) * np.sqrt(gain)[..., None]
        else:
            low = self._unit_spec(spec, state, slots, np.ones(hops.shape[:2], np.float32))
        features = np.stack((low.real, low.imag), axis=1)
        return spec, Features(self._erb(spec, state, slots), features)

    def _gain(self, hops: Real, state: AnalysisState, slots: Slots) -> tuple[Real, Real]:
        """Get the gains [n, T] that quiet sound needs to be heard well, 1 where it is loud.

        Beside them what the unit norm is to be multiplied by: less than 1 in the first hop of a
        quiet stream, since the norm begins where a loud one's is, and takes seconds to fall.
        """
        peaks = np.sqrt(np.mean(np.square(hops), axis=2))
        begins = np.zeros(peaks.shape, np.bool_)
        peak = state.peak[slots]
        for t in range(peaks.shape[1]):
            waits = peak == 0
            begins[:, t] = waits & (peaks[:, t] >= FAINTEST)
            peak = np.maximum(np.maximum(peaks[:, t], peak * self._peak_keep), UNIT_NORM_FLOOR)
            peaks[:, t] = peak
            peak[waits & ~begins[:, t]] = 0
        state.peak[slots] = peak
        gain: Real = np.clip(LOUD / peaks, np.float32(1), MOST_GAIN)
        lower = np.ones(gain.shape, np.float32)
        if self._config.lowers_norm:
            lower[begins] /= np.maximum(gain[begins] / GAIN_AS_IS, np.float32(1))
        return gain, lower

    def _erb(self, spec: Complex, state: AnalysisState, slots: Slots) -> Real:
        """Get the bands' mean powers in dB, relative to their running means."""
        squares = np.square(spec.view(np.float32))  # real and imaginary parts in turns
        bands = np.add.reduceat(squares, 2 * self._starts, axis=2) / self._widths
        levels = np.float32(10) * np.log10(bands + MIN_POWER)
        means: Real = levels * self._take
        mean = state.mean_norm[slots]
        for t in range(means.shape[1]):
            means[:, t] += mean * self._keep
            mean = means[:, t]
        state.mean_norm[slots] = mean
        erb: Real = np.divide(levels - means, ERB_SCALE_DB)
        return erb[:, None]

    def _unit_spec(self, spec: Complex, state: AnalysisState, slots: Slots, lower: Real) -> Complex:
        """Divide the lowest bins [n, T, nb_df] by the root of their running magnitude.

        That is first multiplied by `lower` [n, T].
        """
        low = spec[..., : self._config.nb_df]
        norms = np.abs(low) * self._take
        norm = state.unit_norm[slots]
        for t in range(norms.shape[1]):
            norm = norm * lower[:, t, None]
            norm = np.maximum(norms[:, t] + norm * self._keep, UNIT_NORM_FLOOR)
            norms[:, t] = norm
        state.unit_norm[slots] = norm
        unit: Complex = low / np.sqrt(norms)
        return unit


class Filter:
    """Applies gains and deep filter, and turns spectra back into sound."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._window = vorbis_window(config.fft_size)
        self._band_of_bin = np.repeat(np.arange(config.nb_erb), erb_widths(config))
        self._ring = kept_frames(config)
        self._around = np.arange(1 - config.df_order, 1)  # the frames of the deep filter

    def initial_state(self, batch: int) -> FilterState:
        """Make the state of streams that have heard nothing yet."""
        config = self._config
        ring = (batch, self._ring)
        return FilterState(
            frames=np.zeros(batch, np.int64),
            noisy=np.zeros((*ring, config.nb_freqs), np.complex64),
            gains=np.zeros((*ring, config.nb_erb), np.float32),
            low=np.zeros((*ring, config.nb_df), np.complex64),
            coefs=np.zeros(
                (batch, config.answer_waits + 1, config.df_order, config.nb_df), np.complex64
            ),
            overlap=np.zeros((batch, config.hop_size), np.float32),
        )

    def __call__(self, frames: Frames, state: FilterState, slots: Slots) -> Real:
        """Add T frames of n streams and turn the oldest into sound [n, T, hop].

        When `noisy_share` changes, the overlap of two windows is a crossfade of one hop.
        """
        hop = self._config.hop_size
        spec = np.empty_like(frames.spec)
        for t in range(spec.shape[1]):
            spec[:, t] = self._push(frames, t, state, slots)
        windows = np.fft.irfft(spec, norm="forward").astype(np.float32, copy=False) * self._window
        sound: Real = windows[..., :hop]
        sound[:, 0] += state.overlap[slots]
        sound[:, 1:] += windows[:, :-1, hop:]
        state.overlap[slots] = windows[:, -1, hop:]
        return sound

    def _push(self, frames: Frames, t: int, state: FilterState, slots: Slots) -> Complex:
        """Add frame t of these and get the oldest frame's filtered spectrum [n, F]."""
        config = self._config
        frame = state.frames[slots]
        state.frames[slots] = frame + 1
        self._remember(frames, t, state, slots, frame)
        noisy = state.noisy[slots, (frame - config.frames_ahead) % self._ring]
        gains = state.gains[slots, (frame - config.answer_waits) % self._ring]
        spec: Complex = noisy * gains[:, self._band_of_bin]
        around = state.low[slots[:, None], (frame[:, None] + self._around) % self._ring]
        coefs = state.coefs[slots, (frame + 1) % state.coefs.shape[1]]  # the oldest ones
        spec[:, : config.nb_df] = (around * coefs).sum(axis=1)
        if not config.filters_masked and frames.post_filtered.size:
            rows = frames.post_filtered
            left = np.abs(spec[rows]) / (np.abs(noisy[rows]) + LITTLE)
            spec[rows] *= post_filter(np.minimum(left, np.float32(1)))
        if frames.noisy_share.any():
            spec += (noisy - spec) * frames.noisy_share[:, None]
        return spec

    def _remember(
        self, frames: Frames, t: int, state: FilterState, slots: Slots, frame: Slots
    ) -> None:
        """Put a frame, and the network's answer for an older one, into the rings."""
        config, newest, gains = self._config, frame % self._ring, frames.gains[:, t]
        if config.filters_masked and frames.post_filtered.size:
            rows, gains = frames.post_filtered, gains.copy()
            gains[rows] *= post_filter(gains[rows])
        low = config.nb_df
        state.noisy[slots, newest] = frames.spec[:, t]
        state.gains[slots, newest] = gains
        read = state.noisy[slots, (frame - config.newest_read) % self._ring, :low]
        if config.filters_masked:
            read = read * gains[:, self._band_of_bin[:low]]
        state.low[slots, newest] = read
        coefs = frames.coefs[:, t].view(np.complex64)[..., 0].swapaxes(1, 2)
        state.coefs[slots, frame % state.coefs.shape[1]] = coefs


def post_filter(gains: Real) -> Real:
    """Get the factors by which the post-filter changes gains (0..1): it lowers small ones further.

    DeepFilterNet's form of Valin et al., "A Perceptually-Motivated Approach for Low-Complexity,
    Real-Time Enhancement of Fullband Speech", Interspeech 2020: (1 + beta) / (1 + beta (g / g')^2)
    for a gain g, with g' = g sin(pi g / 2).
    """
    squares = np.square(np.sin(np.float32(np.pi / 2) * gains))
    factors: Real = (1 + POST_FILTER_BETA) * squares / (squares + POST_FILTER_BETA)
    return factors


def kept_frames(config: Config) -> int:
    """Get how many frames of a stream are kept: after two hops, still what the first one read."""
    return max(config.latency_hops + 1, config.df_order)


def norm_factors(config: Config) -> tuple[np.float32, np.float32]:
    """Get the shares of the old and the new value in a running norm."""
    keep = np.float32(config.norm_alpha)
    return keep, np.float32(1) - keep


def peak_keep(config: Config) -> np.float32:
    """Get the factor by which the remembered peak falls per hop."""
    return np.float32(10 ** (-_PEAK_FALLS_DB_S * config.hop_size / config.sr / 20))


def vorbis_window(fft_size: int) -> Real:
    """Get the power-complementary window sin(pi/2 sin^2(pi n / N)), for analysis and synthesis."""
    sine = np.sin(np.pi * (np.arange(fft_size) + 0.5) / fft_size)
    window: Real = np.sin(np.pi / 2 * np.square(sine)).astype(np.float32)
    return window


def erb_widths(config: Config) -> NDArray[np.int64]:
    """Get how many frequency bins each ERB band has; they sum up to `nb_freqs`.

    Bands are equally wide on the ERB scale (Glasberg and Moore 1990), but have at least
    `min_nb_erb_freqs` bins; a band that is widened takes its bins from the next ones.
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
