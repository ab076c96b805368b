"""Describes objects in the bucket by their own headers, and completes those made of parts."""

import base64
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from recordings.errors import ObjectMissing, RangeNotSatisfiable
from recordings.index import Recording, RecordingState
from recordings.multipart import PART_BYTES, Part
from recordings.peaks import peaks_of
from recordings.store import RecordingStore
from recordings.wav import (
    HEADER_BYTES,
    SAMPLE_RATE,
    HeaderError,
    pack_header,
    samples_in,
    unpack_header,
)

log = logging.getLogger(__name__)


def describe(key: str, store: RecordingStore, state: RecordingState) -> Recording:
    """Make an entry from an object's own header. Raises HeaderError or ObjectMissing."""
    header, size_bytes = _header_of(key, store)
    recording = replace(
        Recording.of(unpack_header(header), state),
        duration_s=samples_in(size_bytes) / SAMPLE_RATE,
        size_bytes=size_bytes,
    )
    if recording.key != key:
        raise HeaderError(f"its header belongs under {recording.key}")
    try:
        beside = store.get_beside(key)
    except ObjectMissing:
        return recording.found()
    account = beside.account or recording.account
    return replace(recording, peaks=beside.peaks, title=beside.title, account=account).found()


def make_whole(
    key: str,
    store: RecordingStore,
    parts: Sequence[Part] = (),
    *,
    title: str | None = None,
    account: str | None = None,
) -> Recording:
    """Give an object that was made of parts its true header and its peaks. Idempotent.

    It belongs to `account`, or if that is None to the account in its header.
    Reads the object once and logs parts that differ from their CRCs. Raises HeaderError,
    ObjectMissing or StoreUnavailable.
    """
    header, size_bytes = _header_of(key, store)
    meta = unpack_header(header)
    true_header = pack_header(meta, samples_in(size_bytes))
    if header != true_header:
        store.parts.replace_head(key, true_header)
    body = store.open(key)
    try:
        peaks = peaks_of(_checked(body, key, parts), size_bytes)
        store.put_peaks(key, peaks, title, account or meta.account)
    finally:
        body.close()
    return describe(key, store, RecordingState.RECOVERED)


def _header_of(key: str, store: RecordingStore) -> tuple[bytes, int]:
    """Read an object's header and size."""
    try:
        stored = store.open(key, f"bytes=0-{HEADER_BYTES - 1}")
    except RangeNotSatisfiable as error:
        raise HeaderError("it is empty") from error
    try:
        header = b"".join(stored)
    finally:
        stored.close()
    return header, int(stored.headers.get("Content-Range", "/0").rsplit("/", 1)[1])


def _checked(chunks: Iterable[bytes], key: str, parts: Sequence[Part]) -> Iterator[bytes]:
    """Pass chunks on; check every part but the first, whose header has been replaced by now."""
    crcs = {each.number: each.crc32 for each in parts if each.number > 1 and each.crc32}
    number, room, crc = 1, PART_BYTES, 0
    for chunk in chunks:
        yield chunk
        while chunk:
            piece, chunk = chunk[:room], chunk[room:]
            crc, room = zlib.crc32(piece, crc), room - len(piece)
            if not room:
                if crcs.get(number) not in (
                    None,
                    base64.b64encode(crc.to_bytes(4, "big")).decode(),
                ):
                    log.error("%s: part %d differs from what was uploaded", key, number)
                number, room, crc = number + 1, PART_BYTES, 0
