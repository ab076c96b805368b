"""The presence socket of a guest: one user's stream, for as long as the link is valid."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

import deployments.presence
from actors import access
from actors.status import Listening
from tests import statuses
from tests.edge.made_up import live
from tests.edge.test_links import make
from tests.edge.test_presence_socket import Serve, last_of, next_of
from tests.edge.test_presence_socket import serve as serve
from tests.edge.test_recordings import recording_of

OVER = {"type": "control", "action": "signed_out", "reason": access.LINK_ENDED}


@pytest.mark.parametrize("recordings", [False, True])
async def test_a_guest_is_told_of_one_user_alone(serve: Serve, recordings: bool) -> None:
    """A snapshot, then changes of that stream; of recordings if the link says so; nothing else."""
    replica = await serve()
    ada, _ = await replica.edge.person("ada"), await replica.edge.person("bob")
    await replica.edge.befriend("ada", "bob")
    store = replica.edge.streams.store
    for name in ("ada", "bob"):
        await statuses.write(store, live(name))
    _, token = await make(ada, recordings=recordings)
    async with replica.socket(f"?token={token}") as socket:
        snapshot = await next_of(socket)
        assert [stream["username"] for stream in snapshot["streams"]] == ["ada"]
        await socket.send(json.dumps({"type": "publishing", "session": "anything"}))
        await statuses.write(store, live("bob", listeners=2))
        for name in ("bob", "ada"):
            await replica.edge.services.index.put(recording_of(name))
        await ada.http.delete("/api/friends/bob")
        await store.tell_listeners("ada", [Listening("bob", 1.7e9, ("s",))])
        await store.tell_pages("ada", "taken_over", "01", "s")
        await statuses.write(store, live("ada", listeners=1))
        told: list[dict[str, Any]] = [await next_of(socket)]
        while told[-1]["type"] != "stream":
            told.append(await next_of(socket))
        kinds = [each["type"] for each in told]
        assert kinds == (["recording", "stream"] if recordings else ["stream"])
        assert told[-1]["username"] == "ada" and told[-1]["stream"]["listeners"] == 1


async def test_the_owner_is_told_who_listens_by_which_link(serve: Serve) -> None:
    """A guest has no name but the link's label."""
    replica = await serve()
    ada = await replica.edge.person("ada")
    async with replica.socket(f"?token={ada.token}") as socket:
        await next_of(socket)
        people = [
            Listening("bob", 1.7e9, ("s1", "s2")),
            Listening(None, 1.7e9, ("s3",), label="band", link="l1"),
        ]
        await replica.edge.streams.store.tell_listeners("ada", people)
        since = "2023-11-14T22:13:20.000Z"
        assert await next_of(socket) == {
            "type": "listeners",
            "listeners": [
                {"username": "bob", "label": None, "since": since, "sessions": ["s1", "s2"]},
                {"username": None, "label": "band", "since": since, "sessions": ["s3"]},
            ],
        }


async def test_a_link_that_ends_closes_its_sockets(serve: Serve) -> None:
    """Those of this link, at any replica; they are told why."""
    here, there = await serve(), await serve()
    ada = await here.edge.person("ada")
    (first, token), (_, other) = await make(ada), await make(ada)
    async with (
        here.socket(f"?token={token}") as one,
        there.socket(Authorization=f"Bearer {token}") as two,
        there.socket(f"?token={other}") as stays,
    ):
        for socket in (one, two, stays):
            await next_of(socket)
        assert (await ada.http.delete(f"/api/links/{first['id']}")).status_code == 204
        for socket in (one, two):
            assert await asyncio.wait_for(last_of(socket), 1) == (OVER, 4401)
        await statuses.write(here.edge.streams.store, live("ada"))
        assert (await next_of(stays))["type"] == "stream"
    for query in (f"?token={token}", f"?token={'0' * 32}"):
        with pytest.raises(InvalidStatus) as refused:
            async with here.socket(query):
                pass
        assert refused.value.response.status_code == 403


async def test_a_link_s_socket_ends_when_the_link_does_whatever_news_is_lost(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its expiry to the second; and a link that is gone in silence is found."""
    monkeypatch.setattr(deployments.presence, "CHECK_INTERVAL_S", 0.05)
    monkeypatch.setattr(deployments.presence, "CHECK_PAUSE_S", 0.0)
    replica = await serve()
    await replica.edge.person("ada")
    links = replica.edge.services.links
    short, link = await links.make("ada", label=None, expires_in_s=1, recordings=False)
    await replica.edge.redis.persist(access.link_key(link.id))  # it ends by its own clock
    lost, gone = await links.make("ada", label=None, expires_in_s=300, recordings=False)
    async with (
        replica.socket(f"?token={short}") as one,
        replica.socket(f"?token={lost}") as two,
    ):
        for socket in (one, two):
            await next_of(socket)
        await replica.edge.redis.delete(access.link_key(gone.id))
        assert await last_of(two) == (OVER, 4401)
        assert await asyncio.wait_for(last_of(one), 2) == (OVER, 4401)


async def test_sockets_of_a_link_are_limited(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one too many closes; the owner's own are not counted with them."""
    monkeypatch.setattr(deployments.presence, "MAX_SOCKETS_OF_A_LINK", 1)
    replica = await serve()
    ada = await replica.edge.person("ada")
    _, token = await make(ada)
    async with (
        replica.socket(f"?token={token}") as first,
        replica.socket(f"?token={token}") as second,
        replica.socket(f"?token={ada.token}") as own,
    ):
        assert (await next_of(first))["type"] == "snapshot"
        assert (await next_of(own))["type"] == "snapshot"
        await second.wait_closed()
        assert second.close_code == 1013
