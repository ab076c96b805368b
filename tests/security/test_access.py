"""Access that is taken back is taken back at once, on a live stream with real peers."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors import access, access_watch, audience
from actors.access import AccessEnded, Guest
from actors.access_watch import AccessWatch
from actors.announcer import COUNT_INTERVAL_S
from actors.denoiser import load_model
from actors.errors import RemovedFromStream, TooManySessions
from actors.sound_thread import SoundThread
from actors.status import CONTROL_CHANNEL, LISTENERS_CHANNEL, StreamState
from foundation.redis import connect
from recordings.index import RecordingState
from recordings.store import StoreConfig
from tests.media.test_live_stream import TIMES, Stage
from tests.peers import ListenerPeer, Peer
from tests.waiting import until

AT_ONCE_S = 1.0
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
def sound_thread() -> Iterator[SoundThread]:
    """A sound thread with the official model."""
    thread = SoundThread(load_model(), streams=1)
    thread.start()
    yield thread
    thread.close()


@pytest.fixture
def make_stage(
    valkey: str, s3: StoreConfig, tmp_path: Path, sound_thread: SoundThread
) -> Callable[[float], Stage]:
    """Make alice's stream, with a greatest length in seconds."""
    return lambda longest_s: Stage(
        valkey, s3, tmp_path, sound_thread, replace(TIMES, max_stream_s=longest_s)
    )


@pytest.fixture
async def stage(make_stage: Callable[[float], Stage]) -> AsyncIterator[Stage]:
    """Set up alice's stream, whose friends are bob and cid; everybody is signed in."""
    stage = make_stage(3600)
    await stage.redis.sadd(access.friends_key("alice"), "bob", "cid")
    for sign_in in ("a1", "a2", "b1", "b2", "c1"):
        await stage.redis.set(access.sign_in_key(sign_in), "")
    yield stage
    await stage.close()


@asynccontextmanager
async def watching(stage: Stage, url: str | None = None) -> AsyncIterator[AccessWatch]:
    """Watch over a stage's stream as its process does; it follows Redis already."""
    redis = connect(url) if url else stage.redis
    watch = AccessWatch(url or stage.redis_url, redis, {"alice": stage.stream})
    running = asyncio.create_task(watch.run())
    if url is None:
        await watch._follower.connected.wait()
    try:
        yield watch
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def heard(peers: list[ListenerPeer]) -> None:
    """Wait until everybody hears something new."""
    before = [len(peer.sound) for peer in peers]
    await until(lambda: all(len(p.sound) > b for p, b in zip(peers, before, strict=True)))


async def closed(peer: Peer) -> float:
    """Wait for a connection's end; returns the seconds."""
    return await until(lambda: peer.connection.connectionState == "closed")


async def test_a_listener_hears_nothing_once_access_ended(stage: Stage) -> None:
    """Sign-out, end of friendship, a new password, deletion: their sessions end, others hear on."""
    await stage.go_live(sign_in="a1")
    bob = await stage.listen("l1", sign_in="b1")
    bob_elsewhere = await stage.listen("l2", sign_in="b2")
    cid = await stage.listen("l3", listener="cid", sign_in="c1")
    await heard([bob, bob_elsewhere, cid])
    news = [
        (AccessEnded("bob", "signed out", sign_in="b1"), bob, [bob_elsewhere, cid]),
        (AccessEnded("bob", "not alice's friend", stream="alice"), bob_elsewhere, [cid]),
        (AccessEnded("cid", "deleted"), cid, []),
    ]
    elsewhere = [
        AccessEnded("cid", "not dan's friend", stream="dan"),
        AccessEnded("cid", "a new password", kept="c1"),
        AccessEnded("alice", "not cid's friend", stream="cid"),
        AccessEnded("alice", "signed out elsewhere", sign_in="a2"),
    ]
    async with watching(stage):
        for ended in elsewhere:
            await access.tell(stage.redis, ended)
        for ended, gone, others in news:
            await access.tell(stage.redis, ended)
            assert await closed(gone) < AT_ONCE_S
            last = len(gone.sound)
            await heard(others)
            assert len(gone.sound) == last
    assert stage.stream.status.state is StreamState.LIVE and stage.stream.status.listeners == 0


async def test_a_publisher_who_is_signed_out_streams_no_more(stage: Stage) -> None:
    """At once, without the grace; by the sign-in that publishes; the recording is kept."""
    await stage.go_live(sign_in="a1")
    await stage.publish("p2", sign_in="a2")
    await until(lambda: stage.stream.status.session == "p2")
    async with watching(stage):
        await access.tell(stage.redis, AccessEnded("alice", "signed out", sign_in="a1"))
        await access.tell(stage.redis, AccessEnded("alice", "signed out", sign_in="a2"))
        assert await until(lambda: stage.life.done()) < AT_ONCE_S
    assert stage.stream._core.end_reason == "its publisher lost access"
    await stage.recorder.wait_stored()
    assert (await stage.index.list("alice"))[0].state is RecordingState.READY


async def test_a_publisher_who_is_signed_out_while_away_does_not_come_back(stage: Stage) -> None:
    """No session is left to close, and the stream still ends at once."""
    publisher = await stage.go_live(sign_in="a1")
    await publisher.close()
    await stage.reach(StreamState.RECONNECTING)
    async with watching(stage):
        await access.tell(stage.redis, AccessEnded("alice", "a new password", kept="a2"))
        assert await until(lambda: stage.stream.stopping) < TIMES.grace_s / 2
    assert stage.stream._core.end_reason == "its publisher lost access"


async def test_lost_news_is_made_up_for_and_silence_ends_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis is asked now and then what still holds; while it does not answer, all goes on."""
    monkeypatch.setattr(access_watch, "CHECK_INTERVAL_S", 0.05)
    monkeypatch.setattr(access_watch, "CHECK_PAUSE_S", 0.0)
    caplog.set_level(logging.WARNING)
    await stage.go_live(sign_in="a1")
    bob = await stage.listen("l1", sign_in="b1")
    cid = await stage.listen("l2", listener="cid", sign_in="c1")
    await stage.redis.delete(access.sign_in_key("b1"))
    await stage.redis.srem(access.friends_key("alice"), "cid")
    async with watching(stage, NOWHERE):
        await until(lambda: caplog.text.count("access not checked") >= 3)
    await heard([bob, cid])
    async with watching(stage):
        await asyncio.gather(closed(bob), closed(cid))
        assert stage.stream.status.state is StreamState.LIVE
        await stage.redis.delete(access.sign_in_key("a1"))
        await until(lambda: stage.life.done())
    assert stage.stream._core.end_reason == "its publisher lost access"


async def test_a_watch_that_fails_says_so(stage: Stage) -> None:
    """Its process then offers no place for another stream; nobody would end what must end."""
    await stage.go_live(sign_in="a1")
    await stage.listen("l1", sign_in="b1")
    async with watching(stage) as watch:
        assert not watch.failed
        await stage.redis.set(access.friends_key("alice"), "not a set")
        watch.check_soon()
        await until(lambda: watch.failed)


async def test_what_ended_before_its_session_was_there_is_found(stage: Stage) -> None:
    """The news came between the check of the token and the session: asking right away helps."""
    await stage.go_live(sign_in="a1")
    async with watching(stage) as watch:
        await stage.redis.delete(access.sign_in_key("b1"))
        await access.tell(stage.redis, AccessEnded("bob", "signed out", sign_in="b1"))
        bob = await stage.listen("l1", sign_in="b1")
        watch.check_soon()
        assert await closed(bob) < AT_ONCE_S


async def test_a_live_stream_keeps_its_sign_in_from_expiring(stage: Stage) -> None:
    """A sign-in that would expire in a second lives on while a session rests on it."""
    await stage.redis.set(access.sign_in_key("a1"), "", ex=1)
    await stage.go_live(sign_in="a1")
    async with watching(stage):
        await until(lambda: _lives_long(stage, "a1"))
    assert await stage.redis.ttl(access.sign_in_key("c1")) == -1


async def _lives_long(stage: Stage, sign_in: str) -> bool:
    return bool(await stage.redis.ttl(access.sign_in_key(sign_in)) > access.KEPT_S - 60)


async def test_a_removed_listener_hears_nothing_while_the_stream_lasts(stage: Stage) -> None:
    """All sessions of that person end, they are told why, and new ones are refused."""
    await stage.go_live()
    bob, again = await stage.listen("l1"), await stage.listen("l2")
    cid = await stage.listen("l3", listener="cid")
    own = await stage.listen("l4", listener="alice")
    await heard([bob, again, cid, own])
    people = stage.stream.listeners()
    assert [(each.username, each.sessions) for each in people] == [
        ("bob", ("l1", "l2")),
        ("cid", ("l3",)),
    ]
    assert stage.stream.status.listeners == 2
    await stage.stream.remove("bob", "0")  # of an earlier stream
    async with stage.redis.pubsub() as told:
        await told.subscribe(stage.redis.channel(CONTROL_CHANNEL))
        await stage.stream.remove("bob", "l1")
        assert max(await asyncio.gather(closed(bob), closed(again))) < AT_ONCE_S
        message = None
        while message is None:
            message = await told.get_message(ignore_subscribe_messages=True, timeout=5)
    control = json.loads(message["data"])
    assert (control["username"], control["action"]) == ("bob", "removed") and control["reason"]
    with pytest.raises(RemovedFromStream):
        await stage.listen("l5")
    await heard([cid, own])
    assert stage.stream.status.listeners == 1


def by_link(link: str, *, seconds: float = 3600.0) -> Guest:
    """Make a guest of a link that expires after so long."""
    return Guest(link, f"label of {link}", time.time() + seconds)


async def test_each_session_of_a_link_is_a_guest(stage: Stage) -> None:
    """Counted and listed once each, by the link's label; a removed one goes alone.

    The owner's pages are told who is there, at most once a second.
    """
    await stage.go_live()
    band = by_link("band")
    async with stage.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(stage.redis.channel(LISTENERS_CHANNEL))
        began = time.monotonic()
        peers = [await stage.listen(f"g{n}", guest=band) for n in (1, 2)]
        peers += [await stage.listen("g3", guest=by_link("fans")), await stage.listen("l1")]
        messages: list[Any] = []
        while not messages or len(messages[-1]) < len(peers):
            if (message := await pubsub.get_message(timeout=5)) is not None:
                messages.append(json.loads(message["data"])["listeners"])
        assert len(messages) <= 2 + (time.monotonic() - began) / COUNT_INTERVAL_S
    assert {each["label"] for each in messages[-1]} == {None, "label of band", "label of fans"}
    one, two, other, bob = peers
    await heard(peers)
    told = [(p.username, p.label, p.link, p.sessions) for p in stage.stream.listeners()]
    assert sorted(told, key=str) == sorted(
        [
            (None, "label of band", "band", ("g1",)),
            (None, "label of band", "band", ("g2",)),
            (None, "label of fans", "fans", ("g3",)),
            ("bob", None, None, ("l1",)),
        ],
        key=str,
    )
    assert stage.stream.status.listeners == 4
    await stage.stream.remove(band.name, "g1")
    assert await closed(one) < AT_ONCE_S
    await heard([two, other, bob])
    await heard([await stage.listen("g4", guest=band)])


async def test_a_link_that_ends_ends_its_guests(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoked, expired, or gone while the news was lost; guests of other links hear on."""
    await stage.go_live()
    for link in ("revoked", "lost", "stays", "early"):
        await stage.redis.set(access.link_key(link), "", ex=3600)
    guests = {
        link: await stage.listen(f"of-{link}", guest=by_link(link))
        for link in ("revoked", "lost", "stays")
    }
    await heard(list(guests.values()))
    async with watching(stage) as watch:
        await access.tell(stage.redis, AccessEnded("link:revoked", access.LINK_ENDED))
        assert await closed(guests["revoked"]) < AT_ONCE_S
        await stage.redis.delete(access.link_key("lost"))
        watch.check_soon()
        assert await closed(guests["lost"]) < AT_ONCE_S
        expires = by_link("early", seconds=1.0)
        early = await stage.listen("of-early", guest=expires)
        await closed(early)
        assert 0 <= time.time() - expires.expires_at < AT_ONCE_S
        await heard([guests["stays"]])
    assert await stage.redis.ttl(access.link_key("stays")) <= 3600, "listening prolongs no link"


async def test_guests_of_a_link_are_limited(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together, and while they connect; other links and users have places of their own."""
    monkeypatch.setattr(audience, "MAX_GUESTS_OF_A_LINK", 1)
    await stage.go_live()
    band = by_link("band")
    await stage.listen("g1", guest=band)
    with pytest.raises(TooManySessions, match="limit of 1"):
        await stage.listen("g2", guest=band)
    await stage.listen("g3", guest=by_link("fans"))
    monkeypatch.setattr(audience, "MAX_GUESTS_OF_A_LINK", 9)
    monkeypatch.setattr(audience, "MAX_CONNECTING_GUESTS_OF_A_LINK", 0)
    with pytest.raises(TooManySessions, match="connecting"):
        await stage.listen("g4", guest=band)


async def test_original_sound_that_is_no_longer_shared_ends_at_once(stage: Stage) -> None:
    """Sessions that hear the original end; those that hear the denoised sound go on."""
    await stage.go_live()
    stage.stream.control({"share_original": True})
    original = await stage.listen("l1", original=True)
    denoised = await stage.listen("l2")
    await heard([original, denoised])
    stage.stream.control({"share_original": False})
    assert await closed(original) < AT_ONCE_S
    await heard([denoised])


async def test_a_stream_at_its_greatest_length_is_told_ended_and_stored(
    make_stage: Callable[[float], Stage],
) -> None:
    """The owner's pages learn when it ends, and why."""
    stage = make_stage(1.0)
    try:
        async with stage.redis.pubsub() as told:
            await told.subscribe(stage.redis.channel(CONTROL_CHANNEL))
            await stage.go_live()
            began = stage.stream.status.started_at
            message = None
            while message is None:
                message = await told.get_message(ignore_subscribe_messages=True, timeout=5)
        control = json.loads(message["data"])
        assert (control["username"], control["action"]) == ("alice", "quota")
        assert control["session"] == "p1"
        assert began is not None and control["at"] == pytest.approx(began + 1)
        await until(lambda: stage.life.done())
        await stage.recorder.wait_stored()
        assert (await stage.index.list("alice"))[0].state is RecordingState.READY
    finally:
        await stage.close()
