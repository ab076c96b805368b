"""Which of several directories keeps the supply, and how a node is drained."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import commands.drain
import deployments.directory
import deployments.pool
from commands.drain import NotDrained, drain
from deployments.directory import Supplier
from deployments.drain import FORGOTTEN_S, Drains
from deployments.pool import Pool
from foundation.redis import RedisClient, connect
from tests.deployments.fake_cluster import FakeCluster
from tests.deployments.test_pool import config
from tests.waiting import until


@pytest.fixture
async def redis(valkey: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisClient]:
    """An empty database, and rounds that follow quickly."""
    monkeypatch.setattr(deployments.directory, "DRAIN_INTERVAL_S", 0.05)
    monkeypatch.setattr(deployments.directory, "KEEPER_TTL_S", 0.5)
    monkeypatch.setattr(deployments.pool, "ASK_INTERVAL_S", 0.05)
    monkeypatch.setattr(commands.drain, "POLL_S", 0.05)
    monkeypatch.setattr(commands.drain, "SETTLED_S", 0.3)
    async with connect(valkey.removesuffix("/0") + "/5") as redis:
        await redis.flushdb()
        yield redis
        await redis.flushdb()


@asynccontextmanager
async def directory(
    redis: RedisClient, cluster: FakeCluster, version: str = "1", warm_actors: int = 0
) -> AsyncIterator[Supplier]:
    """Run what a replica of the directory runs."""
    supplier = Supplier(redis, version)
    pool = Pool(
        config(warm_actors, 8), cluster, drains=supplier.drains, keeps=lambda: supplier.keeps
    )
    rounds = [asyncio.create_task(each) for each in (pool.run(), supplier.run(lambda: pool))]
    try:
        yield supplier
        assert not any(each.done() for each in rounds)
    finally:
        for each in rounds:
            each.cancel()
        await asyncio.gather(*rounds, return_exceptions=True)


async def test_one_directory_of_a_release_keeps_the_supply(redis: RedisClient) -> None:
    """Another one takes over when it is gone, a later release at once while it runs."""
    cluster = FakeCluster()
    async with directory(redis, cluster) as other:
        async with directory(redis, cluster) as first:
            await until(lambda: first.keeps or other.keeps)
            assert first.keeps is not other.keeps
        await until(lambda: other.keeps)
        async with directory(redis, cluster, "2") as newer:
            await until(lambda: newer.keeps and not other.keeps)
        await until(lambda: other.keeps)


async def test_who_begins_to_keep_the_supply_looks_at_once(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a start, the first look is over before the lease is taken."""
    monkeypatch.setattr(deployments.pool, "ASK_INTERVAL_S", 600.0)
    cluster = FakeCluster()
    async with directory(redis, cluster, warm_actors=1):
        await until(lambda: len(cluster.started) == 1)


async def test_a_node_is_drained_from_the_command_line(
    redis: RedisClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends when nothing is left; other nodes stay as they are."""
    cluster = FakeCluster(capacity=8, nodes=2, room=1)
    cluster.add("actor-0", users={"ada", "bob"})
    cluster.add("actor-1", users={"cid"}, node_id="node-1")
    async with directory(redis, cluster):
        await drain(Drains(redis), "node-0", 60)
        assert set(cluster.actors) == {"actor-1"}
        assert cluster.actors["actor-1"].users == {"cid"}
        with pytest.raises(NotDrained, match="There is no node somewhere"):
            await drain(Drains(redis), "somewhere", 60)
        assert await Drains(redis).read(time.time()) == {
            "node-0": pytest.approx(time.time(), abs=99)
        }
    assert "node-0: 2 streams, 1 actors" in capsys.readouterr().out


async def test_a_drain_that_nobody_carries_out_says_so(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves no mark behind; nor does one of long ago."""
    monkeypatch.setattr(commands.drain, "ANSWER_LIMIT_S", 0.2)
    drains = Drains(redis)
    with pytest.raises(NotDrained, match="does not answer"):
        await drain(drains, "node-0", 60)
    assert await drains.read(time.time()) == {}
    await drains.begin("node-0", time.time())
    assert await drains.read(time.time() + FORGOTTEN_S + 1) == {}
