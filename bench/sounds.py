"""Live streams for the benchmarks: speech in noise, never silence."""

import numpy as np
from numpy.typing import NDArray

from tests.denoiser.clips import babble
from tests.sounds import mix, noise

Sound = NDArray[np.float32]

HOP = 480
_VOICES = 8
_SECONDS = 10


def noisy_streams(streams: int) -> Sound:
    """Make speech in noise [T, streams, hop]; streams of one voice are at different places."""
    voices = [
        mix(babble(_SECONDS, seed=seed), noise(_SECONDS, seed=100 + seed), snr_db=5)
        for seed in range(min(_VOICES, streams))
    ]
    dice = np.random.default_rng(0)
    clips = [np.roll(voices[n % _VOICES], dice.integers(len(voices[0]))) for n in range(streams)]
    hops = np.stack(clips).reshape(streams, -1, HOP)
    return np.ascontiguousarray(hops.swapaxes(0, 1))
