"""Leases on a real Redis: one holder at a time, lost only to somebody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from foundation.ids import new_id
from foundation.lease import Lease, holder_of, revoke, void
from foundation.redis import RedisClient, RedisUnavailable, connect
from tests.running import free_port


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[RedisClient]:
    """A client of the tests' Redis."""
    async with aclosing(connect(valkey)) as client:
        yield client


@pytest.fixture
def key() -> str:
    """A key for this test alone."""
    return f"hushcast:lease:test:{new_id()}"


def lease(redis: RedisClient, key: str, holder: str, ttl_s: float = 10) -> Lease:
    """Make a lease that has not been requested yet."""
    return Lease(redis, key, holder=holder, ttl_s=ttl_s)


async def test_the_first_holds_it_and_the_second_learns_who(redis: RedisClient, key: str) -> None:
    """One of two gets it; the other is told who won."""
    first, second = lease(redis, key, "a"), lease(redis, key, "b")
    assert await first.hold() and await first.hold()
    assert not await second.hold()
    assert second.lost and second.grant == first.grant
    assert second.grant is not None and second.grant.holder == "a"


async def test_a_lease_that_ran_out_is_taken_again(redis: RedisClient, key: str) -> None:
    """A key that is merely missing, such as after Redis lost its data, does not lose the lease."""
    mine = lease(redis, key, "a")
    assert await mine.hold()
    before = mine.grant
    await redis.delete(key)
    assert await mine.hold()
    assert before is not None and mine.grant is not None
    assert mine.grant.epoch > before.epoch


async def test_what_is_lost_stays_lost(redis: RedisClient, key: str) -> None:
    """A holder that lost the lease does not regain it, even after the other one has gone."""
    slow, quick = lease(redis, key, "slow"), lease(redis, key, "quick")
    await slow.hold()
    await redis.delete(key)
    assert await quick.hold()
    assert not await slow.hold()
    await quick.release()
    assert not await slow.hold()
    assert await holder_of(redis, key) is None


async def test_nobody_releases_or_revokes_what_another_one_holds(
    redis: RedisClient, key: str
) -> None:
    """A late release, or revoking an old grant, does nothing."""
    slow, quick = lease(redis, key, "slow"), lease(redis, key, "quick")
    await slow.hold()
    assert slow.grant is not None
    old = slow.grant
    await redis.delete(key)
    await quick.hold()
    await slow.release()
    await revoke(redis, key, old)
    assert await holder_of(redis, key) == quick.grant
    assert quick.grant is not None
    await revoke(redis, key, quick.grant)
    assert await holder_of(redis, key) is None


async def test_a_lease_that_was_voided_is_for_new_holders_only(
    redis: RedisClient, key: str
) -> None:
    """Somebody stopped what a frozen holder did: it does not take it up again; others may."""
    frozen, later = lease(redis, key, "frozen"), lease(redis, key, "later")
    await frozen.hold()
    assert await void(redis, key) == frozen.grant, "it is held: nothing changes"
    assert await frozen.hold()
    await redis.delete(key)
    assert await void(redis, key) is None
    assert not await frozen.hold() and frozen.lost
    assert await later.hold() and await later.hold()
    await redis.delete(key)
    assert await later.hold(), "a lease that merely expired is taken again"


async def test_a_holder_that_was_taken_for_dead_does_not_come_back(
    redis: RedisClient, key: str
) -> None:
    """Its grant was revoked: it stays lost although nobody else holds the lease."""
    alive = lease(redis, key, "alive")
    await alive.hold()
    assert alive.grant is not None
    await revoke(redis, key, alive.grant)
    assert not await alive.hold()


async def test_it_is_handed_over_in_one_step(redis: RedisClient, key: str) -> None:
    """The successor holds it at once with a higher epoch; the predecessor has lost it."""
    before, after = lease(redis, key, "a"), lease(redis, key, "b")
    await before.hold()
    old = before.grant
    assert await before.hand_over(after.bid)
    assert before.lost and await after.hold()
    assert old is not None and after.grant is not None and after.grant.epoch > old.epoch
    assert not await before.hand_over(after.bid)
    assert await holder_of(redis, key) == after.grant


async def test_it_is_kept_while_entered_and_free_after(redis: RedisClient, key: str) -> None:
    """Renewal outlasts one TTL; leaving releases the lease."""
    async with lease(redis, key, "a", ttl_s=0.4).kept() as mine:
        await asyncio.sleep(1.0)
        assert await holder_of(redis, key) == mine.grant and mine.grant is not None
    assert await holder_of(redis, key) is None


async def test_a_turn_is_left_to_run_out(redis: RedisClient, key: str) -> None:
    """Without a release, the next turn comes only after the TTL."""
    async with lease(redis, key, "a", ttl_s=30).kept(release=False) as mine:
        assert await mine.hold()
    assert not await lease(redis, key, "b").hold()
    assert await redis.pttl(key) > 25_000


async def test_a_redis_that_is_away_takes_nothing() -> None:
    """If Redis is silent, the lease is not lost: the error says so, and the lease may go on."""
    async with aclosing(connect(f"redis://127.0.0.1:{free_port()}")) as away:
        mine = lease(away, "hushcast:lease:test", "a")
        with pytest.raises(RedisUnavailable):
            await mine.hold()
        assert not mine.lost
        pipeline = away.pipeline()
        pipeline.get("x")
        with pytest.raises(RedisUnavailable):
            await pipeline.execute()
