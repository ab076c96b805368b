"""A path for datagrams that can be cut, between a browser and a server on this machine."""

import asyncio
import re
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, Route

_CANDIDATE = re.compile(r"^(a=candidate:\S+ \d+ udp \d+ 127\.0\.0\.1) (\d+)", re.MULTILINE)


class UdpPath(asyncio.DatagramProtocol):
    """Passes datagrams on to a port and back, from an address of its own, until it is cut."""

    def __init__(self, port: int) -> None:
        self.cut = False
        self._port = port
        self._near: asyncio.DatagramTransport | None = None
        self._far: asyncio.DatagramTransport | None = None
        self._client: tuple[str, int] | None = None

    async def open(self) -> int:
        """Begin; returns the port that stands for the server's."""
        loop = asyncio.get_running_loop()
        server = ("127.0.0.1", self._port)
        self._near, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self._far, _ = await loop.create_datagram_endpoint(lambda: _Back(self), remote_addr=server)
        port: int = self._near.get_extra_info("sockname")[1]
        return port

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Pass on what the browser sends."""
        self._client = addr
        if not self.cut and self._far is not None:
            self._far.sendto(data)

    def answer(self, data: bytes) -> None:
        """Pass on what the server sends."""
        if not self.cut and self._near is not None:
            self._near.sendto(data, self._client)

    def error_received(self, exc: Exception) -> None:
        """Leave it to those who wait: the other side has gone."""

    def close(self) -> None:
        """Let go of both sockets."""
        for transport in (self._near, self._far):
            if transport is not None:
                transport.close()


class _Back(asyncio.DatagramProtocol):
    def __init__(self, path: UdpPath) -> None:
        self._path = path

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._path.answer(data)

    def error_received(self, exc: Exception) -> None:
        pass


class UdpPaths:
    """Leads every media session of a page over a path of its own: `paths`, the oldest first."""

    def __init__(self, page: Page) -> None:
        self.paths: list[UdpPath] = []
        self._page = page
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Rewrite the candidates in the server's answers from now on."""
        await self._page.route(re.compile(r"/whi?e?p[/?]?[^/]*$"), self._lead)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all paths."""
        with suppress(PlaywrightError):  # the page may be gone
            await self._page.unroute_all(behavior="ignoreErrors")
        await self._stack.aclose()

    async def _lead(self, route: Route) -> None:
        answer = await route.fetch()
        sdp = await answer.text()
        for head, port in set(_CANDIDATE.findall(sdp)):
            path = UdpPath(int(port))
            self._stack.callback(path.close)
            self.paths.append(path)
            sdp = sdp.replace(f"{head} {port}", f"{head} {await path.open()}")
        await route.fulfill(response=answer, body=sdp)
