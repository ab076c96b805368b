"""Who is on air, friends, profiles and the player, in Chromium."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from playwright.async_api import Locator, Page, expect

from recordings.index import Recording, account_key
from tests.app.browser import PHONE
from tests.edge.conftest import Edge
from tests.edge.test_recordings import recording_of
from tests.pages.site import beat, served, sign_in
from tests.sounds import SAMPLE_RATE, all_words

pytestmark = pytest.mark.slow

FOCUSED = "() => document.activeElement?.dataset.testid ?? document.activeElement?.tagName"


async def _friends(edge: Edge, username: str, names: list[str]) -> None:
    """Give somebody friends, who never sign in: hashing sixty passwords takes seconds."""
    for name in names:
        await edge.redis.set(account_key(name), "{}")
        await edge.befriend(username, name)


async def _askers(edge: Edge, username: str, names: list[str]) -> None:
    """Let people ask somebody to be their friend."""
    for name in names:
        await edge.redis.set(account_key(name), "{}")
        await edge.services.accounts.befriend(name, username)


@asynccontextmanager
async def _on_air(edge: Edge, *names: str) -> AsyncIterator[None]:
    """Keep streams live."""
    beats = [asyncio.create_task(beat(edge, name)) for name in names]
    try:
        yield
    finally:
        for each in beats:
            each.cancel()


async def _in_view(locator: Locator) -> None:
    """Expect the whole of it in the window."""
    await expect(locator).to_be_in_viewport(ratio=1)


async def test_a_phone_shows_who_is_live_and_the_rest_is_a_tap_away(
    edge: Edge, tmp_path: Path
) -> None:
    """With sixty friends: live ones on the first screen, then a filter, Add and the requests."""
    await edge.person("ada")
    await _friends(edge, "ada", [f"friend{n:02}" for n in range(60)])
    await _askers(edge, "ada", [f"asker{n}" for n in range(5)])
    async with _on_air(edge, "friend31", "friend57"), served(edge, tmp_path) as (page, url):
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        await page.goto(url)
        await sign_in(page, "ada")
        for name in ("friend31", "friend57"):
            await _in_view(page.get_by_test_id(f"listen-{name}"))
        await expect(page.get_by_role("button", name="Listen to friend31")).to_be_visible()
        await page.get_by_role("button", name="Friends, 5 requests").click()
        await _in_view(page.get_by_test_id("friend-add"))
        await _in_view(page.get_by_test_id("friend-filter"))
        rows = page.get_by_test_id("friends").get_by_role("listitem")
        await expect(rows.first).to_contain_text("friend31")
        await expect(page.get_by_test_id("accept-asker0")).to_be_hidden()
        await page.get_by_text("5 requests", exact=True).click()
        await expect(page.get_by_role("button", name="Accept asker0's request")).to_be_visible()
        await page.get_by_test_id("friend-filter").fill("D4")
        await expect(rows).to_have_count(10)
        await page.get_by_test_id("tab-recordings").click()
        await _in_view(page.get_by_role("heading", name="Your recordings"))
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


async def test_focus_stays_where_one_works(edge: Edge, tmp_path: Path) -> None:
    """Requests answered and friends removed by keyboard never throw it to the page's beginning."""
    await edge.person("ada")
    await _friends(edge, "ada", ["bob", "cleo"])
    await _askers(edge, "ada", ["dan", "eve"])
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        await sign_in(page, "ada")
        await page.get_by_test_id("accept-dan").press("Enter")
        await expect(page.get_by_test_id("friend-row-dan")).to_be_visible()
        await _focused(page, "accept-eve")
        await page.get_by_test_id("decline-eve").press("Enter")
        await expect(page.get_by_test_id("incoming-eve")).to_be_hidden()
        await _focus_is_kept(page)
        await page.get_by_test_id("remove-bob").focus()
        async with _on_air(edge, "cleo"):
            await expect(page.get_by_test_id("friend-row-cleo")).to_have_attribute(
                "data-state", "live"
            )
            await _focused(page, "remove-bob")
        await page.get_by_test_id("remove-bob").press("Enter")
        await page.get_by_test_id("confirm").click()
        await expect(page.get_by_test_id("friend-row-bob")).to_be_hidden()
        await _focus_is_kept(page)


async def _focused(page: Page, testid: str) -> None:
    """Wait until an element has the focus."""
    await expect(page.get_by_test_id(testid)).to_be_focused()


async def _focus_is_kept(page: Page) -> None:
    """Wait until something has the focus."""
    await page.wait_for_function("() => document.activeElement !== document.body")


async def test_a_profile_shows_a_request_and_what_becomes_of_it(edge: Edge, tmp_path: Path) -> None:
    """Accept stands there; an answer given elsewhere shows without a reload."""
    await edge.person("ada")
    await _askers(edge, "ada", ["bob"])
    await edge.redis.set(account_key("cleo"), "{}")
    async with served(edge, tmp_path) as (page, url):
        await page.goto(f"{url}/u/bob")
        await sign_in(page, "ada")
        await page.get_by_test_id("accept-bob").press("Enter")
        await expect(page.get_by_test_id("stream-state")).to_have_text("Off")
        await _focus_is_kept(page)
        await page.goto(f"{url}/u/cleo")
        await page.get_by_test_id("ask").press("Enter")
        await _focused(page, "withdraw-cleo")
        await edge.services.accounts.befriend("cleo", "ada")
        await expect(page.get_by_test_id("listen")).to_be_visible()
        await edge.services.accounts.unfriend("cleo", "ada")
        await expect(page.get_by_test_id("ask")).to_be_visible()


async def recorded(edge: Edge, username: str, folder: Path) -> Recording:
    """Keep some words."""
    words = all_words()
    recording = replace(recording_of(username), duration_s=len(words) / SAMPLE_RATE)
    path = folder / f"{recording.id}.wav"
    soundfile.write(path, words, SAMPLE_RATE, subtype="PCM_16")
    await asyncio.to_thread(edge.services.store.put, path, recording.key)
    await edge.services.index.put(recording)
    return recording


async def test_the_player_stays(edge: Edge, tmp_path: Path) -> None:
    """One sound, on every page, with its place, speed and volume, and for the lock screen."""
    await edge.person("ada")
    await _friends(edge, "ada", ["bob"])
    first, second = [await recorded(edge, name, tmp_path) for name in ("bob", "ada")]
    async with served(edge, tmp_path) as (page, url):
        await page.goto(url)
        await sign_in(page, "ada")
        player = page.get_by_test_id("player")
        await expect(player).to_be_hidden()
        await page.get_by_test_id("friend-row-bob").get_by_role("link").click()
        await page.get_by_test_id(f"recording-{first.id}").get_by_test_id("play").click()
        await _plays(page)
        await page.get_by_test_id("player-seek").press("ArrowRight")
        await page.get_by_test_id("player-rate").select_option("1.5")
        await page.get_by_test_id("player-volume").fill("0.3")
        await page.get_by_role("link", name="hushcast").first.click()
        await _plays(page)
        await expect(page.get_by_test_id("player-about")).to_contain_text("bob")
        assert await page.evaluate("navigator.mediaSession.metadata.artist") == "bob"
        await page.get_by_test_id(f"recording-{second.id}").get_by_test_id("play").click()
        await expect(page.get_by_test_id("player-about")).to_contain_text("ada")
        assert (
            await page.evaluate(
                "[...document.querySelectorAll('audio')].filter((a) => !a.paused).length"
            )
            == 1
        )
        await page.reload()
        await page.get_by_test_id(f"recording-{second.id}").get_by_test_id("play").click()
        await expect(page.get_by_test_id("player-volume")).to_have_value("0.3")
        await expect(page.get_by_test_id("player-rate")).to_have_value("1.5")
        await page.get_by_test_id("player-toggle").click()
        await page.get_by_test_id("player-close").click()
        await expect(player).to_be_hidden()


async def _plays(page: Page) -> None:
    """Wait until a recording moves on."""
    await page.evaluate(
        "window.from = document.querySelector('[data-testid=recording-audio]').currentTime"
    )
    await page.wait_for_function(
        "() => document.querySelector('[data-testid=recording-audio]').currentTime > window.from"
    )
