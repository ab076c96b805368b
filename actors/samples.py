"""Samples of sound as numbers, as the steps of an integer, as bytes."""

import io
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

Sound = NDArray[np.float32]
"""[T, channels], full scale 1."""
ByteOrder = Literal["little", "big"]

BYTES = {
    "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8,
    "ULAW": 1, "ALAW": 1,
}  # fmt: skip
"""Subtypes of WAV that hold each sample on its own, and in how many bytes."""
# Bits per sample; subtypes not listed here are compressed.
_BITS = {
    "PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ULAW": 14, "ALAW": 12,
    "ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32,
    "FLOAT": 32, "DOUBLE": 64,
}  # fmt: skip
_NOT_INTEGER = ("FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG")

_XIPH_ORDERS = {
    3: (0, 2, 1), 5: (0, 2, 1, 3, 4), 6: (0, 2, 1, 5, 3, 4), 7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}  # fmt: skip
"""Where Vorbis and Opus have the channels of a WAV (Vorbis I, 4.3.9; RFC 7845, 5.1.1.2)."""


def reordered(sound: Sound, subtype: str, *, reading: bool) -> Sound:
    """Put the channels of Vorbis and Opus in the order of a WAV, or back; libsndfile does not."""
    order = _XIPH_ORDERS.get(sound.shape[1]) if subtype in ("VORBIS", "OPUS") else None
    if order is None:
        return sound
    return sound[:, order if reading else np.argsort(order)]


def encoded(sound: Sound, subtype: str) -> Sound | NDArray[np.int32]:
    """Round to the steps of a subtype, left-aligned in 32 bits; floats if it has no steps.

    libsndfile would truncate instead: an offset of half a step.
    """
    if subtype.startswith(_NOT_INTEGER):
        return sound
    bits = _BITS.get(subtype, 16)
    full_scale = 2.0 ** (bits - 1)
    steps = np.rint(sound.astype(np.float64) * full_scale)
    # Compressed subtypes have a symmetric range: libsndfile wraps their lowest value.
    lowest = -full_scale if subtype.startswith(("PCM", "ALAC")) else 1 - full_scale
    clamped = np.clip(steps, lowest, full_scale - 1)
    return (clamped * 2.0 ** (32 - bits)).astype(np.int32)


def to_bytes(sound: Sound, subtype: str) -> bytes:
    """Code samples as a little-endian WAV of this subtype (one of BYTES) holds them."""
    coded = io.BytesIO()
    # The rate matters to nobody: raw samples have no header.
    soundfile.write(coded, encoded(sound, subtype), 48000, subtype, "LITTLE", "RAW")
    return coded.getvalue()


def from_bytes(coded: bytes, subtype: str, channels: int, order: ByteOrder) -> Sound:
    """Decode whole samples [T, channels] of a subtype (one of BYTES)."""
    sound: Sound = soundfile.read(
        io.BytesIO(coded),
        dtype="float32",
        always_2d=True,
        samplerate=48000,
        channels=channels,
        format="RAW",
        subtype=subtype,
        endian=order.upper(),
    )[0]
    return sound
