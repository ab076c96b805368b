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
    async with serving(edge.api) as url, chromium(folder / "no-microphone.wav") as browser:
        yield await browser.new_page(), url


@asynccontextmanager
async def serving(api: FastAPI) -> AsyncIterator[str]:
    """Serve the ingress; get its address."""
    server = uvicorn.Server(uvicorn.Config(api, port=(port := free_port()), log_config=None))
    running = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


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
