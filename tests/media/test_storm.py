"""Many who want to listen at once, and one who does."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from actors import admission
from actors.access import friends_key
from actors.status import StatusStore
from actors.stream import StreamActorConfig, StreamHost
from commands.load.peers import PacketListener
from foundation.redis import connect
from recordings.store import RecordingStore, StoreConfig
from tests.peers import PublisherPeer, encode
from tests.sounds import speech_like
from tests.waiting import until


async def test_a_storm_of_joins_takes_nothing_from_who_is_in(
    valkey: str, s3: StoreConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are answered and the others refused; the stream lives, and no frame is missing."""
    monkeypatch.setattr(admission, "MAX_WAITING", 20)
    RecordingStore(s3).ensure_bucket()
    redis_url = valkey.removesuffix("/0") + "/8"
    host = StreamHost("hushcast-stream-test", StreamActorConfig(redis_url, s3, str(tmp_path), "1"))
    redis = connect(redis_url)
    await redis.sadd(friends_key("ada"), *(f"user-{n}" for n in range(80)))
    await host.ready()
    await host.reserve("ada")
    publisher, listener = PublisherPeer(encode(speech_like(2.0))), PacketListener(keep_sound=False)
    await publisher.accept(await host.publish("ada", "p1", await publisher.offer()))

    async def live() -> bool:
        status = await StatusStore(redis).read("ada")
        return status is not None and status.state == "live"

    await until(live)
    offer = await listener.offer()
    await listener.accept(await host.listen("ada", "l1", offer, "user-1", False))
    await until(lambda: listener.arrivals.first_at is not None)
    before = await StatusStore(redis).read("ada")
    others = (host.listen("ada", f"l{n}", offer, f"user-{n}", False) for n in range(2, 80))
    found = await asyncio.gather(*others, return_exceptions=True)
    told = Counter(type(each).__name__ for each in found)
    assert told.keys() == {"str", "NoCapacity"}
    played = publisher.microphone.played
    await until(lambda: publisher.microphone.played >= played + 20)
    counts = listener.arrivals.counts(time.monotonic())
    assert (counts.lost, counts.unsent) == (0, 0)
    after = await StatusStore(redis).read("ada")
    assert before and after and (after.stream_id, after.state) == (before.stream_id, "live")
    assert host.describe_now().listeners == 1
    await host.drain("the test is over")
    await listener.close()
    await publisher.close()
    await host._tasks.cancel()
    assert host._sound_thread is not None
    await asyncio.to_thread(host._sound_thread.close)
    host._heartbeat.close()
    await redis.flushdb()
    for client in (redis, host._store._redis):  # an actor's ends with its process
        await client.aclose()
