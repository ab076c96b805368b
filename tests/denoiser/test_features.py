"""Features equal those of libDF, the library the model was trained with."""

import numpy as np

from actors.denoiser import load_model
from actors.denoiser.features import Analysis, Filter, Frame, Real, erb_widths, vorbis_window
from tests.denoiser.clips import noisy_clip, worst
from tests.denoiser.official import official_model

CONFIG = load_model().config


def test_bands_and_window_are_libdfs() -> None:
    """The ERB bands and the window are libDF's, to the bit."""
    libdf = official_model().libdf
    assert erb_widths(CONFIG).tolist() == libdf.erb_widths().tolist()
    assert worst(vorbis_window(CONFIG.fft_size), libdf.fft_window()) == 0


def test_features_are_libdfs() -> None:
    """Spectrum, ERB and normalised bins of each hop are libDF's to rounding, with its norms."""
    sound = noisy_clip("voice", 1.0)
    hops = sound[: len(sound) // 480 * 480].reshape(-1, 1, 480)
    analysis = Analysis(CONFIG)
    state = analysis.initial_state(1)
    ours = [analysis(hop, state, np.array([0])) for hop in hops]
    spec = official_model().libdf.analysis(sound[None])
    erb, low = official_model().features(spec)
    for t, (our_spec, features) in enumerate(ours):
        np.testing.assert_allclose(our_spec[0], spec[0, t], atol=1e-8)
        np.testing.assert_allclose(features.erb[0, 0, 0], erb[0, t], atol=1e-5)
        np.testing.assert_allclose(features.spec[0, 0, 0], low[0, t].real, atol=1e-5)
        np.testing.assert_allclose(features.spec[0, 1, 0], low[0, t].imag, atol=1e-5)


def test_a_batch_is_its_streams() -> None:
    """Analysis and filter give a stream the same numbers alone and in a batch of two."""
    dice = np.random.default_rng(1)
    hops = dice.normal(0, 0.1, (12, 2, 480)).astype(np.float32)
    gains = dice.uniform(0, 1, (12, 2, CONFIG.nb_erb)).astype(np.float32)
    coefs = dice.normal(0, 1, (12, 2, CONFIG.nb_df, CONFIG.df_order, 2)).astype(np.float32)
    share = np.array([0, 0.3], np.float32)
    both = _sound(hops, gains, coefs, share)
    for n in range(2):
        one = slice(n, n + 1)
        alone = _sound(hops[:, one], gains[:, one], coefs[:, one], share[one])
        assert worst(both[:, one], alone) <= 1e-6


def _sound(hops: Real, gains: Real, coefs: Real, share: Real) -> Real:
    """Run hops [T, B, 480] through analysis and filter with made-up answers of the network."""
    analysis, deep_filter = Analysis(CONFIG), Filter(CONFIG)
    heard, filtered = analysis.initial_state(len(share)), deep_filter.initial_state(len(share))
    outputs = []
    slots = np.arange(len(share))
    for hop, gain, coef in zip(hops, gains, coefs, strict=True):
        spec, _ = analysis(hop, heard, slots)
        outputs.append(deep_filter(Frame(spec, gain, coef, share), filtered, slots))
    return np.stack(outputs)
