"""Presence on a real Redis: a snapshot, then every change, none missed and none backwards."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from actors.status import StatusStore, StreamState, StreamStatus, connect_redis
from deployments.presence import (
    MAX_QUEUED_EVENTS,
    Control,
    Event,
    FriendsChanged,
    Presence,
    Snapshot,
    StreamChanged,
    Subscription,
    TooSlow,
)
from tests.waiting import until

ADA = StreamStatus(
    username="ada",
    stream_id="01",
    state=StreamState.LIVE,
    started_at=1.7e9,
    listeners=0,
    denoise=True,
    attenuation_limit_db=None,
    share_original=False,
    actor="actor-1",
    session="s1",
)
FRIENDS_CHANNEL = "hushcast:friends"


class Stage:
    """Two replicas' presences over one Redis, and whose friends are whose."""

    def __init__(self, url: str) -> None:
        self.redis = connect_redis(url)
        self.store = StatusStore(self.redis)
        self.friends: dict[str, set[str]] = {"bob": {"ada"}, "ada": {"bob"}}
        self.replicas = [
            Presence(url, self.store, self._friends_of, FRIENDS_CHANNEL) for _ in range(2)
        ]
        self.tasks = [asyncio.create_task(replica.run()) for replica in self.replicas]

    async def _friends_of(self, username: str) -> set[str]:
        return set(self.friends.get(username, ()))

    async def close(self) -> None:
        """End it and empty the database."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.redis.flushdb()
        await self.redis.aclose()


@pytest.fixture
async def stage(valkey: str) -> AsyncIterator[Stage]:
    """Set the stage in an empty database."""
    stage = Stage(valkey.removesuffix("/0") + "/6")
    await stage.redis.flushdb()
    yield stage
    await stage.close()


async def following(subscription: Subscription) -> Event:
    """Get the next event."""
    return await asyncio.wait_for(anext(aiter(subscription)), 10)


async def test_a_friend_is_told_a_snapshot_and_every_change(stage: Stage) -> None:
    """Two sockets at two replicas hear the same, in order; a stranger's socket nothing."""
    await stage.store.write(ADA)
    with (
        stage.replicas[0].subscribe("bob") as bob,
        stage.replicas[1].subscribe("ada") as ada,
        stage.replicas[1].subscribe("eve") as eve,
    ):
        for replica, subscription in zip((0, 1, 1), (bob, ada, eve), strict=True):
            await stage.replicas[replica].greet(subscription)
        first = await following(bob)
        assert isinstance(first, Snapshot) and first.streams == [ADA]
        assert isinstance(await following(ada), Snapshot)
        assert await following(eve) == Snapshot(first.version, [])
        await stage.store.write(replace(ADA, listeners=1))
        await stage.store.write(replace(ADA, state=StreamState.ENDED))
        for subscription in (bob, ada):
            changed, ended = await following(subscription), await following(subscription)
            assert isinstance(changed, StreamChanged) and changed.stream is not None
            assert changed.stream.listeners == 1
            assert isinstance(ended, StreamChanged) and ended.stream is None
            assert first.version < changed.version < ended.version
        assert eve.queue.empty()


async def test_a_change_while_the_snapshot_is_read_is_told_once(stage: Stage) -> None:
    """Changes that the snapshot holds already are left out, later ones are not."""
    presence = stage.replicas[0]
    with presence.subscribe("bob") as bob:
        await asyncio.wait_for(presence._connected.wait(), 10)
        await stage.store.write(ADA)
        await until(lambda: bool(bob.early))
        await presence.greet(bob)
        snapshot = await following(bob)
        assert isinstance(snapshot, Snapshot) and snapshot.streams == [ADA]
        assert bob.queue.empty(), "the change is in the snapshot"
        await stage.store.write(replace(ADA, listeners=2))
        changed = await following(bob)
        assert isinstance(changed, StreamChanged) and changed.version > snapshot.version


async def test_a_new_friend_appears_and_an_old_one_disappears(stage: Stage) -> None:
    """Friendship decides what is heard, at once."""
    await stage.store.write(ADA)
    presence = stage.replicas[0]
    with presence.subscribe("eve") as eve:
        await presence.greet(eve)
        assert isinstance(await following(eve), Snapshot)
        stage.friends["eve"] = {"ada"}
        await stage.redis.publish(FRIENDS_CHANNEL, '{"usernames": ["eve", "ada"]}')
        assert await following(eve) == FriendsChanged()
        appeared = await following(eve)
        assert isinstance(appeared, StreamChanged) and appeared.stream == ADA
        stage.friends["eve"] = set()
        await stage.redis.publish(FRIENDS_CHANNEL, '{"usernames": ["eve", "ada"]}')
        assert await following(eve) == FriendsChanged()
        gone = await following(eve)
        assert isinstance(gone, StreamChanged) and gone.stream is None


async def test_control_messages_reach_their_user_only(stage: Stage) -> None:
    """`taken_over` is for the pages of the one who streams."""
    presence = stage.replicas[0]
    with presence.subscribe("ada") as ada, presence.subscribe("bob") as bob:
        for subscription in (ada, bob):
            await presence.greet(subscription)
            await following(subscription)
        await stage.store.announce("ada", "taken_over", "01", "s1")
        assert await following(ada) == Control("taken_over", "01", "s1")
        assert bob.queue.empty()


async def test_a_socket_that_does_not_read_is_ended(stage: Stage) -> None:
    """A full queue ends the subscription instead of growing."""
    presence = stage.replicas[0]
    with presence.subscribe("bob") as bob:
        for _ in range(MAX_QUEUED_EVENTS + 1):
            bob.tell(FriendsChanged())
        with pytest.raises(TooSlow):
            await following(bob)


async def test_a_late_end_does_not_undo_a_new_stream(stage: Stage) -> None:
    """Stream ids decide: the end of an old stream is refused, an old status does not come back."""
    newer = replace(ADA, stream_id="02", session="s2")
    await stage.store.write(ADA)
    await stage.store.write(newer)
    await stage.store.write(replace(ADA, state=StreamState.ENDED))
    assert await stage.store.read("ada") == newer
    assert not await stage.store.write(ADA)
    assert await stage.store.read("ada") == newer


async def test_the_end_of_a_dead_actor_is_published_once(stage: Stage) -> None:
    """A status that nobody renews runs out; whoever sweeps, the end is told one time."""
    presence = stage.replicas[0]
    await stage.store.write(ADA)
    with presence.subscribe("bob") as bob:
        await presence.greet(bob)
        await following(bob)
        assert await stage.store.publish_expired() == []
        await stage.redis.delete("hushcast:stream:ada")  # what its TTL does after 3 s
        swept = await asyncio.gather(*(stage.store.publish_expired() for _ in range(3)))
        assert sum(map(len, swept)) == 1
        ended = await following(bob)
        assert isinstance(ended, StreamChanged) and ended.stream is None
        await asyncio.sleep(0)
        assert bob.queue.empty()


async def test_one_claim_wins(stage: Stage) -> None:
    """Of many actors that claim a user at once, one hosts the stream; only it gives it up."""
    names = [f"actor-{n}" for n in range(8)]
    owners = await asyncio.gather(*(stage.store.claim("ada", name) for name in names))
    assert len(set(owners)) == 1
    await stage.store.release_claim("ada", "somebody else")
    assert await stage.store.claimed_by("ada") == owners[0]
    await stage.store.release_claim("ada", owners[0])
    assert await stage.store.claimed_by("ada") is None
