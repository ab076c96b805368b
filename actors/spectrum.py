"""What a publisher's page draws: spectra of the sound before and after, and how much noise went.

Only while such a page is connected. The denoiser's own spectra are not used: its bins of 50 Hz are
wider than the lowest bands here, and one long transform for each column costs less than its 8 hops.
"""

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from actors.opus import SAMPLE_RATE, Sound

BANDS = 64
HIGHEST_HZ = 16_000
COLUMN_SAMPLES = 3840
"""80 ms: 12.5 columns a second."""
WINDOW_SAMPLES = 4800
LOWEST_DBFS = -120.0
STEPS_PER_DB = 2
MAX_COLUMNS = 25
"""Two seconds that nobody has taken; older ones are dropped."""
VERSION = 2

PAUSE_LSNR_DB = -10.0
"""Where the network finds less speech than this there is a pause."""
QUIETEST = 0.15
MEASURED_SAMPLES = 3 * SAMPLE_RATE // 10
NOISE_SAMPLES = 3 * SAMPLE_RATE
MIN_PAUSE_SAMPLES = SAMPLE_RATE // 5
INAUDIBLE = 1e-8
"""Noise of less power, -80 dBFS, says nothing about how much of it is removed."""
MIN_POWER = 1e-12

SILENCE: Sound = np.zeros((2, WINDOW_SAMPLES), np.float32)
"""What comes before the first sound, and after a gap."""
_WINDOW = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)


def _mel(hz: float) -> float:
    return 2595 * math.log10(1 + hz / 700)


_EDGES_HZ = 700 * (10 ** (np.linspace(0, _mel(HIGHEST_HZ), BANDS + 1) / 2595) - 1)
_EDGES = np.rint(_EDGES_HZ * WINDOW_SAMPLES / SAMPLE_RATE).astype(np.intp)
# Of one-sided bins, so that all bands together have the power of the sound; bands are as wide as
# they should be, although their edges lie at whole bins.
_SCALE = (
    2 / (WINDOW_SAMPLES * np.sum(np.square(_WINDOW)))
    * np.diff(_EDGES_HZ) * (WINDOW_SAMPLES / SAMPLE_RATE) / np.diff(_EDGES)
).astype(np.float32)  # fmt: skip


class Transform:
    """Turns sound into the levels of its bands, in memory of its own: new pages cost more."""

    def __init__(self) -> None:
        self._windows: Sound = np.empty((2, WINDOW_SAMPLES), np.float32)
        self._spectra = np.empty((2, WINDOW_SAMPLES // 2 + 1), np.complex64)

    def __call__(self, windows: Sound) -> NDArray[np.uint8]:
        """Turn windows [2, WINDOW_SAMPLES] into levels [2, BANDS].

        A level of b stands for b / 2 - 120 dBFS, the RMS in that band. Bands are equally wide on
        the mel scale (O'Shaughnessy 1987).
        """
        np.multiply(windows, _WINDOW, out=self._windows)
        # NumPy's types know one precision only.
        np.fft.rfft(self._windows, out=self._spectra)  # type: ignore[arg-type]
        squares = self._spectra.view(np.float32)  # real and imaginary parts in turns
        np.square(squares, out=squares)
        bands = np.add.reduceat(squares[:, : 2 * _EDGES[-1]], 2 * _EDGES[:-1], axis=1)
        levels = 10 * np.log10(bands * _SCALE + np.float32(MIN_POWER)) - LOWEST_DBFS
        steps: NDArray[np.uint8] = np.clip(np.rint(levels * STEPS_PER_DB), 0, 255).astype(np.uint8)
        return steps


class Spectrum:
    """The columns of one stream. The sound thread pushes; any one other thread takes."""

    def __init__(self) -> None:
        self.noise = NoiseRemoved()
        self._transform = Transform()
        self._blocks = [SILENCE]
        self._end = self._number = 0
        self._columns: deque[tuple[int, bytes]] = deque(maxlen=MAX_COLUMNS)

    def push(self, both: Sound, position: int) -> None:
        """Take sound before and after [2, T], `position` samples into the stream.

        What is left out before it is a gap: columns without sound do not come.
        """
        if position != self._end:
            self._blocks = [SILENCE]
            self._end, self._number = position, position // COLUMN_SAMPLES
        self._blocks.append(both)
        self._end += both.shape[1]
        if self._end >= (self._number + 1) * COLUMN_SAMPLES:
            self._make_columns(np.concatenate(self._blocks, axis=1))

    def _make_columns(self, sound: Sound) -> None:
        """Make the columns that are whole, and keep what the next one needs."""
        while (beyond := self._end - (self._number + 1) * COLUMN_SAMPLES) >= 0:
            stop = sound.shape[1] - beyond
            levels = self._transform(sound[:, stop - WINDOW_SAMPLES : stop])
            self._columns.append((self._number, levels.tobytes()))
            self._number += 1
        self._blocks = [sound[:, -WINDOW_SAMPLES:]]

    def take(self) -> list[bytes]:
        """Get the columns since the last call as messages of docs/api.md, one unless some lack."""
        runs: list[tuple[int, list[bytes]]] = []
        while self._columns:
            number, levels = self._columns.popleft()
            if not runs or number != runs[-1][0] + len(runs[-1][1]):
                runs.append((number, []))
            runs[-1][1].append(levels)
        return [
            bytes((VERSION, len(columns), first >> 8 & 255, first & 255)) + b"".join(columns)
            for first, columns in runs
        ]


class NoiseRemoved:
    """By how much the pauses of the last three seconds became quieter.

    In a pause the network finds no speech for three blocks: its answer is ahead of the sound that
    comes out. Without enough of that, the quietest moments count.

    Attributes:
        decibels: None while there was too little sound, or no noise in it.
    """

    def __init__(self) -> None:
        self.decibels: float | None = None
        self._blocks: deque[tuple[int, float, float, float]] = deque()
        """Samples, lsnr, energy before, energy after."""
        self._samples = self._unmeasured = 0

    def push(self, both: Sound, lsnr: float) -> None:
        """Take sound before and after [2, T], and how much speech the network finds now."""
        samples = both.shape[1]
        before, after = np.einsum("ct,ct->c", both, both).tolist()
        self._blocks.append((samples, lsnr, before, after))
        self._samples += samples
        while self._samples > NOISE_SAMPLES:
            self._samples -= self._blocks.popleft()[0]
        self._unmeasured += samples
        if self._unmeasured >= MEASURED_SAMPLES:
            self._unmeasured = 0
            self.decibels = self._measure()

    def _measure(self) -> float | None:
        samples, lsnr, before, after = np.array(self._blocks).T
        calm = lsnr < PAUSE_LSNR_DB
        calm[2:] &= calm[1:-1] & calm[:-2]
        if samples[calm].sum() < MIN_PAUSE_SAMPLES:
            calm = np.argsort(after / samples)[: int(QUIETEST * len(samples))]
        paused, noisy, quiet = (float(each[calm].sum()) for each in (samples, before, after))
        if paused < MIN_PAUSE_SAMPLES or noisy < INAUDIBLE * paused:
            return None
        return max(0.0, 10 * math.log10(noisy / max(quiet, MIN_POWER * paused)))
