"""A process that hosts several independent streams on one model and one thread."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.errors import NoPlace, RemovedFromStream, UnknownSession
from actors.node import Node
from actors.status import StatusStore, StreamStatus
from actors.stream import STORING_S, StreamActorConfig, StreamHost
from actors.stream_core import StreamTimes
from foundation.redis import connect
from recordings.index import RecordingIndex, RecordingState
from recordings.store import RecordingStore, StoreConfig
from tests.peers import Peer, PublisherPeer, encode
from tests.sounds import speech_like
from tests.waiting import until

PACKETS = encode(speech_like(4.0))
USERS = ("ada", "bob", "cid")


@pytest.fixture
async def redis_url(valkey: str) -> AsyncIterator[str]:
    """Our own database, emptied after the test."""
    url = valkey.removesuffix("/0") + "/6"
    yield url
    async with connect(url) as redis:
        await redis.flushdb()


async def _close(host: StreamHost) -> None:
    """Close what an actor's process takes with it."""
    await host._tasks.cancel()
    assert host._sound_thread is not None
    await asyncio.to_thread(host._sound_thread.close)
    host._heartbeat.close()
    await host._store._redis.aclose()


async def _goes_on(host: StreamHost, status: StatusStore, before: StreamStatus) -> None:
    """Have ada's stream go on here: the same, as it was, and without whom she removed.

    Once she has stopped it, the next one is another.
    """
    for title in ("A move", None):
        peer = PublisherPeer(PACKETS)
        await host.reserve("ada")
        await peer.accept(await host.publish("ada", f"session-{title}", await peer.offer()))

        async def live() -> bool:
            stream = await status.read("ada")
            return stream is not None and stream.state == "live"

        await until(live)
        stream = await status.read("ada")
        assert stream is not None
        assert (stream.title, stream.share_original) == (title, title is not None)
        assert (stream.stream_id == before.stream_id) is (title is not None)
        assert (stream.started_at == before.started_at) is (title is not None)
        assert stream.part == (2 if title else 1)
        eve = Peer()
        eve.connection.addTransceiver("audio", direction="recvonly")
        refused = pytest.raises(RemovedFromStream) if title else contextlib.nullcontext()
        with refused:
            await host.listen("ada", f"eve-{title}", await eve.offer(), "eve", False)
        await eve.close()
        await host.stop("ada", None, "she stops it")
        await peer.close()
    await host._recorder.wait_stored()
    await _close(host)


async def test_streams_share_a_process_and_end_on_their_own(
    redis_url: str, s3: StoreConfig, tmp_path: Path
) -> None:
    """As many as there are places, all live at once; one's end does not affect the others."""
    RecordingStore(s3).ensure_bucket()
    config = StreamActorConfig(
        redis_url, s3, str(tmp_path), "1", streams_per_actor=2, times=StreamTimes(grace_s=1)
    )
    host = StreamHost("hushcast-stream-test", config, Node("a-node", "10.0.0.7"))
    redis = connect(redis_url)
    status, index = StatusStore(redis), RecordingIndex(redis)
    await host.ready()
    assert [await host.reserve(user) for user in USERS] == ["hushcast-stream-test"] * 2 + [None]
    peers = [PublisherPeer(PACKETS) for _ in USERS]
    for user, peer in zip(USERS[:2], peers, strict=False):
        await peer.accept(await host.publish(user, f"session-{user}", await peer.offer()))
    with pytest.raises(NoPlace):
        await host.publish("cid", "session-cid", await peers[2].offer())
    assert set(host.describe_now().users) == set(USERS[:2])

    async def live(user: str) -> bool:
        stream = await status.read(user)
        return stream is not None and stream.state == "live"

    for user in USERS[:2]:
        await until(lambda user=user: live(user))  # type: ignore[misc]  # mypy and defaults
    told = host.describe_now()
    assert (told.node_id, told.node_ip, told.listeners) == ("a-node", "10.0.0.7", 0)
    await host.stop("ada", None, "the test ends one")
    assert await host.reserve("cid") == "hushcast-stream-test"
    await peers[2].accept(await host.publish("cid", "session-cid", await peers[2].offer()))
    await until(lambda: live("cid"))
    assert await live("bob") and not await live("ada")
    gone = Peer()  # signed out between the check of the token and the offer
    gone.connection.addTransceiver("audio", direction="recvonly")
    offer = await gone.offer()
    await gone.accept(await host.listen("bob", "l1", offer, "bob", False, sign_in="gone"))

    async def ended() -> bool:
        try:
            await host.trickle("bob", "l1", "")
        except UnknownSession:
            return True
        return False

    await until(ended)
    await host.drain("the test is over")
    for user in USERS:
        (recording,) = await index.list(user)
        assert recording.state is RecordingState.READY and recording.duration_s > 0
    for peer in peers:
        await peer.close()
    await gone.close()
    await _close(host)
    await redis.aclose()


async def test_a_host_whose_node_leaves_moves_pages_at_once_and_ends_the_rest_in_time(
    redis_url: str, s3: StoreConfig, tmp_path: Path
) -> None:
    """A page is asked to begin anew; another client stays while there is time; all is stored."""
    RecordingStore(s3).ensure_bucket()
    config = StreamActorConfig(redis_url, s3, str(tmp_path), "1", streams_per_actor=2)
    host = StreamHost("hushcast-stream-test", config)
    redis = connect(redis_url)
    status, index = StatusStore(redis), RecordingIndex(redis)
    await host.ready()
    peers = [PublisherPeer(PACKETS) for _ in range(2)]
    for user, peer in zip(USERS[:2], peers, strict=True):
        await host.reserve(user)
        await peer.accept(await host.publish(user, f"session-{user}", await peer.offer()))

    async def live(user: str) -> bool:
        stream = await status.read(user)
        return stream is not None and stream.state == "live"

    await until(lambda: live("ada"))
    await until(lambda: live("bob"))
    before = await host.control("ada", {"title": "A move", "share_original": True})
    await host.remove("ada", "eve", "a-session")
    await host.publisher_socket("ada", "session-ada", True)
    async with redis.pubsub() as told:
        await told.subscribe(redis.channel("hushcast:control"))
        await host.vacate("its node leaves", time.time() + STORING_S + 2)
        actions: list[str] = []
        while len(actions) < 2:  # within seconds; the test fails when the stream's time is up
            assert await live("bob")
            if message := await told.get_message(ignore_subscribe_messages=True, timeout=5):
                control = json.loads(message["data"])
                assert control["username"] == "ada"
                actions.append(control["action"])
    assert actions == ["wait", "republish"], "a page that sees the end first does not give up"
    assert not await live("ada") and await live("bob")
    assert host.describe_now().leaving and await host.reserve("cid") is None
    other = StreamHost("hushcast-stream-other", config)
    await other.ready()
    await _goes_on(other, status, before)
    await until(lambda: not host.describe_now().users)
    await host._recorder.wait_stored()
    for user in USERS[:2]:
        recordings = await index.list(user)
        assert all(each.state is RecordingState.READY for each in recordings)
        streams = Counter(each.stream_id for each in recordings)
        assert sorted(streams.values()) == ([1, 2] if user == "ada" else [1]), (
            "two are one stream's"
        )
    for peer in peers:
        await peer.close()
    await _close(host)
    await redis.aclose()
