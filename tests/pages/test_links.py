"""Invite links on the pages, with real sound: made, listened to without an account, taken back."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, expect

from recordings.store import StoreConfig
from tests.app.client import Person
from tests.edge.conftest import Edge
from tests.pages.hosting import Stage, on_stage
from tests.pages.test_access import violations
from tests.pages.test_listening import recorded as stored_words
from tests.peers import encode
from tests.sounds import spoken_words
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

VOICE = spoken_words(8)


@pytest.fixture
async def stage(
    edge: Edge, redis_url: str, store_config: StoreConfig, tmp_path: Path
) -> AsyncIterator[Stage]:
    """A hushcast, and Chromium."""
    async with on_stage(edge, redis_url, store_config, tmp_path, VOICE) as made:
        yield made


async def fresh(stage: Stage) -> tuple[Page, list[str], list[str]]:
    """Open a browser window that knows nobody; get it, its complaints, and all referrers."""
    context: BrowserContext = await stage.browser.new_context(locale="en")
    page = await context.new_page()
    complaints: list[str] = []
    referrers: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: referrers.append(request.headers.get("referer", "")))
    return page, complaints, referrers


async def go_live(person: Person) -> None:
    """Publish until live."""
    await person.publish(encode(VOICE))
    await until(lambda: _is_live(person))


async def _is_live(person: Person) -> bool:
    stream = await person.stream()
    return stream is not None and stream["state"] == "live"


async def test_a_guest_waits_listens_and_falls_silent(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Made in one window, opened in another; heard until it is revoked; the token stays secret."""
    caplog.set_level("INFO")
    ada = await stage.person("ada")
    hers = await stage.open(ada)
    await hers.find("new-link").locator("summary").click()
    await hers.find("link-label").fill("the band")
    await hers.find("make-link").click()
    address = re.compile(rf"{stage.url}/l/[0-9a-f]{{32}}$")
    await expect(hers.find("link-address")).to_have_value(address)
    url = await hers.find("link-address").input_value()
    assert not await violations(hers.page)
    await expect(hers.find("copy-link")).to_be_focused()
    await hers.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await hers.find("copy-link").click()
    await expect(hers.find("copy-link")).to_have_text("Copied")
    assert await hers.page.evaluate("navigator.clipboard.readText()") == url

    page, complaints, referrers = await fresh(stage)
    await page.goto(url)
    await expect(page.get_by_role("heading", level=1)).to_have_text("ada")
    await expect(page).to_have_title(re.compile("Listen to ada"))
    sentence = page.get_by_test_id("listen-sentence")
    await expect(sentence).to_contain_text("ada is not live")
    await page.get_by_test_id("wait").click()
    await expect(sentence).to_contain_text("You will hear ada")
    await go_live(ada)
    await expect(sentence).to_have_text("You hear ada.", timeout=15_000)
    await expect(hers.find("audience")).to_contain_text("Guest · the band")
    assert not await violations(hers.page) and not await violations(page)
    await expect(hers.find("links")).to_contain_text("1 guest")

    await hers.find("audience").get_by_role("button").click()
    await hers.find("confirm").click()
    await expect(sentence).to_contain_text("ada removed you")
    await expect(hers.find("audience")).to_be_hidden()
    await page.get_by_test_id("listen").click()
    await expect(sentence).to_have_text("You hear ada.", timeout=15_000)

    await hers.page.get_by_role("button", name="Revoke the link “the band”").click()
    await hers.find("confirm").click()
    await expect(page.get_by_test_id("link-over")).to_be_visible(timeout=1_000)
    assert await page.evaluate(
        "[...document.querySelectorAll('audio')].every((a) => !a.srcObject?.active)"
    )
    await expect(hers.find("links").get_by_role("listitem")).to_have_count(0)
    await until(lambda: _heard_by(ada, 0))
    token = url.rpartition("/")[2]
    told = [r.getMessage() for r in caplog.records if r.name != "uvicorn.access"]  # off in Serve
    assert not any(referrers) and token not in str(told)
    assert not complaints + hers.complaints
    await ada.close()


async def test_a_guest_plays_recordings_if_the_link_includes_them(
    stage: Stage, tmp_path: Path
) -> None:
    """Without an account, one sound at a time; another link shows none; a wrong one says so."""
    ada = await stage.person("ada")
    first, second = [await stored_words(stage.edge, "ada", tmp_path) for _ in range(2)]
    links = stage.edge.services.links
    token, _ = await links.make("ada", label=None, expires_in_s=300, recordings=True)
    plain, _ = await links.make("ada", label=None, expires_in_s=300, recordings=False)
    page, complaints, _ = await fresh(stage)
    await page.goto(f"{stage.url}/l/{token}")
    for recording in (first, second):
        audio = page.get_by_test_id(f"recording-{recording.id}").locator("audio")
        await audio.evaluate(PLAY)
    assert await page.evaluate(PLAYING) == 1
    await page.goto(f"{stage.url}/l/{plain}")
    await expect(page.get_by_test_id("wait")).to_be_visible()
    assert await page.evaluate("document.querySelectorAll('ul audio').length") == 0
    await page.goto(f"{stage.url}/l/{'0' * 32}")
    await expect(page.get_by_test_id("link-over")).to_be_visible()
    assert not await violations(page) and not complaints
    await ada.close()


PLAY = """async (audio) => {
  await audio.play();
  while (audio.currentTime < 0.1) await new Promise((resolve) => setTimeout(resolve, 20));
}"""
PLAYING = "[...document.querySelectorAll('audio')].filter((a) => !a.paused).length"


async def _heard_by(person: Person, number: int) -> bool:
    stream = await person.stream()
    return stream is not None and stream["listeners"] == number
