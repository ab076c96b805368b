"""A user's limit: what is stored counts, and beyond it streams are not recorded."""

import asyncio
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

import recordings.live
from foundation.redis import RedisClient
from recordings.index import RecordingIndex, RecordingState
from recordings.quota import DISK_FULL, Quota
from recordings.recorder import Recorder
from recordings.store import RecordingStore
from recordings.wav import HEADER_BYTES, SAMPLE_BYTES, SAMPLE_RATE
from tests.recordings.spools import STARTED_AT, files_in, some_sound
from tests.recordings.test_index import some_recording
from tests.waiting import until

SECOND = SAMPLE_RATE * SAMPLE_BYTES
Usage = namedtuple("Usage", "free")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the limit more often than usual."""
    monkeypatch.setattr(recordings.live, "CHECK_INTERVAL_S", 0.01)


class Stream:
    """One stream of anna's with a quota; `told` is what she hears of her storage."""

    def __init__(
        self, index: RecordingIndex, store: RecordingStore, folder: Path, quota: Quota
    ) -> None:
        self.told: list[str] = []
        self.recorder = Recorder(index, store, folder, quota=quota, other_disks=[folder.parent])
        self.recording = self.recorder.record("anna", "stream-1", tell=self.told.append)

    def push(self, seconds: int) -> None:
        """Send sound."""
        for second in range(seconds):
            for block in some_sound(SAMPLE_RATE, seed=second).reshape(10, -1):
                self.recording.push(block)


async def test_used_bytes_follow_every_change(index: RecordingIndex, redis: RedisClient) -> None:
    """They are the sum of the entries, also of those made before anybody asked."""
    first, second = some_recording(), replace(some_recording(), size_bytes=0)
    await index.put(first)
    await index.put(some_recording("bert"))
    assert await index.used_bytes("anna") == first.size_bytes
    await index.put(replace(second, state=RecordingState.RECORDING))
    for size in (12_000_000_000, 11_000_000_000):
        await index.put(replace(second, size_bytes=size))
        assert await index.used_bytes("anna") == first.size_bytes + size
    await redis.delete("hushcast:recordings:bytes:anna")
    assert await index.used_bytes("anna") == first.size_bytes + 11_000_000_000
    await index.set_absent(first)
    assert await index.used_bytes("anna") == 11_000_000_000
    await index.remove_user("anna", None)
    assert await index.used_bytes("anna") == await index.used_bytes("nobody") == 0
    assert not await redis.keys("hushcast:recordings:bytes:*")


async def test_a_recording_ends_at_the_limit_and_the_stream_goes_on(
    index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> None:
    """It is stored as far as it got, the user was warned first, and deleting makes room."""
    await index.put(earlier := replace(some_recording(), size_bytes=18 * SECOND))
    quota = Quota(20 * SECOND)
    stream = Stream(index, store, spool_dir, quota)
    async with stream.recording as recording:
        recording.begin(STARTED_AT)
        stream.push(1)
        await until(lambda: stream.told == [quota.almost_full])
        stream.push(3)
        await until(lambda: stream.told == [quota.almost_full, quota.full])
        await stream.recorder.wait_stored()  # while the stream is live
        stream.push(1)
    [kept, _] = await index.list("anna")
    assert kept.state is RecordingState.READY and store.size(kept.key) == kept.size_bytes
    assert 0 <= 2 * SECOND - kept.size_bytes < SECOND // 10 + HEADER_BYTES
    assert files_in(spool_dir) == []

    stream = Stream(index, store, spool_dir, quota)
    async with stream.recording as recording:
        recording.begin(STARTED_AT)
        stream.push(1)
    await stream.recorder.wait_stored()
    assert stream.told == [quota.full] and len(await index.list("anna")) == 2

    await index.remove(earlier.id)
    stream = Stream(index, store, spool_dir, quota)
    async with stream.recording as recording:
        recording.begin(STARTED_AT)
        stream.push(1)
    await stream.recorder.wait_stored()
    assert stream.told == [] and len(await index.list("anna")) == 2


async def test_beyond_the_limit_nothing_is_begun(
    index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> None:
    """Neither listed nor written; the user hears it once."""
    await index.put(replace(some_recording(), size_bytes=2 * SECOND))
    stream = Stream(index, store, spool_dir, Quota(2 * SECOND))
    async with stream.recording as recording:
        recording.begin(STARTED_AT)
        stream.push(2)
        await asyncio.sleep(0)
        assert not stream.recorder.busy and recording.recording_id is None
    assert stream.told == [Quota(2 * SECOND).full]
    assert len(await index.list("anna")) == 1 and files_in(spool_dir) == []


@pytest.mark.parametrize(
    ("limit", "used", "reached"),
    [
        (None, 10**15, False),
        (10**10, 10**10 - 11 * SECOND, False),
        (10**10, 10**10 - 9 * SECOND, True),
        (500_000, 490_000, False),
        (500_000, 498_930, True),
    ],
)
def test_a_moment_below_the_limit_is_full(limit: int | None, used: int, reached: bool) -> None:
    """A recording ends just below it, so that the limit itself is hardly ever met."""
    assert Quota(limit).reached(used) is reached


def test_limits_are_told_in_fitting_units() -> None:
    """A small one is not 0.0005 GB."""
    assert " 0.5 MB " in Quota(500_000).full and " 2.5 GB." in Quota(2_500_000_000).almost_full


async def test_another_disk_that_is_full_ends_recordings_too(
    index: RecordingIndex,
    store: RecordingStore,
    spool_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of the data folder: what was written is stored, and the user hears it."""
    free = {spool_dir: 1 << 40, spool_dir.parent: 1 << 40}
    monkeypatch.setattr("shutil.disk_usage", lambda disk: Usage(free[disk]))
    stream = Stream(index, store, spool_dir, Quota())
    async with stream.recording as recording:
        recording.begin(STARTED_AT)
        stream.push(1)
        await until(lambda: recording.spool is not None)
        free[spool_dir.parent] = 1 << 20
        stream.push(2)
        await until(lambda: stream.told == [DISK_FULL])
        await stream.recorder.wait_stored()
    [kept] = await index.list("anna")
    assert kept.state is RecordingState.READY and kept.duration_s > 0
