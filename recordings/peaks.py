"""A recording's outline, for drawing: the peak of each of up to 1,000 equal stretches."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recordings.wav import HEADER_BYTES, SAMPLE_BYTES, samples_in

MAX_PEAKS = 1000


def fewer(peaks: Sequence[float], count: int) -> list[float]:
    """Draw an outline with at most `count` peaks: the highest of each of as many stretches."""
    if len(peaks) <= count:
        return list(peaks)
    edges = [i * len(peaks) // count for i in range(count + 1)]
    return [max(peaks[start:end]) for start, end in pairwise(edges)]


def peaks_of(chunks: Iterable[bytes], file_bytes: int) -> tuple[float, ...]:
    """Compute peaks, 0..1, of a WAV of ours of this size, read in chunks and never held whole."""
    samples = samples_in(file_bytes)
    count = min(MAX_PEAKS, samples)
    edges = np.linspace(0, samples, count + 1).astype(int)
    loudest = np.zeros(count, np.int32)
    at = 0
    for sound in sound_in(chunks):
        sound = sound[: samples - at]
        if not len(sound):
            continue
        first, last = np.searchsorted(edges, (at, at + len(sound) - 1), "right") - 1
        starts = np.maximum(edges[first : last + 1] - at, 0)
        magnitudes = np.maximum.reduceat(np.abs(sound.astype(np.int32)), starts)
        np.maximum(loudest[first : last + 1], magnitudes, out=loudest[first : last + 1])
        at += len(sound)
    return tuple(round(int(magnitude) / 32768, 3) for magnitude in loudest)


def sound_in(chunks: Iterable[bytes]) -> Iterable[NDArray[np.int16]]:
    """Strip the header and join samples that span two chunks."""
    to_skip, left = HEADER_BYTES, b""
    for chunk in chunks:
        data = left + chunk[to_skip:]
        to_skip = max(0, to_skip - len(chunk))
        whole = len(data) // SAMPLE_BYTES * SAMPLE_BYTES
        left = data[whole:]
        yield np.frombuffer(data[:whole], "<i2")
