"""Carries a FLAC's tags, pictures and cue sheet over to another one, byte for byte (RFC 9639)."""

import shutil
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from commands.denoise.source import Chunk

_LAST = 0x80
_APPLICATION, _COMMENT, _CUE_SHEET, _PICTURE = b"\x02", b"\x04", b"\x05", b"\x06"
_KEPT = (_APPLICATION, _COMMENT, _CUE_SHEET, _PICTURE)


def read_metadata(file: BinaryIO) -> list[Chunk]:
    """Read the blocks to keep, by their type of one byte; none if this is no FLAC."""
    file.seek(0)
    return [block for block in _blocks(file) if block[0] in _KEPT]


def insert_metadata(file: BinaryIO, whole: BinaryIO, blocks: Sequence[Chunk]) -> None:
    """Copy a FLAC with these blocks, in place of its own comments."""
    own = [block for block in _blocks(file) if block[0] != _COMMENT]
    whole.write(b"fLaC" + _packed([*own, *blocks]))
    shutil.copyfileobj(file, whole)


def _blocks(file: BinaryIO) -> Iterator[Chunk]:
    """Read all blocks; after the last one the file is at its first frame."""
    last = file.read(4) != b"fLaC"
    while not last:
        head = file.read(4)
        content = file.read(int.from_bytes(head[1:], "big"))
        last = len(head) < 4 or bool(head[0] & _LAST)
        if len(head) == 4:
            yield bytes([head[0] & ~_LAST]), content


def _packed(blocks: Sequence[Chunk]) -> bytes:
    packed = [bytes(kind) + len(content).to_bytes(3, "big") + content for kind, content in blocks]
    packed[-1] = bytes([packed[-1][0] | _LAST]) + packed[-1][1:]
    return b"".join(packed)
