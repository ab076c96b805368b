"""Sound that can be located: what is published, and where in it a listener's sound belongs."""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from actors.opus import FRAME_SAMPLES, SAMPLE_RATE, Sound

MARKER_S = 8.0
MIN_AUDIO_S = 2.0
MAX_AUDIO_S = 120.0
CERTAIN = 0.3
"""A correlation above this is a match: a second of the marker has some 6,000 degrees of freedom,
so wrong places stay below 0.1."""
AUDIBLE_RMS = 1e-3


class AudioRefused(Exception):
    """This file cannot be published; the message says why."""


def built_in() -> Sound:
    """Make [T] samples of noise in the voice band, -20 dBFS, that never repeats itself.

    Noise can be located to the sample even where some of it was lost. The model would remove it,
    so the measured streams are not denoised; the model still runs, and the delay is the same.
    """
    length = round(MARKER_S * SAMPLE_RATE)
    dice = np.random.default_rng(2)
    spectrum = np.fft.rfft(dice.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    spectrum[(frequency < 200) | (frequency > 3400)] = 0
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(0.1 * noise / np.std(noise), np.float32)


def read_audio(path: Path) -> Sound:
    """Read the first channel of a sound file at 48 kHz, in whole frames. Raises AudioRefused."""
    try:
        with soundfile.SoundFile(path) as file:
            sound = file.read(round(MAX_AUDIO_S * file.samplerate), "float32", always_2d=True)[:, 0]
            sound = soxr.resample(sound, file.samplerate, SAMPLE_RATE)
    except (OSError, soundfile.LibsndfileError) as error:
        raise AudioRefused(f"{path}: {error}") from error
    if len(sound) < MIN_AUDIO_S * SAMPLE_RATE:
        raise AudioRefused(f"{path}: shorter than {MIN_AUDIO_S:g} s")
    if not np.isfinite(sound).all() or np.sqrt(np.mean(sound**2)) < AUDIBLE_RMS:
        raise AudioRefused(f"{path}: contains no sound")
    return np.asarray(sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES], np.float32)


class Ruler:
    """Finds where a piece was taken from a sound [T] that is played in a loop."""

    def __init__(self, sound: Sound) -> None:
        self.length = len(sound)
        self._spectrum = np.fft.rfft(sound)
        twice = np.concatenate(([0.0], np.cumsum(np.tile(sound.astype(np.float64) ** 2, 2))))
        self._energy_before: NDArray[np.float64] = twice

    def find(self, piece: Sound) -> int | None:
        """Get the sample at which the piece begins; None when it is not certain."""
        energy = float(np.sum(piece.astype(np.float64) ** 2))
        if len(piece) > self.length or energy < AUDIBLE_RMS**2 * len(piece):
            return None
        likeness = np.fft.irfft(
            self._spectrum * np.conj(np.fft.rfft(piece, self.length)), self.length
        )
        best = int(np.argmax(likeness))
        own = self._energy_before[best + len(piece)] - self._energy_before[best]
        return best if likeness[best] > CERTAIN * np.sqrt(energy * own) else None
