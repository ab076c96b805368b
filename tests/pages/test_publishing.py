"""The publisher's page in Chromium, with real sound and no Ray: what it does, and what it says."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Dialog, Route, expect

from actors.stream_core import StreamTimes
from recordings.store import StoreConfig
from tests.app.browser import CAPTURED, Tab, browsers, sleep
from tests.app.client import Person
from tests.edge.conftest import Edge, MakeEdge
from tests.pages.hosting import Stage, on_stage
from tests.sounds import SAMPLE_RATE, mix, noise, spoken_words
from tests.udp_path import UdpPaths
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

VOICE = mix(spoken_words(8), noise(8), snr_db=10)
STAYS_CHECKED = """(input) => new Promise((done) => {
  let stays = true;
  const looking = setInterval(() => { stays &&= input.checked; }, 2);
  setTimeout(() => { clearInterval(looking); done(stays); }, 800);
})"""


@pytest.fixture
async def stage(
    edge: Edge, redis_url: str, store_config: StoreConfig, tmp_path: Path
) -> AsyncIterator[Stage]:
    """A hushcast, and Chromium with a noisy voice."""
    times = StreamTimes(grace_s=2.0)
    async with on_stage(edge, redis_url, store_config, tmp_path, VOICE, times) as made:
        yield made


async def go_live(tab: Tab) -> None:
    """Press Start."""
    await tab.click("start")
    await expect(tab.find("stream-state")).to_have_text("Live", timeout=15_000)


async def test_a_page_publishes_from_start_to_stop(stage: Stage) -> None:
    """Every sentence once; a double click starts, and does not stop; Stop asks who listens."""
    ada, bob = await stage.person("ada"), await stage.person("bob")
    await stage.edge.befriend("ada", "bob")
    tab = await stage.open(ada)
    await tab.watch("stream-sentence")
    await tab.find("start").dblclick()
    await expect(tab.find("stream-state")).to_have_text("Live", timeout=15_000)
    await expect(tab.find("listeners")).to_have_text("Nobody is listening yet")
    peer, _ = await bob.listen("ada")
    await expect(tab.find("listeners")).to_have_text("1 listener")
    await tab.click("stop")
    await tab.find("cancel").click()
    await expect(tab.find("stream-state")).to_have_text("Live")
    await tab.click("stop")
    await expect(tab.page.get_by_text("One person is listening")).to_be_visible()
    await tab.find("confirm").click()
    await expect(tab.find("stream-state")).to_have_text("Off")
    said = [seen["state"] for seen in await tab.page.evaluate("window.seen")]
    assert said == [
        "Nobody hears you until you press Start.",
        "Opening your microphone.",
        "Connecting to the server.",
        "Your friends can hear you.",
        "Your stream has ended. Nobody hears you now.",
    ]
    assert await tab.page.evaluate("document.activeElement.dataset.testid") == "start"
    assert await ada.stream() is None and not tab.complaints
    await peer.close()
    await ada.close()
    await bob.close()


async def test_a_microphone_that_is_gone_leaves_start_working(stage: Stage) -> None:
    """The default one is used instead, the page says so, and the select shows what is used."""
    ada = await stage.person("ada")
    gone = json.dumps({"deviceId": "of-a-microphone-that-is-gone", "denoise": "maybe"})
    script = f"localStorage['hushcast.settings.ada'] = {json.dumps(gone)}; {CAPTURED}"
    tab = await stage.open(ada, script=script)
    await go_live(tab)
    note, select = tab.find("microphone-note"), tab.find("microphone")
    await expect(note).to_contain_text("The microphone you chose is not connected")
    await expect(select).to_have_value("")
    other = await select.locator("option").nth(2).get_attribute("value")
    assert other
    await select.select_option(other)
    await expect(note).to_be_empty()
    await expect(select).to_have_value(other)
    await tab.page.evaluate("tracks.at(-1).stop(); tracks.at(-1).dispatchEvent(new Event('ended'))")
    await expect(note).to_contain_text("Your microphone was disconnected")
    await expect(select).to_have_value("")
    assert await tab.page.evaluate("tracks.at(-1).readyState") == "live"
    await expect(tab.find("stream-state")).to_have_text("Live")
    await tab.click("stop")
    await expect(tab.find("microphone-note")).to_be_empty()
    await expect(select).to_have_value(other)  # the one that is going to be used
    await ada.close()


async def test_settings_are_chosen_before_start_and_kept(stage: Stage) -> None:
    """A stream begins with them; they outlast it, and the page. The title is this stream's."""
    ada = await stage.person("ada")
    tab = await stage.open(ada)
    await expect(tab.find("model")).to_have_count(0)  # there is one
    await tab.find("denoise-switch").uncheck()
    await tab.find("share-original-switch").check()
    await tab.find("title").fill("Reading aloud")
    await go_live(tab)
    stream = await ada.stream()
    assert stream is not None
    assert (stream["denoise"], stream["share_original"]) == (False, True)
    assert stream["title"] == "Reading aloud"
    await tab.find("denoise-switch").check()
    await tab.find("attenuation-limit").fill("12")
    await until(lambda: _has(ada, denoise=True, attenuation_limit_db=12.0))
    await tab.find("title").fill("Singing")
    await tab.find("title").press("Enter")
    await until(lambda: _has(ada, title="Singing"))
    await tab.click("stop")
    await expect(tab.find("stream-state")).to_have_text("Off")
    await tab.page.reload()
    await expect(tab.find("share-original-switch")).to_be_checked()
    await expect(tab.find("attenuation-limit")).to_have_value("12")
    await expect(tab.find("title")).to_have_value("")
    await ada.close()


async def test_a_model_is_chosen_where_there_are_several(
    make_edge: MakeEdge, redis_url: str, store_config: StoreConfig, tmp_path: Path
) -> None:
    """For the next stream, and in the middle of one."""
    folder = (redis_url, store_config, tmp_path, VOICE)
    async with on_stage(make_edge(models=("dfn2", "dfn3")), *folder) as stage:
        ada = await stage.person("ada")
        assert (await ada.http.get("/api/me")).json()["models"] == ["dfn2", "dfn3"]
        tab = await stage.open(ada)
        await expect(tab.find("model")).to_have_value("dfn2")
        await tab.find("model").select_option("dfn3")
        await tab.find("post-filter-switch").check()
        await go_live(tab)
        assert await _has(ada, model="dfn3", post_filter=True)
        await tab.find("model").select_option("dfn2")
        await until(lambda: _has(ada, model="dfn2"))
        await tab.find("post-filter-switch").uncheck()
        await until(lambda: _has(ada, post_filter=False, state="live"))
        await tab.find("denoise-switch").uncheck()
        await expect(tab.find("model")).to_be_disabled()
        await expect(tab.find("post-filter-switch")).to_be_disabled()
        await tab.find("denoise-switch").check()
        await tab.find("model").select_option("dfn3")
        await until(lambda: _has(ada, model="dfn3"))
        await tab.click("stop")
        await tab.page.reload()
        await expect(tab.find("model")).to_have_value("dfn3")
        await ada.close()


async def test_a_setting_stays_as_it_was_set_while_the_server_is_asked(stage: Stage) -> None:
    """Whatever else the page learns meanwhile; what the server refuses goes back."""
    ada = await stage.person("ada")
    tab = await stage.open(ada)
    await go_live(tab)
    share, limit, title = (
        tab.find(part) for part in ("share-original-switch", "attenuation-limit", "title")
    )
    answers, asked = asyncio.Event(), asyncio.Event()

    async def later(route: Route) -> None:
        if "muted" not in (route.request.post_data_json or {}):
            asked.set()
            await answers.wait()
        await route.continue_()

    await tab.page.route("**/api/stream", later)
    await share.check()
    await limit.fill("12")
    await title.fill("Rehearsal")
    await title.blur()
    await asked.wait()
    await tab.click("mute")  # renders the settings anew
    await expect(tab.find("mute")).to_have_text("Unmute")
    await expect(share).to_be_checked()
    await expect(limit).to_have_value("12")
    await expect(title).to_have_value("Rehearsal")
    steady = asyncio.create_task(share.evaluate(STAYS_CHECKED))
    answers.set()
    stream = {"share_original": True, "attenuation_limit_db": 12, "title": "Rehearsal"}
    await until(lambda: _has(ada, **stream))
    assert await steady  # from the answer to the news, too
    await tab.page.unroute("**/api/stream", later)
    await tab.page.route("**/api/stream", lambda route: route.fulfill(status=503, json={}))
    await share.click()
    await expect(tab.find("settings-problem")).not_to_be_empty()
    await expect(share).to_be_checked()
    await ada.close()


async def test_mute_is_silence_at_once_and_told(stage: Stage) -> None:
    """The track falls silent with the press, the stream goes on, friends are told."""
    ada = await stage.person("ada")
    tab = await stage.open(ada, script=CAPTURED)
    await go_live(tab)
    await tab.find("mute").click()
    assert await tab.page.evaluate("tracks.at(-1).enabled") is False
    await until(lambda: _has(ada, muted=True, state="live"))
    await expect(tab.find("stream-sentence")).to_have_text(
        "You are muted. Your friends hear silence."
    )
    await expect(tab.find("mute")).to_have_text("Unmute")
    await tab.page.wait_for_timeout(300)
    await tab.find("mute").click()
    await until(lambda: _has(ada, muted=False))
    assert await tab.page.evaluate("tracks.at(-1).enabled") is True
    await expect(tab.find("stream-sentence")).to_have_text("Your friends can hear you.")
    await ada.close()


async def test_a_page_on_air_stays_awake_and_signed_in_and_asks_before_it_goes(
    stage: Stage,
) -> None:
    """Wake lock, renewal of the sign-in, question: from Start to Stop and no longer."""
    ada = await stage.person("ada")
    tab = await stage.open(ada, script=AWAKE)
    await tab.context.grant_permissions(["microphone", "screen-wake-lock"])
    page = tab.page
    asked: list[str] = []

    async def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    page.on("dialog", stay)
    await go_live(tab)
    await page.wait_for_function("() => locks.length === 1 && !locks[0].released")
    async with page.expect_request("**/api/me") as renewal:
        await page.evaluate("renewNow()")
    answer = await (await renewal.value).response()
    assert answer and "hushcast=" in (await answer.all_headers())["set-cookie"]
    await page.close(run_before_unload=True)
    await until(lambda: asked == ["beforeunload"])
    await expect(tab.find("stream-state")).to_have_text("Live")
    await tab.click("stop")
    await expect(tab.find("stream-state")).to_have_text("Off")
    await page.wait_for_function("() => locks[0].released")
    await page.reload()
    assert asked == ["beforeunload"]
    await ada.close()


AWAKE = """{
  window.locks = [];
  const request = navigator.wakeLock.request.bind(navigator.wakeLock);
  navigator.wakeLock.request = async (type) => {
    const lock = await request(type);
    window.locks.push(lock);
    return lock;
  };
  const every = window.setInterval.bind(window);
  window.setInterval = (action, ms) => {
    if (ms === 600000) window.renewNow = action;
    return every(action, ms);
  };
}"""


async def test_a_cut_media_path_is_replaced(stage: Stage) -> None:
    """As from Wi-Fi to mobile: datagrams no longer pass, HTTP does. It goes on by a new path."""
    ada = await stage.person("ada")
    tab = await stage.open(ada)
    async with UdpPaths(tab.page) as wires:
        await go_live(tab)
        before = await ada.stream()
        [wire] = wires.paths
        await tab.watch("stream-state")
        wire.cut = True
        cut_at = await tab.page.evaluate("Date.now()")
        noticed = await tab.when("Reconnecting", after=cut_at) - cut_at
        back = await tab.when("Live", after=cut_at + noticed) - cut_at
        print(f"\na cut path was noticed after {noticed} ms, sound was back after {back} ms")
        assert len(wires.paths) == 2 and back < 10_000
        after = await ada.stream()
        assert before is not None and after is not None
        assert after["stream_id"] == before["stream_id"]
        await tab.click("stop")
        await expect(tab.find("stream-state")).to_have_text("Off")
    await ada.close()


@pytest.mark.parametrize(("asleep_s", "goes_on"), [(3, True), (13, False)])
async def test_after_a_sleep_only_what_still_waits_goes_on(
    stage: Stage, asleep_s: float, goes_on: bool
) -> None:
    """Within the grace the stream continues by itself; after its end the page asks."""
    ada = await stage.person("ada")
    tab = await stage.open(ada)
    await go_live(tab)
    before = await ada.stream()
    assert before is not None
    await sleep(browsers(), asleep_s)
    if goes_on:
        await until(lambda: _has(ada, state="live", stream_id=before["stream_id"]))
        await expect(tab.find("stream-state")).to_have_text("Live", timeout=15_000)
    else:
        asks = "Your stream ended while this device was asleep or offline"
        await expect(tab.find("stream-sentence")).to_contain_text(asks, timeout=15_000)
        await expect(tab.find("start")).to_be_visible()
        await tab.page.wait_for_timeout(2_000)
        assert await ada.stream() is None
    await ada.close()


async def _has(person: Person, **fields: object) -> bool:
    stream = await person.stream()
    return stream is not None and all(stream[name] == value for name, value in fields.items())


async def test_a_silent_microphone_is_told(
    edge: Edge, redis_url: str, store_config: StoreConfig, tmp_path: Path
) -> None:
    """Digital silence for seconds: friends hear nothing, and the publisher knows why."""
    nothing = np.zeros(SAMPLE_RATE, np.float32)
    async with on_stage(edge, redis_url, store_config, tmp_path, nothing) as stage:
        ada = await stage.person("ada")
        tab = await stage.open(ada)
        await tab.click("start")
        sentence = tab.find("stream-sentence")
        await expect(sentence).to_contain_text("We cannot hear you", timeout=20_000)
        await expect(tab.find("stream-state")).to_have_text("Live")
        await tab.find("mute").click()
        await expect(sentence).to_contain_text("You are muted")
        await ada.close()


async def test_the_page_says_when_the_server_is_gone(
    edge: Edge, redis_url: str, store_config: StoreConfig, tmp_path: Path
) -> None:
    """The page says what will be; after the stream's end nothing begins when it is back."""
    times = StreamTimes(grace_s=2.0)
    async with on_stage(edge, redis_url, store_config, tmp_path, VOICE, times) as stage:
        ada = await stage.person("ada")
        tab = await stage.open(ada)
        await go_live(tab)
        sentence = tab.find("stream-sentence")
        async with stage.away():
            await expect(sentence).to_contain_text("Your stream ends soon", timeout=10_000)
            await stage.host.stop("ada", None, "the server ends it")
            await expect(sentence).to_contain_text("hushcast cannot be reached", timeout=10_000)
        ended = re.compile("Your stream (was ended|ended while)")
        await expect(sentence).to_have_text(ended, timeout=20_000)
        assert await ada.stream() is None
        await ada.close()


async def test_a_second_page_takes_over_and_the_first_says_so(stage: Stage) -> None:
    """The stream goes on with its settings; only the second page stops it from then on."""
    ada = await stage.person("ada")
    first, second = await stage.open(ada), await stage.open(ada)
    await first.find("share-original-switch").check()
    await go_live(first)
    before = await ada.stream()
    assert before is not None
    await expect(second.find("stream-sentence")).to_contain_text("another page or device")
    await first.watch("stream-sentence")
    await second.click("start")
    await expect(first.find("stream-sentence")).to_contain_text("now comes from another page")
    await expect(second.find("stream-sentence")).to_have_text("Your friends can hear you.")
    assert await _has(ada, share_original=True, stream_id=before["stream_id"])
    await second.end_stream()
    await expect(first.find("stream-sentence")).to_contain_text("Your stream has ended")
    assert await _said(first) == [
        "Your friends can hear you.",
        "Your stream now comes from another page or device.",
        "Your stream has ended. Nobody hears you now.",
    ]
    await ada.close()


async def test_a_stop_from_another_page_is_not_called_a_loss(stage: Stage) -> None:
    """The page that is live says that the stream has ended, and nothing before that."""
    ada = await stage.person("ada")
    first, second = await stage.open(ada), await stage.open(ada)
    await go_live(first)
    await first.watch("stream-sentence")
    await second.click("stop")
    await expect(first.find("stream-sentence")).to_contain_text("was ended from another page")
    assert await _said(first) == [
        "Your friends can hear you.",
        "Your stream was ended from another page, or by the server.",
    ]
    await ada.close()


async def _said(tab: Tab) -> list[str]:
    return [seen["state"] for seen in await tab.page.evaluate("window.seen")]


async def test_a_sign_in_that_ends_says_what_ended_with_it(stage: Stage) -> None:
    """The stream rests on it: the page says that both are over."""
    ada = await stage.person("ada")
    tab = await stage.open(ada)
    await go_live(tab)
    await ada.http.delete("/api/session")
    await expect(tab.find("notice")).to_contain_text("Your stream has ended")
    await expect(tab.find("sign-in")).to_be_visible()
    await ada.close()
