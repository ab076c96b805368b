"""The pages in Chromium, used as a person uses them, with a noisy voice at the microphone."""

import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
import soundfile
from playwright.async_api import Browser, expect

from tests.app.browser import (
    Tab,
    chromium,
    kill_chromium,
    open_tab,
    write_microphone,
)
from tests.app.client import Person
from tests.app.conftest import GRACE_S
from tests.app.test_faults import hosting
from tests.denoiser.official import official_model
from tests.quality import Quality, quality
from tests.running import App
from tests.sounds import SAMPLE_RATE, Sound, all_words, mix, noise
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.quiet, pytest.mark.timeout(150)]

SETTLED_S = 4.0
"""After this long the browser's jitter buffer has settled and no longer stretches."""
TAKES = 3
"""A browser short of processor time skips at its microphone and conceals at its loudspeaker: one
whole take has to be good."""
CLEAN = all_words()
"""The microphone repeats it, so wherever one begins to listen, the same words come around."""
SECONDS = len(CLEAN) / SAMPLE_RATE
NOISY = mix(CLEAN, noise(SECONDS), snr_db=10.0)
People = Callable[[], Awaitable[Person]]


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    """Start Chromium with the noisy voice."""
    async with chromium(write_microphone(tmp_path / "microphone.wav", NOISY)) as running:
        yield running


async def go_live(tab: Tab) -> int:
    """Press Start; get when it was pressed."""
    pressed = await tab.click("start")
    await expect(tab.find("stream-state")).to_have_text("Live", timeout=15_000)
    return pressed


async def test_somebody_streams_and_a_friend_listens(
    app: App, people: People, browser: Browser
) -> None:
    """The main job: seen and heard within a second, whole seconds, meters, kept and played."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    hers, his = await open_tab(browser, ada), await open_tab(browser, bob)
    friend = f"friend-row-{ada.username}"
    await go_live(hers)  # opens the microphone for the first time, which Chromium is slow at
    await hers.end_stream()
    await until(lambda: _stored(ada))
    await expect(his.find(friend)).to_have_attribute("data-state", "off")
    await his.watch(friend, "data-state")
    began = await go_live(hers)
    seen_ms = await his.when("live", after=began) - began

    listening = await open_tab(browser, bob, f"/u/{ada.username}", bypass_csp=True)
    await listening.record()
    for _ in range(TAKES):  # a pause between words lasts 0.4 s, and the page has just been loaded
        first_sound_ms = await _first_sound(listening)
        if first_sound_ms <= 1000:
            break
        await listening.click("unlisten")

    await hers.watch("timer")
    meters = {await hers.find("input-meter").get_attribute("aria-valuenow")}
    await hers.page.wait_for_function("() => window.seen.length >= 8", timeout=20_000)
    meters.add(await hers.find("input-meter").get_attribute("aria-valuenow"))
    seconds = await hers.page.evaluate("() => window.seen.map((s) => s.state)")
    assert [_seconds(text) for text in seconds] == list(
        range(_seconds(seconds[0]), _seconds(seconds[0]) + len(seconds))
    )
    assert len(meters) == 2 and await hers.find("output-meter").get_attribute("aria-valuenow")
    await listening.recorded(SETTLED_S)
    offline = quality(official_model().enhance(NOISY), CLEAN)
    for _ in range(TAKES):
        listened = await _take(listening)
        if abs(listened.stoi - offline.stoi) <= 0.05:
            break

    stopped = await hers.end_stream()
    gone_ms = await his.when("off", after=stopped) - stopped
    await expect(hers.find("stream-state")).to_have_text("Off")
    await until(lambda: _stored(ada))
    recording, _ = await ada.recordings()
    answer = await ada.http.get(f"/api/recordings/{recording['id']}/audio", follow_redirects=True)
    recorded, _ = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    length_s = (stopped - _milliseconds(recording["started_at"])) / 1000
    kept = max(_takes(recorded), key=lambda take: take.stoi)
    print(
        f"\nChromium: live seen after {seen_ms} ms, first sound after {first_sound_ms} ms, "
        f"end seen after {gone_ms} ms; {length_s:.2f} s streamed, "
        f"{recording['duration_s']:.2f} s recorded\n"
        f"noisy: {quality(NOISY, CLEAN)}; offline model: {offline}; "
        f"recording: {kept}; heard in the browser: {listened}"
    )
    assert max(seen_ms, first_sound_ms, gone_ms) <= 1000
    assert abs(kept.pesq - offline.pesq) <= 0.3 and abs(kept.stoi - offline.stoi) <= 0.03
    assert abs(listened.stoi - offline.stoi) <= 0.05
    assert abs(recording["duration_s"] - length_s) <= 0.2

    row = f"recording-{recording['id']}"
    page = listening.page
    await expect(listening.find(row)).to_have_attribute("data-state", "ready", timeout=10_000)
    await listening.find(row).get_by_test_id("play").click()
    await page.wait_for_function(
        "() => [...document.querySelectorAll('audio')].some((a) => a.currentTime > 0.5)"
    )
    async with page.expect_download() as download:
        await listening.find(row).get_by_test_id("download").click()
    assert (await download.value).suggested_filename.endswith(".wav")
    assert not hers.complaints + his.complaints + listening.complaints


def _takes(recorded: Sound) -> Iterator[Quality]:
    """Judge all the words, as often as a recording has them one after the other."""
    for start in range(0, len(recorded) - len(CLEAN), len(CLEAN)):
        yield quality(recorded[start : start + len(CLEAN)], CLEAN, looped=True, played=True)


async def _first_sound(listening: Tab) -> int:
    """Press Listen; get how long it takes until something is heard, ms."""
    await listening.page.evaluate("() => { window.heard.firstAt = null; }")
    pressed = await listening.click("listen")
    first = await listening.page.wait_for_function("() => window.heard.firstAt")
    heard_at: int = await first.json_value()
    return heard_at - pressed


async def _take(listening: Tab) -> Quality:
    """Judge the words that a page plays from now on, all of them once."""
    begun_s = await listening.recorded()
    await listening.recorded(begun_s + SECONDS)
    heard = await listening.heard()
    return quality(heard[round(begun_s * SAMPLE_RATE) :], CLEAN, looped=True, played=True)


async def test_a_reload_ends_the_stream_and_nothing_starts_by_itself(
    app: App, people: People, browser: Browser
) -> None:
    """The closing page ends its stream; the reloaded one is off, and stays off."""
    ada = await people()
    tab = await open_tab(browser, ada)
    await go_live(tab)
    await tab.page.reload()
    waited = await until(lambda: _gone(ada))
    print(f"\na reloaded page's stream had ended {waited:.2f} s after the new page had loaded")
    assert waited < 1
    await expect(tab.find("stream-state")).to_have_text("Off")
    await expect(tab.find("start")).to_be_visible()
    await until(lambda: _stored(ada))
    assert await ada.stream() is None


async def test_the_page_goes_on_by_itself_when_its_streams_actor_dies(
    app: App, people: People, browser: Browser
) -> None:
    """SIGKILL of the actor: the page posts again, a warm actor takes it, the friend sees it."""
    ada = await people()
    tab = await open_tab(browser, ada)
    await go_live(tab)
    before = await ada.stream()
    assert before is not None
    hosting(app).kill()

    async def goes_on() -> bool:
        stream = await ada.stream()
        return stream is not None and stream["state"] == "live" and stream["part"] == 2

    waited = await until(goes_on, timeout_s=60)
    after = await ada.stream()
    assert after is not None and after["stream_id"] == before["stream_id"]
    print(f"\nafter its actor was killed the page was live again in {waited:.1f} s")
    await tab.end_stream()
    await expect(tab.find("stream-state")).to_have_text("Off")


async def test_a_page_that_was_offline_takes_no_stream_back(
    app: App, people: People, browser: Browser
) -> None:
    """Another page takes the stream over while this one has no network: this one yields."""
    ada = await people()
    first, second = await open_tab(browser, ada), await open_tab(browser, ada)
    await go_live(first)
    await first.context.set_offline(True)
    await second.click("start")  # "Stream from here"
    await expect(second.find("stream-state")).to_have_text("Live", timeout=15_000)
    await first.page.wait_for_timeout(3_000)  # it was let go, and tries to come back
    session = (await ada.http.get("/api/me")).json()["session"]
    await first.context.set_offline(False)
    await expect(first.page.get_by_text("now comes from another page")).to_be_visible(
        timeout=30_000
    )
    assert (await ada.http.get("/api/me")).json()["session"] == session
    await expect(second.find("stream-state")).to_have_text("Live")
    await second.end_stream()
    await expect(second.find("stream-state")).to_have_text("Off")


async def test_a_killed_browser_ends_the_stream_after_the_grace(
    app: App, people: People, tmp_path: Path
) -> None:
    """Without a goodbye, friends see it reconnect, then end, and the recording is kept."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    async with chromium(write_microphone(tmp_path / "voice.wav", NOISY)) as doomed:
        tab = await open_tab(doomed, ada)
        await go_live(tab)
        async with bob.presence() as presence:
            kill_chromium()
            noticed = await until(
                lambda: "reconnecting" in presence.states(ada.username), timeout_s=60
            )
            ended = await until(lambda: presence.states(ada.username)[-1] is None, timeout_s=60)
    print(
        f"\na killed browser's stream was reconnecting after {noticed:.1f} s, "
        f"and ended {ended:.1f} s later, with {GRACE_S} s of grace"
    )
    assert noticed <= 6 and ended <= GRACE_S + 1
    await until(lambda: _stored(ada))


async def test_people_find_each_other_and_sign_in_and_out(
    app: App, people: People, browser: Browser
) -> None:
    """Create an account, ask, accept, see each other, sign out: all by hand."""
    bob = await people()
    context = await browser.new_context()
    tab = Tab(await context.new_page(), context)
    await tab.page.goto(app.url)
    name = f"new-{bob.username[-6:]}"
    await tab.find("username").fill(name)
    await tab.find("password").fill("a good password")
    await tab.find("create-account").click()
    await expect(tab.find("start")).to_be_visible()
    await tab.find("friend-add-name").fill(bob.username)
    await tab.find("friend-add").click()
    his = await open_tab(browser, bob)
    await his.find(f"accept-{name}").click()
    await expect(tab.find(f"friend-row-{bob.username}")).to_have_attribute("data-state", "off")
    await expect(his.find(f"friend-row-{name}")).to_have_attribute("data-state", "off")
    await tab.find("sign-out").click()
    await expect(tab.find("sign-in")).to_be_visible()
    await tab.page.reload()
    await expect(tab.find("sign-in")).to_be_visible()


async def test_an_account_is_looked_after_by_hand(
    app: App, people: People, browser: Browser
) -> None:
    """Block and unblock somebody, change the password, end another sign-in, delete the account."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    tab = await open_tab(browser, ada, f"/u/{bob.username}")
    await tab.find("block").click()
    await tab.find("confirm").click()
    await expect(tab.find("unblock")).to_be_visible()
    assert (await ada.http.get("/api/blocks")).json() == [bob.username]
    await tab.find("unblock").click()
    await expect(tab.find("ask")).to_be_visible()
    await tab.page.goto(app.url)
    credentials = {"username": ada.username, "password": ada.password}
    other = (await bob.http.post("/api/session", json=credentials)).json()["token"]
    await tab.find("account").click()
    await expect(tab.find("sign-ins").get_by_role("listitem")).to_have_count(2)
    await tab.find("current-password").fill(ada.password)
    await tab.find("new-password").fill("another horse")
    await tab.find("change-password").click()
    await expect(tab.page.get_by_text("Password changed")).to_be_visible()
    await expect(tab.find("sign-ins").get_by_role("listitem")).to_have_count(1)
    signed = {"authorization": f"Bearer {other}"}
    assert (await bob.http.get("/api/me", headers=signed)).status_code == 401
    await tab.find("delete-account").click()
    await tab.find("confirm-password").fill("another horse")
    await tab.find("confirm-password").press("Enter")
    await expect(tab.find("sign-in")).to_be_visible()
    assert (await bob.http.get(f"/api/users/{ada.username}")).status_code == 404
    assert not tab.complaints


async def test_the_switch_turns_denoising_off(app: App, people: People, browser: Browser) -> None:
    """The switch on the page reaches the stream, and what friends see of it."""
    ada = await people()
    tab = await open_tab(browser, ada)
    await go_live(tab)
    await tab.find("denoise-switch").click()
    await until(lambda: _undenoised(ada))
    await tab.end_stream()
    await expect(tab.find("stream-state")).to_have_text("Off")


def _seconds(timer: str) -> int:
    """Read h:mm:ss or m:ss."""
    total = 0
    for part in re.findall(r"\d+", timer):
        total = total * 60 + int(part)
    return total


def _milliseconds(moment: str) -> float:
    """Read RFC 3339 as ms since the epoch."""
    return datetime.fromisoformat(moment).timestamp() * 1000


async def _gone(person: Person) -> bool:
    return await person.stream() is None


async def _undenoised(person: Person) -> bool:
    stream = await person.stream()
    return stream is not None and stream["denoise"] is False


async def _stored(person: Person) -> bool:
    recordings = await person.recordings()
    return bool(recordings) and recordings[0]["state"] == "ready"


# Chromium's fake microphone cannot be muted by a system; this is what a page sees when one is.
MUTABLE = """{
  let muted = false;
  const tracks = [];
  Object.defineProperty(MediaStreamTrack.prototype, "muted", { get: () => muted });
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const media = await open(wanted);
    tracks.push(...media.getAudioTracks());
    return media;
  };
  window.mute = (now) => {
    muted = now;
    for (const track of tracks) track.dispatchEvent(new Event(now ? "mute" : "unmute"));
  };
}"""


async def test_a_microphone_that_the_system_mutes_is_told(
    app: App, people: People, browser: Browser
) -> None:
    """The page says that nobody hears anything, the status and friends' pages say it too."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    tab = await open_tab(browser, ada, script=MUTABLE)
    his = await open_tab(browser, bob, f"/u/{ada.username}")
    await go_live(tab)
    await tab.page.evaluate("mute(true)")
    await expect(tab.page.get_by_text("nobody hears you")).to_be_visible()
    await expect(his.find("listen-sentence")).to_contain_text("their microphone is muted")
    stream = await ada.stream()
    assert stream is not None and stream["muted"] is True and stream["state"] == "live"
    await tab.page.evaluate("mute(false)")
    await expect(his.find("listen-sentence")).to_have_text(f"{ada.username} is live now.")
    await expect(tab.page.get_by_text("Your friends can hear you")).to_be_visible()
    await tab.end_stream()
    assert not tab.complaints and not his.complaints
