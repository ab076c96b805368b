"""The index in a real Valkey: pages, messages, and removed recordings that stay removed."""

import asyncio
from dataclasses import replace

import pytest

from foundation.ids import new_id
from foundation.redis import RedisClient, RedisUnavailable, connect
from recordings.index import (
    CHANNEL,
    Reason,
    Recording,
    RecordingChange,
    RecordingIndex,
    RecordingState,
)
from recordings.names import id_in_key, recording_key
from recordings.writer import SpoolMeta
from tests.recordings.spools import some_meta
from tests.waiting import until


def some_recording(username: str = "anna") -> Recording:
    return replace(
        Recording.of(some_meta(username), RecordingState.READY),
        duration_s=1.5,
        size_bytes=144_690,
        peaks=(0.0, 0.125, 1.0),
    )


async def test_what_is_put_is_got(index: RecordingIndex) -> None:
    """Every field survives, and an unknown id is None."""
    recording = some_recording()
    assert await index.put(recording)
    assert await index.get(recording.id) == recording
    assert await index.get(new_id()) is None


async def test_ids_sort_by_time_and_do_not_repeat() -> None:
    """A later recording has a larger id; two in the same millisecond have different ids."""
    ids = {new_id() for _ in range(1000)}
    await asyncio.sleep(0.003)
    later = new_id()
    assert len(ids) == 1000 and all(earlier < later for earlier in ids)


async def test_list_pages_newest_first(index: RecordingIndex) -> None:
    """Pages are complete, ordered, free of repeats, and hold only the user's own recordings."""
    mine = []
    for _ in range(7):
        mine.append(some_recording())
        await index.put(mine[-1])
        await index.put(some_recording("bert"))
    expected = sorted(mine, key=lambda recording: recording.id, reverse=True)
    seen: list[Recording] = []
    while page := await index.list("anna", before=seen[-1].id if seen else None, limit=3):
        assert len(page) <= 3
        seen += page
    assert seen == expected
    assert len([r async for r in index.everything()]) == 14
    assert await index.list("nobody") == []
    with pytest.raises(ValueError, match="username"):
        await index.list("anna:x")


async def test_every_change_is_published(index: RecordingIndex, redis: RedisClient) -> None:
    """Subscribers get the recording on each put, and once more when it is removed."""
    recording = some_recording()
    storing = replace(recording, state=RecordingState.STORING, peaks=())
    messages = []
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(redis.channel(CHANNEL))
        await index.put(storing)
        await index.put(recording)
        await index.remove(recording.id)

        async def three() -> bool:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message:
                messages.append(RecordingChange.from_json(message["data"]))
            return len(messages) == 3

        await until(three)
    assert messages == [
        RecordingChange(storing, removed=False),
        RecordingChange(recording, removed=False),
        RecordingChange(recording, removed=True),
    ]


async def test_what_is_removed_stays_removed(index: RecordingIndex) -> None:
    """A late put of a removed id is refused, so a deleted recording cannot come back."""
    recording = some_recording()
    await index.put(recording)
    assert await index.remove(recording.id) == recording
    assert await index.remove(recording.id) is None
    assert not await index.put(recording)
    assert await index.get(recording.id) is None and await index.list("anna") == []


async def test_what_is_deleted_takes_news_and_tells_none(
    index: RecordingIndex, redis: RedisClient
) -> None:
    """A recording deleted while it is being stored is stored; restoring it tells how far it is."""
    recording = some_recording()
    storing = replace(recording, state=RecordingState.STORING)
    await index.put(storing)
    messages: list[RecordingChange] = []
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(redis.channel(CHANNEL))
        assert await index.delete(storing, Reason.OWNER) == storing
        assert await index.delete(storing, Reason.OWNER) is None
        assert await index.put(recording) == recording
        assert await index.get(recording.id) is None and await index.list("anna") == []
        assert await index.change(recording, title="x") is None
        assert await index.used_bytes("anna") == recording.size_bytes
        assert await index.restore(recording) == recording
        assert await index.restore(recording) is None
        await index.remove(recording.id, Reason.AGE)

        async def three() -> bool:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message:
                messages.append(RecordingChange.from_json(message["data"]))
            return len(messages) == 3

        await until(three)
    assert messages == [
        RecordingChange(storing, removed=True, reason=Reason.OWNER),
        RecordingChange(recording, removed=False),
        RecordingChange(recording, removed=True, reason=Reason.AGE),
    ]


async def test_a_title_and_a_state_change_at_once(index: RecordingIndex) -> None:
    """Neither writer undoes the other's change, however often they meet."""
    recording = some_recording()
    await index.put(recording)
    for i in range(20):
        longer = replace(recording, duration_s=float(i))
        await asyncio.gather(index.put(longer), index.change(recording, title=f"Title {i}"))
        assert await index.get(recording.id) == replace(longer, title=f"Title {i}")


async def test_a_late_beginning_changes_nothing(index: RecordingIndex) -> None:
    """A `recording` state that arrives after `ready` does not set the entry back."""
    recording = some_recording()
    await index.put(recording)
    assert await index.put(replace(recording, state=RecordingState.RECORDING))
    assert await index.get(recording.id) == recording


async def test_removing_a_user_leaves_the_others(index: RecordingIndex, redis: RedisClient) -> None:
    """All of one user's entries go, and of their keys only the removal marks stay."""
    mine, other = [some_recording() for _ in range(3)], some_recording("bert")
    for recording in (*mine, other):
        await index.put(recording)
    await index.delete(mine[0], Reason.OWNER)
    removed = await index.remove_user("anna", None)
    assert {r.id for r in removed} == {r.id for r in mine}
    assert await index.list("bert") == [other]
    left = {key.decode() if isinstance(key, bytes) else key for key in await redis.keys("*")}
    marks = {f"hushcast:recording:{r.id}:removed" for r in mine}
    assert left - marks == {
        f"hushcast:recording:{other.id}",
        "hushcast:recordings:of:bert",
        "hushcast:recordings:all",
    }


async def test_redis_away_is_one_clear_error() -> None:
    """Callers need not know Redis's own exceptions."""
    async with connect("redis://127.0.0.1:1") as nobody:
        with pytest.raises(RedisUnavailable):
            await RecordingIndex(nobody).get(new_id())


def test_keys_are_as_promised() -> None:
    """The key is `recordings/USERNAME/YYYYMMDDTHHMMSSZ_ID.wav`, and nothing else has an id."""
    recording_id = new_id()
    key = recording_key("a_b-3", 1_790_000_000.9, recording_id)
    assert key == f"recordings/a_b-3/20260921T141320Z_{recording_id}.wav"
    assert id_in_key(key) == recording_id
    for foreign in (f"x{key}", f"{key}x", key.replace("a_b-3", "../b"), "recordings/anna/x.wav"):
        assert id_in_key(foreign) is None


@pytest.mark.parametrize("bad", ["../../etc", "an/na", "Anna", "a", "anna\n", "ännä"])
def test_no_name_gets_into_a_key_unchecked(bad: str) -> None:
    """Only names of 3-32 of `a-z 0-9 _ -` make a key, a spool or an entry; ids are checked too."""
    with pytest.raises(ValueError, match="username"):
        recording_key(bad, 0, new_id())
    with pytest.raises(ValueError, match="recording id"):
        recording_key("anna", 0, bad)
    with pytest.raises(ValueError, match="stream id"):
        SpoolMeta(new_id(), "anna", f"{bad}/", 0)
