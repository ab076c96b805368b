"""DNSMOS P.835: how a listener would rate speech, noise and all of it, without a reference.

The network is the one that Microsoft published, as the package `speechmos` (MIT) carries it; only
that file is read, because the package's own code asks for librosa, pandas and requests.
Reddy et al., "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality Metric to Evaluate
Noise Suppressors", ICASSP 2022.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.onnx_session import Session

SAMPLE_RATE = 16000
_WINDOW = 144160
"""What the network hears at once: 9.01 s."""
_STEP = SAMPLE_RATE
_CALIBRATION = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)
"""Published with the network: polynomials from what it says of SIG, BAK and OVRL to ratings."""


class Rating(NamedTuple):
    """Mean opinions, 1 to 5."""

    sig: float
    bak: float
    ovrl: float


def available() -> bool:
    """Tell whether the package with the network is installed."""
    return importlib.util.find_spec("speechmos") is not None


def rate(sound: NDArray[np.float32]) -> Rating:
    """Rate a clip [T] at 16 kHz; a short one is heard several times over, as published."""
    clip = np.clip(sound, -1, 1)
    while len(clip) < _WINDOW:
        clip = np.concatenate((clip, clip))
    starts = range(0, len(clip) - _WINDOW + 1, _STEP)
    windows = [clip[start : start + _WINDOW][None] for start in starts]
    raw = np.array([_network().run(None, {"input_1": window})[0][0] for window in windows])
    ratings = [np.polyval(poly, raw[:, n]).mean() for n, poly in enumerate(_CALIBRATION)]
    return Rating(*map(float, ratings))


@cache
def _network() -> Session:
    spec = importlib.util.find_spec("speechmos")
    assert spec is not None and spec.submodule_search_locations, "install the package speechmos"
    path = Path(spec.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
    return Session(path.read_bytes())
