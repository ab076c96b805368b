"""What the first view weighs, how many requests it takes, and when something is to be seen."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import CDPSession, Page, expect

from tests.edge.conftest import Edge
from tests.edge.test_recordings import recording_of
from tests.pages.site import served, sign_in

pytestmark = pytest.mark.slow

MAX_BYTES = 100_000
MAX_REQUESTS = 12
MAX_PAINT_MS = 2_000
SLOW = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
PAINTED = """() => performance.getEntriesByType("paint")
  .find(({ name }) => name === "first-contentful-paint")?.startTime"""

Event = dict[str, Any]


class Wire:
    """What goes over the network, by Chromium's own log."""

    def __init__(self, cdp: CDPSession) -> None:
        self._cdp = cdp
        self.requests: dict[str, str] = {}
        self.bytes = 0

    async def watch(self) -> None:
        """Begin, with an empty cache."""
        self._cdp.on("Network.requestWillBeSent", self._sent)
        self._cdp.on("Network.webSocketCreated", self._sent_socket)
        self._cdp.on("Network.loadingFinished", self._finished)
        await self._cdp.send("Network.enable")

    def _sent(self, event: Event) -> None:
        self.requests[event["requestId"]] = event["request"]["url"]

    def _sent_socket(self, event: Event) -> None:
        self.requests[event["requestId"]] = event["url"]

    def _finished(self, event: Event) -> None:
        self.bytes += int(event["encodedDataLength"])


async def wire(page: Page) -> Wire:
    """Watch what a page sends and gets from now on."""
    watching = Wire(await page.context.new_cdp_session(page))
    await watching.watch()
    return watching


async def test_the_first_view_is_light(edge: Edge, tmp_path: Path) -> None:
    """At most 100 kB and 12 requests, signed out and at home with friends and recordings."""
    await edge.person("ada")
    await edge.person("bob")
    await edge.befriend("ada", "bob")
    for _ in range(20):
        await edge.services.index.put(recording_of("ada"))
    async with served(edge, tmp_path) as (page, url):
        first = await wire(page)
        await page.goto(url)
        await expect(page.get_by_test_id("sign-in")).to_be_visible()
        await page.wait_for_load_state("networkidle")
        print(f"\nsigned out: {first.bytes} bytes", *first.requests.values(), sep="\n  ")
        assert first.bytes <= MAX_BYTES and len(first.requests) <= MAX_REQUESTS
        await sign_in(page, "ada")
        await expect(page.get_by_test_id("friend-row-bob")).to_be_visible(timeout=15_000)
        state = await page.context.storage_state()
        fresh = await page.context.browser.new_context(storage_state=state)  # type: ignore[union-attr]
        home = await fresh.new_page()
        second = await wire(home)
        await home.goto(url)
        await expect(home.get_by_test_id("friend-row-bob")).to_be_visible(timeout=15_000)
        await expect(home.get_by_test_id("download").first).to_be_visible()
        await home.wait_for_load_state("networkidle")
        print(f"\nat home: {second.bytes} bytes", *second.requests.values(), sep="\n  ")
        assert second.bytes <= MAX_BYTES and len(second.requests) <= MAX_REQUESTS
        again = await wire(home)
        await home.reload()
        await expect(home.get_by_test_id("friend-row-bob")).to_be_visible(timeout=15_000)
        print(f"\nagain: {again.bytes} bytes")
        assert again.bytes < MAX_BYTES / 4


async def test_something_is_seen_soon_on_a_slow_line(edge: Edge, tmp_path: Path) -> None:
    """Within 2 s with 400 ms to the server and 50 kB/s."""
    async with served(edge, tmp_path) as (page, url):
        cdp = await page.context.new_cdp_session(page)
        await cdp.send("Network.enable")
        await cdp.send("Network.emulateNetworkConditions", SLOW)
        await page.goto(url)
        await expect(page.get_by_test_id("sign-in")).to_be_visible()
        painted_ms = await page.evaluate(PAINTED)
        whole_ms = await page.evaluate("() => performance.now()")
        print(f"\nfirst paint after {painted_ms:.0f} ms, the form by {whole_ms:.0f} ms")
        assert painted_ms <= MAX_PAINT_MS
