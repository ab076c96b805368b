"""The ends of streams whose actors died, and how their pages come back: real Redis, no Ray."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import actors.status
from actors.status import CALLED_KEY, STREAMING_KEY, WAIT_S, StatusStore, StreamState
from actors.stream import StreamHost
from deployments.ends import Ends, witnessed
from deployments.stream_actors import ActorGone
from foundation.redis import RedisClient, connect
from tests import statuses
from tests.deployments.fake_cluster import FakeCluster
from tests.edge.made_up import live
from tests.waiting import until


class Stage:
    """Two replicas over one Redis, what pages are told, and how many places are ready."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self.store = StatusStore(redis)
        self.places: int | None = 0
        self.told: list[tuple[str, str]] = []
        """Username and action of each control message."""

    async def count(self) -> int | None:
        """Count the places."""
        return self.places

    def called(self) -> list[str]:
        """Name those whose pages were called back, in order."""
        return [name for name, action in self.told if action == "republish"]

    async def die(self, *usernames: str) -> None:
        """Let these be live until their actor dies, one after another; publish their ends."""
        for name in usernames:
            await statuses.write(self.store, live(name))
            await statuses.lapse(self.redis, name)
            await self.redis.delete(f"hushcast:lease:stream:{name}")  # what its TTL does
            assert len(await self.store.publish_expired()) == 1

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Note what pages are told."""
        async with self.redis.pubsub() as pubsub:
            await pubsub.subscribe(self.redis.channel("hushcast:control"))

            async def listen() -> None:
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        control = json.loads(message["data"])
                        self.told.append((control["username"], control["action"]))

            listening = asyncio.create_task(listen())
            yield
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@pytest.fixture
async def stage(valkey: str) -> AsyncIterator[Stage]:
    """Set the stage in an empty database."""
    async with connect(valkey.removesuffix("/0") + "/4") as redis:
        await redis.flushdb()
        stage = Stage(redis)
        async with stage.listening():
            yield stage
        await redis.flushdb()


async def test_replicas_publish_ends_and_call_pages_back_once(stage: Stage) -> None:
    """The page waits at once, and comes back when nobody holds the lease any more."""
    await statuses.write(stage.store, live("ada"))
    running = [asyncio.create_task(Ends(stage.store, stage.count).run()) for _ in range(2)]
    await statuses.lapse(stage.redis, "ada")
    await until(lambda: stage.told == [("ada", "wait")])
    assert await stage.redis.hgetall(STREAMING_KEY) == {}
    assert await stage.store.call_back(8) == [], "a cut-off actor may still be heard"
    await stage.redis.delete("hushcast:lease:stream:ada")  # what its TTL does after 5 s
    await until(lambda: stage.called() == ["ada"])
    assert not any(task.done() for task in running)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert len(stage.told) == 2


async def test_pages_come_back_in_the_order_and_number_that_there_are_places_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who do not come make room after a while, those who are back at once."""
    monkeypatch.setattr(actors.status, "MIN_CALLED", 1)
    people = ["dora", "cleo", "bert", "ada"]
    await stage.die(*people)
    names = [name for name, _ in await stage.store.call_back(2)]
    assert names == people[:2]
    assert await stage.store.call_back(2) == []
    await statuses.write(stage.store, live("dora", stream_id="another"))
    assert [name for name, _ in await stage.store.call_back(2)] == ["bert"]
    await stage.redis.zadd(CALLED_KEY, {"cleo": 0})
    assert await stage.store.call_back(0) == [], "no place, and one page is coming"
    await stage.redis.zadd(CALLED_KEY, {"bert": 0})
    assert [name for name, _ in await stage.store.call_back(0)] == ["ada"]
    await until(lambda: stage.called() == people)


async def test_who_is_back_or_has_waited_too_long_is_not_called(stage: Stage) -> None:
    """Somebody who published again by themselves is not disturbed."""
    await stage.die("ada", "bert")
    await statuses.write(stage.store, live("ada", stream_id="another"))
    await stage.redis.zadd("hushcast:returning", {"bert stream-of-bert": 0})
    assert await stage.store.call_back(8) == []
    assert await stage.store.count_returning() == 0


async def test_what_pages_were_asked_is_kept_for_a_while(stage: Stage) -> None:
    """The socket of a page is often lost together with its stream."""
    assert await stage.store.asked("ada") is None
    await stage.die("ada")
    assert await stage.store.asked("ada") == ("wait", "stream-of-ada")
    await stage.store.call_back(1)
    assert await stage.store.asked("ada") == ("republish", "stream-of-ada")
    await stage.store.tell_pages("bert", "taken_over", "stream-of-bert", "a session")
    assert await stage.store.asked("bert") is None
    await stage.store.tell_pages("bert", "republish", "stream-of-bert", "")
    assert await stage.store.asked("bert") == ("republish", "stream-of-bert")
    assert 0 < await stage.redis.ttl("hushcast:asked:bert") <= WAIT_S


async def test_a_proven_death_is_told_at_once(stage: Stage) -> None:
    """Whoever asks the actor first publishes the end of all its streams, and frees their leases."""
    cluster = FakeCluster()
    cluster.add("an-actor")
    witness = witnessed(cluster, stage.store)
    for name in ("ada", "bert"):
        await statuses.write(stage.store, live(name))
    await statuses.write(stage.store, live("cleo", actor="another"))
    await statuses.write(stage.store, live("dora"))
    await statuses.write(stage.store, live("dora", state=StreamState.ENDED))
    assert (await witness.ask("an-actor", 1, StreamHost.describe)).name == "an-actor"
    assert stage.told == []
    cluster.kill("an-actor")
    with pytest.raises(ActorGone):
        await witness.ask("an-actor", 1, StreamHost.describe)
    await until(lambda: sorted(stage.told) == [("ada", "wait"), ("bert", "wait")])
    assert [await stage.store.host_of(name) for name in ("ada", "bert")] == [None, None]
    assert await stage.store.streaming() == ["cleo"]
    assert not await statuses.write(stage.store, live("ada", listeners=1)), "it may not come back"
