"""What the ingress asks of streams: real leases in Redis, actors without Ray."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

import deployments.streams
from actors.errors import ActorSilent, NoCapacity, NoPlace, NotLive, NotYourSession
from actors.status import Kept, SessionRecord, StatusStore
from deployments.stream_actors import ActorFailed, drain_all
from deployments.streams import Streams
from foundation.redis import RedisClient, connect
from tests import statuses
from tests.deployments.fake_cluster import FakeCluster
from tests.edge.made_up import live
from tests.waiting import until


async def make_offer(*, publishes: bool = True) -> str:
    """Offer sound, as a publisher, or to listen."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("audio", direction="sendonly" if publishes else "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    sdp = connection.localDescription.sdp
    await connection.close()
    return sdp


class Stage:
    """Streams over a cluster whose actors take leases in Redis, with the simplest directory."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self.store = StatusStore(redis)
        self.cluster = FakeCluster(self.hold)
        self.streams = Streams(self.store, self, self.cluster)
        self.assigned = 0

    async def hold(self, username: str, actor: str) -> str:
        """Take the lease, as an actor does."""
        lease = self.store.lease(username, actor=actor)
        await lease.hold()
        assert lease.grant is not None
        return lease.grant.holder

    async def assign(self, username: str) -> str:
        """Let the first actor that has a place reserve it."""
        self.assigned += 1
        for actor in list(self.cluster.actors.values()):
            if not actor.frozen and (host := await actor.reserve(username)):
                return host
        raise NoCapacity("All stream actors are busy.")

    async def count_warm(self) -> int:
        """Count nothing."""
        return 0

    async def name_warm(self) -> list[str]:
        """Name all actors."""
        return list(self.cluster.actors)

    async def problems(self) -> list[str]:
        """Know of none."""
        return []

    async def reaches_redis(self) -> bool:
        """Reach no other Redis than others do."""
        return False

    async def host(self) -> str | None:
        """Name who holds the lease on ada's stream."""
        grant = await self.store.host_of("ada")
        return grant.holder if grant else None


@pytest.fixture
async def stage(valkey: str) -> AsyncIterator[Stage]:
    """Set the stage in an empty database."""
    async with connect(valkey.removesuffix("/0") + "/5") as redis:
        await redis.flushdb()
        yield Stage(redis)
        await redis.flushdb()


@pytest.fixture(scope="module")
def offer() -> str:
    """An offer that can be answered."""
    return asyncio.run(make_offer())


async def test_a_stream_is_begun_where_the_directory_says_and_stays_there(
    stage: Stage, offer: str
) -> None:
    """The second offer goes to the same actor without asking the directory."""
    for name in ("actor-0", "actor-1"):
        stage.cluster.add(name, capacity=2)
    answers = [await stage.streams.publish("ada", offer, sign_in="s") for _ in range(2)]
    assert [answer.answer_sdp for answer in answers] == ["answer of actor-0"] * 2
    assert answers[0].session_id != answers[1].session_id and stage.assigned == 1
    assert stage.cluster.actors["actor-0"].sign_ins == ["s", "s"]


async def test_a_burst_of_offers_of_one_user_finds_one_actor(stage: Stage, offer: str) -> None:
    """However many come at once."""
    for n in range(4):
        stage.cluster.add(f"actor-{n}")
    answers = await asyncio.gather(
        *(stage.streams.publish("ada", offer, sign_in="s") for _ in range(8))
    )
    assert {answer.answer_sdp for answer in answers} == {f"answer of {await stage.host()}"}


async def test_a_preview_is_made_where_there_is_time_for_it(stage: Stage) -> None:
    """The next actor is asked if one is busy or gone; if all are, when to come back is told."""
    for n in range(4):
        stage.cluster.add(f"actor-{n}")
    stage.cluster.actors["actor-0"].fails = NoCapacity("busy", 7)
    made = await stage.streams.preview(b"wav", 6.0, "dfn3", post_filter=True)
    assert made == b"wav by actor-1 and dfn3, 6.0 dB filtered"
    for actor in stage.cluster.actors.values():
        actor.fails = NoCapacity("busy", 7)
    with pytest.raises(NoCapacity, match="busy"):
        await stage.streams.preview(b"wav", None, "dfn2")
    asked = ["preview" in actor.calls for actor in stage.cluster.actors.values()]
    assert asked == [True, True, True, False]
    stage.cluster.actors.clear()
    with pytest.raises(NoCapacity, match="ready"):
        await stage.streams.preview(b"wav", None, "dfn2")


async def test_an_actor_that_dies_between_reserve_and_publish_is_replaced(
    stage: Stage, offer: str
) -> None:
    """Its lease is taken from it; the stream begins elsewhere."""
    stage.cluster.add("actor-0")
    await stage.assign("ada")
    stage.cluster.kill("actor-0")
    stage.cluster.add("actor-1")
    answer = await stage.streams.publish("ada", offer, sign_in="s")
    assert answer.answer_sdp == "answer of actor-1" and await stage.host() == "actor-1"


async def test_a_place_that_was_lost_is_sought_anew(stage: Stage, offer: str) -> None:
    """The reservation ran out at the actor, the lease did not."""
    actor = stage.cluster.add("actor-0")
    await stage.assign("ada")
    actor.users.clear()
    answer = await stage.streams.publish("ada", offer, sign_in="s")
    assert answer.answer_sdp == "answer of actor-0" and stage.assigned == 2


async def test_only_the_grant_that_was_seen_is_revoked(stage: Stage, offer: str) -> None:
    """While an actor refuses, another one takes the lease; that one keeps it."""
    actor = stage.cluster.add("actor-0")
    other = stage.cluster.add("actor-1")
    await stage.assign("ada")
    refused = NoPlace("This actor has no place for the stream.")

    async def refuse(*arguments: str, **more: object) -> str:
        grant = await stage.store.host_of("ada")
        assert grant is not None
        await stage.store.revoke("ada", grant)
        await other.reserve("ada")
        raise refused

    actor.publish = refuse  # type: ignore[method-assign]
    answer = await stage.streams.publish("ada", offer, sign_in="s")
    assert answer.answer_sdp == "answer of actor-1" and await stage.host() == "actor-1"
    assert stage.assigned == 1


async def test_a_frozen_holder_is_waited_for_until_its_lease_lapses(
    stage: Stage, offer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While friends see its stream: 503. Once that has run out, others begin when the lease has."""
    monkeypatch.setattr(deployments.streams, "HOLDER_TIMEOUT_S", 0.05)
    frozen = stage.cluster.add("actor-0")
    await stage.assign("ada")
    stage.cluster.add("actor-1")
    frozen.frozen = True
    document = json.dumps({"version": 1, "stream": live("ada").to_json()})
    await stage.redis.set("hushcast:stream:ada", document)
    with pytest.raises(ActorSilent):
        await stage.streams.publish("ada", offer, sign_in="s")
    assert await stage.host() == "actor-0" and frozen.calls == ["publish"]
    await stage.redis.delete("hushcast:stream:ada")  # what becomes of it when the actor is silent
    waiting = asyncio.create_task(stage.streams.publish("ada", offer, sign_in="s"))
    await until(lambda: len(frozen.calls) == 2)
    await stage.redis.delete("hushcast:lease:stream:ada")  # what its TTL does after 5 s
    assert (await waiting).answer_sdp == "answer of actor-1"


async def test_a_bug_in_an_actor_stays_one(stage: Stage, offer: str) -> None:
    """No other actor is asked, and no lease revoked; the trace is in the cause."""
    actor = stage.cluster.add("actor-0")
    actor.fails = AttributeError("a bug")
    with pytest.raises(ActorFailed) as failure:
        await stage.streams.publish("ada", offer, sign_in="s")
    assert isinstance(failure.value.__cause__, AttributeError)
    assert await stage.host() == "actor-0" and actor.calls == ["publish"]


async def test_somebody_who_finds_no_place_three_times_is_told_so(stage: Stage, offer: str) -> None:
    """A fault of ours does not keep a client for ever."""
    actor = stage.cluster.add("actor-0")

    async def refuse(*arguments: str, **more: object) -> str:
        raise NoPlace("This actor has no place for the stream.")

    actor.publish = refuse  # type: ignore[method-assign]
    with pytest.raises(NoCapacity):
        await stage.streams.publish("ada", offer, sign_in="s")
    assert actor.calls == ["publish"] * 3


async def test_a_drain_ends_every_actors_streams_though_one_is_dead(stage: Stage) -> None:
    """What one of them raises keeps nobody from ending."""
    drained: list[str] = []

    async def drain(reason: str) -> None:
        drained.append(reason)

    stage.cluster.add("actor-0")  # which knows no drain
    stage.cluster.add("actor-1").drain = drain  # type: ignore[attr-defined]
    await drain_all(stage.cluster, "the end")
    assert drained == ["the end"]


async def test_a_listener_does_not_wait_for_a_stream_that_has_ended(stage: Stage) -> None:
    """Its actor may be on a node that was lost, from which nothing comes, not even an error."""
    stage.cluster.add("an-actor").frozen = True
    await statuses.write(stage.store, live("ada"))
    offer = await make_offer(publishes=False)
    listening = asyncio.create_task(stage.streams.listen("bob", "ada", offer, original=False))
    await until(lambda: stage.cluster.actors["an-actor"].calls == ["listen"])
    assert not listening.done()
    await statuses.lapse(stage.redis, "ada")
    assert len(await stage.store.publish_expired()) == 1
    with pytest.raises(NotLive):
        async with asyncio.timeout(5):
            await listening


async def test_a_stream_that_is_stopped_while_it_waits_does_not_go_on(stage: Stage) -> None:
    """Its actor is dead: whatever begins next is another stream."""
    kept = Kept("its-id", {"title": "A talk"}, started_at=1.0, part=3)
    record = SessionRecord("p1", "ada", "ada", "actor-0", publishes=True)
    await stage.store.write_session(record)
    for session in (None, "p1"):
        await stage.store.keep("ada", kept)
        await stage.store.tell_pages("ada", "wait", "its-id", "")
        assert await stage.store.kept("ada") == kept
        if session:
            await stage.streams.end_session(session, "ada")
        else:
            await stage.streams.stop("ada", None)
        assert await stage.store.kept("ada") is None


async def test_only_the_streams_owner_removes_a_listener(stage: Stage) -> None:
    """The listener ends a session of their own; anybody else is refused."""
    actor = stage.cluster.add("actor-0")
    record = SessionRecord("l1", "bob", "ada", "actor-0", publishes=False)
    await stage.store.write_session(record)
    with pytest.raises(NotYourSession):
        await stage.streams.end_session("l1", "eve")
    assert actor.calls == []
    await stage.streams.end_session("l1", "ada")
    await stage.streams.end_session("l1", "bob")
    assert actor.ended == [("removed", "ada", "bob", "l1"), ("ended", "ada", "l1")]
