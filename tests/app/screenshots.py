"""Make the pictures of `docs/screenshots` from a running hushcast.

python -m tests.app.screenshots http://127.0.0.1:8000
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, expect

from tests.app.browser import DESKTOP, PHONE, Tab, chromium, open_tab, write_microphone
from tests.app.client import Person, delete_account, sign_up
from tests.sounds import mix, noise, spoken_words
from tests.waiting import until

FOLDER = Path(__file__).parent.parent.parent / "docs" / "screenshots"
SIZES = {"desktop": DESKTOP, "phone": PHONE}


async def shoot(browser: Browser, person: Person, path: str, name: str) -> None:
    """Take a page at both widths."""
    for size, viewport in SIZES.items():
        tab = await open_tab(browser, person, path, viewport=viewport)
        await asyncio.sleep(2.5)  # a picture has to settle; nothing is tested here
        await tab.page.screenshot(path=FOLDER / f"{name}-{size}.png")
        await tab.context.close()


async def make(url: str) -> None:
    """Let two people use hushcast and look over their shoulders."""
    voice = mix(spoken_words(12), noise(12), snr_db=10)
    ada, bob, eve = [await sign_up(url, name) for name in ("ada", "bob", "eve")]
    await ada.befriend(bob)
    await ada.befriend(eve)
    with tempfile.TemporaryDirectory() as folder:
        async with chromium(write_microphone(Path(folder) / "voice.wav", voice)) as browser:
            await earlier_recording(browser, ada)
            hers = await open_tab(browser, ada)
            await hers.find("start").click()
            await expect(hers.find("stream-state")).to_have_text("Live", timeout=15_000)
            his = await open_tab(browser, bob, f"/u/{ada.username}")
            await his.find("listen").click()
            made = await ada.http.post("/api/links", json={"label": "The band"})
            context = await browser.new_context()
            guest = Tab(await context.new_page(), context)
            await guest.page.goto(made.json()["url"])
            await guest.find("listen").click()
            await asyncio.sleep(6)
            for tab, name in ((hers, "home"), (his, "friend"), (guest, "guest")):
                await both_sizes(tab, name)
            await shoot(browser, bob, "/", "friends")
            await hers.end_stream()
            context = await browser.new_context()
            tab = Tab(await context.new_page(), context)
            await tab.page.goto(url)
            await both_sizes(tab, "sign-in")
    for person in (ada, bob, eve):
        await delete_account(person)
        await person.close()


async def earlier_recording(browser: Browser, person: Person) -> None:
    """Leave a recording of some seconds."""
    tab = await open_tab(browser, person)
    await tab.find("start").click()
    await expect(tab.find("stream-state")).to_have_text("Live", timeout=15_000)
    await asyncio.sleep(8)
    await tab.find("stop").click()

    async def stored() -> bool:
        return bool(await person.recordings())

    await until(stored)
    await tab.context.close()


async def both_sizes(tab: Tab, name: str) -> None:
    """Take an open page at both widths."""
    for size, viewport in SIZES.items():
        await tab.page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})
        await asyncio.sleep(1)
        await tab.page.screenshot(path=FOLDER / f"{name}-{size}.png")


if __name__ == "__main__":
    asyncio.run(make(sys.argv[1]))
