"""A friend of the tests: signs in, publishes and listens over HTTP like any client."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.peers import ListenerPeer, PublisherPeer

SDP = {"content-type": "application/sdp"}


class Person:
    """Somebody with an account, a bearer token and any number of peers."""

    def __init__(self, url: str, username: str, token: str, password: str = "") -> None:
        self.username = username
        self.password = password
        self.token = token
        self.url = url
        self.http = httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30
        )
        self.peers: list[PublisherPeer | ListenerPeer] = []

    async def publish(
        self, packets: list[bytes], query: str = "", *, protocol: str = ""
    ) -> tuple[PublisherPeer, str]:
        """Begin to publish; get the peer and the path of its session."""
        peer = PublisherPeer(packets, protocol=protocol)
        self.peers.append(peer)
        location = await self._connect(peer, f"/whip{query}")
        return peer, location

    async def listen(
        self, username: str, query: str = "", *, sections: int = 1
    ) -> tuple[ListenerPeer, str]:
        """Begin to listen; get the peer and the path of its session."""
        peer = ListenerPeer(sections=sections)
        self.peers.append(peer)
        location = await self._connect(peer, f"/whep/{username}{query}")
        return peer, location

    async def _connect(self, peer: PublisherPeer | ListenerPeer, path: str) -> str:
        answer = await self.http.post(path, content=await peer.offer(), headers=SDP)
        assert answer.status_code == 201, f"{path}: {answer.status_code} {answer.text}"
        await peer.accept(answer.text)
        location: str = answer.headers["location"]
        return location

    async def stream(self) -> dict[str, Any] | None:
        """Get the user's own stream from the API."""
        answer = await self.http.get("/api/me")
        assert answer.status_code == 200, answer.text
        stream: dict[str, Any] | None = answer.json()["stream"]
        return stream

    async def recordings(self) -> list[dict[str, Any]]:
        """Get the user's own recordings, newest first."""
        answer = await self.http.get(f"/api/users/{self.username}/recordings")
        assert answer.status_code == 200, answer.text
        recordings: list[dict[str, Any]] = answer.json()
        return recordings

    async def befriend(self, other: "Person") -> None:
        """Become friends: one asks, the other one accepts."""
        asked = await self.http.put(f"/api/friends/{other.username}")
        assert asked.json() == {"state": "requested"}, asked.text
        accepted = await other.http.put(f"/api/friends/{self.username}")
        assert accepted.json() == {"state": "friends"}, accepted.text

    @asynccontextmanager
    async def presence(self) -> "AsyncIterator[Presence]":
        """Hold a presence socket."""
        address = self.url.replace("http", "ws", 1) + f"/api/presence?token={self.token}"
        async with connect(address) as socket:
            presence = Presence(socket)
            reader = asyncio.create_task(presence.read())
            try:
                yield presence
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def close(self) -> None:
        """Leave nothing behind but the account."""
        await self.http.post("/api/stream/stop")
        for peer in self.peers:
            await peer.close()
        await self.http.aclose()


class Presence:
    """The messages of a presence socket, each with its time."""

    def __init__(self, socket: ClientConnection) -> None:
        self.messages: list[dict[str, Any]] = []
        self.times: list[float] = []
        self._socket = socket

    async def read(self) -> None:
        """Keep every message, for ever."""
        async for text in self._socket:
            self.messages.append(json.loads(text))
            self.times.append(asyncio.get_running_loop().time())

    async def say(self, **message: Any) -> None:
        """Send a message."""
        await self._socket.send(json.dumps(message))

    def states(self, username: str) -> list[str | None]:
        """Get the states of a user's stream in the order in which they were told."""
        told = [m["stream"] for m in self.messages
                if m["type"] == "stream" and m["username"] == username]  # fmt: skip
        states = [stream["state"] if stream else None for stream in told]
        return [s for n, s in enumerate(states) if n == 0 or s != states[n - 1]]


async def delete_account(person: Person) -> httpx.Response:
    """Delete an account, with everything in it."""
    return await person.http.request("DELETE", "/api/me", json={"password": person.password})


async def sign_up(url: str, username: str | None = None) -> Person:
    """Create an account and sign in."""
    username = username or f"test-{secrets.token_hex(4)}"
    credentials = {"username": username, "password": secrets.token_hex(8)}
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        created = await http.post("/api/accounts", json=credentials)
        assert created.status_code == 201, created.text
    return await sign_in(url, **credentials)


async def sign_in(url: str, username: str, password: str) -> Person:
    """Sign in with an account that exists."""
    credentials = {"username": username, "password": password}
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        session = await http.post("/api/session", json=credentials)
        assert session.status_code == 200, session.text
    return Person(url, username, session.json()["token"], password)
