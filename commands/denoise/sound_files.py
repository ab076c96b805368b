"""Opens sound files of any format, and chooses the form of an output."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, BinaryIO

import soundfile

from actors.samples import BYTES, Sound, reordered
from commands.denoise.flac import read_metadata
from commands.denoise.media import open_media
from commands.denoise.ogg import lacks_end, read_comments
from commands.denoise.source import ROUGHLY_S, Form, Refused, Source
from commands.denoise.wav_input import open_wav, read_chunks
from commands.denoise.wav_output import CONTAINERS

_CONTAINERS = {"AIF": "AIFF", "AIFC": "AIFF", "OGA": "OGG", "OPUS": "OGG", "WAVE": "WAV"}
"""The containers of extensions that are not a container's name."""
_ONLY_READ = (
    ".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".flv", ".m4a", ".m4b", ".m4v", ".mka", ".mkv",
    ".mov", ".mp4", ".mpg", ".ts", ".webm", ".wma", ".wmv", ".wv",
)  # fmt: skip
"""Usual extensions of files that we read and do not write."""
_UNKNOWN = 2**62
"""libsndfile says more than this, or none, of files that do not know their length."""
_EMPTY_BYTES = 4096
"""A file that is larger than this holds something."""
_MAX_CHANNELS = 1024  # libsndfile's own limit
_MIN_RATE, _MAX_RATE = 1000, 768_000
"""Sound is recorded within these, in Hz; resampling from 1 Hz would take all memory."""


class _Unsought(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read in one go.

    soundfile seeks to where it is after each block, and MP3 and Opus decoders start anew: a glitch.
    """

    def seekable(self) -> bool:
        return False


class SoundfileSource(Source):
    """A file that libsndfile reads."""

    def __init__(self, file: soundfile.SoundFile, name: str) -> None:
        self.form = Form(file.format, file.subtype, file.samplerate, file.channels, file.frames)
        self.tags = file.copy_metadata()
        self._file = file
        self._name = name

    def blocks(self) -> Iterator[Sound]:
        form, read = self.form, 0
        while True:
            try:
                block: Sound = self._file.read(form.block_samples, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                at_s = read / form.rate
                raise Refused(f"{self._name}: the file is damaged at {at_s:.1f} s") from error
            if not len(block):
                break
            read += len(block)
            yield reordered(block, form.subtype, reading=True)
        if not read and form.samples:
            raise Refused(f"{self._name}: none of its sound can be read")
        missing_s = (self._file.frames - read) / form.rate
        if missing_s > ROUGHLY_S:
            self.note = f"{missing_s:.1f} s of its sound are missing"

    def close(self) -> None:
        self._file.close()


def open_input(path: Path, name: str = "") -> Source:
    """Open a sound file for reading; the caller closes it. Raises Refused, OSError.

    `name` stands for the path in messages.
    """
    name = name or str(path)
    if path.suffix.lower() == ".raw":
        raise Refused(f"{name}: a raw file does not describe its contents; convert it to WAV first")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        pipe = "; use - to read a pipe" if stat.S_ISFIFO(status.st_mode) else ""
        raise Refused(f"{name}: not a file{pipe}")
    if not status.st_size:
        raise Refused(f"{name}: is empty")
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        source = _opened(file, status.st_size, path, name)
        if not isinstance(source, SoundfileSource):
            stack.pop_all()
    return _sane(source, name)


def open_pipe(pipe: RawIOBase, name: str) -> Source:
    """Open sound that comes through a pipe: a WAV is read while it comes, all else when it ends.

    Raises Refused, OSError, and what reading the pipe raises.
    """
    with tempfile.NamedTemporaryFile(prefix="hushcast-") as spool:
        tee = _Tee(pipe, spool)
        source = open_wav(tee, None)
        if source:
            tee.copy = None
            return _sane(source, name)
        while tee.read(2**16):
            pass
        spool.flush()
        return open_input(Path(spool.name), name)


def _sane(source: Source, name: str) -> Source:
    """Refuse what would take all memory, or what no program could open."""
    form = source.form
    if form.channels > _MAX_CHANNELS:
        source.close()
        raise Refused(f"{name}: has {form.channels} channels; at most {_MAX_CHANNELS}")
    if not _MIN_RATE <= form.rate <= _MAX_RATE:
        source.close()
        raise Refused(
            f"{name}: has a sample rate of {form.rate} Hz; expected {_MIN_RATE} to {_MAX_RATE}"
        )
    return source


class _Tee(BufferedReader):
    """A pipe that copies what is read from it."""

    def __init__(self, pipe: RawIOBase, copy: IO[bytes]) -> None:
        super().__init__(pipe)
        self.copy: IO[bytes] | None = copy

    def read(self, size: int | None = -1, /) -> bytes:
        coded = super().read(size)
        if self.copy:
            self.copy.write(coded)
        return coded


def _opened(file: BinaryIO, file_bytes: int, path: Path, name: str) -> Source:
    """Open with whatever reads it best; the source closes `file`, unless it is libsndfile's."""
    source: Source | None = open_wav(file, file_bytes)
    if source:
        return source
    chunks = read_chunks(file, file_bytes) or read_metadata(file) or read_comments(file)
    is_cut = lacks_end(file)
    file.seek(0)
    source = _opened_by_libsndfile(path, name)
    if source and source.form.subtype.startswith("MPEG"):
        source = _robust(source, file, name)
    elif source is None or not 0 < (source.form.samples or 0) < _UNKNOWN:
        try:
            source = open_media(file, name)
        except Refused:
            if source is None:
                raise
            # A whole header of such a WAV, and `open_wav` had read it.
            half_header = source.form.container in CONTAINERS and source.form.subtype in BYTES
            if file_bytes > _EMPTY_BYTES or half_header:
                raise Refused(f"{name}: says that it holds no sound; was it closed?") from None
    source.chunks = chunks
    if is_cut:
        source.note = "it stops without an end; was it cut?"
    return source


def _opened_by_libsndfile(path: Path, name: str) -> SoundfileSource | None:
    try:
        return SoundfileSource(_Unsought(os.fsencode(path)), name)
    except soundfile.LibsndfileError:
        return None


def _robust(source: SoundfileSource, file: BinaryIO, name: str) -> Source:
    """Read an MP3 with FFmpeg, if it can: libsndfile ends where one is damaged."""
    try:
        media = open_media(file, name)
    except Refused:
        return source
    source.close()
    form = source.form
    media.form = replace(media.form, container=form.container, subtype=form.subtype)
    media.tags = source.tags
    # Each may have estimated it; together they are right.
    if media.seconds and source.seconds and abs(media.seconds - source.seconds) < ROUGHLY_S:
        media.promised_s = media.seconds
    return media


def output_form(form: Form, source: Path, target: Path) -> tuple[Form, str]:
    """Choose how to write `target`: its extension's container, the input's subtype if possible.

    Returns a note too, if the subtype is not possible. Raises Refused if the extension names no
    container.
    """
    container = _container(form, source, target)
    if _fits(form, container, target):
        return replace(form, container=container), ""
    opus = target.suffix.lower() == ".opus"
    subtype = "OPUS" if opus else soundfile.default_subtype(_libsndfile_name(container))
    note = f"written as {subtype}; {target.suffix} files cannot hold {form.subtype}"
    return replace(form, container=container, subtype=subtype), note


def piped_form(form: Form) -> tuple[Form, str]:
    """Choose how to write to a pipe: as a WAV, with the input's subtype if possible; and a note."""
    container = form.container if form.container in CONTAINERS else "WAV"
    if form.subtype in BYTES:
        return replace(form, container=container), ""
    note = f"written as PCM_16; a WAV in a pipe cannot hold {form.subtype}"
    return replace(form, container=container, subtype="PCM_16"), note


def name_in_folder(path: Path) -> str:
    """Choose an output's name in a folder: the input's, if we write such files."""
    return path.with_suffix(".wav").name if path.suffix.lower() in _ONLY_READ else path.name


def _container(form: Form, source: Path, target: Path) -> str:
    extension = target.suffix[1:].upper()
    container = _CONTAINERS.get(extension, extension)
    known = container in {*soundfile.available_formats(), *CONTAINERS} - {"RAW"}
    if form.container and target.suffix.lower() == source.suffix.lower():
        # The same again, unless the extension lies about the content.
        if not known or container == "WAV" and form.container in CONTAINERS:
            return form.container
    if not known:
        what = f"cannot write {target.suffix} files" if extension else "the name has no extension"
        raise Refused(f"{target}: {what}; use .wav, .flac, .ogg or .mp3")
    return container


def _libsndfile_name(container: str) -> str:
    return container.replace("BW64", "RF64")


def _fits(form: Form, container: str, target: Path) -> bool:
    if target.suffix.lower() == ".opus":
        return form.subtype == "OPUS"
    # libsndfile would write an MP3 into a WAV, which hardly any program reads.
    if form.subtype.startswith("MPEG") and container != form.container:
        return False
    return bool(soundfile.check_format(_libsndfile_name(container), form.subtype))
