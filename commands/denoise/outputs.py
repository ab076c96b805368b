"""Writes a sound file whole or not at all, or sound to a pipe."""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, Protocol

import soundfile

from actors.samples import BYTES, Sound, encoded, reordered
from commands.denoise.flac import insert_metadata
from commands.denoise.ogg import insert_comments
from commands.denoise.source import Chunk, Form, Refused, Source
from commands.denoise.wav_output import CONTAINERS, WavWriter, append_chunks


class Writer(Protocol):
    """Writes sound [T, channels], full scale 1; `note` says how it differs from its form."""

    note: str

    def write(self, sound: Sound) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


class Output:
    """Sound being written; raises Refused if that fails."""

    def __init__(self, writer: Writer, name: str) -> None:
        self._writer = writer
        self._name = name

    @property
    def note(self) -> str:
        """How it differs from the form, once it is complete."""
        return self._writer.note

    def write(self, sound: Sound) -> None:
        """Append samples [T, channels], full scale 1."""
        with _refusals(self._name):
            self._writer.write(sound)


@contextmanager
def whole_output(path: Path, form: Form, source: Source, *, replace: bool) -> Iterator[Output]:
    """Write a file next to `path`, and move it there once complete; else remove it.

    Raises Refused if it cannot be written, or if `path` has appeared and `replace` is false.
    """
    final = Path(os.path.realpath(path))  # replaces the target of a link, not the link
    part = final.with_name(f".hushcast-{secrets.token_hex(6)}.part")
    try:
        with _refusals(str(path)):
            writer = _writer(part, path, form, source)
        with closing(writer):
            yield Output(writer, str(path))
            with _refusals(str(path)):
                writer.finish()
        if path.exists() and not replace:
            raise Refused(f"{path}: already exists; use --force to replace it")
        with _refusals(str(path)):
            os.replace(part, final)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def piped_output(pipe: RawIOBase, name: str, form: Form, source: Source) -> Iterator[Output]:
    """Write a WAV into a pipe, of open length at first unless it is sure.

    The pipe may be a file, which gets its length at the end.
    """
    if not source.measured:
        form = replace(form, samples=None)
    with _refusals(name):
        writer = WavWriter(pipe, form, _kept(source, form))
    yield Output(writer, name)
    with _refusals(name):
        writer.finish()


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Raise Refused for what goes wrong while writing."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise Refused(f"{name}: cannot be written ({error.error_string})") from error
    except OSError as error:
        raise Refused(f"{name}: cannot be written ({error.strerror})") from error


def _writer(part: Path, path: Path, form: Form, source: Source) -> Writer:
    if form.container in CONTAINERS and form.subtype in BYTES:
        return WavWriter(part.open("xb"), form, _kept(source, form))
    return _SoundfileWriter(part, path, form, source)


def _kept(source: Source, form: Form) -> Sequence[Chunk]:
    """Tell what chunks of the source fit into the output."""
    alike = form.container == source.form.container
    both_wav = {form.container, source.form.container} <= {*CONTAINERS}
    return source.chunks if alike or both_wav else ()


class _SoundfileWriter:
    """Writes what libsndfile writes; integers are rounded and clamped, floats kept as they are."""

    note = ""

    def __init__(self, part: Path, path: Path, form: Form, source: Source) -> None:
        part.touch(exist_ok=False)
        try:
            self._file = soundfile.SoundFile(
                os.fsencode(part), "w", form.rate, form.channels, form.subtype,
                format=form.container,
            )  # fmt: skip
        except soundfile.LibsndfileError as error:
            raise Refused(
                f"{path}: {form.container} {form.subtype} cannot hold {form.channels} channels "
                f"at {form.rate} Hz"
            ) from error
        if form.container not in CONTAINERS:
            for name, text in source.tags.items():
                with suppress(soundfile.LibsndfileError):  # some containers hold none
                    setattr(self._file, name, text)
        self._samples = 0
        self._part = part
        self._path = path
        self._form = form
        self._chunks = _kept(source, form)

    def write(self, sound: Sound) -> None:
        subtype = self._form.subtype
        self._file.write(encoded(reordered(sound, subtype, reading=False), subtype))
        self._samples += len(sound)

    def finish(self) -> None:
        self._file.close()
        container = self._form.container
        if self._chunks and container in CONTAINERS:
            append_chunks(self._part, self._chunks)
        elif self._chunks:
            self._insert(insert_metadata if container == "FLAC" else insert_comments)
        if not _holds(self._part, self._samples):
            raise Refused(f"{self._path}: {container} cannot hold {self._samples} samples")

    def close(self) -> None:
        self._file.close()

    def _insert(self, insert: Callable[[BinaryIO, BinaryIO, Sequence[Chunk]], None]) -> None:
        """Copy what is written, with the chunks in it."""
        tagged = self._part.with_suffix(".tagged")
        try:
            with self._part.open("rb") as file, tagged.open("xb") as whole:
                insert(file, whole, self._chunks)
            os.replace(tagged, self._part)
        finally:
            tagged.unlink(missing_ok=True)


def _holds(part: Path, samples: int) -> bool:
    """Tell whether a written file can be read back in full; an empty FLAC cannot."""
    try:
        return bool(soundfile.info(os.fsencode(part)).frames >= samples)
    except soundfile.LibsndfileError:
        return False
