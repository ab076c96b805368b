"""Writes WAV, RF64 and BW64 (EBU Tech 3306) with chunks, into a file or a pipe.

libsndfile chooses between WAV and RF64 before it knows the length, needs a file to seek in, and
writes no chunks of others.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from io import BufferedIOBase, RawIOBase
from pathlib import Path
from struct import pack

from actors.samples import BYTES, Sound, to_bytes
from commands.denoise.source import Chunk, Form

_WIDE = ("RF64", "BW64")
CONTAINERS = ("WAV", "WAVEX", *_WIDE)

_MAX_32 = 0xFFFF_FFFF
_TAGS = {"FLOAT": 3, "DOUBLE": 3, "ALAW": 6, "ULAW": 7}
_EXTENSIBLE = 0xFFFE
_GUID_END = bytes.fromhex("000000001000800000aa00389b71")
"""What follows the format tag in an extensible header."""


class WavWriter:
    """Writes sound of a form, with chunks before it, into a file, which it closes.

    A file that can seek gets its sizes at the end. A pipe gets them at its start if the form knows
    them, otherwise an open length.

    Attributes:
        note: once it is finished, how it differs from the form.
    """

    def __init__(
        self, file: BufferedIOBase | RawIOBase, form: Form, chunks: Sequence[Chunk] = ()
    ) -> None:
        self._samples = 0
        self.note = ""
        self._file = file
        self._form = form
        self._chunks = chunks
        self._frame_bytes = form.channels * BYTES[form.subtype]
        # Room for sizes of 64 bits, where they may turn out to be needed.
        unsure = form.samples is None or form.samples * self._frame_bytes > 2**31
        self._room = file.seekable() and unsure
        file.write(self._header(form.samples))

    def write(self, sound: Sound) -> None:
        """Append samples [T, channels], full scale 1."""
        self._file.write(to_bytes(sound, self._form.subtype))
        self._samples += len(sound)

    def finish(self) -> None:
        """Complete the file. Nothing may follow."""
        if self._samples * self._frame_bytes % 2:
            self._file.write(b"\0")
        if self._file.seekable():
            end = self._file.tell()
            self._file.seek(0)
            self._file.write(self._header(self._samples))
            self._file.seek(end)  # somebody else may write on
        self._file.flush()

    def close(self) -> None:
        with suppress(OSError):  # after a failure; `finish` has told the other cases
            self._file.close()

    def _header(self, samples: int | None) -> bytes:
        """Pack what comes before the sound; in a file it always has the same length."""
        form = self._form
        size = _MAX_32 if samples is None else samples * self._frame_bytes
        chunks = [(b"fmt ", _format_chunk(form, self._frame_bytes))]
        if form.subtype in _TAGS:
            chunks.append((b"fact", pack("<I", min(samples or 0, _MAX_32))))
        body = b"".join(map(_packed, [*chunks, *self._chunks]))
        riff_bytes = 4 + len(body) + 8 + size + size % 2
        magic = form.container.encode() if form.container in _WIDE else b"RIFF"
        room = pack("<4sI28x", b"JUNK", 28) if self._room else b""
        if samples is not None and (magic != b"RIFF" or riff_bytes + 36 > _MAX_32):
            room = pack("<4sIQQQI", b"ds64", 28, riff_bytes + 36, size, samples, 0)
            riff_bytes = size = _MAX_32
            if magic == b"RIFF":
                magic = b"RF64"
                self.note = "written as RF64; a WAV holds at most 4 GiB"
        else:
            magic, riff_bytes = b"RIFF", min(riff_bytes + len(room), _MAX_32)
        return (
            pack("<4sI4s", magic, riff_bytes, b"WAVE") + room + body + pack("<4sI", b"data", size)
        )


def append_chunks(path: Path, chunks: Sequence[Chunk]) -> None:
    """Put chunks behind the sound of a finished WAV (RIFF). Raises OSError."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.write(b"\0" * (end % 2) + b"".join(map(_packed, chunks)))
        riff_bytes = file.tell() - 8
        file.seek(4)
        file.write(pack("<I", min(riff_bytes, _MAX_32)))


def _packed(chunk: Chunk) -> bytes:
    name, content = chunk
    return pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)


def _format_chunk(form: Form, frame_bytes: int) -> bytes:
    bits = 8 * BYTES[form.subtype]
    tag = _TAGS.get(form.subtype, 1)
    extensible = form.container == "WAVEX" or form.speakers is not None
    common = pack(
        "<HHIIHH",
        *(_EXTENSIBLE if extensible else tag, form.channels),
        *(form.rate, min(form.rate * frame_bytes, _MAX_32), frame_bytes, bits),
    )
    if extensible:
        return common + pack("<HHIH", 22, bits, form.speakers or 0, tag) + _GUID_END
    return common + (b"" if tag == 1 else pack("<H", 0))
