"""The listener's page in Chromium, with real sound and no Ray: what it plays, and what it says."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from actors.stream_core import StreamTimes
from recordings.store import StoreConfig
from tests.app.browser import Tab
from tests.edge.conftest import Edge
from tests.pages.hosting import Stage, on_stage
from tests.pages.test_publishing import go_live
from tests.sounds import mix, noise, spoken_words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

VOICE = mix(spoken_words(8), noise(8), snr_db=10)


@pytest.fixture
async def stage(
    edge: Edge, redis_url: str, store_config: StoreConfig, tmp_path: Path
) -> AsyncIterator[Stage]:
    """A hushcast, and Chromium with a noisy voice."""
    times = StreamTimes(grace_s=2.0)
    async with on_stage(edge, redis_url, store_config, tmp_path, VOICE, times) as made:
        yield made


async def said(tab: Tab) -> list[str]:
    """Get what the watched element has said so far."""
    states: list[str] = await tab.page.evaluate("() => window.seen.map(({ state }) => state)")
    return states


async def test_a_listener_reads_what_is_true(stage: Stage) -> None:
    """From Listen over other pages to the end and the next stream, each sentence once."""
    ada, bob = await stage.person("ada"), await stage.person("bob")
    await stage.edge.befriend("ada", "bob")
    hers = await stage.open(ada)
    his = await stage.open(bob, "/u/ada")
    sentence = his.find("listen-sentence")
    await expect(sentence).to_contain_text("ada is not live")
    await his.watch("listen-sentence")
    await go_live(hers)
    await his.click("listen")
    await expect(sentence).to_have_text("You hear ada.", timeout=15_000)
    await his.find("me").click()
    await expect(his.find("player-about")).to_have_text("You hear ada.")
    await his.find("player-title").click()
    await expect(his.find("unlisten")).to_be_visible()
    await hers.click("stop")
    await hers.find("confirm").click()
    await expect(sentence).to_have_text("ada's stream has ended.")
    await his.page.wait_for_timeout(1_500)  # longer than the page waits for the reason
    await expect(his.find("listen")).to_be_visible()
    await hers.page.wait_for_timeout(700)
    await go_live(hers)
    await expect(sentence).to_have_text("ada is live now.")
    history = [text for text in await said(his) if "bob" not in text]
    assert history == [
        "ada is not live. This page shows when they are.",
        "ada is about to go live.",
        "ada is live now.",
        "Connecting to ada.",
        "Waiting for sound from ada.",
        "You hear ada.",
        "ada's stream has ended.",
        "ada is about to go live.",
        "ada is live now.",
    ]
    assert not his.complaints
    for person in (ada, bob):
        await person.close()
