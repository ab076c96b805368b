"""Sound that the tests make themselves: voices, noise, and files of them. 48 kHz, mono."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

SAMPLE_RATE = 48000
PAUSE = SAMPLE_RATE // 20
"""How much silence stays on either side of a word: 50 ms."""
SPOKEN_WORDS = Path("/usr/share/sounds/alsa")
"""Debian's alsa-utils: a woman says "front left" and the like, 48 kHz."""

Sound = NDArray[np.float32]


def speech_like(seconds: float, *, seed: int = 1) -> Sound:
    """Synthesise [T] samples that a codec takes for a voice: gliding harmonics with syllables."""
    dice = np.random.default_rng(seed)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 130 + 30 * np.sin(2 * np.pi * 0.7 * time + dice.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    formants = ((500, 120), (1500, 200), (2500, 300))
    voice = np.zeros_like(time)
    for harmonic in range(1, 30):
        frequency = 140 * harmonic
        gain = sum(np.exp(-(((frequency - f) / (2 * w)) ** 2)) for f, w in formants)
        voice += (gain + 0.02) * np.sin(harmonic * phase)
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 3.3 * time + dice.uniform(0, 6))
    return (0.25 * voice * syllables / np.max(np.abs(voice) + 1e-9)).astype(np.float32)


def spoken_words(seconds: float) -> Sound:
    """Read [T] samples of real speech, the same words again and again until it is long enough."""
    words = all_words()
    length = round(seconds * SAMPLE_RATE)
    return np.tile(words, -(-length // len(words)))[:length]


def all_words() -> Sound:
    """Read [T] samples of real speech: every word once."""
    words = []
    for path in sorted(SPOKEN_WORDS.glob("*_*.wav")):
        sound, rate = soundfile.read(path, dtype="float32")
        assert rate == SAMPLE_RATE and sound.ndim == 1, f"{path}: {rate} Hz, {sound.shape}"
        loud = np.flatnonzero(np.abs(sound) > 0.02)
        words.append(sound[max(0, loud[0] - PAUSE) : loud[-1] + PAUSE])
    assert words, f"no spoken words in {SPOKEN_WORDS}: install alsa-utils"
    spoken = np.concatenate(words)
    spoken *= 0.25 / np.sqrt(np.mean(spoken[np.abs(spoken) > 0.01] ** 2)) * 0.4
    return np.asarray(spoken, np.float32)


def noise(seconds: float, *, seed: int = 2) -> Sound:
    """Make [T] samples of noise like a fan beside a road: falling spectrum, slow swells, hum."""
    dice = np.random.default_rng(seed)
    length = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(dice.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 60)), length)
    time = np.arange(length) / SAMPLE_RATE
    swells = 1 + 0.4 * np.sin(2 * np.pi * 0.23 * time)
    hum = 0.2 * np.std(pink) * np.sin(2 * np.pi * 120 * time)
    rough = pink * swells + hum
    return np.asarray(rough / np.std(rough), np.float32)


def mix(speech: Sound, background: Sound, snr_db: float) -> Sound:
    """Mix noise into speech at `snr_db`, measured where somebody speaks."""
    active = speech[np.abs(speech) > 0.01]
    gain = np.sqrt(np.mean(active**2) / np.mean(background**2)) * 10 ** (-snr_db / 20)
    return np.asarray(speech + gain * background[: len(speech)], np.float32)
