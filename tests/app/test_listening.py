"""What a listener's page says and plays, in Chromium, on real servers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.app.browser import Tab, chromium, open_tab, write_microphone
from tests.app.client import Person
from tests.app.test_browser import NOISY, go_live
from tests.running import App

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

People = Callable[[], Awaitable[Person]]


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    """Start Chromium with a noisy voice."""
    async with chromium(write_microphone(tmp_path / "microphone.wav", NOISY)) as running:
        yield running


async def seen(tab: Tab) -> list[str]:
    """Get what the watched element has said so far."""
    said: list[str] = await tab.page.evaluate("() => window.seen.map(({ state }) => state)")
    return said


async def test_a_listener_reads_what_is_true(app: App, people: People, browser: Browser) -> None:
    """From Listen to the end and the next stream: no loss, no end, nothing heard that is not so."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    name = ada.username
    hers = await open_tab(browser, ada)
    his = await open_tab(browser, bob, f"/u/{name}")
    sentence = his.find("listen-sentence")
    await go_live(hers)
    await his.watch("listen-sentence")
    await his.click("listen")
    await expect(sentence).to_have_text(f"You hear {name}.", timeout=15_000)
    await expect(his.find("player-about")).to_have_text(f"You hear {name}.")
    await his.find("me").click()
    await expect(his.find("player-title")).to_have_text(name)
    await his.find("player-title").click()
    await expect(his.find("unlisten")).to_be_visible()
    await hers.click("stop")
    await expect(sentence).to_have_text(f"{name}'s stream has ended.")
    await his.page.wait_for_timeout(1_500)  # longer than the page waits for the reason
    await expect(sentence).to_have_text(f"{name}'s stream has ended.")
    await go_live(hers)
    await expect(sentence).to_have_text(f"{name} is live now.")
    said = await seen(his)
    print("\n" + " | ".join(said))
    assert not [text for text in said if "onnect" in text and not text.startswith("Connecting")]
    await hers.click("stop")
    assert not his.complaints
