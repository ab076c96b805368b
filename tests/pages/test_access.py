"""Every view for everybody: axe's rules in each colour scheme, narrow and enlarged windows."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, expect

from actors.access import link_key
from recordings.index import account_key
from tests.edge.conftest import MakeEdge
from tests.edge.test_recordings import recording_of
from tests.pages.site import beat, served
from tests.pages.test_frame import listen

pytestmark = pytest.mark.slow

AXE = Path(__file__).parent.parent.parent / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """(tags) => axe.run(document, { runOnly: tags, resultTypes: ["violations"] }).then(
  ({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map((node) =>
    `${id}: ${node.target.join(" ")}: ${node.any.map((check) => check.message).join("; ")}`)))"""
TOO_WIDE = """() => [...document.querySelectorAll("body *")].filter((element) =>
    element.getBoundingClientRect().right > innerWidth + 1 && element.checkVisibility()
    && !element.closest("svg, .unseen"))
  .map((element) => element.className || element.tagName).slice(0, 5)"""
SLIDES = "() => document.scrollingElement.scrollWidth > innerWidth"


async def violations(page: Page) -> list[str]:
    """Ask axe what is wrong with the page as it is now."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE.read_text())
    found: list[str] = await page.evaluate(RUN, RULES)
    return found


@dataclass
class View:
    """A view, and how to get there; `seen` is there once it is."""

    path: str
    seen: str
    signed_in: bool = True


TOKEN = "0" * 32
VIEWS = {
    "sign-in": View("/u/bob", "sign-in", signed_in=False),
    "nothing": View("/nothing", "nothing"),
    "guest": View(f"/l/{TOKEN}", "wait", signed_in=False),
    "home": View("/", "friend-row-bob"),
    "friend": View("/u/bob", "listen"),
    "stranger": View("/u/eve", "ask"),
    "own": View("/u/ada", "recordings"),
    "recording": View("/r/{recording}", "recording-title"),
    "admin": View("/admin", "disable-bob"),
}
RECORDING = "01kc0000000000000000000000"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
IN_TURN = sorted(VIEWS.items(), key=lambda item: not item[1].signed_in)


@asynccontextmanager
async def _lively(make_edge: MakeEdge, folder: Path) -> AsyncIterator[tuple[Page, str]]:
    """Serve Ada's pages: a friend who is live, a request, recordings; get the page and address."""
    edge = make_edge(admins=("ada",), models=("dfn2", "dfn3"))
    ada = await edge.person("ada")
    for name in ("bob", "eve", "zoe"):
        await edge.redis.set(account_key(name), "{}")
    await edge.befriend("ada", "bob")
    await edge.services.accounts.befriend("zoe", "ada")
    mine = recording_of("ada")
    for recording in (recording_of("bob"), mine, replace(mine, id=RECORDING)):
        await edge.services.index.put(recording)
    until = time.time() + 300
    link = {"owner": "ada", "label": None, "expires_at": until, "recordings": True}
    link_id = hashlib.sha256(TOKEN.encode()).hexdigest()[:32]
    await edge.redis.set(link_key(link_id), json.dumps(link))
    beating = asyncio.create_task(beat(edge, "bob"))
    try:
        async with served(edge, folder) as (page, url):
            cookie = {"name": "hushcast", "value": ada.token, "url": url}
            await page.context.add_cookies([cookie])  # type: ignore[list-item]
            yield page, url
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def _open(page: Page, url: str, view: View) -> None:
    if not view.signed_in:
        await page.context.clear_cookies()
    await page.goto(url + view.path.format(recording=RECORDING))
    await expect(page.get_by_test_id(view.seen).first).to_be_visible()


async def test_axe_finds_nothing(make_edge: MakeEdge, tmp_path: Path) -> None:
    """In any view, in light and dark, by the rules of WCAG 2.2 AA and more; nor has the console."""
    found: list[str] = []
    async with _lively(make_edge, tmp_path) as (page, url):
        errors = listen(page)
        for name, view in IN_TURN:
            for scheme in SCHEMES:
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                if scheme == "light":
                    await _open(page, url, view)
                if name == "home" and scheme == "light":
                    await page.get_by_test_id("account").click()
                    await expect(page.get_by_test_id("sign-ins")).to_contain_text("this device")
                found += [f"{name}, {scheme}: {each}" for each in await violations(page)]
            if name == "home":
                await page.get_by_test_id("delete-account").click()
                found += [f"dialog: {each}" for each in await violations(page)]
                await page.keyboard.press("Escape")
            if name == "sign-in":
                await page.get_by_test_id("sign-in").click()
                found += [f"error: {each}" for each in await violations(page)]
    print("", *found, *errors, sep="\n")
    assert not found and not [each for each in errors if "404" not in each]


async def test_nothing_slides_sideways(make_edge: MakeEdge, tmp_path: Path) -> None:
    """At 320 px, and at 200 % in a window of 1280 px, every view is as wide as the window."""
    wide: list[str] = []
    async with _lively(make_edge, tmp_path) as (page, url):
        for name, view in IN_TURN:
            await _open(page, url, view)
            for width in (320, 640):
                await page.set_viewport_size({"width": width, "height": 700})
                if await page.evaluate(SLIDES):
                    wide.append(f"{name} at {width}: {await page.evaluate(TOO_WIDE)}")
            await page.evaluate("document.documentElement.style.fontSize = '200%'")
            if await page.evaluate(SLIDES):
                wide.append(f"{name}, text at 200 %: {await page.evaluate(TOO_WIDE)}")
    print("", *wide, sep="\n")
    assert not wide


async def test_forced_colours_show_what_colours_say(make_edge: MakeEdge, tmp_path: Path) -> None:
    """Which switch is on, where the main button is, how loud it is."""
    background = "(element) => getComputedStyle(element).backgroundColor"
    async with _lively(make_edge, tmp_path) as (page, url):
        await page.emulate_media(forced_colors="active", reduced_motion="reduce")
        await _open(page, url, VIEWS["home"])
        switch = page.get_by_test_id("denoise-switch")
        on = await switch.evaluate(background)
        await switch.uncheck()
        ground = await page.locator("body").evaluate(background)
        assert await switch.evaluate(background) == ground != on
        for part in (page.get_by_test_id("start"), page.locator(".track .bar").first):
            assert await part.evaluate(background) != ground
