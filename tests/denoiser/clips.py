"""Clips for the denoiser's tests, and ways to feed them."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from actors.denoiser import Denoiser
from tests.sounds import SAMPLE_RATE, mix, noise, spoken_words

Sound = NDArray[np.float32]

CLIPS = ("voice", "words")

_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
"""Formants in Hz of a, i, u, e (Peterson and Barney 1952)."""
_FORMANT_GAINS = (1.0, 0.6, 0.35)
_FORMANT_WIDTHS_HZ = (60, 90, 150)


def noisy_clip(name: str, seconds: float = 3.0) -> Sound:
    """Make noisy speech [T]: a synthetic `voice`, or real `words` (Debian's alsa-utils)."""
    speech = {"voice": babble, "words": spoken_words}[name](seconds)
    # An odd length, so that the last hop is a partial one.
    return mix(speech, noise(seconds), snr_db=5)[:-77]


def babble(seconds: float, *, seed: int = 1) -> Sound:
    """Synthesise [T] samples that the model keeps as speech: vowels, hisses and short pauses.

    Steady harmonics would not do: the model takes them for noise and removes 50 dB.
    """
    dice = np.random.default_rng(seed)
    length = round(seconds * SAMPLE_RATE)
    sounds: list[NDArray[np.float64]] = []
    while sum(map(len, sounds)) < length:
        hiss = round(dice.uniform(0.05, 0.1) * SAMPLE_RATE)
        pause = round(dice.choice((0, 0, 0.15)) * SAMPLE_RATE)
        sounds.append(_syllable(dice))
        sounds.append(0.08 * np.diff(dice.standard_normal(hiss + 1)) * np.hanning(hiss))
        sounds.append(np.zeros(pause))
    babbled = np.concatenate(sounds)[:length]
    return (0.08 * babbled / np.std(babbled)).astype(np.float32)


def _syllable(dice: np.random.Generator) -> NDArray[np.float64]:
    """Glide from one vowel to another while the pitch falls."""
    seconds = dice.uniform(0.12, 0.25)
    time = np.arange(0, seconds, 1 / SAMPLE_RATE)
    pitch = dice.uniform(170, 230) * (1 + 0.15 * np.cos(np.pi * time / seconds))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    start, end = (np.array(_VOWELS[n]) for n in dice.integers(0, len(_VOWELS), 2))
    formants = start + np.outer(time / seconds, end - start)  # [T, 3]
    sound: NDArray[np.float64] = np.zeros_like(time)
    for harmonic in range(1, 40):
        away = (harmonic * pitch[:, None] - formants) / _FORMANT_WIDTHS_HZ
        gains = 0.003 + (_FORMANT_GAINS / (1 + np.square(away))).sum(axis=1)
        sound += gains * np.sin(harmonic * phase)
    edges = np.clip(np.minimum(time / 0.04, (seconds - time) / 0.06), 0, 1)
    sound *= np.square(np.sin(np.pi / 2 * edges))
    return sound


def pieces(sound: Sound, lengths: Iterable[int]) -> Iterator[Sound]:
    """Cut sound into pieces of these lengths, and one more with the rest."""
    start = 0
    for length in lengths:
        yield sound[start : start + length]
        start += length
    yield sound[start:]


def denoise(denoiser: Denoiser, sound: Sound, lengths: Iterable[int] = ()) -> Sound:
    """Stream a whole clip through and remove the latency."""
    outputs = [denoiser.process(piece) for piece in pieces(sound, lengths)]
    streamed = np.concatenate([*outputs, denoiser.flush()])
    assert len(streamed) == denoiser.latency_samples + len(sound)
    return streamed[denoiser.latency_samples :]


def worst(a: Sound, b: Sound) -> float:
    """Measure the largest difference between two clips of the same length."""
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    return float(np.max(np.abs(a - b), initial=0.0))
