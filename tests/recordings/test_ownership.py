"""Recordings belong to accounts, not to names: whoever has a name next gets nothing of them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from foundation.redis import RedisClient
from recordings.abandoned import recover_abandoned
from recordings.finish import discard_user, finish
from recordings.index import CHANNEL, Reason, Recording, RecordingIndex, RecordingState
from recordings.recorder import Recorder
from recordings.recovery import reconcile, recover
from recordings.store import RecordingStore
from recordings.wav import HEADER_BYTES, SAMPLE_RATE, HeaderError, unpack_header
from tests.recordings.spools import STARTED_AT, files_in, register, some_sound, write_spool
from tests.recordings.test_index import some_recording

SOUND = some_sound(SAMPLE_RATE)
ANNA, NEXT_ANNA = "0123456789abcdef", "fedcba9876543210"


async def record(index: RecordingIndex, store: RecordingStore, folder: Path) -> Recording:
    """Record a stream of anna's as an actor does."""
    recorder = Recorder(index, store, folder)
    async with recorder.record("anna", "stream-1") as recording:
        recording.begin(STARTED_AT)
        recording.push(SOUND)
    await recorder.wait_stored()
    kept = await index.get(recording.recording_id or "")
    assert kept is not None
    return kept


async def test_a_name_alone_gets_nothing_after_a_lost_redis(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """The next one of that name sees, hears and deletes nothing; the old account gets it back."""
    await register(redis, {"anna": ANNA})
    kept = await record(index, store, spool_dir)
    assert kept.account == ANNA and await index.list("anna") == [kept]

    await redis.flushdb()
    await register(redis, {"anna": NEXT_ANNA})
    assert (await reconcile(index, store)).unclaimed == (kept,)
    assert await index.list("anna") == [] and await index.used_bytes("anna") == 0
    assert not await index.belongs(kept)
    await discard_user("anna", NEXT_ANNA, index=index, store=store)
    assert store.exists(kept.key)

    await register(redis, {"anna": ANNA})
    assert await index.list("anna") == [kept] and await index.belongs(kept)
    assert await index.used_bytes("anna") == kept.size_bytes


@pytest.mark.parametrize("before", ["reconcile", "register"])
async def test_what_says_nobodys_name_is_nobodys(
    before: str, spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """After a lost Redis, an object made before 0.3 belongs to nobody, whoever comes first."""
    await finish(write_spool(spool_dir, SOUND), index=index, store=store)
    await redis.flushdb()
    if before == "register":
        await register(redis, {"anna": NEXT_ANNA})
    (kept,) = (await reconcile(index, store)).unclaimed
    await register(redis, {"anna": NEXT_ANNA})
    assert await index.list("anna") == [] and not await index.belongs(kept)


async def test_a_spool_that_turns_up_late_is_its_accounts(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """A node comes back after Redis was lost: its header says whose it is; nobody else hears."""
    write_spool(spool_dir, SOUND, account=ANNA)
    await register(redis, {"anna": NEXT_ANNA})
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(redis.channel(CHANNEL))
        await pubsub.get_message(timeout=1)
        (kept,) = await recover(spool_dir, index=index, store=store)
        assert await pubsub.get_message(timeout=0.2) is None
    assert kept.account == ANNA and await index.list("anna") == []
    assert store.get_beside(kept.key).account == ANNA


async def test_what_was_made_before_accounts_counted_stays_its_owners(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """An update gives each name's recordings to its account, in the index and in the bucket."""
    kept = await finish(write_spool(spool_dir, SOUND), index=index, store=store)
    other, deleted = some_recording("bert"), some_recording()
    assert kept is not None and kept.account is None
    for each in (other, deleted):
        await index.put(each)
    await index.delete(deleted, Reason.OWNER)
    for key in await redis.keys("hushcast:recording:*"):
        entry = json.loads(str(await redis.get(key)))
        await redis.set(key, json.dumps({n: v for n, v in entry.items() if n != "account"}))

    await register(redis, {"anna": ANNA})
    mine = replace(kept, account=ANNA)
    assert await index.list("anna") == [mine] and await index.list("bert") == [other]
    assert await index.list_deleted("anna") == [replace(deleted, account=ANNA)]
    assert await index.used_bytes("anna") == kept.size_bytes + deleted.size_bytes
    assert await index.restore(kept) is None
    assert await index.restore(deleted) == replace(deleted, account=ANNA)
    assert await index.change(kept, title="Tea") == replace(mine, title="Tea")
    for each in (other, deleted):
        await index.remove(each.id)
    assert not await reconcile(index, store)

    await redis.flushdb()
    await register(redis, {"anna": ANNA})
    assert (await reconcile(index, store)).restored == (replace(mine, title="Tea"),)


async def test_a_recording_away_with_its_node_goes_with_its_account(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """It does not come back with the node, to whoever has the name by then."""
    await register(redis, {"anna": ANNA})
    path = write_spool(spool_dir, SOUND, account=ANNA)
    meta = unpack_header(path.read_bytes()[:HEADER_BYTES])
    await index.put(Recording.of(meta, RecordingState.RECORDING))
    assert await recover_abandoned(index, store, idle_s=-5, look_again_s=0) == []
    assert [each.account for each in await index.absent()] == [ANNA]
    await discard_user("anna", ANNA, index=index, store=store)
    await register(redis, {"anna": NEXT_ANNA})
    assert await recover(spool_dir, index=index, store=store) == []
    assert await index.list("anna") == [] and not list(store.list_keys())
    assert files_in(spool_dir) == []


def test_the_header_holds_the_account(spool_dir: Path) -> None:
    """It is read back; a header that has none, or something else there, is told apart."""
    header = write_spool(spool_dir, SOUND, account=ANNA).read_bytes()[:HEADER_BYTES]
    assert unpack_header(header).account == ANNA
    nobody = header.replace(ANNA.encode(), bytes(len(ANNA)))
    assert unpack_header(nobody).account == ""
    with pytest.raises(HeaderError, match="account"):
        unpack_header(header.replace(ANNA.encode(), b"../etc/passwd\0\0\0"))
