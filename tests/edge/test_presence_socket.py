"""The presence socket, as a page holds it: real sockets, two replicas, a real Redis."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import deployments.presence
import serve_app.sign_ins
from actors import access
from actors.status import CHANNEL, StatusStore, StreamState
from deployments.subscription import Control, Subscription
from recordings.index import Reason
from tests import statuses
from tests.edge.conftest import PASSWORD, Edge, MakeEdge
from tests.edge.made_up import live
from tests.edge.test_recordings import recording_of
from tests.running import free_port
from tests.waiting import until

WAIT_S = 15.0


@dataclass
class Replica:
    """A served edge."""

    edge: Edge
    port: int
    server: uvicorn.Server

    def socket(self, query: str = "", **headers: str) -> connect:
        """Make the connection of a page."""
        url = f"ws://127.0.0.1:{self.port}/api/presence{query}"
        return connect(url, additional_headers=headers, max_queue=None)


Serve = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def serve(make_edge: MakeEdge) -> AsyncIterator[Serve]:
    """Serve edges on ports of their own."""
    running: list[tuple[Replica, asyncio.Task[None]]] = []

    async def one(**settings: Any) -> Replica:
        edge, port = make_edge(**settings), free_port()
        config = uvicorn.Config(edge.api, port=port, log_config=None, ws="websockets-sansio")
        replica = Replica(edge, port, uvicorn.Server(config))
        running.append((replica, asyncio.create_task(replica.server.serve())))
        await until(lambda: replica.server.started)
        await until(edge.services.presence._connected.is_set)
        return replica

    yield one
    for replica, task in running:
        replica.server.should_exit = replica.server.force_exit = True
        await task


async def any_of(socket: ClientConnection) -> dict[str, Any]:
    """Get the next message."""
    message: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))
    return message


async def next_of(socket: ClientConnection) -> dict[str, Any]:
    """Get the next message that is no heartbeat."""
    while (message := await any_of(socket))["type"] == "heartbeat":
        pass
    return message


async def close_of(socket: ClientConnection) -> tuple[int, str]:
    """Read to the end; get the code and the reason."""
    try:
        while True:
            await asyncio.wait_for(socket.recv(), WAIT_S)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return closed.rcvd.code, closed.rcvd.reason


@asynccontextmanager
async def signed_in(replica: Replica, username: str) -> AsyncIterator[ClientConnection]:
    """Hold a socket of somebody new, past its snapshot."""
    person = await replica.edge.person(username)
    async with replica.socket(f"?token={person.token}") as socket:
        assert (await next_of(socket))["type"] == "snapshot"
        yield socket


async def test_two_replicas_tell_the_same_changes_in_order(serve: Serve) -> None:
    """A snapshot with the user's own stream first, then every change, at any replica."""
    here, there = await serve(), await serve()
    ada, bob = await here.edge.person("ada"), await here.edge.person("bob")
    await here.edge.befriend("ada", "bob")
    store = here.edge.streams.store
    for name in ("ada", "bob", "stranger"):
        await statuses.write(store, live(name))
    async with (
        here.socket(f"?token={ada.token}") as first,
        there.socket(Authorization=f"Bearer {bob.token}") as second,
    ):
        snapshots = [await next_of(first), await next_of(second)]
        for snapshot, names in zip(snapshots, (["ada", "bob"], ["bob", "ada"]), strict=True):
            assert snapshot["type"] == "snapshot"
            assert [stream["username"] for stream in snapshot["streams"]] == names
        assert set(snapshots[0]["streams"][0]) == {
            "username", "stream_id", "state", "started_at", "listeners", "denoise",
            "attenuation_limit_db", "share_original", "muted", "title", "post_filter",
            "model", "undenoised_on_overload", "degraded", "part",
        }  # fmt: skip
        await statuses.write(store, live("stranger", listeners=1))
        await statuses.write(store, live("ada", listeners=1))
        await statuses.write(store, live("ada", state=StreamState.ENDED))
        for socket in (first, second):
            changed, ended = await next_of(socket), await next_of(socket)
            assert changed["type"] == ended["type"] == "stream"
            assert changed["stream"]["listeners"] == 1 and ended["stream"] is None
            assert snapshots[0]["version"] < changed["version"] < ended["version"]


async def test_a_friendship_made_while_the_snapshot_is_read_is_not_missed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list that was read is old by then; the new friend's stream appears all the same."""
    replica = await serve()
    presence = replica.edge.services.presence
    people = replica.edge.services.accounts
    await replica.edge.person("ada")
    bob = await replica.edge.person("bob")
    await statuses.write(replica.edge.streams.store, live("ada"))
    await people.befriend("ada", "bob")
    read_it, go_on = asyncio.Event(), asyncio.Event()

    async def slow(username: str) -> set[str]:
        friends = await people.friends_of(username)
        read_it.set()
        await go_on.wait()
        return friends

    monkeypatch.setattr(presence, "_friends_of", slow)
    async with replica.socket(f"?token={bob.token}") as socket:
        await read_it.wait()
        await people.befriend("bob", "ada")
        [subscription] = presence._subscriptions.all()
        await until(lambda: subscription.friends_are_old)
        go_on.set()
        assert (await next_of(socket))["streams"] == []
        assert (await next_of(socket))["type"] == "friends"
        appeared = await next_of(socket)
        assert appeared["username"] == "ada" and appeared["stream"]["state"] == "live"


async def test_a_socket_with_no_news_has_a_heartbeat(serve: Serve) -> None:
    """The snapshot says how often, so that a page notices a path that is cut; news count too."""
    replica = await serve(heartbeat_s=0.1)
    ada = await replica.edge.person("ada")
    async with replica.socket(f"?token={ada.token}") as socket:
        assert (await next_of(socket))["heartbeat_s"] == 0.1
        assert [await any_of(socket) for _ in range(2)] == [{"type": "heartbeat"}] * 2
        await statuses.write(replica.edge.streams.store, live("ada"))
        assert (await next_of(socket))["stream"]["username"] == "ada"


async def test_a_replica_that_is_cut_off_takes_no_socket(serve: Serve) -> None:
    """It says so at once, so that the page finds another one."""
    replica = await serve()
    ada = await replica.edge.person("ada")
    replica.edge.services.isolation.isolated = True
    async with replica.socket(f"?token={ada.token}") as socket:
        assert (await close_of(socket))[0] == 1013


async def test_after_an_outage_everybody_gets_a_new_snapshot(serve: Serve) -> None:
    """It contains what was missed; even if the first attempt to get it fails."""
    replica = await serve()
    redis = replica.edge.redis
    async with signed_in(replica, "ada") as socket:
        for listeners in (1, 2):
            await redis.client_kill_filter(_type="pubsub")
            await statuses.write(replica.edge.streams.store, live("ada", listeners=listeners))
            snapshot = await next_of(socket)
            while snapshot["type"] != "snapshot":  # the change may have come before the end
                snapshot = await next_of(socket)
            assert [stream["listeners"] for stream in snapshot["streams"]] == [listeners]


async def test_what_cannot_be_read_ends_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that cannot be read is skipped and logged; the next one is passed on."""
    replica = await serve()
    redis = replica.edge.redis
    async with signed_in(replica, "ada") as socket:
        tomorrow = '{"version": 9, "username": "ada", "stream": {"of": "tomorrow"}}'
        for garbage in ("", "[]", "7", '{"version": 1}', tomorrow):
            for channel in (CHANNEL, "hushcast:friends", "hushcast:recordings", access.CHANNEL):
                await redis.publish(redis.channel(channel), garbage)
        await statuses.write(replica.edge.streams.store, live("ada"))
        assert (await next_of(socket))["stream"]["state"] == "live"
    assert "unrecognised message" in caplog.text


async def last_of(socket: ClientConnection) -> tuple[dict[str, Any], int]:
    """Read to the end; get the last message and the code."""
    messages: list[dict[str, Any]] = []
    try:
        while True:
            messages.append(await next_of(socket))
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return messages[-1], closed.rcvd.code


async def test_a_sign_out_or_deletion_closes_the_sockets_it_concerns(serve: Serve) -> None:
    """They are told why, then 4401: those of a sign-in, or all of a deleted account."""
    replica = await serve()
    ada = await replica.edge.person("ada")
    other_token, _ = await replica.edge.services.accounts.sign_in("ada", "correct horse")
    async with (
        signed_in(replica, "bob") as bob,
        replica.socket(f"?token={ada.token}") as first,
        replica.socket(f"?token={other_token}") as second,
    ):
        for socket in (first, second):
            await next_of(socket)
        assert (await ada.http.delete("/api/session")).status_code == 204
        told = {"type": "control", "action": "signed_out", "reason": "You signed out."}
        assert await last_of(first) == (told, 4401)
        other = replica.edge.client(authorization=f"Bearer {other_token}")
        farewell = {"password": PASSWORD}
        assert (await other.request("DELETE", "/api/me", json=farewell)).status_code == 204
        assert await last_of(second) == (told | {"reason": "This account was deleted."}, 4401)
        await statuses.write(replica.edge.streams.store, live("bob"))
        assert (await next_of(bob))["type"] == "stream"


async def test_a_socket_lasts_as_long_as_its_sign_in_whatever_news_is_lost(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is renewed outlives its first expiry; one that ended in silence is found."""
    monkeypatch.setattr(serve_app.sign_ins, "TTL_S", 2)
    monkeypatch.setattr(deployments.presence, "CHECK_INTERVAL_S", 0.05)
    replica = await serve()
    redis = replica.edge.redis
    async with signed_in(replica, "ada") as ada, signed_in(replica, "bob") as bob:
        for subscription in replica.edge.services.presence._subscriptions.of_user("ada"):
            await redis.persist(access.sign_in_key(subscription.sign_in or ""))
        message, code = await last_of(bob)  # after 2 s
        assert (message["action"], code) == ("signed_out", 4401)
        await edge_tells(replica, "ada", ada)
        await redis.delete(access.sign_in_key(subscription.sign_in or ""))
        assert (await last_of(ada))[1] == 4401


async def test_the_end_of_a_replica_is_told(serve: Serve) -> None:
    """1012: the page reconnects, to another replica."""
    replica = await serve()
    async with signed_in(replica, "ada") as socket:
        [subscription] = replica.edge.services.presence._subscriptions.all()
        task = next(task for task in asyncio.all_tasks() if task.get_name() == "presence")
        task.cancel()
        assert await close_of(socket) == (1012, "The server is restarting.")
        assert subscription.ended.is_set()


async def test_strangers_and_other_sites_get_no_socket(serve: Serve) -> None:
    """No token, a wrong one, a cookie without our Origin: refused before it opens."""
    replica = await serve()
    ada = await replica.edge.person("ada")
    own = f"http://127.0.0.1:{replica.port}"
    cookie = {"Cookie": f"hushcast={ada.token}"}
    for query, headers in (
        ("", {}),
        ("?token=garbage", {}),
        ("", cookie),
        ("", cookie | {"Origin": "https://evil.example"}),
        ("", {"Origin": own}),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with replica.socket(query, **headers):
                pass
        assert refused.value.response.status_code == 403
    async with replica.socket(**cookie, Origin=own) as socket:
        assert (await next_of(socket))["type"] == "snapshot"


async def test_the_token_in_the_address_is_not_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by the server either, which logs every address at INFO; other parameters stay."""
    caplog.set_level(logging.INFO)
    replica = await serve()
    ada = await replica.edge.person("ada")
    async with replica.socket(f"?page=7&token={ada.token}") as socket:
        await next_of(socket)
    with pytest.raises(InvalidStatus):
        async with replica.socket("?token=a-wrong-one"):
            pass
    assert "/api/presence?page=7" in caplog.text, "the server logs addresses"
    assert ada.token not in caplog.text and "a-wrong-one" not in caplog.text


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("garbage", 1007),
        ("[]", 1007),
        ("[" * 4000, 1007),
        (b"\x00\x01", 1007),
        ('{"type": "publishing", "session": "' + "x" * 5000 + '"}', 1009),
    ],
)
async def test_garbage_closes_the_socket(serve: Serve, said: str | bytes, code: int) -> None:
    """1007 for an unrecognised message, 1009 for one that is too long."""
    replica = await serve()
    async with signed_in(replica, "ada") as socket:
        await socket.send(said)
        assert (await close_of(socket))[0] == code


async def test_messages_that_are_unknown_are_ignored(serve: Serve) -> None:
    """A newer page may say more than we understand."""
    replica = await serve()
    async with signed_in(replica, "ada") as socket:
        for said in ({}, {"type": "wave"}, {"type": "publishing"}, {"type": 7},
                     {"type": "publishing", "session": 7}):  # fmt: skip
            await socket.send(json.dumps(said))
        await statuses.write(replica.edge.streams.store, live("ada"))
        assert (await next_of(socket))["type"] == "stream"
    assert replica.edge.streams.sockets == []


async def test_each_publishing_is_taken_back_once(serve: Serve) -> None:
    """However often it is said, for one session or two, and however the socket ends."""
    replica = await serve()
    streams = replica.edge.streams
    async with signed_in(replica, "ada") as socket:
        for session in ("one", "one", "two"):
            await socket.send(json.dumps({"type": "publishing", "session": session}))
        await until(lambda: len(streams.sockets) == 2)
        socket.transport.abort()
    await until(lambda: len(streams.sockets) == 4)
    assert streams.sockets[:2] == [("one", True), ("two", True)]
    assert sorted(streams.sockets[2:]) == [("one", False), ("two", False)]


async def test_a_page_that_goes_while_its_stream_is_told_is_taken_back_afterwards(
    serve: Serve,
) -> None:
    """The two never cross: a socket that came and went has come first."""
    replica = await serve()
    streams = replica.edge.streams
    streams.may_go_on.clear()
    async with signed_in(replica, "ada") as socket:
        await socket.send(json.dumps({"type": "publishing", "session": "one"}))
        await until(lambda: "presence announcement" in _running())
    await until(lambda: "presence in" not in _running())
    assert streams.sockets == []
    streams.may_go_on.set()
    await until(lambda: streams.sockets == [("one", True), ("one", False)])


async def test_a_stream_that_could_not_be_told_is_told_again_by_the_page(serve: Serve) -> None:
    """1013: the page reconnects; what a stream never heard is not retracted."""
    replica = await serve()
    async with signed_in(replica, "ada") as socket:
        for session in ("one", "unheard"):
            await socket.send(json.dumps({"type": "publishing", "session": session}))
        assert (await close_of(socket))[0] == 1013
    streams = replica.edge.streams
    await until(lambda: streams.sockets == [("one", True), ("one", False)])


async def test_a_users_sockets_are_limited(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one too many closes with a reason; the earlier ones stay open."""
    monkeypatch.setattr(deployments.presence, "MAX_SOCKETS_OF_A_USER", 1)
    replica = await serve()
    ada = await replica.edge.person("ada")
    async with replica.socket(f"?token={ada.token}") as first:
        assert (await next_of(first))["type"] == "snapshot"
        async with replica.socket(f"?token={ada.token}") as second:
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await asyncio.wait_for(second.recv(), WAIT_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        await edge_tells(replica, "ada", first)


async def edge_tells(replica: Replica, username: str, socket: ClientConnection) -> None:
    """Check that a socket is still told what changes."""
    await statuses.write(replica.edge.streams.store, live(username))
    assert (await next_of(socket))["type"] == "stream"


async def test_a_socket_that_nobody_reads_is_closed_and_forgotten(serve: Serve) -> None:
    """Even while the server is stuck writing to it; others still get their events."""
    replica = await serve()
    ada = await replica.edge.person("ada")
    presence = replica.edge.services.presence
    async with signed_in(replica, "bob") as bob:
        url = f"ws://127.0.0.1:{replica.port}/api/presence?token={ada.token}"
        async with connect(url, max_queue=1, compression=None, ping_interval=None) as stuck:
            await until(lambda: len(presence._subscriptions) == 2)
            stuck.transport.pause_reading()
            subscription = next(s for s in presence._subscriptions.all() if s.username == "ada")
            await until(lambda: _flooded(subscription), interval_s=0)
            await until(lambda: subscription not in presence._subscriptions.all())
            await statuses.write(replica.edge.streams.store, replace(live("bob"), listeners=3))
            assert (await next_of(bob))["stream"]["listeners"] == 3
            stuck.transport.abort()


def _running() -> set[str]:
    """Name the tasks there are."""
    return {task.get_name() for task in asyncio.all_tasks()}


def _flooded(subscription: Subscription) -> bool:
    """Tell a little at a time, so that it is written until the connection takes no more."""
    subscription.tell(Control("x" * 65_536, "", ""))
    return subscription.ended.is_set()


async def test_friends_learn_why_a_recording_went(serve: Serve) -> None:
    """Deleted by whom or for which limit, and that it is back."""
    replica = await serve()
    index = replica.edge.services.index
    _, bob = await replica.edge.person("ada"), await replica.edge.person("bob")
    await replica.edge.befriend("ada", "bob")
    recording = recording_of("ada")
    await index.put(recording)
    async with replica.socket(f"?token={bob.token}") as socket:
        assert (await next_of(socket))["type"] == "snapshot"
        await index.delete(recording, Reason.OWNER)
        await index.restore(recording)
        await index.remove(recording.id, Reason.AGE)
        told = [await next_of(socket) for _ in range(3)]
    assert {message["recording"]["id"] for message in told} == {recording.id}
    seen = [(m["removed"], m["recording"]["state"], m["recording"]["reason"]) for m in told]
    assert seen == [
        (True, "deleted", "owner"),
        (False, "ready", None),
        (True, "deleted", "age"),
    ]


async def test_a_page_without_a_socket_learns_later_what_it_was_asked(serve: Serve) -> None:
    """Until its user has a stream again; friends are not asked."""
    replica = await serve()
    ada, bob = await replica.edge.person("ada"), await replica.edge.person("bob")
    await replica.edge.befriend("ada", "bob")
    store = StatusStore(replica.edge.redis)
    await store.tell_pages("ada", "republish", "a-stream", "")
    async with replica.socket(f"?token={ada.token}") as socket:
        assert (await next_of(socket))["type"] == "snapshot"
        assert await next_of(socket) == {
            "type": "control",
            "action": "republish",
            "stream_id": "a-stream",
            "session": "",
        }
    await statuses.write(store, live("ada"))
    for person in (ada, bob):
        async with replica.socket(f"?token={person.token}") as socket:
            assert (await next_of(socket))["type"] == "snapshot"
            await store.tell_pages(person.username, "taken_over", "a-stream", "a session")
            assert (await next_of(socket))["action"] == "taken_over"
