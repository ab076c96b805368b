"""Access that is taken back ends what rested on it, through the whole product."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.app.client import SDP, Person, Presence
from tests.peers import ListenerPeer, Peer, encode
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = pytest.mark.slow

PACKETS = encode(speech_like(2.0))
AT_ONCE_S = 1.0


async def _closed(peer: Peer) -> float:
    return await until(lambda: peer.connection.connectionState == "closed")


async def _heard(peers: list[ListenerPeer]) -> None:
    before = [len(peer.sound) for peer in peers]
    await until(lambda: all(len(p.sound) > b for p, b in zip(peers, before, strict=True)))


async def _told(socket: Presence, action: str) -> None:
    await until(lambda: action in [message.get("action") for message in socket.messages])


def _listed(socket: Presence) -> set[str]:
    """Name who listens by the newest message about that."""
    lists = [m["listeners"] for m in socket.messages if m["type"] == "listeners"]
    return {each["username"] for each in lists[-1]} if lists else set()


async def _live(person: Person) -> bool:
    stream = await person.stream()
    return stream is not None and stream["state"] == "live"


async def test_whoever_may_no_longer_hear_a_stream_hears_no_more(
    people: Callable[[], Awaitable[Person]],
) -> None:
    """Unfriended, signed out, deleted, removed: within a second; then the publisher signs out."""
    ada, *friends = [await people() for _ in range(5)]
    for friend in friends:
        await ada.befriend(friend)
    bob, cid, dan, eve = friends
    publisher, _ = await ada.publish(PACKETS)
    await until(lambda: _live(ada))
    peers: dict[str, ListenerPeer] = {}
    async with ada.presence() as adas:
        for friend in friends:
            peers[friend.username], _ = await friend.listen(ada.username)
        await until(lambda: all(len(peer.sound) for peer in peers.values()))
        await until(lambda: _listed(adas) == set(peers))
    told = (await ada.http.get("/api/stream/listeners")).json()
    assert {each["username"] for each in told} == set(peers)
    [place] = [each["sessions"][0] for each in told if each["username"] == eve.username]
    assert (await bob.http.delete(f"/whep/sessions/{place}")).status_code == 403

    async with cid.presence() as cids, eve.presence() as eves:
        await until(lambda: bool(cids.messages and eves.messages))
        for friend, answering in (
            (bob, ada.http.delete(f"/api/friends/{bob.username}")),
            (cid, cid.http.delete("/api/session")),
            (dan, dan.http.request("DELETE", "/api/me", json={"password": dan.password})),
            (eve, ada.http.delete(f"/whep/sessions/{place}")),
        ):
            answer = asyncio.create_task(answering)
            ended_s = await _closed(peers.pop(friend.username))
            assert ended_s - (await answer).elapsed.total_seconds() < AT_ONCE_S
            assert (await answer).is_success
            await _heard(list(peers.values()))
        for socket, action in ((cids, "signed_out"), (eves, "removed")):
            await _told(socket, action)
    again = ListenerPeer()
    eve.peers.append(again)
    offer = await again.offer()
    refused = await eve.http.post(f"/whep/{ada.username}", content=offer, headers=SDP)
    assert refused.status_code == 403 and "removed" in refused.json()["detail"]
    assert (await ada.http.delete("/api/session")).status_code == 204
    assert await _closed(publisher) < AT_ONCE_S
