"""Turns stereo into mono without losing what only one channel has, or what is inverted in one.

A mean of both channels takes 6 dB from a microphone on one channel, and everything from one whose
channels have opposite phase. So the second channel is added with the sign of its correlation, and
the sum is divided by what both have in common. Estimates are slow, gains move in ramps: no pumping.
"""

import math

import numpy as np
from numpy.typing import NDArray

MEMORY_SAMPLES = 48000
"""How much sound the estimates remember: about a second."""
FLOOR = 1e-8
"""The power, relative to full scale, below which sound says nothing about its channels: -80 dB."""
INVERTED, IN_PHASE = -0.3, 0.1
"""The normalised correlations beyond which the sign of the second channel changes."""

Sound = NDArray[np.float32]


class Downmix:
    """Mixes the channels of one source."""

    def __init__(self) -> None:
        self._covariance = np.zeros((2, 2))
        self._packets = 0
        self._sign = 1.0
        self._gains: Sound | None = None

    def mix(self, stereo: Sound) -> Sound:
        """Mix sound [T, 2] to [T], both in -1..1; two loud unlike channels may exceed that."""
        covariance = stereo.T.astype(np.float64) @ stereo / max(1, len(stereo))
        if covariance.trace() > FLOOR:
            self._remember(covariance, len(stereo))
        before, self._gains = self._gains, self._find_gains()
        if before is None:
            before = self._gains
        steps = np.linspace(before, self._gains, len(stereo), dtype=np.float32)
        mono: Sound = np.einsum("tc,tc->t", stereo, steps)
        return mono

    def _remember(self, covariance: NDArray[np.float64], samples: int) -> None:
        """Average: at first over all sound there was, later over the last second."""
        share = max(samples / MEMORY_SAMPLES, 1 / (self._packets + 1))
        self._packets += 1
        self._covariance += share * (covariance - self._covariance)

    def _find_gains(self) -> Sound:
        (left, common), (_, right) = self._covariance
        if max(left, right) <= 0:
            return np.array([0.5, 0.5], np.float32)
        correlation = common / math.sqrt(left * right) if left * right > 0 else 0.0
        if correlation < INVERTED:
            self._sign = -1.0
        elif correlation > IN_PHASE:
            self._sign = 1.0
        gain = 1 / (1 + max(0.0, self._sign * common) / max(left, right))
        return np.array([gain, self._sign * gain], np.float32)
