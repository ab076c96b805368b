"""The ends of streams whose actors died: published by whichever replica sweeps."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

import deployments.ends
from actors.status import STREAMING_KEY, StatusStore
from deployments.ends import Ends
from foundation.redis import RedisClient, connect
from tests import statuses
from tests.edge.made_up import live


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[RedisClient]:
    """An empty database."""
    async with connect(valkey.removesuffix("/0") + "/4") as redis:
        await redis.flushdb()
        yield redis
        await redis.flushdb()


async def test_a_replica_publishes_ends_and_asks_pages_to_come_back(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else in the cluster is needed for it."""
    monkeypatch.setattr(deployments.ends, "SWEEP_INTERVAL_S", 0.01)
    store = StatusStore(redis)
    await statuses.write(store, live("ada"))
    async with redis.pubsub() as told:
        await told.subscribe(redis.channel("hushcast:control"))
        running = asyncio.create_task(Ends(store).run())
        await statuses.lapse(redis, "ada")
        message = None
        while message is None:
            message = await told.get_message(ignore_subscribe_messages=True, timeout=5)
        assert json.loads(message["data"])["action"] == "republish" and not running.done()
        running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await redis.hgetall(STREAMING_KEY) == {}
