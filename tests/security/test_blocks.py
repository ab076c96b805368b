"""Blocks and refusals: who is blocked cannot tell, and who was declined does not ask for ever."""

import json
import time
from typing import Any

import pytest

from actors.access import AccessEnded
from serve_app import friends
from tests import statuses
from tests.edge.conftest import Edge, Person
from tests.edge.made_up import live
from tests.security.taken_back import ended as ended
from tests.waiting import until

NOBODY: dict[str, list[Any]] = {"friends": [], "incoming": [], "outgoing": []}
WEEK_S = 7 * 24 * 3600


async def lists(person: Person) -> dict[str, list[Any]]:
    """Get somebody's friends and requests."""
    found: dict[str, list[Any]] = (await person.http.get("/api/friends")).json()
    return found


async def trio(edge: Edge) -> tuple[Person, Person, Person]:
    """Ada is live, has blocked Bob, and does not know Eve."""
    ada, bob, eve = [await edge.person(name) for name in ("ada", "bob", "eve")]
    await statuses.write(edge.streams.store, live("ada"))
    assert (await ada.http.put("/api/blocks/bob")).status_code == 204
    return ada, bob, eve


async def test_who_is_blocked_sees_what_a_stranger_sees(edge: Edge) -> None:
    """Every answer, list and message is that of somebody whose request is not answered."""
    ada, bob, eve = await trio(edge)
    steps = [
        ("GET", "/api/users/ada"), ("PUT", "/api/friends/ada"), ("PUT", "/api/friends/ada"),
        ("GET", "/api/friends"), ("GET", "/api/users/ada"), ("GET", "/api/users/ada/recordings"),
        ("GET", "/api/streams"), ("DELETE", "/api/friends/ada"), ("DELETE", "/api/friends/ada"),
        ("GET", "/api/friends"), ("PUT", "/api/friends/ada"), ("PUT", "/api/friends/ada"),
        ("POST", "/whep/ada"),
    ]  # fmt: skip
    for method, path in steps:
        his, hers = [
            await each.http.request(
                method, path, content="m=audio", headers={"content-type": "application/sdp"}
            )
            for each in (bob, eve)
        ]
        assert (his.status_code, his.text) == (hers.status_code, hers.text), (method, path)
    assert await lists(bob) == await lists(eve) == NOBODY | {"outgoing": ["ada"]}
    assert await lists(ada) == NOBODY | {"incoming": ["eve"]}
    assert (await ada.http.get("/api/blocks")).json() == ["bob"]


async def test_a_block_ends_a_friendship_and_listening_both_ways(
    edge: Edge, ended: list[AccessEnded]
) -> None:
    """At once, everywhere; a block of a stranger is told to nobody."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    await edge.person("eve")
    await edge.befriend("ada", "bob")
    assert (await ada.http.put("/api/blocks/eve")).status_code == 204
    assert (await ada.http.put("/api/blocks/bob")).status_code == 204
    await until(lambda: len(ended) == 2)
    assert {(each.username, each.stream) for each in ended} == {("ada", "bob"), ("bob", "ada")}
    assert not any("block" in each.reason for each in ended)
    assert await lists(ada) == await lists(bob) == NOBODY


async def test_nothing_is_told_to_who_is_blocked(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their page hears of their own requests only, as with anybody else."""
    ada, bob, _ = await trio(edge)
    told: list[list[str]] = []
    publish = edge.redis.publish

    async def noted(channel: str, message: str) -> Any:
        told.append(json.loads(message).get("usernames", []))
        return await publish(channel, message)

    monkeypatch.setattr(edge.redis, "publish", noted)
    await ada.http.delete("/api/blocks/bob")
    await ada.http.put("/api/blocks/bob")
    assert told == []
    await bob.http.put("/api/friends/ada")
    assert told == [["bob"]]


async def test_who_blocked_asks_only_after_unblocking(edge: Edge) -> None:
    """Unblocked, both can ask again; what was asked meanwhile is gone."""
    ada, bob, _ = await trio(edge)
    await bob.http.put("/api/friends/ada")
    refused = await ada.http.put("/api/friends/bob")
    assert refused.status_code == 409 and "Unblock" in refused.json()["detail"]
    for status, name in ((204, "bob"), (204, "bob"), (404, "nobody-here")):
        assert (await ada.http.delete(f"/api/blocks/{name}")).status_code == status
    assert await lists(bob) == await lists(ada) == NOBODY
    assert (await bob.http.put("/api/friends/ada")).json() == {"state": "requested"}
    assert (await ada.http.put("/api/friends/bob")).json() == {"state": "friends"}
    for name, status in (("nobody-here", 404), ("ada", 422)):
        assert (await ada.http.put(f"/api/blocks/{name}")).status_code == status


async def test_a_request_declined_twice_waits_a_week(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a sentence that says how long; the one who declined can ask at any time."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    for _ in range(2):
        await bob.http.put("/api/friends/ada")
        await bob.http.delete("/api/friends/ada")  # withdrawn: that does not count
        assert (await bob.http.put("/api/friends/ada")).status_code == 200
        assert (await ada.http.delete("/api/friends/bob")).status_code == 204
    refused = await bob.http.put("/api/friends/ada")
    assert refused.status_code == 429 and "in 7 days" in refused.json()["detail"]
    assert WEEK_S - 60 < int(refused.headers["retry-after"]) <= WEEK_S
    now = time.time
    monkeypatch.setattr(friends, "time", type("Clock", (), {"time": lambda: now() + WEEK_S}))
    assert (await bob.http.put("/api/friends/ada")).status_code == 200
    assert (await ada.http.delete("/api/friends/bob")).status_code == 204
    assert (await bob.http.put("/api/friends/ada")).status_code == 200  # counted anew
    await ada.http.delete("/api/friends/bob")
    assert (await ada.http.put("/api/friends/bob")).json() == {"state": "requested"}
    assert (await bob.http.put("/api/friends/ada")).json() == {"state": "friends"}


async def test_a_block_looks_like_a_second_refusal(edge: Edge) -> None:
    """Otherwise its answer would differ from that to somebody who was declined twice."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    await bob.http.put("/api/friends/ada")
    await ada.http.delete("/api/friends/bob")
    await bob.http.put("/api/friends/ada")
    await ada.http.put("/api/blocks/bob")
    assert (await bob.http.put("/api/friends/ada")).status_code == 429
    assert await lists(bob) == NOBODY


async def test_blocks_are_limited(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """409 with a sentence."""
    monkeypatch.setattr(friends, "MAX_BLOCKS", 1)
    ada, _, _ = await trio(edge)
    assert (await ada.http.put("/api/blocks/bob")).status_code == 204
    refused = await ada.http.put("/api/blocks/eve")
    assert refused.status_code == 409 and "1 people" in refused.json()["detail"]


async def test_a_later_account_of_a_blocked_name_is_not_blocked(edge: Edge) -> None:
    """And one of the name that blocked inherits no blocks."""
    ada, bob, eve = await trio(edge)
    await bob.delete_account()
    again = await edge.person("bob")
    assert (await ada.http.get("/api/blocks")).json() == []
    await again.http.put("/api/friends/ada")
    assert await lists(ada) == NOBODY | {"incoming": ["bob"]}
    await ada.http.put("/api/blocks/eve")
    await eve.http.put("/api/friends/ada")
    await ada.delete_account()
    assert await lists(eve) == await lists(again) == NOBODY
