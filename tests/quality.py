"""How speech sounds: PESQ (ITU-T P.862.2, wide-band) and STOI, after aligning in time."""

from dataclasses import dataclass

import numpy as np
import scipy.signal
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


def align(heard: Sound, clean: Sound, *, looped: bool = False) -> tuple[Sound, Sound]:
    """Cut both to what they share, by the largest cross-correlation of their envelopes.

    `heard` may begin later than `clean`, or with something else before it.
    """
    size = 2 ** int(np.ceil(np.log2(len(heard) + len(clean))))
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(clean, size))
    whitened = np.fft.irfft(spectrum / (np.abs(spectrum) + 1e-6), size)
    if looped:  # all of what was heard lies within
        whitened[1 : size - (len(clean) - len(heard))] = -np.inf
    lag = int(np.argmax(whitened))
    lag = lag if lag < size // 2 else lag - size
    heard, clean = heard[max(0, lag) :], clean[max(0, -lag) :]
    shared = min(len(heard), len(clean))
    return heard[:shared], clean[:shared]


def align_pieces(heard: Sound, clean: Sound, *, looped: bool) -> tuple[Sound, Sound]:
    """Align like `align`, then every 2 s again, within 150 ms.

    For what a browser played: its jitter buffer moves the playout while it adapts.
    """
    heard, clean = align(heard, clean, looped=looped)
    piece, play = 2 * SAMPLE_RATE, round(0.15 * SAMPLE_RATE)
    pairs = []
    for start in range(play, len(clean) - piece - play, piece):
        wanted = clean[start : start + piece]
        around = heard[start - play : start + piece + play]
        moved = int(np.argmax(np.abs(scipy.signal.correlate(around, wanted, "valid"))))
        pairs.append((around[moved : moved + piece], wanted))
    return np.concatenate([h for h, _ in pairs]), np.concatenate([c for _, c in pairs])


def quality(heard: Sound, clean: Sound, *, looped: bool = False, played: bool = False) -> Quality:
    """Measure what was heard [T] against the clean sound [T], both at 48 kHz.

    `looped`: the clean sound was said again and again, and what was heard begins anywhere in it.
    `played`: a browser played it, so its place in time may have moved on the way.
    """
    if looped:
        clean = np.tile(clean, len(heard) // len(clean) + 2)
    how = align_pieces if played else align
    aligned = how(heard, clean, looped=looped)
    degraded, reference = (soxr.resample(sound, SAMPLE_RATE, MEASURED_AT) for sound in aligned)
    assert len(reference) > 3 * MEASURED_AT, f"only {len(reference) / MEASURED_AT:.1f} s to compare"
    return Quality(
        pesq=float(pesq(MEASURED_AT, reference, degraded, "wb")),
        stoi=float(stoi(reference, degraded, MEASURED_AT)),
    )
