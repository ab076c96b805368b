"""Sound of any rate and length, in blocks of any length: nothing is moved or lost."""

import numpy as np
import pytest

from tests.denoiser.clips import noisy_clip, worst
from tests.local.denoising import stream


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 44100, 47999, 48000, 96000, 384000])
@pytest.mark.parametrize("length", [1, 2, 479, 12345])
def test_nothing_is_moved_or_lost(rate: int, length: int) -> None:
    """At any rate and length, with no attenuation, what comes out is the input, in its place."""
    # Low enough for every rate, and gone at both ends: what lies above a rate's half is lost.
    dice = np.random.default_rng(length)
    spectrum = np.fft.rfft(dice.standard_normal((length, 2)), axis=0)
    spectrum[np.fft.rfftfreq(length, 1 / rate) > 0.3 * min(rate, 48000)] = 0
    sound = np.fft.irfft(spectrum, length, axis=0) * 0.1 * np.hanning(length + 2)[1:-1, None]
    heard = stream(sound.astype(np.float32), rate, (1, 0, 100, 5000, 7))
    assert heard.shape == sound.shape
    if length == 12345:
        assert np.max(np.abs(heard - sound)) < 1e-4


def test_cutting_does_not_matter() -> None:
    """The blocks that a file is read in leave no trace, resampled or not."""
    sound = noisy_clip("voice", 0.5)[:, None]
    for rate in (44100, 48000):
        whole = stream(sound, rate, limit=None)
        assert worst(stream(sound, rate, (1, 0, 479, 3000, 5), limit=None), whole) <= 1e-6
