"""Finishes the recordings of a lost node from the parts that it had uploaded, and their tail.

What the node had not stored yet is in its spool. If the node comes back, its longer spool
replaces the object (`finish.py`).
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from foundation.logs import fields
from recordings.errors import ObjectMissing
from recordings.index import Recording, RecordingIndex
from recordings.multipart import PART_BYTES, OpenUpload, Part
from recordings.names import Copy, id_in_key
from recordings.recording import STORED
from recordings.store import RecordingStore
from recordings.stored import make_whole
from recordings.tail import Tail
from recordings.wav import HeaderError

log = logging.getLogger(__name__)

IDLE_S = 75.0
"""A live stream uploads a part every 55 s. A recording that got none for this long, unleased..."""
LOOK_AGAIN_S = 12.0
"""...and still unleased after this, which is longer than a renewal takes, was abandoned."""
MAX_UPLOAD_AGE_S = 86_400.0
"""An upload that could not be finished within a day is aborted."""


class Look(IntEnum):
    """How far to look for abandoned recordings."""

    INDEX = 0
    """Those that the index knows; while there is none, the store is not asked."""
    UPLOADS = 1
    """Also those that only the store's open uploads know, after a loss of Redis."""
    BUCKET = 2
    """Also those of which there is only a tail. Lists the whole bucket."""


@dataclass(frozen=True)
class Suspect:
    """An unfinished recording; `uploads` are the open uploads of its key."""

    recording_id: str
    key: str
    uploads: tuple[OpenUpload, ...]
    entry: Recording | None


async def recover_abandoned(
    index: RecordingIndex,
    store: RecordingStore,
    look: Look = Look.BUCKET,
    *,
    idle_s: float = IDLE_S,
    look_again_s: float = LOOK_AGAIN_S,
) -> list[Recording]:
    """Finish abandoned recordings; returns those that this call finished.

    Any number of processes may call this at once: each takes a recording's lease first, so each
    recording is finished exactly once. If nothing of it was stored, it is set aside as absent.
    Raises RedisUnavailable or StoreUnavailable; safe to repeat at any time.
    """
    suspects = await _suspects(index, store, look, idle_s)
    if not suspects:
        return []
    await asyncio.sleep(look_again_s)
    finished = []
    for suspect in suspects:
        if await index.leased(suspect.recording_id):
            continue
        async with index.lease(suspect.recording_id).kept() as lease:
            if not await lease.hold():
                continue
            recording = await _finish(suspect, index, store, idle_s)
        if recording is not None:
            finished.append(recording)
    return finished


async def _suspects(
    index: RecordingIndex, store: RecordingStore, look: Look, idle_s: float
) -> list[Suspect]:
    """Find recordings that have no lease, and had a part before `idle_s`."""
    entries = {each.key: each for each in await index.unfinished()}
    keys = set(entries)
    if look >= Look.UPLOADS:
        uploads = await asyncio.to_thread(lambda: list(store.parts.open_uploads()))
        keys |= {upload.key for upload in uploads}
    if look >= Look.BUCKET:
        keys |= set(await asyncio.to_thread(lambda: list(store.list_tails())))
    ids = {key: found for key in sorted(keys) if (found := id_in_key(key)) is not None}
    unleased = [(key, each) for key, each in ids.items() if not await index.leased(each)]
    if not unleased:
        return []
    suspects, now = [], await asyncio.to_thread(store.clock)
    for key, recording_id in unleased:
        begun = tuple(await asyncio.to_thread(lambda key: list(store.parts.open_uploads(key)), key))
        entry = entries.get(key)
        young = any(now - each.started_at < idle_s for each in begun)
        if not young and (entry is None or time.time() - entry.started_at >= idle_s):
            suspects.append(Suspect(recording_id, key, begun, entry))
    return suspects


async def _finish(
    suspect: Suspect, index: RecordingIndex, store: RecordingStore, idle_s: float
) -> Recording | None:
    known = await index.get(suspect.recording_id)
    if known and known.state in STORED:  # `abort_old_uploads` aborts uploads that are still open
        await asyncio.to_thread(store.tails.delete, suspect.key)
        return None
    noted = await index.uploads.read(suspect.recording_id)
    parts = noted.parts if noted else ()
    if not await asyncio.to_thread(store.exists, suspect.key):
        tail = await asyncio.to_thread(store.tails.get, suspect.key)
        if not suspect.uploads and tail is None:
            if suspect.entry is not None:
                log.warning("recording %s: its node is lost, with all of it", suspect.recording_id)
                await index.set_absent(suspect.entry)
            return None
        if not await asyncio.to_thread(_complete, suspect, store, parts, tail, idle_s):
            return None
    try:
        title, account = (known.title, known.account) if known else (None, None)
        recording = await asyncio.to_thread(
            lambda: make_whole(suspect.key, store, parts, title=title, account=account)
        )
    except HeaderError as error:
        log.error("%s: left unchanged: %s", suspect.key, error)
        return None
    kept = await index.put(recording)
    if kept is None:  # its owner deleted it meanwhile
        await asyncio.to_thread(store.delete, suspect.key)
        return None
    await index.copies.want(kept.id, Copy.SMALL)
    await index.uploads.forget(suspect.recording_id)
    await asyncio.to_thread(store.tails.delete, suspect.key)
    told = fields(recording=kept.id, duration_s=round(kept.duration_s, 1))
    log.info("recording is recovered from what its node had stored", extra=told)
    return kept


def _complete(
    suspect: Suspect,
    store: RecordingStore,
    noted: Sequence[Part],
    tail: Tail | None,
    idle_s: float,
) -> bool:
    """Make an object of the longest upload and what follows it.

    Returns False if there is nothing to make it of, or if it is still growing.
    """
    now, best, best_parts = store.clock(), None, list[Part]()
    if tail is not None and tail.stored_at > now - idle_s:
        return False
    for upload in suspect.uploads:
        try:
            parts, newest = store.parts.parts_of(upload.key, upload.upload_id)
        except ObjectMissing:  # completed or aborted meanwhile
            continue
        if newest > now - idle_s:
            return False
        parts = _row(parts, noted)
        if len(parts) > len(best_parts):
            best, best_parts = upload, parts
    size = sum(each.size_bytes for each in best_parts)
    rest = tail.after(size) if tail and size % PART_BYTES == 0 else b""
    if best is None:
        if rest:
            store.put_bytes(rest, suspect.key)
        return bool(rest)
    if rest:
        number = len(best_parts) + 1
        best_parts.append(store.parts.put(best.key, best.upload_id, number, rest))
    store.parts.complete(best.key, best.upload_id, best_parts)
    return True


def _row(stored: Sequence[Part], noted: Sequence[Part]) -> list[Part]:
    """Choose the parts from 1 up to the first gap; of a part put twice, the one that was noted."""
    noted_crc = {(each.number, each.etag): each.crc32 for each in noted}
    by_number: dict[int, Part] = {}
    for part in stored:
        crc32 = noted_crc.get((part.number, part.etag))
        if crc32 is not None or part.number not in by_number:
            by_number[part.number] = replace(part, crc32=part.crc32 or crc32 or "")
    row: list[Part] = []
    while part := by_number.get(len(row) + 1):  # type: ignore[assignment]
        row.append(part)
        if part.size_bytes < PART_BYTES:
            break
    return row


async def abort_old_uploads(
    index: RecordingIndex, store: RecordingStore, *, max_age_s: float = MAX_UPLOAD_AGE_S
) -> int:
    """Abort old uploads of recordings whose lease nobody holds; returns how many."""
    now = await asyncio.to_thread(store.clock)
    aborted = 0
    for upload in await asyncio.to_thread(lambda: list(store.parts.open_uploads())):
        recording_id = id_in_key(upload.key)
        if now - upload.started_at < max_age_s:
            continue
        if recording_id is not None and await index.leased(recording_id):
            continue
        log.warning("%s: aborting an upload that was never finished", upload.key)
        try:
            await asyncio.to_thread(store.parts.abort, upload.key, upload.upload_id)
        except ObjectMissing:
            continue
        aborted += 1
    return aborted
