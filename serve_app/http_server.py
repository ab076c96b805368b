"""Bounds of the HTTP server that Ray Serve runs: sizes, times, connections.

Serve runs uvicorn in its proxy (in HAProxy mode in every replica) and hands it no limits. Both call
`bounded`, which `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names, before they start it. It puts
protocols with limits in the place of uvicorn's, and a middleware before Serve's own.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

import uvicorn.config
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from serve_app.addresses import address_of
from serve_app.requests import GIVEN_ID, HEADER

LOOPBACK, LOOPBACK_6 = IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")
EVERYWHERE = IPv4Network("0.0.0.0/0"), IPv6Network("::/0")


@dataclass(frozen=True)
class Bounds:
    """What one client may send, and how long it may take. Sizes in bytes, times in seconds."""

    head_bytes: int = 32 * 1024
    url_bytes: int = 8 * 1024
    headers: int = 100
    head_s: float = 15.0
    """For a request's line and headers, and for the first request of a connection to begin."""
    body_s: float = 15.0
    body_bytes_per_s: int = 4 * 1024
    """A body may take `body_s`, and more if it arrives at this rate."""
    idle_s: float = 15.0
    """Between two requests."""
    idle_proxy_s: float = 90.0
    """The same for a proxy: it is longer than proxies keep connections."""
    unread_s: float = 60.0
    """For an answer that waits to be read; about 50 kB have to be read in this time."""
    leaving_s: float = 3.0
    """How long a client may go on sending after the answer. One cut off earlier never reads it."""
    message_bytes: int = 16 * 1024
    """For a WebSocket's message, all its frames together."""
    frames: int = 64
    """How many frames a message may have."""
    socket_bytes: int = 64 * 1024
    socket_s: float = 10.0
    """What a WebSocket may send in this time, control frames included."""
    unread_bytes: int = 1024 * 1024
    """What a WebSocket may be sent without reading it; pings are answered without asking."""
    per_address: int = 256
    """Connections from an IPv4 address, or the /64 network of an IPv6 one, unless it is a proxy."""
    connections: int = 4096
    proxies: tuple[IPv4Network | IPv6Network, ...] = (LOOPBACK, LOOPBACK_6)
    """Where proxies are, which connect for everybody."""
    look_s: float = 1.0
    """How often connections are looked at."""


class Phase(StrEnum):
    """What an HTTP connection waits for."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    REST = "rest of a body that was already answered"
    LEAVING = "leaving"


REFUSALS = {
    400: "This is not a valid HTTP request.",
    408: "The request took too long to arrive.",
    414: "The address is too long.",
    431: "The request's headers are too long.",
}


class Refused(Exception):
    """A request is over a limit; stops the parser."""


class Connection(Protocol):
    """What is counted and looked at."""

    @property
    def place(self) -> str | None:
        """The address that it counts for; None if it is a proxy's."""

    @property
    def waits(self) -> bool:
        """Whether it only waits for its client to go on."""

    def look(self, now: float) -> None:
        """End it if it is overdue."""

    def cut(self) -> None:
        """End it now."""


class Connections:
    """All connections of one server."""

    _of: "ClassVar[WeakKeyDictionary[ServerState, Connections]]" = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: Bounds) -> None:
        self._loop = loop
        self._bounds = bounds
        self._all: dict[Connection, None] = {}  # the oldest first
        self._places: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(
        cls, server: ServerState, loop: asyncio.AbstractEventLoop, bounds: Bounds
    ) -> "Connections":
        """Get those of a server; the first call makes the set."""
        return cls._of.setdefault(server, cls(loop, bounds))

    def admit(self, connection: Connection) -> bool:
        """Count a connection, unless there are too many. One that only waits makes room."""
        place = connection.place
        if place is not None and self._places[place] >= self._bounds.per_address:
            return False
        if len(self._all) >= self._bounds.connections:
            waiting = next((other for other in self._all if other.waits), None)
            if waiting is None:
                return False
            waiting.cut()
            self.leave(waiting)
        self._all[connection] = None
        self._look_later()
        if place is not None:
            self._places[place] += 1
        return True

    def leave(self, connection: Connection) -> None:
        """Count it no more. Idempotent."""
        if connection not in self._all:
            return
        del self._all[connection]
        if (place := connection.place) is not None:
            self._places[place] -= 1
            if not self._places[place]:
                del self._places[place]

    def _look_later(self) -> None:
        if self._timer is None and self._all:
            self._timer = self._loop.call_later(self._bounds.look_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection in tuple(self._all):
            connection.look(now)
        self._look_later()


class Unread:
    """For how long a client has not read what waits for it."""

    def __init__(self, now: float) -> None:
        self._ran_low_at = now

    def runs_low(self, now: float) -> None:
        """Take note that little waits."""
        self._ran_low_at = now

    def since_s(self, transport: asyncio.Transport, now: float) -> float:
        """Get the seconds since little waited."""
        if not transport.get_write_buffer_size():
            self._ran_low_at = now
        return now - self._ran_low_at


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with limits."""

    bounds: ClassVar[Bounds] = Bounds()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.place: str | None = None
        self._all = Connections.of(server_state, self.loop, self.bounds)
        self._unread = Unread(self.loop.time())
        self._refusal = 400
        self._raw_bytes = self._body_bytes = 0
        self._begin_head()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many connections."""
        super().connection_made(transport)
        self.place = place_of(self.client, self.bounds)
        if not self._all.admit(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._all.leave(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Become a WebSocket, which is counted instead."""
        self._all.leave(self)
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Read a piece of a request; refuse one with too long a head."""
        if self.phase is Phase.LEAVING:
            return
        if self.phase is Phase.IDLE:
            self._begin_head()
        if self.phase is Phase.HEAD:
            self._head_bytes += len(data)
        self._raw_bytes += len(data)
        super().data_received(data)
        if self.phase is Phase.HEAD and self._head_bytes > self.bounds.head_bytes:
            self._refuse(431)
        # Sizes and extensions of chunks, and trailers, of which nobody is told.
        overhead = self._raw_bytes - 8 * self._body_bytes
        if self.phase is Phase.BODY and overhead > self.bounds.head_bytes:
            self._refuse(431)

    def on_message_begin(self) -> None:
        """Begin a request, maybe while another one is answered."""
        super().on_message_begin()
        self._begin_head()

    def on_url(self, url: bytes) -> None:
        """Read a piece of the address."""
        super().on_url(url)
        if len(self.url) > self.bounds.url_bytes:
            self._stop_parsing(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a header, or a trailer."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)
        if len(self.headers) > self.bounds.headers or self._header_bytes > self.bounds.head_bytes:
            self._stop_parsing(431)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._raw_bytes = self._body_bytes = 0
        self._enter(Phase.BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read a piece of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the answer, or for the next request if that was sent."""
        super().on_message_complete()
        self._enter(Phase.IDLE if self.phase is Phase.REST else Phase.ANSWER)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        after = {Phase.ANSWER: Phase.IDLE, Phase.BODY: Phase.REST}
        if not self.pipeline and self.phase in after:
            self._enter(after[self.phase])

    def resume_writing(self) -> None:
        """Go on to write."""
        self._unread.runs_low(self.loop.time())
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser stopped at."""
        self._refuse(self._refusal)

    def look(self, now: float) -> None:
        """End what is overdue."""
        if self._unread.since_s(self.transport, now) > self.bounds.unread_s:
            self.transport.abort()
        unread = self.phase is Phase.IDLE and self.transport.get_write_buffer_size()
        if unread or self.flow.read_paused:
            self._since = now  # it reads, or we do not
        limit_s = self._limit_s()
        if limit_s is None or now - self._since <= limit_s:
            return
        if self.phase in (Phase.HEAD, Phase.BODY) and self.scope is not None:
            self._refuse(408)
        elif self.phase is Phase.LEAVING:
            self.transport.abort()
        else:
            self.transport.close()
            self._enter(Phase.LEAVING)

    @property
    def waits(self) -> bool:
        """Whether neither an answer is made nor one is on its way."""
        return self.phase is not Phase.ANSWER and not self.transport.get_write_buffer_size()

    def cut(self) -> None:
        """End it now."""
        self.transport.abort()

    def _limit_s(self) -> float | None:
        """Get how long the present phase may take."""
        bounds = self.bounds
        return {
            Phase.IDLE: bounds.idle_proxy_s if self.place is None else bounds.idle_s,
            Phase.HEAD: bounds.head_s,
            Phase.BODY: bounds.body_s + self._body_bytes / bounds.body_bytes_per_s,
            Phase.REST: bounds.leaving_s,
            Phase.LEAVING: bounds.leaving_s,
        }.get(self.phase)

    def _begin_head(self) -> None:
        self._head_bytes = self._header_bytes = 0
        self._enter(Phase.HEAD)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._since = self.loop.time()

    def _stop_parsing(self, status: int) -> None:
        self._refusal = status
        raise Refused

    def _refuse(self, status: int) -> None:
        """Answer this, unless an answer has begun, and read no more."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline or self.phase is not Phase.BODY:
                self.transport.abort()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self._enter(Phase.LEAVING)
        self.flow.resume_reading()
        body = json.dumps({"detail": REFUSALS[status]}).encode()
        length = str(len(body)).encode()
        head = (
            b"content-type: application/json",
            b"content-length: " + length,
            b"connection: close",
        )
        self.transport.write(STATUS_LINE[status] + b"\r\n".join((*head, b"", body)))


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, with limits."""

    bounds: ClassVar[Bounds] = Bounds()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        config.ws_max_size = self.bounds.message_bytes
        super().__init__(config, server_state, app_state, _loop)
        self.place: str | None = None
        self._all = Connections.of(server_state, self.loop, self.bounds)
        self._unread = Unread(self.loop.time())
        self._window_began, self._window_bytes = self.loop.time(), 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many connections."""
        super().connection_made(transport)
        self.place = place_of(self.client, self.bounds)
        if not self._all.admit(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._all.leave(self)
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Go on to write."""
        self._unread.runs_low(self.loop.time())
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Read frames, unless they are too many."""
        now = self.loop.time()
        if now - self._window_began > self.bounds.socket_s:
            self._window_began, self._window_bytes = now, 0
        self._window_bytes += len(data)
        if self._window_bytes <= self.bounds.socket_bytes:
            super().data_received(data)
        unread = self.transport.get_write_buffer_size() > self.bounds.unread_bytes
        if (
            self._window_bytes > self.bounds.socket_bytes
            or len(self.frames) > self.bounds.frames
            or unread
        ):
            self.transport.abort()

    @property
    def waits(self) -> bool:
        """It is always in use."""
        return False

    def cut(self) -> None:
        """End it now."""
        self.transport.abort()

    def look(self, now: float) -> None:
        """End it if nobody reads it. Pings are uvicorn's: every 20 s, answered within 20 s."""
        if self._unread.since_s(self.transport, now) > self.bounds.unread_s:
            self.transport.abort()


def place_of(client: tuple[str, int] | None, bounds: Bounds) -> str | None:
    """Get what a connection counts for; None for a proxy."""
    found = address_of(client[0]) if client else None
    if found is None or any(found in network for network in bounds.proxies):
        return None
    return str(IPv6Network((found, 64), strict=False) if isinstance(found, IPv6Address) else found)


def bounds_in(environment: Mapping[str, str]) -> Bounds:
    """Get the bounds of this process. Settings do not come as far as Serve's proxies."""
    if environment.get("RAY_SERVE_ENABLE_HA_PROXY") == "1":  # only HAProxy connects to replicas
        return Bounds(proxies=EVERYWHERE)
    if given := environment.get("HUSHCAST_TRUSTED_PROXIES"):
        networks = (ip_network(text.strip(), strict=False) for text in given.split(","))
        return Bounds(proxies=(LOOPBACK, LOOPBACK_6, *networks))
    return Bounds()


class Untold:
    """Removes the headers with which a client could give orders to Serve, and hides its routes."""

    ORDERS: ClassVar = frozenset(
        ("serve_multiplexed_model_id", "x_session_id", "x_request_timeout_seconds")
        + ("x_request_disconnect_disabled",)
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. Serve itself fails at values that are not UTF-8."""
        if scope["type"] in ("http", "websocket"):
            headers = [pair for pair in scope["headers"] if self._fit(*pair)]
            path = "/-" if scope["path"] == "/-/routes" else scope["path"]
            scope = {**scope, "headers": headers, "path": path}
        await self._app(scope, receive, send)

    def _fit(self, name: bytes, value: bytes) -> bool:
        if name == HEADER:
            return GIVEN_ID.fullmatch(value) is not None
        return name.decode("latin-1").replace("-", "_") not in self.ORDERS


def bounded() -> list[Middleware]:
    """Bound the HTTP server that this process is about to start; called by Serve."""
    BoundedHttp.bounds = BoundedWebSocket.bounds = bounds_in(os.environ)
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedHttp.__name__}"
    uvicorn.config.WS_PROTOCOLS["auto"] = f"{__name__}:{BoundedWebSocket.__name__}"
    return [Middleware(Untold)]
