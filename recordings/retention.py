"""How long recordings are kept. We delete them ourselves: lifecycle rules vary from S3 to S3."""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass

from foundation.logs import fields
from recordings.finish import discard
from recordings.index import Reason, Recording, RecordingIndex
from recordings.recording import STORED
from recordings.store import RecordingStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retention:
    """Limits; None for no limit. Each user keeps the newest `max_user_bytes` of recordings."""

    max_age_s: float | None = None
    max_user_bytes: int | None = None

    def __bool__(self) -> bool:
        return self.max_age_s is not None or self.max_user_bytes is not None


KEEP_ALL = Retention()


async def apply_retention(
    retention: Retention, *, index: RecordingIndex, store: RecordingStore
) -> list[Recording]:
    """Delete stored recordings beyond the limits; returns them.

    Never touches one that is being written or stored, and never deletes a user's newest for its
    size. Raises RedisUnavailable or StoreUnavailable; safe to repeat.
    """
    kept_bytes: Counter[str] = Counter()
    deleted = []
    async for recording in index.everything():
        if recording.state not in STORED:
            continue
        if _too_old(recording, retention):
            reason = Reason.AGE
        elif not _has_room(recording, kept_bytes, retention):
            reason = Reason.QUOTA
        else:
            kept_bytes[recording.owner] += recording.size_bytes
            continue
        log.info(
            "recording exceeds the retention limits and is deleted",
            extra=fields(recording=recording.id),
        )
        await discard(recording, reason, index=index, store=store)
        deleted.append(recording)
    return deleted


async def delete_due(index: RecordingIndex, store: RecordingStore) -> list[Recording]:
    """Delete for good what people deleted and can no longer restore; returns it.

    The object goes first, so that a failed attempt is repeated. Any number of processes may call
    this at once. Raises RedisUnavailable or StoreUnavailable; safe to repeat.
    """
    due = await index.due()
    for recording in due:
        await delete_now(recording, Reason.OWNER, index=index, store=store)
        log.info("deleted recording is gone", extra=fields(recording=recording.id))
    return due


async def delete_now(
    recording: Recording, reason: Reason, *, index: RecordingIndex, store: RecordingStore
) -> None:
    """Delete a recording: its object first, so that a failed attempt can be repeated.

    `discard` deletes again, in case something was stored in between.
    """
    await asyncio.to_thread(store.delete, recording.key)
    await discard(recording, reason, index=index, store=store)


def _too_old(recording: Recording, retention: Retention) -> bool:
    ended_at = recording.started_at + recording.duration_s
    return retention.max_age_s is not None and time.time() - ended_at > retention.max_age_s


def _has_room(recording: Recording, kept: Counter[str], retention: Retention) -> bool:
    if retention.max_user_bytes is None or not kept[recording.owner]:
        return True
    return kept[recording.owner] + recording.size_bytes <= retention.max_user_bytes
