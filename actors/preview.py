"""A short WAV, cleaned as a live stream is: bytes in, bytes out."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from actors.block_denoiser import BlockDenoiser
from actors.denoiser import Model
from actors.errors import PreviewRefused
from actors.samples import BYTES, Sound, encoded

MAX_SECONDS = 10
MAX_CHANNELS = 8
"""Each is a stream of its own to the model."""
RATES = range(1000, 768_001)
CONTAINERS = ("WAV", "WAVEX", "RF64")
"""In libsndfile's words."""
UNREADABLE = "This is not a WAV file, or a damaged one."


@dataclass(frozen=True)
class Clip:
    """Sound [T, channels], and how its WAV holds it, in libsndfile's words."""

    sound: Sound
    rate: int
    container: str
    subtype: str


def clean(
    wav: bytes, model: Model, attenuation_limit_db: float | None, *, post_filter: bool = False
) -> bytes:
    """Denoise a WAV: same length, rate and channels, and subtype unless that is compressed.

    Raises PreviewRefused.
    """
    clip = read(wav)
    rate, channels = clip.rate, clip.sound.shape[1]
    denoiser = BlockDenoiser(
        model,
        rate=rate,
        channels=channels,
        attenuation_limit_db=attenuation_limit_db,
        post_filter=post_filter,
    )
    cleaned = np.concatenate((denoiser.process(clip.sound), denoiser.flush()))
    file = io.BytesIO()
    soundfile.write(file, encoded(cleaned, clip.subtype), rate, clip.subtype, format=clip.container)
    return file.getvalue()


def read(wav: bytes) -> Clip:
    """Read a WAV. Raises PreviewRefused."""
    try:
        with soundfile.SoundFile(io.BytesIO(wav)) as file:
            if wrong := _wrong_with(file):
                raise PreviewRefused(wrong)
            sound = file.read(file.frames, dtype="float32", always_2d=True)
            extensible, subtype = file.format == "WAVEX", file.subtype
            clip = Clip(
                sound,
                file.samplerate,
                "WAVEX" if extensible else "WAV",
                subtype if subtype in BYTES else "PCM_16",
            )
    except (soundfile.SoundFileError, ValueError, RuntimeError, MemoryError) as error:
        raise PreviewRefused(UNREADABLE) from error
    if not len(sound):
        raise PreviewRefused("There is no sound in this WAV file.")
    return clip


def _wrong_with(file: soundfile.SoundFile) -> str:
    """Say why a WAV cannot be previewed; nothing if it can."""
    if file.format not in CONTAINERS:
        return UNREADABLE
    if file.samplerate not in RATES:
        return f"A preview has a rate of {RATES[0]:,} to {RATES[-1]:,} Hz."
    if file.channels > MAX_CHANNELS:
        return f"A preview has up to {MAX_CHANNELS} channels."
    if file.frames > MAX_SECONDS * file.samplerate:
        return f"A preview lasts up to {MAX_SECONDS} seconds."
    return ""
