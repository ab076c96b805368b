"""Finishes spools that dead processes left, and reconciles the index with the bucket."""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from recordings.finish import claimed, finish_claimed, persist
from recordings.index import Recording, RecordingIndex, RecordingState
from recordings.names import id_in_key
from recordings.recording import STORED
from recordings.spool import SpoolDamaged
from recordings.store import ObjectMissing, RecordingStore
from recordings.stored import describe, make_whole
from recordings.wav import HeaderError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Difference:
    """What `reconcile` found and did."""

    restored: tuple[Recording, ...]
    """Objects that were not in the index; they are now."""
    deleted: tuple[str, ...]
    """Keys of objects whose owner had deleted the recording; they are deleted now."""
    lost: tuple[Recording, ...]
    """Entries without an object. They stay for a person to decide."""
    foreign: tuple[str, ...]
    """Keys whose name or header is not ours. They stay."""
    absent: tuple[Recording, ...]
    """Recordings that went down with their node before anything was stored."""
    unclaimed: tuple[Recording, ...] = ()
    """Objects that were not in the index, of accounts that are not here: nobody gets them."""

    def __bool__(self) -> bool:
        found = (self.restored, self.deleted, self.lost, self.foreign, self.absent, self.unclaimed)
        return any(found)


async def recover(
    spool_dir: Path, *, index: RecordingIndex, store: RecordingStore, untouched_s: float = 0.0
) -> list[Recording]:
    """Finish every unlocked spool in a folder; returns the recordings that this call finished.

    Skips spools that changed within `untouched_s`: the process that has just closed one finishes
    it. Any number of calls may run at once, on any node; the lock gives each spool to one of them.
    A damaged spool is logged and left. Waits while Redis or S3 is away. Cancelling is safe.
    """
    recovered = []
    for path in await asyncio.to_thread(_spools, spool_dir, untouched_s):
        try:
            async with claimed(path) as spool:
                if spool is None:
                    continue
                async with index.lease(path.stem).kept() as lease:
                    if not await persist("index", lease.hold):
                        continue  # its actor or another node is finishing it
                    recording = await finish_claimed(
                        spool, index=index, store=store, state=RecordingState.RECOVERED
                    )
        except (SpoolDamaged, OSError) as error:
            log.error("recording %s: spool left unchanged: %s", path.stem, error)
            continue
        if recording is not None:
            recovered.append(recording)
    return recovered


def _spools(spool_dir: Path, untouched_s: float) -> list[Path]:
    now = time.time()
    found = []
    for path in sorted(spool_dir.glob("*.wav")):
        try:
            if now - path.stat().st_mtime >= untouched_s:
                found.append(path)
        except FileNotFoundError:  # finished meanwhile
            continue
    return found


async def reconcile(index: RecordingIndex, store: RecordingStore) -> Difference:
    """Reconcile index and bucket both ways; if Redis is empty, this rebuilds the index.

    Live streams and uploads in progress do not count as differences. Raises RedisUnavailable or
    StoreUnavailable; safe to repeat at any time.
    """
    await tell_accounts(index, store)
    deleted, foreign = [], []
    restored, unclaimed = list[Recording](), list[Recording]()
    keys = await asyncio.to_thread(lambda: list(store.list_keys()))
    for key in keys:
        recording_id = id_in_key(key)
        known = await _known(recording_id, index) if recording_id else None
        if known and known.key == key:
            continue
        try:
            recording = await asyncio.to_thread(_restored, key, store)
        except HeaderError:
            foreign.append(key)
            continue
        except ObjectMissing:  # deleted since we listed it
            continue
        if await index.put(recording):
            (restored if await index.belongs(recording) else unclaimed).append(recording)
        else:
            await asyncio.to_thread(store.delete, key)
            deleted.append(key)
    lost = await _lost(keys, index, store)
    absent = await index.absent()
    return Difference(
        tuple(restored),
        tuple(deleted),
        tuple(lost),
        tuple(foreign),
        tuple(absent),
        tuple(unclaimed),
    )


async def tell_accounts(index: RecordingIndex, store: RecordingStore) -> None:
    """Give what was made before 0.3 to the accounts that have the names, also in the bucket.

    Raises RedisUnavailable or StoreUnavailable; safe to repeat at any time.
    """
    await index.give_to_accounts()
    while await tell_some_accounts(index, store):
        pass


async def tell_some_accounts(index: RecordingIndex, store: RecordingStore) -> bool:
    """Write into the bucket whose some recordings are; returns whether there were any."""
    ids = await index.untold()
    for recording_id in ids:
        kept = await _known(recording_id, index)
        if kept and kept.state in STORED:
            beside = kept.peaks, kept.title, kept.account
            await asyncio.to_thread(store.put_peaks, kept.key, *beside)
        await index.told(recording_id)
    return bool(ids)


async def _known(recording_id: str, index: RecordingIndex) -> Recording | None:
    """Get an entry, also of a recording whose deletion can still be undone."""
    return await index.get(recording_id) or await index.get_deleted(recording_id)


async def _lost(
    keys: Iterable[str], index: RecordingIndex, store: RecordingStore
) -> list[Recording]:
    listed = set(keys)
    suspects = [
        recording
        async for recording in index.everything()
        if recording.state in STORED and recording.key not in listed
    ]
    return [  # unless it was stored or deleted after the bucket was listed
        recording
        for recording in suspects
        if not await asyncio.to_thread(store.exists, recording.key)
        and await index.get(recording.id)
    ]


def _restored(key: str, store: RecordingStore) -> Recording:
    """Make an object's entry. Without peaks it was not finished: its header may be open."""
    recording = describe(key, store, RecordingState.READY)
    return recording if recording.peaks else make_whole(key, store)
