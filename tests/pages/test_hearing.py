"""The listener's page in Chromium, with real sound and no Ray: what it plays, and what it says."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import expect

from actors.stream_core import StreamTimes
from recordings.store import StoreConfig
from tests.app.browser import Tab
from tests.edge.conftest import Edge
from tests.pages.hosting import Stage, on_stage
from tests.pages.test_publishing import go_live
from tests.sounds import SAMPLE_RATE, Sound, mix, noise, spoken_words
from tests.udp_path import UdpPaths

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def microphone() -> Sound:
    """A noisy voice."""
    return mix(spoken_words(8), noise(8), snr_db=10)


@pytest.fixture
async def stage(
    edge: Edge, redis_url: str, store_config: StoreConfig, tmp_path: Path, microphone: Sound
) -> AsyncIterator[Stage]:
    """A hushcast, and Chromium with a microphone."""
    times = StreamTimes(grace_s=2.0)
    async with on_stage(edge, redis_url, store_config, tmp_path, microphone, times) as made:
        yield made


async def said(tab: Tab) -> list[str]:
    """Get what the watched element has said so far, but for gaps in the sound of a busy machine."""
    states: list[str] = await tab.page.evaluate("() => window.seen.map(({ state }) => state)")
    others = ("Waiting", "You are not live")  # the latter on the own page
    lasting = [state for state in states if not state.startswith(others)]
    return [state for state, _ in itertools.groupby(lasting)]


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
    await his.find("listening-to").click()
    await expect(his.find("unlisten")).to_be_visible()
    await hers.click("stop")
    await hers.find("confirm").click()
    await expect(sentence).to_have_text("ada's stream has ended.")
    await his.page.wait_for_timeout(1_500)  # longer than the page waits for the reason
    await expect(his.find("listen")).to_be_visible()
    await hers.page.wait_for_timeout(700)
    await go_live(hers)
    await expect(sentence).to_have_text("ada is live now.")
    assert await said(his) == [
        "ada is not live. This page shows when they are.",
        "ada is about to go live.",
        "ada is live now.",
        "Connecting to ada.",
        "You hear ada.",
        "ada's stream has ended.",
        "ada is about to go live.",
        "ada is live now.",
    ]
    assert not his.complaints
    for person in (ada, bob):
        await person.close()


async def test_a_page_that_goes_is_announced_as_the_end_and_not_as_a_loss(stage: Stage) -> None:
    """Reloading while live ends the stream: nobody is promised that the sound comes back."""
    ada, bob = await stage.person("ada"), await stage.person("bob")
    await stage.edge.befriend("ada", "bob")
    hers = await stage.open(ada)
    await go_live(hers)
    his = await stage.open(bob)
    await his.find("listen-ada").click()
    announcement = his.find("announcement")
    await expect(announcement).to_have_text("You hear ada.", timeout=15_000)
    await his.watch("announcement")
    hers.page.on("dialog", lambda dialog: dialog.accept())
    await hers.page.reload()
    await expect(announcement).to_have_text("ada's stream has ended.")
    heard = await his.page.evaluate("window.seen.map(({ state }) => state)")
    assert not [sentence for sentence in heard if "lost" in sentence], heard
    for person in (ada, bob):
        await person.close()


async def test_who_is_removed_reads_why_in_their_language(stage: Stage) -> None:
    """What the server says is said in German on a German page."""
    ada, bob = await stage.person("ada"), await stage.person("bob")
    await stage.edge.befriend("ada", "bob")
    hers = await stage.open(ada)
    await go_live(hers)
    his = await stage.open(bob, "/u/ada", locale="de-DE")
    await his.click("listen")
    sentence = his.find("listen-sentence")
    await expect(sentence).to_have_text("Du hörst ada.", timeout=15_000)
    await hers.find("remove-listener-bob").click()
    await hers.find("confirm").click()
    await expect(sentence).to_have_text("ada hat dich aus diesem Stream entfernt.")
    await expect(his.find("listening-to")).to_be_visible()
    for person in (ada, bob):
        await person.close()


async def loudness_dbfs(tab: Tab, seconds: float = 1.5) -> float:
    """Get how loud what the page plays is from now on, dBFS; gaps of a busy machine left out."""
    begun_s = await tab.recorded()
    await tab.recorded(begun_s + seconds)
    sound = (await tab.heard())[round(begun_s * SAMPLE_RATE) :]
    frames = sound[: len(sound) // 960 * 960].reshape(-1, 960)
    levels = 10 * np.log10((frames**2).mean(axis=1) + 1e-10)
    return float(np.percentile(levels, 90))


@pytest.mark.parametrize("microphone", [0.1 * noise(8)], ids=["noise"])
async def test_the_noise_is_heard_while_a_button_is_held(stage: Stage) -> None:
    """By pointer, key or choice, at once, on the same connection, and only while it is shared."""
    ada, bob = await stage.person("ada"), await stage.person("bob")
    await stage.edge.befriend("ada", "bob")
    hers = await stage.open(ada)
    await hers.find("share-original-switch").check()
    await go_live(hers)
    his = await stage.open(bob, "/u/ada", bypass_csp=True)
    page, hold, sentence = his.page, his.find("hold"), his.find("listen-sentence")
    await his.record()
    await expect(hold).to_be_hidden()
    await his.click("listen")
    await expect(sentence).to_have_text("You hear ada.", timeout=15_000)
    offers: list[str] = []
    page.on(
        "request", lambda request: offers.append(request.url) if "whep" in request.url else None
    )
    await loudness_dbfs(his)  # the model takes a moment to know this noise
    clean = await loudness_dbfs(his)
    await hold.hover()
    await page.mouse.down()
    await expect(sentence).to_have_text("You hear ada with the noise.")
    noisy = await loudness_dbfs(his)
    await page.mouse.up()
    await expect(sentence).to_have_text("You hear ada.")
    again = await loudness_dbfs(his)
    print(f"\nnoise heard: {clean:.0f}, held {noisy:.0f}, released {again:.0f} dBFS")
    assert noisy > max(clean, again) + 10
    await hold.focus()
    await page.keyboard.down(" ")
    await expect(hold).to_have_attribute("aria-pressed", "true")
    await expect(sentence).to_have_text("You hear ada with the noise.")
    await page.keyboard.up(" ")
    await expect(sentence).to_have_text("You hear ada.")
    await his.find("sound-original").check(force=True)
    await expect(sentence).to_have_text("You hear ada with the noise.")
    await hers.find("share-original-switch").uncheck()
    await expect(sentence).to_have_text("You hear ada.")
    await expect(hold).to_be_hidden()
    assert await page.evaluate("document.activeElement !== document.body")
    assert not offers and not his.complaints
    for person in (ada, bob):
        await person.close()


async def test_a_listener_comes_back_after_a_cut_path(stage: Stage) -> None:
    """As from Wi-Fi to mobile: the page says what it does, and the sound is there again."""
    ada, bob = await stage.person("ada"), await stage.person("bob")
    await stage.edge.befriend("ada", "bob")
    hers = await stage.open(ada)
    await go_live(hers)
    his = await stage.open(bob, "/u/ada")
    async with UdpPaths(his.page) as wires:
        await his.click("listen")
        await expect(his.find("listen-sentence")).to_have_text("You hear ada.", timeout=15_000)
        await his.watch("listen-sentence")
        wires.paths[-1].cut = True
        cut_at = await his.page.evaluate("Date.now()")
        noticed = await his.when("Waiting for sound from ada.", after=cut_at) - cut_at
        back = await his.when("You hear ada.", after=cut_at + noticed) - cut_at
        print(f"\na listener's cut path was noticed after {noticed} ms, sound back after {back} ms")
        assert back < 12_000
        assert await said(his) == ["You hear ada.", "Reconnecting to ada.", "You hear ada."]
    for person in (ada, bob):
        await person.close()
