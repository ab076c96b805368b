"""Only recordings beyond the limits on age and size are deleted."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from foundation.ids import new_id
from recordings.index import Recording, RecordingIndex, RecordingState
from recordings.retention import Retention, apply_retention
from recordings.store import RecordingStore
from recordings.wav import SpoolMeta

DAY_S = 86_400.0


async def keep(
    index: RecordingIndex,
    store: RecordingStore,
    folder: Path,
    *,
    age_days: float,
    size_bytes: int = 1000,
    username: str = "anna",
    state: RecordingState = RecordingState.READY,
) -> Recording:
    """Store a recording that ended a given time ago."""
    meta = SpoolMeta(new_id(), username, "stream-1", time.time() - age_days * DAY_S)
    recording = replace(Recording.of(meta, state), size_bytes=size_bytes)
    await index.put(recording)
    file = folder / "file"
    file.write_bytes(b"x" * size_bytes)
    store.put(file, recording.key)
    return recording


async def test_old_recordings_go(
    index: RecordingIndex, store: RecordingStore, tmp_path: Path
) -> None:
    """Those that ended before the limit go; never one that is still being written or stored."""
    old = await keep(index, store, tmp_path, age_days=31)
    young = await keep(index, store, tmp_path, age_days=29)
    for state in (RecordingState.RECORDING, RecordingState.STORING):
        await keep(index, store, tmp_path, age_days=400, state=state)
    deleted = await apply_retention(Retention(max_age_s=30 * DAY_S), index=index, store=store)
    assert deleted == [old]
    assert not store.exists(old.key) and store.exists(young.key)
    assert old not in (listed := await index.list("anna")) and len(listed) == 3
    assert not await index.put(old)  # gone for good


async def test_the_newest_of_a_user_stay(
    index: RecordingIndex, store: RecordingStore, tmp_path: Path
) -> None:
    """The limit is per user; a recording that alone exceeds it stays."""
    oldest, middle, newest = [
        await keep(index, store, tmp_path, age_days=days, size_bytes=400) for days in (3, 2, 1)
    ]
    other = await keep(index, store, tmp_path, age_days=9, size_bytes=5000, username="berta")
    deleted = await apply_retention(Retention(max_user_bytes=1000), index=index, store=store)
    assert deleted == [oldest]
    assert await index.list("anna") == [newest, middle]
    assert await index.list("berta") == [other]


@pytest.mark.parametrize("retention", [Retention(), Retention(max_age_s=DAY_S * 999)])
async def test_nothing_goes_without_need(
    retention: Retention, index: RecordingIndex, store: RecordingStore, tmp_path: Path
) -> None:
    """No limit, no deletion."""
    recording = await keep(index, store, tmp_path, age_days=500)
    assert await apply_retention(retention, index=index, store=store) == []
    assert store.exists(recording.key)
