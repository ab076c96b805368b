"""The pages in Chromium, served by the edge in this process: no Ray, and streams are made up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from playwright.async_api import Page

from tests import statuses
from tests.app.browser import chromium
from tests.edge.conftest import PASSWORD, Edge
from tests.edge.made_up import live
from tests.running import free_port
from tests.waiting import until


@asynccontextmanager
async def served(edge: Edge, folder: Path) -> AsyncIterator[tuple[Page, str]]:
    """Serve the pages; get one of them and their address."""
    async with serving(edge.api) as server, chromium(folder / "no-microphone.wav") as browser:
        yield await browser.new_page(), server.url


class Server:
    """The ingress at an address that stays its own, also after a restart."""

    def __init__(self, api: FastAPI) -> None:
        self._api = api
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Serve."""
        config = uvicorn.Config(self._api, port=self._port, log_config=None)
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve())
        await until(lambda: self._server.started)

    async def stop(self) -> None:
        """Close every connection."""
        self._server.should_exit = True
        await self._serving


@asynccontextmanager
async def serving(api: FastAPI) -> AsyncIterator[Server]:
    """Serve the ingress."""
    server = Server(api)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def fill(page: Page, username: str) -> None:
    """Fill the form in."""
    await page.get_by_test_id("username").fill(username)
    await page.get_by_test_id("password").fill(PASSWORD)


async def sign_in(page: Page, username: str, button: str = "sign-in") -> None:
    """Fill the form in and submit it."""
    await fill(page, username)
    await page.get_by_test_id(button).click()


async def beat(edge: Edge, username: str) -> None:
    """Keep a stream live, as its actor does, until somebody ends it."""
    while (username, None) not in edge.streams.stopped:
        await statuses.write(edge.streams.store, live(username))
        await asyncio.sleep(0.5)
