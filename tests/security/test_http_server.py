"""What one client can do to the HTTP server: nothing for long, and nothing large."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
import uvicorn
import websockets
from ray.serve._private.utils import call_function_from_import_path
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect

from commands.local.ray_head import HTTP_SERVER
from serve_app import http_server
from serve_app.http_server import BoundedHttp, BoundedWebSocket, Bounds, Untold, bounds_in, place_of
from tests.waiting import until

QUICK = Bounds(
    head_s=0.2, body_s=0.2, idle_s=0.2, idle_proxy_s=0.2, unread_s=0.2, leaving_s=0.2, look_s=0.05
)
"""Times that a test can wait for; sizes as they are."""
END_LIMIT_S = 20.0
"""For a machine that is busy."""


@dataclass
class Echo:
    """An application that answers with the length of a body, or with much, and echoes messages."""

    seen: list[Scope] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    disconnects: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        self.seen.append(scope)
        if scope["type"] == "websocket":
            await self._socket(receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        length, more = 0, scope["path"] != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            length, more = length + len(message["body"]), message["more_body"]
        pieces = [b"x" * 65536] * 1000 if scope["path"] == "/much" else [str(length).encode()]
        size = str(sum(map(len, pieces))).encode()
        headers = [(b"content-length", size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async def _socket(self, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            if "text" in message:
                self.received.append(message["text"])


@dataclass
class Door:
    """A running server."""

    port: int
    app: Echo
    server: uvicorn.Server

    @property
    def open(self) -> int:
        """How many connections the server has."""
        return len(self.server.server_state.connections)

    async def connect(self, **options: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to it."""
        return await asyncio.open_connection("127.0.0.1", self.port, **options)

    async def ask(self, request: bytes) -> bytes:
        """Send this, and get everything that comes until the server ends the connection."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            async with asyncio.timeout(END_LIMIT_S):
                return await reader.read()
        finally:
            writer.close()

    async def until_none_is_open(self) -> None:
        """Wait until it has ended every connection. Raises TimeoutError."""
        await until(lambda: not self.open, timeout_s=END_LIMIT_S)

    async def socket(self) -> ClientConnection:
        """Open a WebSocket."""
        return await connect(f"ws://127.0.0.1:{self.port}/", close_timeout=2)


MakeDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
async def make_door() -> AsyncIterator[MakeDoor]:
    """Run servers as Serve does, with other bounds."""
    running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def make(bounds: Bounds = QUICK) -> Door:
        http = type("Http", (BoundedHttp,), {"bounds": bounds})
        ws = type("WebSocket", (BoundedWebSocket,), {"bounds": bounds})
        app = Echo()
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, http=http, ws=ws, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve(sockets=[sock]))
        running.append((server, task))
        await until(lambda: server.started)
        return Door(sock.getsockname()[1], app, server)

    yield make
    for server, task in running:
        server.force_exit = server.should_exit = True
        await task


@pytest.fixture
async def door(make_door: MakeDoor) -> Door:
    """A server with short times."""
    return await make_door()


GET = b"GET / HTTP/1.1\r\nhost: cast\r\n"


async def test_usual_requests_are_answered(door: Door) -> None:
    """One after another over one connection, with bodies, in pieces, and before they are whole."""
    reader, writer = await door.connect()
    body = b"x" * 200_000
    early = b"POST /early HTTP/1.1\r\nhost: cast\r\ncontent-length: 4\r\n\r\nab"
    for request, answer in (
        (GET + b"\r\n", b"0"),
        (b"POST / HTTP/1.1\r\nhost: cast\r\ncontent-length: 200000\r\n\r\n" + body, b"200000"),
        (GET + b"x-long: " + b"y" * 30_000 + b"\r\n\r\n", b"0"),
        (early, b"0"),
        (b"cd" + GET + b"\r\n", b"0"),
    ):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert await reader.readexactly(len(answer)) == answer
    writer.close()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (GET + b"x-request-id: " + b"x" * 500_000 + b"\r\n\r\n", 431),
        (GET + b"x-request-id: " + b"x" * 500_000, 431),
        (GET + b"x" * 500_000, 431),
        (GET + b"".join(b"x-%d: 1\r\n" % n for n in range(200)) + b"\r\n", 431),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nhost: cast\r\n\r\n", 414),
        (b"GET /?token=" + b"x" * 500_000, 414),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: " + b"y" * 500_000, 431),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"y" * 500_000, 431),
        (GET + b"no colon\r\n\r\n", 400),
    ],
    ids=["header", "half a header", "name", "many", "address", "query", "trailer", "chunk", "bad"],
)
async def test_long_heads_are_refused(door: Door, request_head: bytes, status: int) -> None:
    """In a sentence that the client can read, and nothing reaches the application for long."""
    answer = await door.ask(request_head)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
    assert b'{"detail": "' in answer
    await door.until_none_is_open()


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"\r\n",
        b"GET / HT",
        GET,
        b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc",
        GET + b"\r\n",
        GET + b"\r\n\r\n\r\n",
        b"POST /early HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc",
    ],
    ids=["none", "empty", "line", "headers", "body", "chunk", "idle", "lines", "rest"],
)
async def test_half_requests_and_idle_connections_end(door: Door, half: bytes) -> None:
    """300 of each were open after 26 s."""
    connections = [await door.connect() for _ in range(30)]
    for _, writer in connections:
        writer.write(half)
    await door.until_none_is_open()
    for _, writer in connections:
        writer.close()


async def test_a_body_that_trickles_is_not_waited_for(make_door: MakeDoor) -> None:
    """It has to arrive at a rate, however often a byte of it comes; the application is told."""
    door = await make_door(replace(QUICK, leaving_s=5.0))  # time to read the answer
    reader, writer = await door.connect()
    writer.write(b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n")

    async def trickle() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    async with asyncio.timeout(END_LIMIT_S):
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
    trickling.cancel()
    await until(lambda: door.app.disconnects == 1)
    writer.close()


async def test_a_download_that_nobody_reads_ends(make_door: MakeDoor) -> None:
    """After a minute, its buffers with it; one that is read goes on, however slowly."""
    door = await make_door(Bounds(look_s=3600))
    reader, writer = await door.connect()
    writer.write(b"GET /much HTTP/1.1\r\nhost: cast\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    [connection] = door.server.server_state.connections
    assert isinstance(connection, BoundedHttp)
    await until(lambda: connection.flow.write_paused)
    began = connection.loop.time()
    connection.look(began + 50)
    await reader.readexactly(30_000_000)
    await until(lambda: connection.flow.write_paused)
    connection.look(began + 60)
    assert door.open == 1
    connection.look(connection.loop.time() + 61)
    await door.until_none_is_open()
    writer.close()


async def test_an_address_has_a_number_of_connections(
    make_door: MakeDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are served meanwhile, and so is it once it has ended one."""
    door = await make_door(replace(QUICK, head_s=60, per_address=3))
    places = iter(["192.0.2.1"] * 5 + ["192.0.2.2"])
    monkeypatch.setattr(http_server, "place_of", lambda client, bounds: next(places, "192.0.2.1"))
    connections = [await door.connect() for _ in range(6)]
    async with asyncio.timeout(END_LIMIT_S):
        assert [await reader.read(1) for reader, _ in connections[3:5]] == [b"", b""]
    assert await answered(connections[5])
    connections[0][1].close()
    await until(lambda: door.open == 3)
    assert await answered(again := await door.connect())
    for _, writer in (*connections, again):
        writer.close()


async def test_a_newcomer_takes_the_place_of_one_who_only_waits(make_door: MakeDoor) -> None:
    """However many half requests there are; neither a socket nor an answer makes room."""
    door = await make_door(replace(QUICK, head_s=60, connections=4))
    async with await door.socket() as page:
        connections = [await door.connect() for _ in range(10)]
        for connection in connections[-3:]:
            assert await answered(connection)
        async with asyncio.timeout(END_LIMIT_S):
            assert [await reader.read(1) for reader, _ in connections[:7]] == [b""] * 7
        await page.ping()
        assert door.open == 4
    for _, writer in connections:
        writer.close()


async def answered(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    """Ask over a connection; tell whether there is an answer."""
    reader, writer = connection
    writer.write(GET + b"\r\n")
    return (await reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("environment", "client", "place"),
    [
        ({}, "192.0.2.1", "192.0.2.1"),
        ({}, "::ffff:192.0.2.1", "192.0.2.1"),
        ({}, "2001:db8::2", "2001:db8::/64"),
        ({}, "127.0.0.2", None),
        ({}, "::1", None),
        ({"HUSHCAST_TRUSTED_PROXIES": "10.0.0.9, 192.0.2.0/24"}, "192.0.2.1", None),
        ({"HUSHCAST_TRUSTED_PROXIES": "10.0.0.9"}, "127.0.0.1", None),
        ({"HUSHCAST_TRUSTED_PROXIES": "10.0.0.9"}, "10.0.0.8", "10.0.0.8"),
        ({"RAY_SERVE_ENABLE_HA_PROXY": "1"}, "10.0.0.8", None),
    ],
)
def test_a_connection_counts_for_a_customer(
    environment: dict[str, str], client: str, place: str | None
) -> None:
    """An IPv6 customer has a /64; a proxy connects for everybody."""
    assert place_of((client, 1), bounds_in(environment)) == place


async def test_messages_of_sockets_are_short(door: Door) -> None:
    """A long one is refused at its first bytes, in one frame or in many."""
    async with await door.socket() as page:
        await page.send("hello")
        await until(lambda: door.app.received == ["hello"])
        await page.send("x" * 20_000)
        with pytest.raises(websockets.ConnectionClosedError) as refused:
            await page.recv()
    assert refused.value.rcvd is not None and refused.value.rcvd.code == 1009
    async with await door.socket() as page:
        with pytest.raises(websockets.ConnectionClosedError):
            await page.send("x" * 2_000 for _ in range(20))
            await page.recv()
    assert door.app.received == ["hello"]


async def test_sockets_that_flood_are_cut_off(make_door: MakeDoor) -> None:
    """Pings count, and so do frames without content."""
    door = await make_door(replace(QUICK, socket_s=3600))

    async def ping(page: ClientConnection) -> None:
        for n in range(1000):
            await page.ping(f"{n:0100}")

    async def nothing() -> AsyncIterator[str]:
        for _ in range(20_000):
            yield ""
            await asyncio.sleep(0)

    for flood in (ping, lambda page: page.send(nothing())):
        async with asyncio.timeout(END_LIMIT_S), await door.socket() as page:
            with pytest.raises(websockets.ConnectionClosedError):
                await flood(page)
                await page.recv()


def test_uvicorn_is_bounded_where_serve_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Serve configures it, and by the name that Serve calls."""
    for table in ("HTTP_PROTOCOLS", "WS_PROTOCOLS"):
        monkeypatch.setattr(uvicorn.config, table, dict(getattr(uvicorn.config, table)))
    assert call_function_from_import_path(HTTP_SERVER)
    config = uvicorn.Config(Echo(), lifespan="off", log_config=None)
    config.load()
    assert (config.http_protocol_class, config.ws_protocol_class) == (
        BoundedHttp,
        BoundedWebSocket,
    )


async def test_serve_is_told_nothing_by_clients() -> None:
    """Neither an id that it would log and echo, nor a header that changes how it serves."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    orders = [
        (b"x-request-id", b"a" * 500),
        (b"x-request-id", b"\xff"),
        (b"serve_multiplexed_model_id", b"\xff"),
        (b"serve-multiplexed-model-id", b"1"),
        (b"x-session-id", b"\xff"),
        (b"x-request-timeout-seconds", b"0"),
        (b"x-request-disconnect-disabled", b"?1"),
    ]
    usual = [(b"x-request-id", b"page-1"), (b"authorization", b"\xff")]
    scope = {"type": "http", "path": "/-/routes", "headers": orders + usual}

    async def nothing(*_: object) -> None:
        return None

    await Untold(app)(scope, nothing, nothing)  # type: ignore[arg-type]
    assert seen == [{"type": "http", "path": "/-", "headers": usual}]
