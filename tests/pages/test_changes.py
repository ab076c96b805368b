"""What publisher and friend read when something happens, and after how long: prints a table."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.async_api import Browser, expect
from playwright.async_api import Error as PlaywrightError

from recordings.store import StoreConfig
from tests.app.browser import CAPTURED, Tab, browsers, chromium, open_tab, sleep
from tests.app.client import Person
from tests.edge.conftest import Edge
from tests.pages.hosting import Stage, on_stage
from tests.sounds import mix, noise, spoken_words
from tests.udp_path import UdpPaths

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

VOICE = mix(spoken_words(8), noise(8), snr_db=10)
UNPLUG = "tracks.at(-1).stop(); tracks.at(-1).dispatchEvent(new Event('ended'))"


@dataclass
class Scene:
    """A publisher who is live, and a friend who listens in another browser."""

    stage: Stage
    ada: Person
    browser: Browser
    processes: set[psutil.Process]
    """Those that her browser began with; `all_of` has those that it has now."""
    hers: Tab
    his: Tab
    wires: UdpPaths


@contextlib.asynccontextmanager
async def live(stage: Stage, name: str, folder: Path) -> AsyncIterator[Scene]:
    """Go live, and be heard."""
    ada, bob = await stage.person(f"ada-{name}"), await stage.person(f"bob-{name}")
    await stage.edge.befriend(ada.username, bob.username)
    others = browsers()
    async with chromium(folder / "microphone.wav") as browser:
        hers = await open_tab(browser, ada, script=CAPTURED)
        processes = browsers() - others
        his = await stage.open(bob, f"/u/{ada.username}")
        async with UdpPaths(hers.page) as wires:
            await hers.click("start")
            await expect(hers.find("stream-state")).to_have_text("Live", timeout=20_000)
            await his.find("listen").click()
            await expect(his.find("listen-sentence")).to_contain_text("You hear", timeout=20_000)
            yield Scene(stage, ada, browser, processes, hers, his, wires)
    await ada.close()
    await his.context.close()
    await bob.close()


def all_of(scene: Scene) -> list[psutil.Process]:
    """List the processes of the publisher's browser."""
    found = set()
    for process in scene.processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {process, *process.children(recursive=True)}
    return [process for process in found if process.is_running()]


async def offline(scene: Scene, seconds: float) -> None:
    """Cut HTTP and datagrams, and mend them."""
    for wire in scene.wires.paths:
        wire.cut = True
    await scene.hers.context.set_offline(True)
    await asyncio.sleep(seconds)
    await scene.hers.context.set_offline(False)
    for wire in scene.wires.paths:
        wire.cut = False


async def lose_path(scene: Scene) -> None:
    """Cut datagrams alone, for good."""
    scene.wires.paths[-1].cut = True


async def asleep(scene: Scene, seconds: float) -> None:
    """Close the lid for a while."""
    await sleep(all_of(scene), seconds)


async def crash(scene: Scene) -> None:
    """Kill the browser."""
    for process in all_of(scene):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


async def second_tab(scene: Scene) -> None:
    """Stream from another page."""
    other = await open_tab(scene.browser, scene.ada)
    await other.click("start")


async def restart(scene: Scene) -> None:
    """Restart the ingress; the stream's host goes on."""
    async with scene.stage.away():
        await asyncio.sleep(5)


async def reload(scene: Scene) -> None:
    """Load the page anew."""
    await scene.hers.page.reload()


async def close(scene: Scene) -> None:
    """Close the page."""
    await scene.hers.page.close()


async def sign_out(scene: Scene) -> None:
    """End the sign-in elsewhere."""
    await scene.ada.http.delete("/api/session")


async def unplug(scene: Scene) -> None:
    """Take the microphone away."""
    await scene.hers.page.evaluate(UNPLUG)


Change = Callable[[Scene], Awaitable[None]]
CHANGES: dict[str, tuple[Change, float]] = {
    "reload": (reload, 5),
    "page closed": (close, 5),
    "browser killed": (crash, 25),
    "second page takes over": (second_tab, 8),
    "asleep for 5 s": (lambda scene: asleep(scene, 5), 15),
    "asleep for 30 s": (lambda scene: asleep(scene, 30), 15),
    "asleep for 150 s": (lambda scene: asleep(scene, 150), 15),
    "offline for 8 s": (lambda scene: offline(scene, 8), 15),
    "offline for 30 s": (lambda scene: offline(scene, 30), 15),
    "datagrams cut (Wi-Fi to mobile)": (lose_path, 12),
    "ingress restarted within 5 s": (restart, 10),
    "microphone unplugged": (unplug, 5),
    "sign-in ended": (sign_out, 5),
}


async def test_what_each_side_reads(
    edge: Edge, redis_url: str, store_config: StoreConfig, tmp_path: Path
) -> None:
    """Nothing is published unasked after any of it; the table says what was read, and when."""
    rows = ["| change | the publisher's page says | the friend's page says |", "|---|---|---|"]
    async with on_stage(edge, redis_url, store_config, tmp_path, VOICE) as stage:
        for n, (name, (change, watched_s)) in enumerate(CHANGES.items()):
            async with live(stage, str(n), tmp_path) as scene:
                await scene.hers.watch("stream-sentence")
                await scene.his.watch("listen-sentence")
                begun = time.time() * 1000
                await change(scene)
                await asyncio.sleep(watched_s)
                read = [await history(tab, begun) for tab in (scene.hers, scene.his)]
                rows.append(f"| {name} | {read[0]} | {read[1]} |")
                print(rows[-1], flush=True)
                if name == "asleep for 150 s":
                    assert await scene.ada.stream() is None
    print("\n" + "\n".join(rows))


async def history(tab: Tab, begun: float) -> str:
    """Write what a page has said since a moment, each with the seconds since then."""
    try:
        seen = await tab.page.evaluate("() => window.seen ?? []")
    except PlaywrightError:  # it is gone
        return "-"
    said = [f"{(s['at'] - begun) / 1000:.1f} s: {s['state']}" for s in seen if s["at"] > begun]
    return "; ".join(said) or "nothing new"
