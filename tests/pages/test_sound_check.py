"""The check before going live, in Chromium: one's own voice, before and after."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.async_api import Browser, Page, Route, expect

from tests.app.browser import TAKE_SOUND, TAP, chromium, samples_of, write_microphone
from tests.edge.conftest import Edge
from tests.pages.site import serving, sign_in
from tests.sounds import SAMPLE_RATE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TONE_HZ = 400.0  # whole periods in the file, so that it repeats without a click
TONE = (0.3 * np.sin(2 * np.pi * TONE_HZ * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype("float32")
QUIETER = 0.25
WINDOW = SAMPLE_RATE // 100

# Leads what goes to the loudspeaker over a tap, too.
TAPPED = """(tap) => {
  window.heard = { pieces: [], firstAt: null };
  const connect = AudioNode.prototype.connect;
  const script = URL.createObjectURL(new Blob([tap], { type: "text/javascript" }));
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode)
      target.context.tapped.then((node) => connect.call(this, node));
    return connect.call(this, target, ...rest);
  };
  const Plain = window.AudioContext;
  window.AudioContext = class extends Plain {
    tapped = this.audioWorklet.addModule(script).then(() => {
      const mono = { channelCount: 1, channelCountMode: "explicit" };
      const node = new AudioWorkletNode(this, "tap", mono);
      node.port.onmessage = ({ data }) => window.heard.pieces.push(data);
      connect.call(node, this.destination);
      return node;
    });
  };
}"""


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    """Chromium whose microphone hears a tone."""
    async with chromium(write_microphone(tmp_path / "tone.wav", TONE)) as running:
        yield running


async def quieter(route: Route) -> None:
    """Answer a preview with the same sound, quieter."""
    sent = route.request.post_data_buffer
    assert sent is not None and len(sent) <= 2_000_000
    assert route.request.headers["content-type"] == "audio/wav"
    sound, rate = soundfile.read(io.BytesIO(sent), dtype="float32")
    assert sound.ndim == 1 and 4.0 < len(sound) / rate <= 10.0
    answer = io.BytesIO()
    soundfile.write(answer, sound * QUIETER, rate, format="WAV", subtype="PCM_16")
    await route.fulfill(status=200, content_type="audio/wav", body=answer.getvalue())


async def test_before_and_after_are_heard_without_a_gap(edge: Edge, browser: Browser) -> None:
    """Level, five seconds, both sounds; switching back and forth leaves no hole."""
    await edge.person("ada")
    async with serving(edge.api) as server:
        context = await browser.new_context(permissions=["microphone"], bypass_csp=True)
        page = await context.new_page()
        await page.add_init_script(f"({TAPPED})({TAP!r})")
        await page.route("**/api/preview*", quieter)
        await page.goto(server.url)
        await sign_in(page, "ada")
        await page.get_by_test_id("attenuation-limit").fill("24")
        await page.get_by_test_id("post-filter-switch").check()
        await page.get_by_test_id("check").click()
        meter = page.get_by_test_id("check-meter")
        await expect(meter).to_have_attribute("aria-valuenow", "-13.5", timeout=10_000)
        async with page.expect_request("**/api/preview?attenuation_limit_db=24&post_filter=true"):
            await page.get_by_test_id("check-record").click()
            await expect(page.get_by_test_id("check-status")).to_have_text(
                "Recording. Say something."
            )
        await expect(page.get_by_test_id("check-after")).to_be_checked(timeout=15_000)
        await expect(page.get_by_text("Noise removed: 12 dB")).to_be_visible()
        for which in ("before", "after", "before"):
            await page.wait_for_timeout(700)
            await page.get_by_test_id(f"check-{which}").check(force=True)
        await page.wait_for_timeout(700)
        levels = await heard_levels(page)
        await page.get_by_test_id("start").click()  # lets go of the microphone first
        await expect(page.get_by_test_id("check-status")).to_be_hidden()
    loud, soft = 0.3 / np.sqrt(2), QUIETER * 0.3 / np.sqrt(2)
    assert np.min(levels) > 0.8 * soft, "a hole"
    assert np.max(levels) < 1.2 * loud, "a click"
    is_loud = levels > (loud + soft) / 2
    assert np.count_nonzero(np.diff(is_loud)) == 3
    print(f"\nlevels while switching: {np.min(levels):.3f} to {np.max(levels):.3f}")


async def heard_levels(page: Page) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """Get the level of each 10 ms that were played, from the first sound to now."""
    heard = samples_of(await page.evaluate(TAKE_SOUND))
    begins = int(np.argmax(np.abs(heard) > 0.02)) + WINDOW
    whole = (len(heard) - begins) // WINDOW * WINDOW
    levels: np.ndarray[tuple[int], np.dtype[np.float32]] = np.sqrt(
        np.mean(np.square(heard[begins : begins + whole].reshape(-1, WINDOW)), axis=1)
    )
    return levels
