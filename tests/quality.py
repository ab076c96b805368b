"""How speech sounds: PESQ (ITU-T P.862.2, wide-band) and STOI, after aligning in time."""

from dataclasses import dataclass

import numpy as np
import soxr
from pesq import pesq
from pystoi import stoi

from tests.sounds import SAMPLE_RATE, Sound

MEASURED_AT = 16000


@dataclass(frozen=True)
class Quality:
    """PESQ 1..4.64 and STOI 0..1 of a sound against the clean one."""

    pesq: float
    stoi: float

    def __str__(self) -> str:
        return f"PESQ {self.pesq:.2f}, STOI {self.stoi:.3f}"


def align(heard: Sound, clean: Sound) -> tuple[Sound, Sound]:
    """Cut both to what they share, by the largest cross-correlation of their envelopes.

    `heard` may begin later than `clean`, or with something else before it.
    """
    size = 2 ** int(np.ceil(np.log2(len(heard) + len(clean))))
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(clean, size))
    whitened = np.fft.irfft(spectrum / (np.abs(spectrum) + 1e-6), size)
    lag = int(np.argmax(whitened))
    lag = lag if lag < size // 2 else lag - size
    heard, clean = heard[max(0, lag) :], clean[max(0, -lag) :]
    shared = min(len(heard), len(clean))
    return heard[:shared], clean[:shared]


def quality(heard: Sound, clean: Sound) -> Quality:
    """Measure what was heard [T] against the clean sound [T], both at 48 kHz."""
    aligned = align(heard, clean)
    degraded, reference = (soxr.resample(sound, SAMPLE_RATE, MEASURED_AT) for sound in aligned)
    assert len(reference) > 3 * MEASURED_AT, f"only {len(reference) / MEASURED_AT:.1f} s to compare"
    return Quality(
        pesq=float(pesq(MEASURED_AT, reference, degraded, "wb")),
        stoi=float(stoi(reference, degraded, MEASURED_AT)),
    )
