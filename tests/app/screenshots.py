"""Make the pictures of `docs/screenshots`: each view, wide and narrow, light and dark.

    python -m tests.app.screenshots [--voice NOISY.wav]

Starts a hushcast of its own, in which Ada speaks; with --voice what is to be heard, 48 kHz.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import soundfile
from playwright.async_api import Browser, expect

from tests.app.browser import DESKTOP, PHONE, Tab, chromium, open_tab, write_microphone
from tests.app.client import Person, sign_in, sign_up
from tests.running import App, running_app
from tests.sounds import Sound, mix, noise, spoken_words
from tests.waiting import until

FOLDER = Path(__file__).parent.parent.parent / "docs" / "screenshots"
SIZES = {"desktop": DESKTOP, "phone": PHONE}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


async def shoot(tab: Tab, name: str) -> None:
    """Take an open page in both widths and schemes."""
    for scheme in SCHEMES:
        await tab.page.emulate_media(color_scheme=scheme)
        for size, viewport in SIZES.items():
            await tab.page.set_viewport_size(
                {"width": viewport["width"], "height": viewport["height"]}
            )
            await asyncio.sleep(1)  # a picture has to settle; nothing is tested here
            await tab.page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png")


async def shoot_at(browser: Browser, person: Person, path: str, name: str) -> None:
    """Take the page at an address."""
    tab = await open_tab(browser, person, path)
    await asyncio.sleep(1.5)
    await shoot(tab, name)
    await tab.context.close()


async def shoot_stranger(browser: Browser, url: str, name: str) -> None:
    """Take what somebody sees who is not signed in."""
    context = await browser.new_context()
    tab = Tab(await context.new_page(), context)
    await tab.page.goto(url)
    await asyncio.sleep(1)
    await shoot(tab, name)
    await context.close()


async def make(url: str, voice: Sound, operator: Person) -> None:
    """Let people use hushcast and look over their shoulders."""
    ada, bob, eve = [await sign_up(url, name) for name in ("ada", "bob", "eve")]
    await ada.befriend(bob)
    await ada.befriend(eve)
    with tempfile.TemporaryDirectory() as folder:
        async with chromium(write_microphone(Path(folder) / "voice.wav", voice)) as browser:
            await earlier_recording(browser, ada)
            hers = await open_tab(browser, ada)
            await check_the_sound(hers)
            await hers.click("start")
            await expect(hers.find("stream-state")).to_have_text("Live", timeout=15_000)
            his = await open_tab(browser, bob, f"/u/{ada.username}")
            await his.find("listen").click()
            made = await ada.http.post("/api/links", json={"label": "The band"})
            context = await browser.new_context()
            guest = Tab(await context.new_page(), context)
            await guest.page.goto(made.json()["url"])
            await guest.find("listen").click()
            await asyncio.sleep(11)  # the spectrogram's ten seconds
            for tab, name in ((hers, "home"), (his, "friend"), (guest, "guest")):
                await shoot(tab, name)
            await shoot_at(browser, eve, "/", "friends")
            await hers.end_stream()
            [recording, *_] = await ada.recordings()
            await shoot_at(browser, ada, f"/r/{recording['id']}", "recording")
            await shoot_at(browser, ada, "/u/nobody", "stranger")
            await shoot_at(browser, ada, "/nothing", "nothing")
            await shoot_at(browser, operator, "/admin", "admin")
            await account(browser, ada)
            await shoot_stranger(browser, url, "sign-in")
    for person in (ada, bob, eve, operator):
        await person.close()


async def check_the_sound(tab: Tab) -> None:
    """Record the microphone before going live, and compare."""
    await tab.find("check").click()
    await tab.find("check-record").click()
    await expect(tab.find("check-play")).to_be_visible(timeout=30_000)
    await shoot(tab, "check")


async def account(browser: Browser, person: Person) -> None:
    """Take the account's settings."""
    tab = await open_tab(browser, person)
    await tab.find("account").click()
    await tab.find("account").scroll_into_view_if_needed()
    await shoot(tab, "account")
    await tab.context.close()


async def earlier_recording(browser: Browser, person: Person) -> None:
    """Leave a recording of some seconds."""
    tab = await open_tab(browser, person)
    await tab.find("title").fill("Rehearsal")
    await tab.click("start")
    await expect(tab.find("stream-state")).to_have_text("Live", timeout=15_000)
    await asyncio.sleep(8)
    await tab.click("stop")

    async def stored() -> bool:
        return bool(await person.recordings())

    await until(stored)
    await tab.context.close()


async def opened(app: App, voice: Sound) -> None:
    """Make an administrator, as an operator does, and then the pictures."""
    command = [sys.executable, "-m", "commands.cli", "accounts", "create", "olga"]
    password = subprocess.check_output([*command, "--data-dir", str(app.data_dir)], text=True)
    await make(app.url, voice, await sign_in(app.url, "olga", password.strip()))


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--voice", type=Path)
    options = parser.parse_args()
    voice = mix(spoken_words(12), noise(12), snr_db=10)
    if options.voice:
        voice, rate = soundfile.read(options.voice, dtype="float32")
        assert rate == 48_000 and voice.ndim == 1, "a mono WAV of 48 kHz"
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(Path(folder), HUSHCAST_ADMINS="olga") as app,
    ):
        asyncio.run(opened(app, voice))


if __name__ == "__main__":
    main()
