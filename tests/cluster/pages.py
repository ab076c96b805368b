"""Pages without a browser: they publish, listen and come back as ours do, and note when.

What frontend/presence.js, held.js, publisher.js and listener.js do about losses, in short: a socket
that reopens, a list of streams every 3 s while there is none, `republish`, levels that stop coming,
and patience with refusals.
"""

import asyncio
import json
import random
import time
from typing import Any

import httpx
from aiortc.exceptions import InvalidStateError
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from commands.load.peers import PacketListener, PublisherPeer
from foundation.tasks import TaskSet
from tests.app.client import SDP, Person

NO_PATH_S = 3.0
POLL_S = 3.0
MISSING = 2
"""How many heartbeats may stay away before a socket is given up."""
BEGIN_ANEW_S = 30.0
REQUEST_S = 15.0
CONNECT_S = 12.0

Event = tuple[float, str, Any]


def place(stream: dict[str, Any]) -> tuple[str, int]:
    """Say which stream it is, and where: it is heard anew when either changes."""
    return stream["stream_id"], stream["part"]


class Backoff:
    """How long to wait before the next attempt, as in frontend/waiting.js."""

    def __init__(self) -> None:
        self._attempt = 0

    def next(self, at_least_s: float = 0.0) -> float:
        """Get seconds, never less than the server asked for."""
        full = min(2.0, 0.25 * float(2**self._attempt))
        self._attempt += 1
        return at_least_s + full * (0.5 + random.random() / 2)


class Page:
    """Somebody's open page: a presence socket, and what it knows by that.

    Attributes:
        events: what happened, each with its time on time.monotonic.
        streams: the streams it knows of, by username.
    """

    def __init__(self, person: Person) -> None:
        self.person = person
        self.events: list[Event] = []
        self.streams: dict[str, dict[str, Any] | None] = {}
        self.publishing: str | None = None
        self._socket: Any = None
        self._changed = asyncio.Event()
        self._tasks = TaskSet()

    def note(self, what: str, detail: Any = None) -> None:
        """Keep an event."""
        self.events.append((time.monotonic(), what, detail))

    def times(self, what: str, since: float = 0.0) -> list[float]:
        """Get when something happened."""
        return [at for at, event, _ in self.events if event == what and at >= since]

    def states(self, username: str, since: float = 0.0) -> list[tuple[float, str | None]]:
        """Get what it was told of somebody's stream, each state with its time."""
        return [(at, d[1]) for at, event, d in self.events
                if event == "stream" and d[0] == username and at >= since]  # fmt: skip

    def open(self) -> None:
        """Begin."""
        self._tasks.start(self._stay_connected(), name="socket")

    async def close(self) -> None:
        """End."""
        await self._tasks.cancel()

    # -- what it hears

    async def _stay_connected(self) -> None:
        backoff = Backoff()
        address = self.person.url.replace("http", "ws", 1)
        while True:
            polling = asyncio.create_task(self._poll())
            try:
                url = f"{address}/api/presence?token={self.person.token}"
                async with connect(
                    url, open_timeout=5, close_timeout=0.2, ping_interval=None
                ) as socket:
                    self._socket = socket
                    await self._read(socket, polling)
                    self.note("socket lost", socket.close_code)
                    backoff = Backoff()
            except (OSError, WebSocketException, TimeoutError) as error:
                self.note("socket lost", repr(error))
            finally:
                self._socket = None
                polling.cancel()
            await asyncio.sleep(backoff.next())

    async def _read(self, socket: Any, polling: "asyncio.Task[None]") -> None:
        patience_s = None
        while True:
            async with asyncio.timeout(patience_s):
                message = json.loads(await socket.recv())
            match message["type"]:
                case "snapshot":
                    polling.cancel()
                    patience_s = MISSING * message["heartbeat_s"]
                    self.note("socket", message["version"])
                    self._replace(message["streams"])
                    await self._tell_publishing()
                case "stream":
                    self._learn(message["username"], message["stream"])
                case "control":
                    self.note(message["action"], message)
                    self.obey(message)
                case "recording":
                    self.note("recording", message["recording"])

    async def _poll(self) -> None:
        while True:
            try:
                answer = await self.person.http.get("/api/streams", timeout=REQUEST_S)
                if answer.status_code == 200:
                    self._replace(answer.json())
            except httpx.HTTPError:
                pass
            await asyncio.sleep(POLL_S)

    def _replace(self, streams: list[dict[str, Any]]) -> None:
        now = {stream["username"]: stream for stream in streams}
        for username in {*self.streams, *now}:
            self._learn(username, now.get(username))

    def _learn(self, username: str, stream: dict[str, Any] | None) -> None:
        before = self.streams.get(username)
        self.streams[username] = stream
        if (before and (before["state"], place(before))) != (
            stream and (stream["state"], place(stream))
        ):
            self.note("stream", (username, stream["state"] if stream else None))
        self.news(username, stream)

    async def _tell_publishing(self) -> None:
        if self._socket is not None and self.publishing is not None:
            said = {"type": "publishing", "session": self.publishing}
            try:
                await self._socket.send(json.dumps(said))
            except WebSocketException:
                pass  # it is said again on the next socket

    # -- what a subclass does about it

    def obey(self, control: dict[str, Any]) -> None:
        """Do what the server asks for."""

    def news(self, username: str, stream: dict[str, Any] | None) -> None:
        """Hear of a stream."""

    async def _offer(self, peer: PublisherPeer | PacketListener, path: str) -> str:
        """Post an offer until it is accepted, with patience; returns the session's path."""
        answer = await self.person.http.post(
            path, content=await peer.offer(), headers=SDP, timeout=REQUEST_S
        )
        if answer.status_code != 201:
            wait_s = answer.headers.get("retry-after", "0")
            raise Refused(answer.status_code, float(wait_s), answer.text)
        await peer.accept(answer.text)
        async with asyncio.timeout(CONNECT_S):
            await peer.connected.wait()
        return str(answer.headers["location"])


class Refused(Exception):
    """The server refused an offer."""

    def __init__(self, status: int, wait_s: float, text: str) -> None:
        super().__init__(status, text)
        self.status, self.wait_s = status, wait_s


class PublisherPage(Page):
    """A page that broadcasts from `start` on, and goes on after every loss."""

    def __init__(self, person: Person, packets: list[bytes]) -> None:
        super().__init__(person)
        self._packets = packets
        self._renew = asyncio.Event()
        self._anew_until = 0.0
        self._seen: str | None = None
        self.peer: PublisherPeer | None = None
        self.gone: list[PublisherPeer] = []

    def start(self) -> None:
        """Press Start."""
        self._tasks.start(self._publish(), name="publisher")

    def obey(self, control: dict[str, Any]) -> None:
        """Republish."""
        if control["action"] != "republish":
            return
        session = control["session"]
        if session == self.publishing if session else control["stream_id"] == self._seen:
            self._anew_until = time.monotonic() + BEGIN_ANEW_S
            self._renew.set()

    def news(self, username: str, stream: dict[str, Any] | None) -> None:
        """Remember the own stream."""
        if username == self.person.username and stream and stream["started_at"]:
            self._seen = stream["stream_id"]

    async def _publish(self) -> None:
        returning = False
        while True:
            self._renew.clear()
            await self._connect(returning)
            returning = True
            await self._lose()

    async def _connect(self, returning: bool) -> None:
        backoff = Backoff()
        while True:
            wait_s = 0.0
            peer = PublisherPeer(self._packets)
            try:
                if returning and not await self._may_return():
                    self.note("waits")
                else:
                    self.note("offers")
                    self._renew.clear()
                    location = await self._offer(peer, "/whip")
                    self.note("publishes", location)
                    self.publishing = location.rsplit("/", 1)[-1]
                    await self._tell_publishing()
                    if self.peer is not None:
                        await self.peer.close()
                    self.peer = peer
                    return
            except Refused as refusal:
                self.note("refused", (refusal.status, str(refusal)))
                wait_s = refusal.wait_s
            except (httpx.HTTPError, TimeoutError, InvalidStateError) as error:
                self.note("failed", repr(error))
            await peer.close()
            await self._pause(backoff.next(wait_s))

    async def _may_return(self) -> bool:
        answer = await self.person.http.get("/api/me", timeout=REQUEST_S)
        if answer.status_code != 200:
            raise Refused(answer.status_code, 0.0, answer.text)
        return bool(answer.json()["stream"]) or time.monotonic() < self._anew_until

    async def _lose(self) -> None:
        """Wait until the server asks for another session, or its levels stop coming."""
        assert self.peer is not None
        heard, at = dict(self.peer.stats), time.monotonic()
        while not self._renew.is_set():
            await self._pause(0.1)
            if self.peer.stats != heard:
                heard, at = dict(self.peer.stats), time.monotonic()
            elif time.monotonic() - at > NO_PATH_S:
                self.note("no levels")
                return

    async def _pause(self, seconds: float) -> None:
        """Wait; less if the server asks to go on."""
        try:
            async with asyncio.timeout(seconds):
                await self._renew.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """End the stream and the page."""
        await super().close()
        try:
            await self.person.http.post("/api/stream/stop", timeout=5)
        except httpx.HTTPError:
            pass
        if self.peer is not None:
            await self.peer.close()


class ListenerPage(Page):
    """A page that listens to somebody from `start` on, and comes back after every loss."""

    def __init__(self, person: Person, username: str) -> None:
        super().__init__(person)
        self.username = username
        self.heard: list[float] = []
        """When each packet arrived, time.monotonic."""
        self._wanted = asyncio.Event()
        self._stream: tuple[str, int] | None = None

    def start(self) -> None:
        """Press Listen."""
        self._tasks.start(self._listen(), name="listener")

    def news(self, username: str, stream: dict[str, Any] | None) -> None:
        """Come when there is something new to hear."""
        if username != self.username:
            return
        audible = stream is not None and stream["state"] in ("live", "reconnecting")
        if audible and stream is not None and place(stream) != self._stream:
            self._wanted.set()

    async def _listen(self) -> None:
        backoff = Backoff()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            stream = self.streams.get(self.username)
            peer = PacketListener(keep_sound=False)
            peer.arrivals.add = self._keep  # type: ignore[method-assign]
            try:
                location = await self._offer(peer, f"/whep/{self.username}")
                self.note("listens", location)
                self._stream = place(stream) if stream else None
                backoff = Backoff()
                await self._lose()
            except Refused as refusal:
                self.note("refused", (refusal.status, str(refusal)))
                await self._pause(backoff.next(refusal.wait_s))
            except (httpx.HTTPError, TimeoutError, InvalidStateError) as error:
                self.note("failed", repr(error))
                await self._pause(backoff.next())
            finally:
                self._stream = None
                await peer.close()
            self.news(self.username, self.streams.get(self.username))

    async def _pause(self, seconds: float) -> None:
        """Wait; less if there is something to hear."""
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            return

    def _keep(self, at: float, sequence: int, timestamp: int, payload: bytes) -> None:
        self.heard.append(at)

    async def _lose(self) -> None:
        """Wait until nothing arrives any more, or another stream begins."""
        began = time.monotonic()
        while not self._wanted.is_set():
            await asyncio.sleep(0.1)
            last = self.heard[-1] if self.heard else 0.0
            if time.monotonic() - max(last, began) > NO_PATH_S:
                self.note("silence")
                return

    def longest_gap_s(self, since: float, until: float | None = None) -> float:
        """Get the longest time without a packet in a span; the span's ends count as packets."""
        end = time.monotonic() if until is None else until
        times = [since, *(at for at in self.heard if since < at < end), end]
        return max(later - earlier for earlier, later in zip(times, times[1:], strict=False))
