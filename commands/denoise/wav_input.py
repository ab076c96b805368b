"""Reads WAV and its kin as they come: RIFF, RIFX, RF64 and BW64 (EBU Tech 3306), Wave64.

libsndfile trusts the sizes in a header, drops most chunks and cannot read a pipe. Here a recording
that was never closed is read to its end, and what else a WAV holds is kept for the output.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from struct import unpack_from
from typing import BinaryIO

from actors.samples import BYTES, ByteOrder, Sound, from_bytes
from commands.denoise.source import Chunk, Form, Source

_MAX_32 = 0xFFFF_FFFF
_MOST_BYTES = 2**40  # file systems refuse to seek much farther
_MAX_CHUNKS = 10_000
_MAX_KEPT_BYTES = 2**26
_SUBTYPES = {
    (1, 1): "PCM_U8", (1, 2): "PCM_16", (1, 3): "PCM_24", (1, 4): "PCM_32",
    (3, 4): "FLOAT", (3, 8): "DOUBLE", (6, 1): "ALAW", (7, 1): "ULAW",
}  # fmt: skip
"""By format tag and bytes per sample."""
_EXTENSIBLE = 0xFFFE
_USUAL = (
    b"fmt ", b"data", b"fact", b"LIST", b"bext", b"iXML", b"cue ", b"id3 ", b"ID3 ", b"JUNK",
    b"smpl", b"inst", b"axml", b"chna", b"_PMX", b"PEAK",
)  # fmt: skip
_FILLERS = (b"JUNK", b"junk", b"FLLR", b"PAD ")
_NOT_KEPT = (b"fmt ", b"data", b"fact", b"ds64", b"PEAK", b"levl", b"MD5 ", b"RIFF")
"""Chunks about the container, or about the very samples that we change."""
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
"""How what other programs append to any file begins."""

_MISSING = "its sound are missing at its end"


class WavSource(Source):
    """The sound of a WAV that holds each sample on its own (see BYTES)."""

    def __init__(
        self, file: BinaryIO, form: Form, order: ByteOrder, chunks: Sequence[Chunk], note: str,
        *, measured: bool,
    ) -> None:  # fmt: skip
        self.form = form
        self.measured = measured
        self.chunks = chunks
        self.note = note
        self._file = file
        self._order = order

    def blocks(self) -> Iterator[Sound]:
        form = self.form
        frame = form.channels * BYTES[form.subtype]
        left = form.samples
        while left != 0:
            samples = form.block_samples if left is None else min(left, form.block_samples)
            coded = self._file.read(samples * frame)
            whole = len(coded) // frame
            if whole:
                yield from_bytes(coded[: whole * frame], form.subtype, form.channels, self._order)
            if whole < samples:
                if left:
                    self.note = f"{left * frame - len(coded)} bytes of {_MISSING}"
                return
            left = None if left is None else left - whole

    def close(self) -> None:
        self._file.close()


def open_wav(file: BinaryIO, file_bytes: int | None) -> WavSource | None:
    """Read the header at a file's start (`file_bytes` long; None: a pipe).

    None if this is no WAV, or one whose sound is compressed. The source closes the file.
    """
    walk = _begin(file)
    size = walk.to_sound() if walk else None
    if walk is None or size is None:
        return None
    chunks = dict(walk.chunks)
    size = _wide_size(size, chunks.get(b"ds64", b""))
    start = 0 if file_bytes is None else file.tell()
    if file_bytes is None:
        data_bytes, note = None if _is_open(size) else size, ""
    else:
        data_bytes, note = walk.measure(size, file_bytes - start)
        file.seek(start)
    form = _form(walk, chunks.get(b"fmt ", b""), data_bytes)
    if form is None:
        return None
    return WavSource(file, form, walk.order, walk.kept, note, measured=file_bytes is not None)


def read_chunks(file: BinaryIO, file_bytes: int) -> list[Chunk]:
    """Read what else a WAV holds, whatever its sound is; nothing if this is no WAV."""
    file.seek(0)
    walk = _begin(file)
    size = walk.to_sound() if walk else None
    if walk is None or size is None:
        return []
    walk.measure(size, file_bytes - file.tell())
    return walk.kept


@dataclass
class _Walk:
    """Goes through a file's chunks and takes their content; fillers are left out."""

    file: BinaryIO
    name: str  # WAV, RF64, BW64, W64
    order: ByteOrder
    told_bytes: int  # how long the file says it is
    chunks: list[Chunk] = field(default_factory=list)
    _padding: int = 0  # behind the chunk before
    _more_sound: int = 0  # bytes in further chunks of sound

    @property
    def _wide(self) -> bool:
        """Whether ids have 16 bytes, sizes have 8 and include both, and chunks begin at 8s."""
        return self.name == "W64"

    @property
    def kept(self) -> list[Chunk]:
        """What fits into an output: chunks of Wave64 have other names, RIFX another order."""
        if self.name == "W64" or self.order == "big":
            return []
        return [chunk for chunk in self.chunks if chunk[0] not in _NOT_KEPT]

    def to_sound(self) -> int | None:
        """Go to the first byte of sound; returns how many bytes it says it has."""
        for _ in range(_MAX_CHUNKS):
            head = self._next()
            if head is None:
                return None
            name, size = head
            if name == b"data":
                return size
            self._take(name, size)
        return None

    def measure(self, size: int, there: int) -> tuple[int, str]:
        """Find out how many bytes of sound there are, and take the chunks behind it.

        `size` is what the header says, `there` what the file has. Returns a note too, if they
        do not fit together.
        """
        start = self.file.tell()
        if self.name == "WAV" and size < there and not _is_open(size):
            size += (there - size) >> 32 << 32  # a size of 32 bits that has wrapped
        if size > there:
            missing = f"{size - there} bytes of {_MISSING}"
            return there, "" if _is_open(size) else missing
        before = len(self.chunks)
        self._padding = -size % (8 if self._wide else 2)
        rest = self._behind(start + size, start + there)
        if rest > 1 and _is_open(size):
            del self.chunks[before:]
            return there, ""
        if rest > 1 and rest == there - size and self._is_stale(start + size):
            return (
                there,
                f"its header is out of date; {rest} bytes of sound behind its end were read",
            )
        notes = [f"{rest} bytes after the end of its sound were left out"] if rest > 1 else []
        if self._more_sound:
            notes.append(f"a second sound in it, {self._more_sound} bytes, was left out")
        return size, "; ".join(notes)

    def _is_stale(self, end: int) -> bool:
        """Tell whether both sizes end here, and what follows (no chunk) is sound.

        So does what some recorders leave that renew their header now and then, when they crash.
        """
        ds64 = dict(self.chunks).get(b"ds64", b"")
        told = 8 + unpack_from("<Q", ds64)[0] if len(ds64) >= 16 else self.told_bytes
        self.file.seek(end)
        return 0 <= told - end <= self._padding and not self.file.read(11).startswith(_TAGS)

    def _behind(self, begin: int, end: int) -> int:
        """Take the chunks from `begin` on; returns how many bytes follow that are none."""
        self.file.seek(begin)
        for _ in range(_MAX_CHUNKS):
            head = self._next()
            if head is None or head[1] > end - self.file.tell():
                break
            begin = self.file.tell() + head[1]
            if head[0] in (b"data", b"RIFF", b"riff"):
                self._more_sound += head[1]
            self._take(*head)
        return end - begin

    def _next(self) -> tuple[bytes, int] | None:
        """Read a chunk's id and size; None at the end, or where there is no chunk."""
        if self._wide:
            head = self.file.read(self._padding + 24)[self._padding :]
            size = max(0, int.from_bytes(head[16:], "little") - 24)
            return (head[:4], size) if len(head) == 24 else None
        head = self.file.read(8)
        if self._padding and head[:4] not in _USUAL:  # some programs forget the padding
            head = head[1:] + self.file.read(1)
        if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):
            return None
        return head[:4], int.from_bytes(head[4:], self.order)

    def _take(self, name: bytes, size: int) -> None:
        room = _MAX_KEPT_BYTES - sum(len(content) for _, content in self.chunks)
        if name not in _FILLERS and size <= room:
            content = self.file.read(size)
            if len(content) == size:
                self.chunks.append((name, content))
        elif self.file.seekable():
            self.file.seek(min(size, _MOST_BYTES), os.SEEK_CUR)
        else:
            while size > 0 and (skipped := len(self.file.read(min(size, 2**16)))):
                size -= skipped
        self._padding = -size % (8 if self._wide else 2)


def _begin(file: BinaryIO) -> _Walk | None:
    """Tell the family's members apart; None if this is none."""
    head = file.read(12)
    if head[:4] == b"riff":
        rest = file.read(28)
        told_bytes = int.from_bytes(rest[4:12], "little")
        return _Walk(file, "W64", "little", told_bytes) if rest[12:16] == b"wave" else None
    if head[8:] != b"WAVE" or head[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return None
    name = "WAV" if head[:3] == b"RIF" else head[:4].decode()
    order: ByteOrder = "big" if head[:4] == b"RIFX" else "little"
    return _Walk(file, name, order, 8 + int.from_bytes(head[4:8], order))


def _wide_size(size: int, ds64: bytes) -> int:
    """Get the sound's size of 64 bits, where there is one."""
    return unpack_from("<Q", ds64, 8)[0] if size in (0, _MAX_32) and len(ds64) >= 16 else size


def _is_open(size: int) -> bool:
    """Tell whether a size means "to the end": what programs write before they know, or into pipes.

    sox writes 0x7FFFF000, arecord 0x80000000, ffmpeg 0xFFFFFFFF.
    """
    return (
        size == 0
        or 0x7FFF_F000 <= size <= 0x8000_0000
        or 0xFFFF_F000 <= size <= _MAX_32
        or size >= 2**62
    )


def _form(walk: _Walk, fmt: bytes, data_bytes: int | None) -> Form | None:
    """Read a format chunk; None if it is damaged or its sound is compressed."""
    if len(fmt) < 16:
        return None
    byte_order = "<" if walk.order == "little" else ">"
    tag, channels, rate, _, block, bits = unpack_from(f"{byte_order}HHIIHH", fmt)
    speakers = None
    if tag == _EXTENSIBLE and len(fmt) >= 40:
        speakers, tag = unpack_from(f"{byte_order}IH", fmt, 20)
    if not channels or not rate:
        return None
    width = max(-(-bits // 8), block // channels)  # 24 bits may come in 4 bytes
    subtype = _SUBTYPES.get((tag, width))
    if subtype is None:
        return None
    container = "WAVEX" if walk.name == "WAV" and speakers is not None else walk.name
    samples = None if data_bytes is None else data_bytes // (channels * width)
    return Form(container, subtype, rate, channels, samples, speakers)
