"""Carries the comments of a Vorbis or Opus file over to another one, byte for byte (RFC 3533)."""

import os
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from struct import pack, unpack_from
from typing import BinaryIO

from commands.denoise.source import Chunk

_STARTS = (b"\x03vorbis", b"OpusTags")
"""How the packet of comments begins."""
_HEAD_BYTES = 27
_MAX_PAGE_BYTES = _HEAD_BYTES + 255 + 255 * 255
_ENDS = 4  # a flag of a page's head
_NO_PACKET_ENDS = 2**64 - 1
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

Page = tuple[bytes, bytes, bytes]
"""Its head without the number of segments, their sizes, the segments."""


def read_comments(file: BinaryIO) -> list[Chunk]:
    """Read the packet of comments, by how it begins; none if this is neither Vorbis nor Opus."""
    file.seek(0)
    pages = _pages(file)
    next(pages, None)
    packet = b"".join(_packets(pages, 1))
    return [(start, packet) for start in _STARTS if packet.startswith(start)]


def lacks_end(file: BinaryIO) -> bool:
    """Tell whether this is an Ogg without a whole last page that ends its track: it was cut."""
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MAX_PAGE_BYTES))
    tail = file.read()
    file.seek(max(0, size - len(tail)) + max(0, tail.rfind(b"OggS")))
    last = next(_pages(file), None)
    if last is None:
        return True
    head, sizes, content = last
    return not head[5] & _ENDS or len(content) < sum(sizes)


def insert_comments(file: BinaryIO, whole: BinaryIO, chunks: Sequence[Chunk]) -> None:
    """Copy an Ogg of one track with these comments, unless its codec is another one."""
    ((start, comments),) = chunks
    pages = _pages(file)
    first = next(pages)
    own, *setup = _packets(pages, 1 if first[2].startswith(b"OpusHead") else 2)
    packets = [comments if own.startswith(start) else own, *setup]
    serial = first[0][14:18]
    for number, (head, sizes, content) in enumerate(chain([first], _paged(packets, serial), pages)):
        page = head[:18] + pack("<II", number, 0) + bytes([len(sizes)]) + sizes + content
        whole.write(page[:22] + pack("<I", _checksum(page)) + page[26:])


def _pages(file: BinaryIO) -> Iterator[Page]:
    while len(head := file.read(_HEAD_BYTES)) == _HEAD_BYTES and head[:4] == b"OggS":
        sizes = file.read(head[-1])
        yield head[:-1], sizes, file.read(sum(sizes))


def _packets(pages: Iterator[Page], count: int) -> list[bytes]:
    """Join the next packets, which end with a page."""
    packets = [b""]
    for _, sizes, content in pages:
        for size in sizes:
            packets[-1] += content[:size]
            content = content[size:]
            if size < 255:
                packets.append(b"")
        if len(packets) > count:
            break
    return packets[:count]


def _paged(packets: Sequence[bytes], serial: bytes) -> Iterator[Page]:
    """Split packets into pages of at most 255 segments of at most 255 bytes."""
    sizes = b"".join(b"\xff" * (len(one) // 255) + bytes([len(one) % 255]) for one in packets)
    content = b"".join(packets)
    continued = 0
    for at in range(0, len(sizes), 255):
        some = sizes[at : at + 255]
        position = 0 if min(some) < 255 else _NO_PACKET_ENDS
        head = pack("<4sBBQ", b"OggS", 0, continued, position) + serial + bytes(8)
        yield head, some, content[: sum(some)]
        content = content[sum(some) :]
        continued = int(some[-1] == 255)


def _checksum(page: bytes) -> int:
    """Compute Ogg's CRC: zlib's with all bits the other way round, and 0 at both ends."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(unpack_from(">I", crc.to_bytes(4, "little").translate(_REVERSED))[0])
