"""Presence on a real Redis: a snapshot, then every change, none missed and none backwards."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

from actors.access import gone
from actors.announcer import COUNT_INTERVAL_S, HEARTBEAT_S, Announcer
from actors.status import (
    DEADLINES_KEY,
    SWEEP_PAUSE_S,
    SWEEPS_KEY,
    Listening,
    StatusChange,
    StatusStore,
    StreamState,
    StreamStatus,
)
from deployments.presence import Presence
from deployments.subscription import (
    MAX_QUEUED_EVENTS,
    Control,
    Event,
    FriendsChanged,
    ListenersChanged,
    Snapshot,
    StreamChanged,
    Subscription,
    TooSlow,
)
from foundation.logs import request_id
from foundation.redis import connect
from tests import statuses
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
        self.redis = connect(url)
        self.store = StatusStore(self.redis)
        self.friends: dict[str, set[str]] = {"bob": {"ada"}, "ada": {"bob"}}
        self.replicas = [
            Presence(url, self.store, self._friends_of, FRIENDS_CHANNEL, partial(gone, self.redis))
            for _ in range(2)
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
    return await asyncio.wait_for(subscription.next(), 10)


async def test_a_friend_is_told_a_snapshot_and_every_change(stage: Stage) -> None:
    """Two sockets at two replicas hear the same, in order; a stranger's socket nothing."""
    await statuses.write(stage.store, ADA)
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
        await statuses.write(stage.store, replace(ADA, listeners=1))
        await statuses.write(stage.store, replace(ADA, state=StreamState.ENDED))
        for subscription in (bob, ada):
            changed, ended = await following(subscription), await following(subscription)
            assert isinstance(changed, StreamChanged) and changed.stream is not None
            assert changed.stream.listeners == 1
            assert isinstance(ended, StreamChanged) and ended.stream is None
            assert first.version < changed.version < ended.version
        assert eve.queue.empty()


async def test_a_change_while_the_snapshot_is_read_is_told_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that the snapshot already contains are left out, later ones are not."""
    presence = stage.replicas[0]
    read_versions = stage.store.read_versions
    with presence.subscribe("bob") as bob:

        async def change_before_and_after(
            usernames: list[str],
        ) -> tuple[int, dict[str, tuple[int, StreamStatus]]]:
            await statuses.write(stage.store, ADA)
            await until(lambda: len(bob.order._waiting["ada"]) == 1)
            found = await read_versions(usernames)
            await statuses.write(stage.store, replace(ADA, listeners=2))
            await until(lambda: len(bob.order._waiting["ada"]) == 2)
            return found

        monkeypatch.setattr(stage.store, "read_versions", change_before_and_after)
        await presence.greet(bob)
        snapshot, changed = await following(bob), await following(bob)
        assert isinstance(snapshot, Snapshot) and snapshot.streams == [ADA]
        assert isinstance(changed, StreamChanged) and changed.version > snapshot.version
        assert changed.stream == replace(ADA, listeners=2)
        assert bob.queue.empty(), "the first change is in the snapshot"


async def test_a_message_costs_those_it_concerns(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is parsed once, where somebody hears it; a stranger's subscription is not touched."""
    presence = stage.replicas[0]
    parsed: list[str] = []
    parse = StatusChange.from_json

    def counted(text: str | bytes) -> StatusChange:
        parsed.append(str(text))
        return parse(text)

    monkeypatch.setattr(StatusChange, "from_json", counted)
    with presence.subscribe("bob") as bob, presence.subscribe("eve") as eve:
        for subscription in (bob, eve):
            await presence.greet(subscription)
            await following(subscription)
        monkeypatch.setattr(eve, "order", None)
        await statuses.write(stage.store, ADA)
        assert isinstance(await following(bob), StreamChanged)
        assert len(parsed) == 1, "at the replica without him it is not"
        monkeypatch.undo()
    assert presence._subscriptions.hearing("ada") == [] and len(presence._subscriptions) == 0


async def test_a_new_friend_appears_and_an_old_one_disappears(stage: Stage) -> None:
    """Friendship decides what is heard, at once."""
    await statuses.write(stage.store, ADA)
    presence = stage.replicas[0]
    with presence.subscribe("eve") as eve:
        await presence.greet(eve)
        assert isinstance(await following(eve), Snapshot)
        stage.friends["eve"] = {"ada"}
        await stage.redis.publish(
            stage.redis.channel(FRIENDS_CHANNEL), '{"usernames": ["eve", "ada"]}'
        )
        assert await following(eve) == FriendsChanged()
        appeared = await following(eve)
        assert isinstance(appeared, StreamChanged) and appeared.stream == ADA
        stage.friends["eve"] = set()
        await stage.redis.publish(
            stage.redis.channel(FRIENDS_CHANNEL), '{"usernames": ["eve", "ada"]}'
        )
        assert await following(eve) == FriendsChanged()
        gone = await following(eve)
        assert isinstance(gone, StreamChanged) and gone.stream is None


async def test_another_database_is_another_installation(stage: Stage, valkey: str) -> None:
    """Two of them on one Redis hear nothing of each other, although their users have one name."""
    async with connect(valkey.removesuffix("/0") + "/5") as theirs:
        await theirs.flushdb()
        with stage.replicas[0].subscribe("bob") as bob:
            await stage.replicas[0].greet(bob)
            assert await following(bob) == Snapshot(0, [])
            await statuses.write(StatusStore(theirs), replace(ADA, stream_id="theirs"))
            await statuses.write(stage.store, ADA)
            heard = await following(bob)
            assert isinstance(heard, StreamChanged) and heard.stream == ADA
        await theirs.flushdb()


async def test_control_messages_reach_their_user_only(stage: Stage) -> None:
    """`taken_over`, and who listens, go only to the pages of the publisher."""
    presence = stage.replicas[0]
    with presence.subscribe("ada") as ada, presence.subscribe("bob") as bob:
        for subscription in (ada, bob):
            await presence.greet(subscription)
            await following(subscription)
        await stage.store.tell_pages("ada", "taken_over", "01", "s1")
        await stage.store.tell_pages("ada", "quota", "01", "", reason="It is full.")
        assert await following(ada) == Control("taken_over", "01", "s1")
        people = [Listening("bob", 1.7e9, ("l1", "l2"))]
        await stage.store.tell_listeners("ada", people)
        assert await following(ada) == Control("quota", "01", "", "It is full.")
        assert await following(ada) == ListenersChanged(people)
        assert bob.queue.empty()


async def test_a_socket_that_does_not_read_is_ended(stage: Stage) -> None:
    """A full queue ends the subscription instead of growing."""
    presence = stage.replicas[0]
    with presence.subscribe("bob") as bob:
        for _ in range(MAX_QUEUED_EVENTS + 1):
            bob.tell(FriendsChanged())
        with pytest.raises(TooSlow):
            await following(bob)


async def test_an_actor_that_lost_its_lease_writes_nothing(stage: Stage) -> None:
    """Neither its status nor its end undoes the stream of the one that holds the lease."""
    newer = replace(ADA, stream_id="00", actor="actor-2", session="s2")
    await statuses.write(stage.store, ADA)
    await stage.redis.delete("hushcast:lease:stream:ada")  # what its TTL does after 5 s
    assert await statuses.write(stage.store, newer)
    assert not await statuses.write(stage.store, ADA)
    await statuses.write(stage.store, replace(ADA, state=StreamState.ENDED))
    assert await stage.store.read("ada") == newer
    await statuses.write(stage.store, replace(newer, state=StreamState.ENDED))
    assert await stage.store.read("ada") is None
    assert await stage.store.host_of("ada") is None


async def test_a_stream_that_went_on_elsewhere_is_not_ended_by_its_former_actor(
    stage: Stage,
) -> None:
    """Although it is the same stream, and no lease stands between them."""
    goes_on = replace(ADA, actor="actor-2", session="s2", part=2)
    await statuses.write(stage.store, ADA)
    await stage.redis.delete("hushcast:lease:stream:ada")
    lease = stage.store.lease("ada", actor="actor-2")
    assert await stage.store.write(goes_on, lease, change_id="c", changed_at=0.0)
    await stage.redis.delete("hushcast:lease:stream:ada")
    await statuses.write(stage.store, replace(ADA, state=StreamState.ENDED))
    assert await stage.store.read("ada") == goes_on


async def test_an_end_is_published_although_the_lease_ran_out(stage: Stage) -> None:
    """Redis was away for longer than a lease lives: friends still learn of the end at once."""
    await statuses.write(stage.store, ADA)
    await stage.redis.delete("hushcast:lease:stream:ada")
    with stage.replicas[0].subscribe("bob") as bob:
        await stage.replicas[0].greet(bob)
        await following(bob)
        await statuses.write(stage.store, replace(ADA, state=StreamState.ENDED))
        ended = await following(bob)
        assert isinstance(ended, StreamChanged) and ended.stream is None


async def test_the_end_of_a_dead_actor_is_published_once(stage: Stage) -> None:
    """A status that nobody renews expires; however many sweep, the end is published once."""
    presence = stage.replicas[0]
    await statuses.write(stage.store, ADA)
    with presence.subscribe("bob") as bob:
        await presence.greet(bob)
        await following(bob)
        await statuses.swept(stage.redis)
        assert await stage.store.publish_expired() == []
        await statuses.lapse(stage.redis, "ada")
        swept = await asyncio.gather(*(stage.store.publish_expired() for _ in range(3)))
        assert sum(map(len, swept)) == 1
        ended = await following(bob)
        assert isinstance(ended, StreamChanged) and ended.stream is None
        await asyncio.sleep(0)
        assert bob.queue.empty()


async def test_an_outage_of_redis_ends_no_stream(stage: Stage) -> None:
    """Nobody could renew a deadline: after a pause in the sweeps, actors get time to do so."""
    await statuses.write(stage.store, ADA)
    await statuses.write(stage.store, replace(ADA, username="eve", stream_id="02"))
    await statuses.lapse(stage.redis, "ada", "eve")
    await statuses.swept(stage.redis, ago_s=SWEEP_PAUSE_S + 1)
    assert await stage.store.publish_expired() == [] == await stage.store.publish_expired()
    await statuses.write(stage.store, ADA)
    await stage.redis.hset(SWEEPS_KEY, "from", 0)  # what patience does
    assert [end.username for end in await stage.store.publish_expired()] == ["eve"]
    assert await stage.store.read("ada") == ADA


async def test_a_sweep_costs_what_is_due(stage: Stage) -> None:
    """However many are live, Redis runs one script, and that one looks at the late ones alone."""
    others = [replace(ADA, username=f"user-{n}", stream_id=f"{n}") for n in range(200)]
    for status in others:
        await statuses.write(stage.store, status)
    late = [status.username for status in others[:3]]
    await statuses.lapse(stage.redis, *late)
    await stage.redis.config_resetstat()
    assert sorted(end.username for end in await stage.store.publish_expired()) == late
    calls = {name: told["calls"] for name, told in (await stage.redis.info("commandstats")).items()}
    assert calls["cmdstat_evalsha"] == 1 and calls["cmdstat_publish"] == 2 * 3
    assert sum(calls.values()) < 50


async def test_streams_of_actors_of_an_earlier_release_end_too(stage: Stage) -> None:
    """They renew a key of 3 s and set no deadline; once that key is gone, the end is published."""
    await statuses.write(stage.store, ADA)
    await stage.redis.delete(DEADLINES_KEY)
    await stage.redis.pexpire("hushcast:stream:ada", 2500)
    await statuses.swept(stage.redis)
    assert await stage.store.publish_expired() == []
    for _ in range(2):
        await statuses.lapse(stage.redis, "ada")
        assert await stage.store.publish_expired() == [], "its actor renews the key"
    await stage.redis.delete("hushcast:stream:ada")
    await statuses.lapse(stage.redis, "ada")
    assert [end.stream_id for end in await stage.store.publish_expired()] == [ADA.stream_id]


async def test_one_actor_hosts_a_user(stage: Stage) -> None:
    """Of many actors that want a user at once, one gets the lease, and all learn which one."""
    leases = [stage.store.lease("ada", actor=f"actor-{n}") for n in range(8)]
    held = await asyncio.gather(*(lease.hold() for lease in leases))
    assert held.count(True) == 1
    assert len({lease.grant for lease in leases}) == 1
    assert await stage.store.host_of("ada") == leases[0].grant


async def test_a_change_is_followed_through_the_logs(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for each hop under one id, with its delay; the first names the request."""
    caplog.set_level(logging.INFO)
    announcer = Announcer(stage.store, ADA, stage.store.lease("ada", actor="actor-1"))
    with stage.replicas[0].subscribe("bob") as bob:
        await stage.replicas[0].greet(bob)
        await following(bob)
        token = request_id.set("a-request")
        announcer.change(listeners=1)
        request_id.reset(token)
        announcing = asyncio.create_task(announcer.run())
        assert isinstance(await following(bob), StreamChanged)
        await asyncio.sleep(HEARTBEAT_S * 1.5)  # which is no change
        announcer.change(state=StreamState.ENDED)
        await announcing
        assert isinstance(await following(bob), StreamChanged)
    told = [(r.getMessage(), r.__dict__["fields"]) for r in caplog.records if "fields" in vars(r)]
    changes = [f["change"] for what, f in told if what == "published"]
    assert len(changes) == len(set(changes)) == 2
    for change, request in zip(changes, ("a-request", ""), strict=True):
        hops = [(what, fields) for what, fields in told if fields["change"] == change]
        # Of the two replicas one has a socket that it concerns.
        assert sorted(what for what, _ in hops) == ["forwarded", "published", "received"]
        assert [f["request"] for what, f in hops if what == "published"] == [request]
        assert [f["sockets"] for what, f in hops if what == "forwarded"] == [1]
        assert all(fields["delay_ms"] >= 0 for _, fields in hops)


async def test_numbers_of_listeners_alone_come_at_most_once_a_second(stage: Stage) -> None:
    """The first at once, the last one within a second, and with any other change."""
    announcer = Announcer(stage.store, ADA, stage.store.lease("ada", actor="actor-1"))
    announcing = asyncio.create_task(announcer.run())
    with stage.replicas[0].subscribe("bob") as bob:
        await stage.replicas[0].greet(bob)
        await following(bob)
        times: list[float] = []
        told: list[StreamStatus] = []

        async def take(listeners: int) -> None:
            while not told or told[-1].listeners != listeners:
                event = await following(bob)
                assert isinstance(event, StreamChanged) and event.stream is not None
                times.append(asyncio.get_running_loop().time())
                told.append(event.stream)

        for listeners in range(1, 9):
            announcer.change(listeners=listeners)
            await asyncio.sleep(0.01)
        await take(8)
        assert len(told) <= 3
        announcer.change(listeners=9)
        announcer.change(muted=True)
        await take(9)
        assert times[-1] - times[-2] < COUNT_INTERVAL_S / 2
    announcer.change(state=StreamState.ENDED)
    await announcing
