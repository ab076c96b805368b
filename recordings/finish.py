"""From a closed spool to a verified object: the spool stays until the store has all of it."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from foundation.logs import fields
from foundation.redis import RedisUnavailable
from recordings.index import Reason, Recording, RecordingIndex, RecordingState
from recordings.names import Copy
from recordings.spool import ClaimedSpool, claim_spool
from recordings.store import ObjectMissing, RecordingStore, StoreUnavailable
from recordings.stored import make_whole
from recordings.uploader import complete
from recordings.uploads import Upload

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 30.0

Result = TypeVar("Result")


class StoredDiffers(Exception):
    """The object read back differs from what was put."""


async def finish(
    spool_path: Path,
    *,
    index: RecordingIndex,
    store: RecordingStore,
    state: RecordingState = RecordingState.READY,
    title: str | None = None,
) -> Recording | None:
    """Store a closed spool, verify it, list it as `state`, and only then delete the spool.

    `title` counts only if nothing was listed before.

    While Redis or S3 is away, retries until it succeeds or is cancelled; a later call resumes where
    an earlier one stopped. Returns None if there is nothing to keep: no sound, or its owner deleted
    it meanwhile. If somebody else finishes or has finished the spool, returns the entry now in the
    index. Raises SpoolDamaged.
    """
    async with claimed(spool_path) as spool:
        if spool is None:
            return await persist("index", lambda: index.get(spool_path.stem))
        return await finish_claimed(spool, index=index, store=store, state=state, title=title)


@asynccontextmanager
async def claimed(spool_path: Path) -> AsyncIterator[ClaimedSpool | None]:
    """Hold a spool's lock; yields None if there is nothing to claim. Raises SpoolDamaged."""
    claim = asyncio.create_task(asyncio.to_thread(claim_spool, spool_path), name="claim spool")
    try:
        yield await asyncio.shield(claim)
    finally:
        # The thread cannot be cancelled, so even a cancelled caller waits for the lock to release.
        spool = await claim
        if spool is not None:
            spool.close()


async def finish_claimed(
    spool: ClaimedSpool,
    *,
    index: RecordingIndex,
    store: RecordingStore,
    state: RecordingState,
    title: str | None = None,
) -> Recording | None:
    """Do what `finish` does, for a spool whose lock the caller holds."""
    if spool.meta is None or not spool.samples:
        await persist("index", lambda: index.remove(spool.path.stem))
        await asyncio.to_thread(spool.remove)
        return None
    recording = replace(
        Recording.of(spool.meta, RecordingState.STORING),
        duration_s=spool.duration_s,
        size_bytes=spool.size_bytes,
        title=title,
    )
    if state is RecordingState.RECOVERED:
        recording = recording.found()
    kept = await persist("index", lambda: index.put(recording))
    upload = await persist("index", lambda: index.uploads.read(recording.id))
    if kept:
        done = replace(kept, state=state, peaks=await asyncio.to_thread(spool.peaks))
        done = await persist("store", lambda: asyncio.to_thread(_store, spool, done, store, upload))
        kept = await persist("index", lambda: index.put(done))
    if not kept:  # its owner deleted it meanwhile
        await persist("store", lambda: asyncio.to_thread(store.delete, recording.key))
        await _forget(upload, index, store)
        await asyncio.to_thread(spool.remove)
        return None
    await persist("index", lambda: index.copies.want(recording.id, Copy.SMALL))
    await persist("store", lambda: asyncio.to_thread(store.tails.delete, recording.key))
    await _forget(upload, index, store)
    await asyncio.to_thread(spool.remove)
    told = fields(recording=kept.id, state=kept.state, duration_s=round(kept.duration_s, 1))
    log.info("recording is stored", extra=told)
    return kept


async def discard(
    recording: Recording, reason: Reason, *, index: RecordingIndex, store: RecordingStore
) -> None:
    """Delete a recording for good, from the index first so that it cannot come back.

    Raises RedisUnavailable or StoreUnavailable; after the latter, `reconcile` deletes the object.
    """
    await index.remove(recording.id, reason)
    await asyncio.to_thread(store.delete, recording.key)


async def discard_user(
    username: str, account: str | None, *, index: RecordingIndex, store: RecordingStore
) -> None:
    """Delete everything that an account recorded, as `discard` does."""
    for recording in await index.remove_user(username, account):
        await asyncio.to_thread(store.delete, recording.key)


def _stored_already(path: Path, key: str, store: RecordingStore) -> bool:
    """Tell whether an earlier run stored the spool; False if the object cannot be read back."""
    try:
        return store.verify(path, key)
    except StoreUnavailable as error:
        log.warning("recording %s: cannot be read back, storing it again: %s", path.stem, error)
        return False


def _store(
    spool: ClaimedSpool, recording: Recording, store: RecordingStore, upload: Upload | None
) -> Recording:
    """Make the object equal to the spool, unless it holds more; returns the object's entry."""
    path, key = spool.path, recording.key
    if _size(key, store) > spool.size_bytes:  # the disk lost sound that had been uploaded
        parts = upload.parts if upload else ()
        return make_whole(key, store, parts, title=recording.title, account=recording.account)
    if not _stored_already(path, key, store) and not _completed(path, store, upload):
        store.put(path, key)
        if not store.verify(path, key):
            raise StoredDiffers(f"the stored object differs from {path}")
    store.put_peaks(key, recording.peaks, recording.title, recording.account)
    return recording


def _size(key: str, store: RecordingStore) -> int:
    try:
        return store.size(key)
    except ObjectMissing:
        return 0


def _completed(path: Path, store: RecordingStore, upload: Upload | None) -> bool:
    """Try to complete the upload made while the stream was live, and verify the object."""
    if upload is None:
        return False
    try:
        complete(path, upload, store)
        return store.verify(path, upload.key)
    except (StoreUnavailable, ObjectMissing) as error:
        log.warning("recording %s: storing it whole instead: %s", path.stem, error)
        return False


async def _forget(upload: Upload | None, index: RecordingIndex, store: RecordingStore) -> None:
    """Clean up an upload that is stored or no longer wanted."""
    if upload is None:
        return
    try:
        await asyncio.to_thread(store.parts.abort, upload.key, upload.upload_id)
    except ObjectMissing:
        pass  # completed
    except StoreUnavailable as error:
        log.warning("recording %s: parts left behind for a day: %s", upload.recording_id, error)
    await persist("index", lambda: index.uploads.forget(upload.recording_id))


async def persist(what: str, step: Callable[[], Awaitable[Result]]) -> Result:
    """Retry an idempotent step until it succeeds, with growing delays."""
    delay_s = FIRST_RETRY_S
    while True:
        try:
            return await step()
        except (RedisUnavailable, StoreUnavailable, ObjectMissing, StoredDiffers) as error:
            log.warning("recordings: %s failed, retrying in %.1f s: %s", what, delay_s, error)
        await asyncio.sleep(delay_s * random.uniform(0.75, 1.25))
        delay_s = min(2 * delay_s, LAST_RETRY_S)
