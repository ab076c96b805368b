"""Reads and writes sound files of any format that libsndfile knows, block by block."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

Sound = NDArray[np.float32]

BLOCKS_A_SECOND = 4
"""Blocks short enough to stop at once, and long enough to be cheap even with 100 channels."""
WAV_LIMIT_BYTES = 2**32 - 2**16
"""A WAV counts its bytes in 32 bits; this leaves 64 KiB for its header."""

_CONTAINERS = {"AIF": "AIFF", "AIFC": "AIFF", "OGA": "OGG", "OPUS": "OGG", "WAVE": "WAV"}
"""The containers of extensions that are not a container's name."""
# Bits per sample; subtypes not listed here are compressed.
_BITS = {
    "PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ULAW": 14, "ALAW": 12,
    "ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32,
    "FLOAT": 32, "DOUBLE": 64,
}  # fmt: skip
_NOT_INTEGER = ("FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG")


class Refused(Exception):
    """A file cannot be read or written; `str(error)` is a sentence with its name."""


@dataclass(frozen=True)
class Format:
    """How a file holds sound, in libsndfile's names; `note` says what differs from the input."""

    container: str
    subtype: str
    note: str = ""


def open_input(path: Path) -> soundfile.SoundFile:
    """Open a sound file for reading; the caller closes it. Raises Refused, OSError."""
    if path.suffix.lower() == ".raw":
        raise Refused(f"{path}: a raw file does not describe its contents; convert it to WAV first")
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe cannot be read twice
        raise Refused(f"{path}: not a file")
    path.open("rb").close()  # raises with the reason, which libsndfile does not give
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise Refused(f"{path}: cannot be read as a sound file") from error


def read_blocks(source: soundfile.SoundFile, path: Path) -> Iterator[Sound]:
    """Read a file [T, channels] to its end, full scale 1. Raises Refused if it is damaged."""
    samples = max(1, source.samplerate // BLOCKS_A_SECOND)
    while True:
        try:
            block: Sound = source.read(samples, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            at_s = source.tell() / source.samplerate
            raise Refused(f"{path}: the file is damaged at {at_s:.1f} s") from error
        if not len(block):
            return
        yield block


def output_format(source: soundfile.SoundFile, source_path: Path, path: Path) -> Format:
    """Choose how to write `path`: its extension's container, the input's subtype if possible.

    Raises Refused if the extension names no container.
    """
    container = _container(source, source_path, path)
    if not _fits(source, container, path):
        default = _default_subtype(container, path)
        note = f"{path}: written as {default}; {path.suffix} files cannot hold {source.subtype}"
        return Format(container, default, note)
    size = source.frames * source.channels * _BITS.get(source.subtype, 16) // 8
    if container in ("WAV", "WAVEX") and size > WAV_LIMIT_BYTES:
        return Format("RF64", source.subtype, f"{path}: written as RF64; a WAV holds at most 4 GiB")
    return Format(container, source.subtype)


def _container(source: soundfile.SoundFile, source_path: Path, path: Path) -> str:
    extension = path.suffix[1:].upper()
    if path.suffix.lower() == source_path.suffix.lower():
        return str(source.format)
    container = _CONTAINERS.get(extension, extension)
    if container == "RAW" or container not in soundfile.available_formats():
        what = f"cannot write {path.suffix} files" if extension else "the name has no extension"
        raise Refused(f"{path}: {what}; use .wav, .flac, .ogg or .mp3")
    return container


def _fits(source: soundfile.SoundFile, container: str, path: Path) -> bool:
    subtype = source.subtype
    if path.suffix.lower() == ".opus":
        return bool(subtype == "OPUS")
    # libsndfile would write an MP3 into a WAV, which hardly any program reads.
    if subtype.startswith("MPEG") and container != source.format:
        return False
    return bool(soundfile.check_format(container, subtype))


def _default_subtype(container: str, path: Path) -> str:
    if path.suffix.lower() == ".opus":
        return "OPUS"
    return str(soundfile.default_subtype(container))


class Output:
    """A sound file being written; integers are rounded and clamped, floats kept as they are."""

    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file = file
        self.samples = 0

    def write(self, sound: Sound) -> None:
        """Append samples [T, channels], full scale 1."""
        self._file.write(encoded(sound, self._file.subtype))
        self.samples += len(sound)


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


@contextmanager
def whole_output(
    path: Path, source: soundfile.SoundFile, chosen: Format, *, replace: bool
) -> Iterator[Output]:
    """Write a file like `source` next to `path`, and move it there once complete; else remove it.

    Raises Refused if it cannot be written, or if `path` has appeared and `replace` is false;
    OSError if the folder does not allow it.
    """
    final = Path(os.path.realpath(path))  # replaces the target of a link, not the link
    part = final.with_name(f".hushcast-{secrets.token_hex(6)}.part")
    try:
        with _created(part, path, source, chosen) as file:
            output = Output(file)
            yield output
        if not _holds(part, output.samples):
            raise Refused(f"{path}: {chosen.container} cannot hold {output.samples} samples")
        if path.exists() and not replace:
            raise Refused(f"{path}: already exists; use --force to replace it")
        os.replace(part, final)
    except soundfile.LibsndfileError as error:
        raise Refused(f"{path}: cannot be written ({error.error_string})") from error
    finally:
        part.unlink(missing_ok=True)


def _holds(part: Path, samples: int) -> bool:
    """Tell whether a written file can be read back in full; an empty FLAC cannot."""
    try:
        return bool(soundfile.info(part).frames >= samples)
    except soundfile.LibsndfileError:
        return False


def _created(
    part: Path, path: Path, source: soundfile.SoundFile, chosen: Format
) -> soundfile.SoundFile:
    part.touch(exist_ok=False)
    rate, channels = source.samplerate, source.channels
    try:
        file = soundfile.SoundFile(
            part, "w", rate, channels, chosen.subtype, format=chosen.container
        )
    except soundfile.LibsndfileError as error:
        raise Refused(
            f"{path}: {chosen.container} {chosen.subtype} cannot hold {channels} channels "
            f"at {rate} Hz"
        ) from error
    if chosen.container == source.format:
        for name, text in source.copy_metadata().items():
            setattr(file, name, text)
    return file
