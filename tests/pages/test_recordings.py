"""Recordings in lists and on their pages, in Chromium."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from playwright.async_api import Browser, Page, expect

from recordings.copies import CopyMaker
from recordings.index import Reason, Recording, RecordingIndex
from recordings.names import Copy
from recordings.store import RecordingStore
from tests.app.firefox import firefox
from tests.edge.conftest import PASSWORD, Edge, Person
from tests.edge.test_recordings import recording_of
from tests.pages.site import served
from tests.pages.test_access import SLIDES, violations
from tests.sounds import SAMPLE_RATE, spoken_words

pytestmark = pytest.mark.slow

LENGTH_S = 40


async def spoken(edge: Edge, username: str, folder: Path) -> Recording:
    """Keep a recording of speech."""
    recording = replace(recording_of(username), duration_s=float(LENGTH_S), size_bytes=3_840_800)
    path = folder / f"{recording.id}.wav"
    soundfile.write(path, spoken_words(LENGTH_S), SAMPLE_RATE, subtype="PCM_16")
    await asyncio.to_thread(edge.services.store.put, path, recording.key)
    await edge.services.index.put(recording)
    return recording


async def open_page(browser: Browser, person: Person, url: str, path: str = "/") -> Page:
    """Open a page for somebody who is signed in."""
    context = await browser.new_context()
    await context.add_cookies([{"name": "hushcast", "value": person.token, "url": url}])
    page = await context.new_page()
    await page.goto(url + path)
    return page


async def test_a_recording_has_a_page(edge: Edge, tmp_path: Path) -> None:
    """Its owner names it, plays it faster and from where it was left; a friend follows along."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    await edge.befriend("ada", "bob")
    recording = await spoken(edge, "ada", tmp_path)
    async with served(edge, tmp_path) as (first, url):
        assert first.context.browser
        page = await open_page(first.context.browser, ada, url, f"/r/{recording.id}")
        theirs = await open_page(first.context.browser, bob, url, f"/r/{recording.id}")
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        title = theirs.get_by_test_id("recording-title")
        await expect(title).to_contain_text("2023")
        await expect(theirs.get_by_test_id("rename")).to_be_hidden()
        await expect(theirs.get_by_test_id("delete")).to_be_hidden()
        await page.get_by_test_id("rename").click()
        await page.get_by_test_id("recording-title-field").fill("Evening talk")
        await page.keyboard.press("Enter")
        await expect(title).to_have_text("Evening talk")
        await expect(page.get_by_test_id("rename")).to_be_focused()
        assert await page.title() == "Evening talk · hushcast"
        await accessible(page)
        await page.get_by_test_id("rate").select_option("2")
        await page.get_by_test_id("seek").focus()
        for _ in range(4):
            await page.keyboard.press("ArrowRight")
        await expect(page.get_by_test_id("recording-time")).to_have_text("0:20 of 0:40")
        await page.get_by_test_id("play").click()
        later = re.compile("0:2[1-9] of 0:40")
        await expect(page.get_by_test_id("recording-time")).to_have_text(later)
        audio = page.get_by_test_id("recording-audio")
        assert await audio.evaluate("(audio) => audio.playbackRate") == 2
        await page.get_by_test_id("play").click()
        await page.reload()
        await expect(page.get_by_test_id("recording-time")).to_contain_text("0:2")
        await downloads(page, recording, edge.services.index, edge.services.store, tmp_path)
        await page.get_by_test_id("delete").click()
        await expect(page.get_by_test_id("undo")).to_be_focused()
        assert not await violations(page)
        state = theirs.get_by_test_id("recording-state")
        await expect(state).to_have_text("ada deleted this recording.")
        await expect(theirs.get_by_test_id("play")).to_be_hidden()
        await page.keyboard.press("Enter")
        await expect(state).to_have_text("")
        await expect(page.get_by_test_id("play")).to_be_focused()
        await edge.services.index.remove(recording.id, Reason.AGE)
        await expect(state).to_contain_text("greatest age")
        await expect(page.get_by_test_id("undo")).to_be_hidden()
        await theirs.reload()
        await expect(theirs.get_by_role("heading")).to_contain_text("no such recording")
        assert not complaints


async def accessible(page: Page) -> None:
    """Expect axe to find nothing, light and dark, while the title is edited; nor a scroll bar."""
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert not await violations(page)
    await page.emulate_media(color_scheme="light")
    await page.get_by_test_id("rename").click()
    assert not await violations(page)
    await page.set_viewport_size({"width": 320, "height": 700})
    assert not await page.evaluate(SLIDES)
    await page.keyboard.press("Escape")
    await page.set_viewport_size({"width": 1280, "height": 800})


async def downloads(
    page: Page, recording: Recording, index: RecordingIndex, store: RecordingStore, folder: Path
) -> None:
    """Expect a FLAC to be downloaded once it is made, and a small copy to play then."""
    async with page.expect_download() as downloading:
        await page.get_by_test_id("download-wav").click()
    name = "ada 2023-11-14 22.13.20 Evening talk"
    assert (await downloading.value).suggested_filename == f"{name}.wav"
    async with page.expect_download() as downloading:
        await page.get_by_test_id("download-flac").click()
        await expect(page.get_by_test_id("notice")).to_contain_text("Preparing the FLAC file")
        await index.copies.want(recording.id, Copy.SMALL)  # as the end of a stream does
        maker = CopyMaker(index, store, folder)
        while await maker.make_next():
            pass
    download = await downloading.value
    assert download.suggested_filename == f"{name}.flac"
    info = soundfile.info(await download.path())
    assert info.format == "FLAC" and info.duration == pytest.approx(LENGTH_S, abs=0.1)
    await page.reload()
    await page.get_by_test_id("play").click()
    audio = page.get_by_test_id("recording-audio")
    await page.get_by_test_id("seek").focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        await page.keyboard.press(key)
    await page.wait_for_function(
        "() => document.querySelector('[data-testid=recording-audio]').currentTime > 10.5"
    )
    assert str(await audio.evaluate("(audio) => audio.currentSrc")).endswith("format=small")
    length = await audio.evaluate("(audio) => audio.duration")
    assert length == pytest.approx(LENGTH_S, abs=0.1)


async def test_two_hundred_recordings(edge: Edge, tmp_path: Path) -> None:
    """They come as one scrolls; one is found by its title, deleted, and back after Undo."""
    ada = await edge.person("ada")
    kept = [replace(recording_of("ada"), title=f"Talk {n}") for n in range(200)]
    for recording in kept:
        await edge.services.index.put(recording)
    async with served(edge, tmp_path) as (first, url):
        assert first.context.browser
        page = await open_page(first.context.browser, ada, url)
        rows = page.get_by_test_id("recordings").get_by_role("listitem")
        await expect(rows).to_have_count(20)
        await page.get_by_test_id("older").scroll_into_view_if_needed()
        await expect(rows).not_to_have_count(20)
        await page.get_by_test_id("find-recording").fill("talk 7")
        await expect(rows).to_have_count(11)
        wanted = kept[77]
        row = page.get_by_test_id(f"recording-{wanted.id}")
        await row.get_by_role("button", name="Delete Talk 77").click()
        await expect(row).to_contain_text("You deleted this recording.")
        assert await edge.services.index.get(wanted.id) is None
        undo = row.get_by_test_id("undo")
        await expect(undo).to_be_focused()
        await undo.click()
        await expect(row.get_by_test_id("play")).to_be_focused()
        restored = await edge.services.index.get(wanted.id)
        assert restored is not None and restored.title == wanted.title
        await row.get_by_role("link", name="Talk 77", exact=True).click()
        await expect(page.get_by_test_id("recording-title")).to_be_focused()
        assert page.url == f"{url}/r/{wanted.id}"


SEEKS = """async ([credentials, source, to]) => {
  const headers = { "Content-Type": "application/json" };
  await fetch("/api/session", { method: "POST", headers, body: JSON.stringify(credentials) });
  const audio = new Audio(source);
  const next = (type) => new Promise((resolve, reject) => {
    audio.addEventListener(type, resolve, { once: true });
    audio.addEventListener("error", () => reject(new Error(audio.error.message)));
  });
  await next("loadedmetadata");
  audio.currentTime = to;
  await next("seeked");  // and decoded: this machine may have no loudspeaker to play it
  if (audio.readyState < 2) await next("canplay");
  return [audio.duration, audio.seekable.end(0), audio.currentTime, audio.readyState];
}"""


async def test_firefox_plays_small_copies(edge: Edge, tmp_path: Path) -> None:
    """And FLACs, from their middle on, by ranges."""
    await edge.person("ada")
    recording = await spoken(edge, "ada", tmp_path)
    for copy in Copy:
        await edge.services.index.copies.want(recording.id, copy)
    maker = CopyMaker(edge.services.index, edge.services.store, tmp_path)
    while await maker.make_next():
        pass
    credentials = {"username": "ada", "password": PASSWORD}
    async with served(edge, tmp_path) as (_, url), firefox(tmp_path / "firefox") as page:
        await page.goto(url)
        for copy in Copy:
            source = f"/api/recordings/{recording.id}/audio?format={copy}"
            duration, seekable, at, ready = await page.evaluate(SEEKS, [credentials, source, 30])
            assert duration == seekable == pytest.approx(LENGTH_S, abs=0.1)
            assert at == 30 and ready >= 2
