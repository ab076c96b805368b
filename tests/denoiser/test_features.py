"""Features equal those of libDF, the library the model was trained with."""

import numpy as np
import pytest

from actors.denoiser import load_model
from actors.denoiser.features import Analysis, Filter, Frames, Real, erb_widths, vorbis_window
from tests.denoiser.clips import noisy_clip, worst
from tests.denoiser.official import official_model

CONFIG = load_model().config


def test_bands_and_window_are_libdfs() -> None:
    """The ERB bands and the window are libDF's, to the bit."""
    libdf = official_model().libdf
    assert erb_widths(CONFIG).tolist() == libdf.erb_widths().tolist()
    assert worst(vorbis_window(CONFIG.fft_size), libdf.fft_window()) == 0


@pytest.mark.parametrize("at_a_time", [1, 2, 5])
def test_features_are_libdfs(at_a_time: int) -> None:
    """Spectrum, ERB and normalised bins of each hop are libDF's to rounding, with its norms."""
    sound = noisy_clip("voice", 1.0)
    hops = sound[: len(sound) // 4800 * 4800].reshape(-1, 1, at_a_time, 480)
    analysis = Analysis(CONFIG)
    state = analysis.initial_state(1)
    ours = [analysis(some, state, np.array([0])) for some in hops]
    ours_spec = np.concatenate([spec for spec, _ in ours], axis=1)
    ours_erb = np.concatenate([features.erb for _, features in ours], axis=2)
    ours_low = np.concatenate([features.spec for _, features in ours], axis=2)
    spec = official_model().libdf.analysis(sound[None])
    erb, low = official_model().features(spec)
    np.testing.assert_allclose(ours_spec, spec[:, : ours_spec.shape[1]], atol=1e-8)
    np.testing.assert_allclose(ours_erb[0, 0], erb[0, : ours_erb.shape[2]], atol=1e-5)
    expected = low[0, : ours_low.shape[2]]
    np.testing.assert_allclose(ours_low[0, 0], expected.real, atol=1e-5)
    np.testing.assert_allclose(ours_low[0, 1], expected.imag, atol=1e-5)


@pytest.mark.parametrize("normalise_level", [False, True])
def test_a_batch_is_its_streams_and_hops(normalise_level: bool) -> None:
    """Analysis and filter give the same numbers for two streams or one, three hops or one."""
    dice = np.random.default_rng(1)
    hops = dice.normal(0, 0.1, (2, 12, 480)).astype(np.float32)
    gains = dice.uniform(0, 1, (2, 12, CONFIG.nb_erb)).astype(np.float32)
    coefs = dice.normal(0, 1, (2, 12, CONFIG.nb_df, CONFIG.df_order, 2)).astype(np.float32)
    share = np.array([0, 0.3], np.float32)

    def sound(streams: slice, at_a_time: int) -> Real:
        some = hops[streams], gains[streams], coefs[streams], share[streams]
        return _sound(*some, at_a_time=at_a_time, normalise_level=normalise_level)

    both = sound(slice(2), 1)
    assert worst(both, sound(slice(2), 3)) <= 1e-6
    for n in range(2):
        assert worst(both[n : n + 1], sound(slice(n, n + 1), 1)) <= 1e-6


def _sound(
    hops: Real, gains: Real, coefs: Real, share: Real, *, at_a_time: int, normalise_level: bool
) -> Real:
    """Run hops [B, T, 480] through analysis and filter with made-up network outputs.

    Returns the network's inputs and the resulting sound, side by side.
    """
    analysis, deep_filter = Analysis(CONFIG, normalise_level=normalise_level), Filter(CONFIG)
    heard, filtered = analysis.initial_state(len(share)), deep_filter.initial_state(len(share))
    heard_and_made = []
    slots = np.arange(len(share))
    for start in range(0, hops.shape[1], at_a_time):
        some = slice(start, start + at_a_time)
        spec, features = analysis(hops[:, some], heard, slots)
        post_filtered = np.flatnonzero(share == 0)
        answered = Frames(spec, gains[:, some], coefs[:, some], share, post_filtered)
        made = deep_filter(answered, filtered, slots)
        low = np.moveaxis(features.spec, 1, 2).reshape(*made.shape[:2], -1)
        heard_and_made.append(np.concatenate((features.erb[:, 0], low, made), axis=2))
    return np.concatenate(heard_and_made, axis=1)
