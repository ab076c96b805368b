"""Titles of recordings: set at any time, and kept through whatever happens."""

from dataclasses import replace
from pathlib import Path

from foundation.redis import RedisClient
from recordings.index import Recording, RecordingIndex, RecordingState
from recordings.quota import UNLIMITED
from recordings.recovery import reconcile, recover
from recordings.spool import claim_spool
from recordings.store import RecordingStore
from tests.recordings.spools import STARTED_AT, some_sound, write_spool
from tests.recordings.test_quota import Stream
from tests.waiting import until


async def test_a_title_may_be_set_at_any_time(
    index: RecordingIndex, store: RecordingStore, spool_dir: Path, redis: RedisClient
) -> None:
    """Before the first sound, during the stream, after it by its owner; and Redis may be lost."""
    stream = Stream(index, store, spool_dir, UNLIMITED)
    stream.recording.title = "Tea"
    async with stream.recording as recording:
        recording.begin(STARTED_AT)
        stream.push(1)

        async def called(title: str | None) -> bool:
            return [each.title for each in await index.list("anna")] == [title]

        await until(lambda: called("Tea"))
        for title in ("Coffee", None, "Cake"):
            recording.title = title
        await until(lambda: called("Cake"))
    await stream.recorder.wait_stored()
    [kept] = await index.list("anna")
    assert kept.state is RecordingState.READY and kept.title == "Cake"
    await redis.flushdb()
    assert [each.title for each in (await reconcile(index, store)).unclaimed] == ["Cake"]


async def test_a_title_survives_its_process(
    index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> None:
    """Recovery knows only the spool; the title waits in the index."""
    path = write_spool(spool_dir, some_sound(1000))
    spool = claim_spool(path)
    assert spool is not None and spool.meta is not None
    spool.close()
    await index.put(replace(Recording.of(spool.meta), title="Tea"))
    [recovered] = await recover(spool_dir, index=index, store=store)
    assert recovered.title == "Tea" and await index.list("anna") == [recovered]
