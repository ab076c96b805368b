"""How long recordings are kept. We delete them ourselves: lifecycle rules vary from S3 to S3."""

import logging
import time
from collections import Counter
from dataclasses import dataclass

from foundation.logs import fields
from recordings.finish import discard
from recordings.index import Recording, RecordingIndex, RecordingState
from recordings.store import RecordingStore

log = logging.getLogger(__name__)

_STORED = (RecordingState.READY, RecordingState.RECOVERED)


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
        if recording.state not in _STORED:
            continue
        if not _too_old(recording, retention) and _has_room(recording, kept_bytes, retention):
            kept_bytes[recording.username] += recording.size_bytes
            continue
        log.info(
            "recording exceeds the retention limits and is deleted",
            extra=fields(recording=recording.id),
        )
        await discard(recording, index=index, store=store)
        deleted.append(recording)
    return deleted


def _too_old(recording: Recording, retention: Retention) -> bool:
    ended_at = recording.started_at + recording.duration_s
    return retention.max_age_s is not None and time.time() - ended_at > retention.max_age_s


def _has_room(recording: Recording, kept: Counter[str], retention: Retention) -> bool:
    if retention.max_user_bytes is None or not kept[recording.username]:
        return True
    return kept[recording.username] + recording.size_bytes <= retention.max_user_bytes
