"""Chromium with a fake microphone that plays a WAV, driven as a person would drive it."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import psutil
import soundfile
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright

from tests.app.client import Person
from tests.sounds import SAMPLE_RATE, Sound

CHROMIUM = "/usr/bin/chromium"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PRESSES_APART_S = 0.35
"""A page takes what comes sooner for the same press (frontend/views/press.js)."""

# Notes when the state of an element changes, on the page's own clock.
WATCH_STATE = """([selector, attribute]) => {
  window.seen = [];
  const look = () => {
    const element = document.querySelector(selector);
    const state = element && (attribute ? element.getAttribute(attribute) : element.textContent);
    const last = window.seen.at(-1);
    if (state !== null && state !== undefined && state !== last?.state)
      window.seen.push({ state: state.trim(), at: Date.now() });
  };
  new MutationObserver(look).observe(document.body,
    { subtree: true, childList: true, attributes: true, characterData: true });
  look();
}"""

# Keeps the microphone's tracks, the newest last.
CAPTURED = """{
  window.tracks = [];
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const media = await open(wanted);
    window.tracks.push(...media.getAudioTracks());
    return media;
  };
}"""

# Runs on the browser's audio thread, so that a busy page loses nothing.
TAP = """registerProcessor("tap", class extends AudioWorkletProcessor {
  #samples = new Float32Array(1024);
  #length = 0;
  process([[samples]]) {
    if (samples) {
      this.#samples.set(samples, this.#length);
      this.#length += samples.length;
    }
    if (this.#length === 1024) {
      this.port.postMessage(this.#samples.slice());
      this.#length = 0;
    }
    return true;
  }
});"""

# Records what the page's audio element plays, as float samples at 48 kHz.
RECORD_SOUND = """async (tap_script) => {
  const context = new AudioContext({ sampleRate: 48000 });
  const script = new Blob([tap_script], { type: "text/javascript" });
  await context.audioWorklet.addModule(URL.createObjectURL(script));
  window.heard = { pieces: [], firstAt: null };
  const tap = new AudioWorkletNode(context, "tap");
  tap.port.onmessage = ({ data }) => {
    if (!window.heard.firstAt && data.some((s) => Math.abs(s) > 0.002))
      window.heard.firstAt = Date.now();
    window.heard.pieces.push(data);
  };
  tap.connect(context.destination);
  const attach = () => {
    const { srcObject } = document.querySelector('[data-testid="listen-audio"]');
    if (!srcObject || srcObject.getAudioTracks().length === 0) return setTimeout(attach, 5);
    context.createMediaStreamSource(srcObject).connect(tap);
  };
  attach();
}"""

TAKE_SOUND = """() => {
  const length = window.heard.pieces.reduce((sum, piece) => sum + piece.length, 0);
  const all = new Float32Array(length);
  let at = 0;
  for (const piece of window.heard.pieces) { all.set(piece, at); at += piece.length; }
  const bytes = new Uint8Array(all.buffer);
  let text = "";
  for (let n = 0; n < bytes.length; n += 32768)
    text += String.fromCharCode(...bytes.subarray(n, n + 32768));
  return btoa(text);
}"""


@asynccontextmanager
async def chromium(microphone: Path) -> AsyncIterator[Browser]:
    """Start Debian's Chromium with a microphone that plays a file again and again."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
                "--allow-loopback-in-peer-connection",
                "--autoplay-policy=no-user-gesture-required",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--no-sandbox",
            ],
        )
        try:
            yield browser
        finally:
            await browser.close()


def kill_chromium() -> None:
    """End this process's one Chromium as a power cut would: by its id, without a word."""
    killed = 0
    for process in browsers():
        with contextlib.suppress(psutil.NoSuchProcess):  # one of another test, just gone
            if not any(word.startswith("--type=") for word in process.cmdline()):
                process.kill()
                killed += 1
    assert killed, "there is no Chromium to kill"


def browsers() -> set[psutil.Process]:
    """Find all processes of this process's Chromiums."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name().startswith("chrom"):
                found.add(process)
    return found


async def sleep(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Let a browser sleep, as a closed lid does: nothing of it runs, and no clock of it."""
    asleep = list(processes)
    for process in asleep:
        process.suspend()
    try:
        await asyncio.sleep(seconds)
    finally:
        for process in asleep:
            process.resume()


def write_microphone(path: Path, sound: Sound) -> Path:
    """Write the WAV that the fake microphone plays."""
    soundfile.write(path, sound, SAMPLE_RATE, subtype="PCM_16")
    return path


def samples_of(text: str) -> Sound:
    """Read what `TAKE_SOUND` gets, [T]."""
    return np.frombuffer(base64.b64decode(text), np.float32)


class Tab:
    """One page of the product, with what it complained about."""

    def __init__(self, page: Page, context: BrowserContext) -> None:
        self.page = page
        self.context = context
        self.complaints: list[str] = []
        self._pressed_at = -PRESSES_APART_S
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if "Content Security" in message.text else None
            ),
        )

    def find(self, testid: str) -> Locator:
        """Find an element by its test id."""
        return self.page.get_by_test_id(testid)

    async def watch(self, testid: str, attribute: str | None = None) -> None:
        """Note from now on when an element's state changes; see `when`."""
        await self.page.evaluate(WATCH_STATE, [f'[data-testid="{testid}"]', attribute])

    async def when(self, state: str, *, after: int) -> int:
        """Wait until the watched element came into a state after a moment; get when it did.

        Both are ms since the epoch.
        """
        found = await self.page.wait_for_function(
            "([state, after]) => window.seen.find((s) => s.state === state && s.at >= after)?.at",
            arg=[state, after],
        )
        at: int = await found.json_value()
        return at

    async def click(self, testid: str) -> int:
        """Click, not sooner than a person can again; get when, ms since the epoch."""
        await asyncio.sleep(self._pressed_at + PRESSES_APART_S - time.monotonic())
        await self.page.evaluate(
            "() => addEventListener('click', () => { window.clickedAt = Date.now(); },"
            " { capture: true, once: true })"
        )
        await self.find(testid).click()
        self._pressed_at = time.monotonic()
        at: int = await self.page.evaluate("() => window.clickedAt")
        return at

    async def end_stream(self) -> int:
        """Press Stop, and confirm it if people listen; get when, as `click` does."""
        pressed = await self.click("stop")
        asked = self.find("confirm")
        await asked.or_(self.find("start")).first.wait_for()
        return await self.click("confirm") if await asked.is_visible() else pressed

    async def record(self) -> None:
        """Record what the page plays from now on; see `heard`. Needs `bypass_csp`."""
        await self.page.evaluate(RECORD_SOUND, TAP)

    async def recorded(self, at_least_s: float = 0.0) -> float:
        """Wait until so much was recorded; get how much it is, s."""
        seconds = "window.heard.pieces.length * 1024 / 48000"
        await self.page.wait_for_function(f"() => {seconds} >= {at_least_s}", timeout=60_000)
        length_s: float = await self.page.evaluate(seconds)
        return length_s

    async def heard(self) -> Sound:
        """Get what was recorded since `record`, [T]."""
        return samples_of(await self.page.evaluate(TAKE_SOUND))


async def open_tab(
    browser: Browser,
    person: Person,
    path: str = "/",
    *,
    viewport: dict[str, int] = DESKTOP,
    bypass_csp: bool = False,
    script: str | None = None,
    locale: str = "en-US",
) -> Tab:
    """Open a page for somebody who is signed in; `script` runs before the page's own."""
    context = await browser.new_context(
        bypass_csp=bypass_csp,
        viewport={"width": viewport["width"], "height": viewport["height"]},
        permissions=["microphone"],
        locale=locale,
    )
    await context.add_cookies([{"name": "hushcast", "value": person.token, "url": person.url}])
    if script:
        await context.add_init_script(script)
    tab = Tab(await context.new_page(), context)
    await tab.page.goto(person.url + path)
    return tab
