"""The signal processing around the network as machine code, but for the Fourier transforms.

What it computes is in `actors/denoiser/features.py`, line by line; the states are the same.
"""

import ctypes
from functools import cache

import numpy as np

from actors.denoiser.config import Config
from actors.denoiser.features import (
    ERB_SCALE_DB,
    FAINTEST,
    GAIN_AS_IS,
    LITTLE,
    LOUD,
    MIN_POWER,
    MOST_GAIN,
    UNIT_NORM_FLOOR,
    Analysis,
    AnalysisState,
    Complex,
    Features,
    Filter,
    FilterState,
    Frames,
    Real,
    Slots,
    erb_widths,
    kept_frames,
    norm_factors,
    peak_keep,
    post_filter,
    vorbis_window,
)
from actors.denoiser.kernels import each, on_a_line
from actors.denoiser.machine_code import (
    INT,
    POINTER,
    VECTOR,
    Code,
    Compiled,
    Module,
    Value,
    Written,
)


class CompiledAnalysis(Analysis):
    """`Analysis` whose loops are machine code."""

    def __init__(self, config: Config, *, normalise_level: bool = False) -> None:
        super().__init__(config, normalise_level=normalise_level)
        self._code = _code(config)

    def __call__(self, hops: Real, state: AnalysisState, slots: Slots) -> tuple[Complex, Features]:
        config, (n, count, _) = self._config, hops.shape
        hops = np.ascontiguousarray(hops)
        windows = np.empty((n, count, config.fft_size), np.float32)
        scale = np.empty((n, count, 2), np.float32)  # of the features, and of the unit norm
        write_windows = self._code.windows[self._normalise_level]
        write_windows(n, count, *_at(slots, hops, state.last_hop, state.peak, windows, scale))
        spec = np.fft.rfft(windows, norm="forward").astype(np.complex64, copy=False)
        erb = np.empty((n, 1, count, config.nb_erb), np.float32)
        low = np.empty((n, 2, count, config.nb_df), np.float32)
        self._code.features(
            n, count, *_at(slots, spec, scale, state.mean_norm, state.unit_norm, erb, low)
        )
        return spec, Features(erb, low)


class CompiledFilter(Filter):
    """`Filter` whose loops are machine code. Its coefs are [nb_df, df_order] in the ring."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._code = _code(config)

    def __call__(self, frames: Frames, state: FilterState, slots: Slots) -> Real:
        n, count, _ = frames.spec.shape
        gains, share, rows = frames.gains, frames.noisy_share, frames.post_filtered
        if rows.size:
            gains, share = gains.copy(), share.copy()
            if self._config.filters_masked:
                gains[rows] *= post_filter(gains[rows])
            else:  # only then is noisy sound mixed in
                share[rows] = 0
        new = (frames.spec, gains, frames.coefs, share)
        rings = (state.frames, state.noisy, state.gains, state.low, state.coefs)
        spec = np.empty(frames.spec.shape, np.complex64)
        made = [np.ascontiguousarray(each) for each in new]
        self._code.filter(n, count, *_at(slots, *made, *rings, spec))
        if rows.size and not self._config.filters_masked:
            spec[rows] = self._post_filtered(spec[rows], frames, state, slots)
        windows = np.fft.irfft(spec, norm="forward").astype(np.float32, copy=False)
        sound = np.empty((n, count, self._config.hop_size), np.float32)
        self._code.overlap(n, count, *_at(slots, windows, state.overlap, sound))
        return sound

    def _post_filtered(
        self, spec: Complex, frames: Frames, state: FilterState, slots: Slots
    ) -> Complex:
        """Apply the post-filter to the rows that have it, and mix in their noisy sound."""
        rows, count = frames.post_filtered, spec.shape[1]
        newest = state.frames[slots[rows]][:, None] - np.arange(count, 0, -1)
        ring = state.noisy.shape[1]
        assert count + self._config.frames_ahead <= ring
        at = slots[rows][:, None], (newest - self._config.frames_ahead) % ring
        noisy = state.noisy[at]
        left = np.abs(spec) / (np.abs(noisy) + LITTLE)
        spec = spec * post_filter(np.minimum(left, np.float32(1)))
        mixed: Complex = spec + (noisy - spec) * frames.noisy_share[rows, None, None]
        return mixed


def _at(*arrays: np.ndarray) -> list[int]:  # type: ignore[type-arg]
    return [array.ctypes.data for array in arrays]


@cache
def _code(config: Config) -> "_Signal":
    return _Signal(config)


class _Signal:
    """The code; each function takes n, the number of hops and arrays."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._module = Module("signal")
        self._window = on_a_line(vorbis_window(config.fft_size))
        widths = erb_widths(config).astype(np.int64)
        self._bands = np.stack((np.cumsum(widths) - widths, widths))  # starts, widths
        self._low_bands = np.clip(config.nb_df - self._bands[0], 0, self._bands[1])
        functions = {
            self._write_windows(normalise_level=False): 6,
            self._write_windows(normalise_level=True): 6,
            self._write_features(): 7,
            self._write_filter(): 11,
            self._write_overlap(): 4,
        }
        self._compiled = Compiled(self._module)
        plain, loud, self.features, self.filter, self.overlap = (
            self._compiled.function(
                function.name, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * arrays
            )
            for function, arrays in functions.items()
        )
        self.windows = {False: plain, True: loud}
        """By whether the level is normalised."""

    def _begin(self, name: str, arrays: int) -> Code:
        return Code(self._module, name, [INT, INT, *[POINTER] * arrays])

    def _write_windows(self, *, normalise_level: bool) -> Written:
        hop = self._config.hop_size
        code = self._begin(f"windows{normalise_level:d}", 6)
        streams, count, slots, hops, last_hop, peak, windows, scale = code.arguments
        rising = code.address(self._window.ctypes.data)
        falling = code.at(rising, hop)

        def half(sound: Value, window: Value, out: Value) -> None:
            def write(index: Value, kind: object) -> None:
                x, w = (code.load(code.at(each, index), kind) for each in (sound, window))
                code.store(code.times(x, w), code.at(out, index))

            each(code, hop, write)

        with code.loop(streams) as stream:
            slot = code.load_nth(slots, stream, INT)
            first = code.mul(stream, count)
            last = code.at(last_hop, code.mul(slot, hop))
            half(last, rising, code.at(windows, code.mul(first, 2 * hop)))
            with code.loop(count) as t:
                at = code.add(first, t)
                here = code.at(hops, code.mul(at, hop))
                half(here, falling, code.at(windows, code.mul(at, 2 * hop), hop))
                with code.loop(code.sub(count, 1), t) as _:
                    half(here, rising, code.at(windows, code.mul(at, 2 * hop), 2 * hop))
                out = code.at(scale, code.mul(at, 2))
                if normalise_level:
                    self._write_gain(code, here, code.at(peak, slot), out)
                else:
                    code.store(code.number(1), out)
                    code.store(code.number(1), code.at(out, 1))
            newest = code.at(hops, code.mul(code.sub(code.add(first, count), 1), hop))
            each(
                code,
                hop,
                lambda index, kind: code.store(
                    code.load(code.at(newest, index), kind), code.at(last, index)
                ),
            )
        return code.end()

    def _write_gain(self, code: Code, hop: Value, peak: Value, out: Value) -> None:
        """Get the root of the gain that quiet sound needs, and what the unit norm does."""
        size, keep = self._config.hop_size, peak_keep(self._config)
        zero, one = code.number(0), code.number(1)
        floor = code.number(float(UNIT_NORM_FLOOR))
        rms = code.sqrt(code.over(_squares(code, hop, size), code.number(size)))
        before = code.load(peak)
        waits, faint = code.less(before, floor), code.less(rms, code.number(float(FAINTEST)))
        loudest = code.at_least(rms, code.times(before, code.number(float(keep))))
        loudest = code.at_least(loudest, floor)
        code.store(code.where(waits, code.where(faint, zero, loudest), loudest), peak)
        gain = code.over(code.number(float(LOUD)), loudest)
        gain = code.at_most(code.at_least(gain, one), code.number(float(MOST_GAIN)))
        code.store(code.sqrt(gain), out)
        lower = one
        if self._config.lowers_norm:
            most = code.at_least(code.over(gain, code.number(float(GAIN_AS_IS))), one)
            begun = code.where(faint, one, code.over(one, most))
            lower = code.where(waits, begun, one)
        code.store(lower, code.at(out, 1))

    def _write_features(self) -> Written:
        config = self._config
        nb_erb, nb_df = config.nb_erb, config.nb_df
        keep, take = (float(each) for each in norm_factors(config))
        code = self._begin("features", 7)
        streams, count, slots, spec, scale, mean_norm, unit_norm, erb, low = code.arguments
        bands = code.address(self._bands.ctypes.data)
        with code.loop(streams) as stream:
            slot = code.load_nth(slots, stream, INT)
            means = code.at(mean_norm, code.mul(slot, nb_erb))
            norms = code.at(unit_norm, code.mul(slot, nb_df))
            with code.loop(count) as t:
                at = code.add(code.mul(stream, count), t)
                frame = code.at(spec, code.mul(at, 2 * config.nb_freqs))
                with code.loop(nb_erb) as band:
                    start = code.load_nth(bands, band, INT)
                    width = code.load_nth(bands, code.add(band, nb_erb), INT)
                    bins = code.at(frame, code.mul(start, 2))
                    power = _squares(code, bins, code.mul(width, 2))
                    power = code.plus(
                        code.over(power, code.float(width)), code.number(float(MIN_POWER))
                    )
                    level = code.times(code.log10(power), code.number(10))
                    before = code.load(code.at(means, band))
                    mean = code.plus(
                        code.times(level, code.number(take)),
                        code.times(before, code.number(keep)),
                    )
                    code.store(mean, code.at(means, band))
                    code.store(
                        code.over(code.minus(level, mean), code.number(float(ERB_SCALE_DB))),
                        code.at(erb, code.mul(at, nb_erb), band),
                    )
                loud = code.load(code.at(scale, code.mul(at, 2)))
                lower = code.load(code.at(scale, code.mul(at, 2), 1))
                row = code.add(code.mul(code.mul(stream, count), 2), t)
                real = code.at(low, code.mul(row, nb_df))
                imag = code.at(real, code.mul(count, nb_df))
                with code.loop(nb_df) as index:
                    re = code.load(code.at(frame, code.mul(index, 2)))
                    im = code.load(code.at(frame, code.mul(index, 2), 1))
                    size = code.sqrt(code.fma(re, re, code.times(im, im)))
                    before = code.times(code.load(code.at(norms, index)), lower)
                    norm = code.plus(
                        code.times(size, code.number(take)),
                        code.times(before, code.number(keep)),
                    )
                    norm = code.at_least(norm, code.number(float(UNIT_NORM_FLOOR)))
                    code.store(norm, code.at(norms, index))
                    factor = code.over(loud, code.sqrt(norm))
                    code.store(code.times(re, factor), code.at(real, index))
                    code.store(code.times(im, factor), code.at(imag, index))
        return code.end()

    def _write_filter(self) -> Written:
        config = self._config
        ring, order, nb_df = kept_frames(config), config.df_order, config.nb_df
        full, low_size, waits = 2 * config.nb_freqs, 2 * config.nb_df, config.answer_waits + 1
        coefs_size = low_size * order
        code = self._begin("filter", 11)
        (streams, count, slots, spec, gains, coefs, shares, frames, noisy_ring, gains_ring,
         low_ring, coefs_ring, out) = code.arguments  # fmt: skip
        bands = code.address(self._bands.ctypes.data)
        low_bands = code.address(self._low_bands.ctypes.data)

        def copy(source: Value, target: Value, size: int) -> None:
            each(
                code,
                size,
                lambda index, kind: code.store(
                    code.load(code.at(source, index), kind), code.at(target, index)
                ),
            )

        def masked(source: Value, gain_of: Value, widths: Value, target: Value) -> None:
            with code.loop(config.nb_erb) as band:
                start = code.mul(code.load_nth(bands, band, INT), 2)
                width = code.mul(code.load_nth(widths, band, INT), 2)
                gain = code.load(code.at(gain_of, band))
                _scaled(code, code.at(source, start), gain, code.at(target, start), width)

        with code.loop(streams) as stream:
            slot = code.load_nth(slots, stream, INT)
            share = code.load(code.at(shares, stream))

            def of(
                memory: Value, frame: Value, size: int, length: int, slot: Value = slot
            ) -> Value:
                index = code.divide(frame, length)[1]
                return code.at(memory, code.mul(slot, length * size), code.mul(index, size))

            with code.loop(count) as t:
                at = code.add(code.mul(stream, count), t)
                frame = code.load_nth(frames, slot, INT)
                code.store_nth(code.add(frame, 1), frames, slot)
                past = code.add(frame, ring)  # the same place in the rings, never negative
                gain = code.at(gains, code.mul(at, config.nb_erb))
                copy(code.at(spec, code.mul(at, full)), of(noisy_ring, past, full, ring), full)
                copy(gain, of(gains_ring, past, config.nb_erb, ring), config.nb_erb)
                copy(
                    code.at(coefs, code.mul(at, coefs_size)),
                    of(coefs_ring, frame, coefs_size, waits),
                    coefs_size,
                )
                read = of(noisy_ring, code.sub(past, config.newest_read), full, ring)
                low = of(low_ring, past, low_size, ring)
                if config.filters_masked:
                    masked(read, gain, low_bands, low)
                else:
                    copy(read, low, low_size)
                noisy = of(noisy_ring, code.sub(past, config.frames_ahead), full, ring)
                made = code.at(out, code.mul(at, full))
                then = of(gains_ring, code.sub(past, config.answer_waits), config.nb_erb, ring)
                masked(noisy, then, code.at(bands, 2 * config.nb_erb), made)  # int64 is two floats
                around = [
                    of(low_ring, code.sub(past, order - 1 - n), low_size, ring)
                    for n in range(order)
                ]
                oldest = of(coefs_ring, code.add(frame, 1), coefs_size, waits)
                with code.loop(nb_df) as index:
                    re, im = code.number(0), code.number(0)
                    for n, low_frame in enumerate(around):
                        near = code.at(low_frame, code.mul(index, 2))
                        factor = code.at(oldest, code.mul(index, 2 * order), 2 * n)
                        a, b = code.load(near), code.load(code.at(near, 1))
                        c, d = code.load(factor), code.load(code.at(factor, 1))
                        re = code.fma(a, c, code.minus(re, code.times(b, d)))
                        im = code.fma(a, d, code.fma(b, c, im))
                    code.store(re, code.at(made, code.mul(index, 2)))
                    code.store(im, code.at(made, code.mul(index, 2), 1))
                _mixed(code, noisy, share, made, full)
        return code.end()

    def _write_overlap(self) -> Written:
        hop = self._config.hop_size
        code = self._begin("overlap", 4)
        streams, count, slots, windows, overlap, sound = code.arguments
        rising = code.address(self._window.ctypes.data)
        falling = code.at(rising, hop)
        with code.loop(streams) as stream:
            rest = code.at(overlap, code.mul(code.load_nth(slots, stream, INT), hop))
            with code.loop(count) as t:
                at = code.add(code.mul(stream, count), t)
                made = code.at(windows, code.mul(at, 2 * hop))
                out = code.at(sound, code.mul(at, hop))

                def write(index: Value, kind: object, made: Value = made, out: Value = out) -> None:
                    def load(pointer: Value, offset: int = 0) -> Value:
                        return code.load(code.at(pointer, offset, index), kind)

                    new = code.times(load(made), load(rising))
                    code.store(code.plus(new, load(rest)), code.at(out, index))
                    second = code.times(load(made, hop), load(falling))
                    code.store(second, code.at(rest, index))

                each(code, hop, write)
        return code.end()


def _squares(code: Code, pointer: Value, count: Value | int) -> Value:
    """Sum up the squares of numbers."""
    many = code.variable(code.number(0, VECTOR))
    few = code.variable(code.number(0))

    def write(index: Value, kind: object) -> None:
        total = many if kind is VECTOR else few
        x = code.load(code.at(pointer, index), kind)
        code.store(code.fma(x, x, code.load(total, kind)), total)

    each(code, count, write)
    return code.plus(code.total(code.load(many, VECTOR)), code.load(few))


def _scaled(code: Code, source: Value, factor: Value, target: Value, count: Value) -> None:
    wide = code.spread(factor)

    def write(index: Value, kind: object) -> None:
        x = code.load(code.at(source, index), kind)
        code.store(code.times(x, wide if kind is VECTOR else factor), code.at(target, index))

    each(code, count, write)


def _mixed(code: Code, noisy: Value, share: Value, target: Value, count: int) -> None:
    """Mix a share of the noisy spectrum in."""
    wide = code.spread(share)

    def write(index: Value, kind: object) -> None:
        there = code.at(target, index)
        x = code.load(there, kind)
        more = code.minus(code.load(code.at(noisy, index), kind), x)
        code.store(code.fma(more, wide if kind is VECTOR else share, x), there)

    each(code, count, write)
