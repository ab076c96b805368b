"""In Chromium: POST to connected, POST to first sound, mouth to ear, what a page takes.

    python -m bench.chromium [--tries 30] [--url http://127.0.0.1:8000]

Publisher and listener are pages of hushcast in one browser; the fake microphone plays noise that
can be found again. Mouth to ear is from the microphone's track to the loudspeaker's, Chromium's
jitter buffer included, sound cards left out. Without --url it starts hushcast itself.
"""

import argparse
import asyncio
import base64
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import Browser, expect

from bench.starts import given_or_started
from commands.load.marker import Ruler, built_in
from tests.app.browser import Tab, chromium, open_tab, write_microphone
from tests.app.client import Person, delete_account, sign_up
from tests.sounds import SAMPLE_RATE
from tests.waiting import until

HEARD_S = 20.0
PIECE_S = 1.0
PAUSE_S = 1.0
"""Between two presses at the same place: sooner, they count as one."""

# Notes when the page posts, when its connection stands, and when its first sound plays; keeps the
# microphone's and the loudspeaker's samples, with the time at which each block came.
WATCH = """(() => {
  const now = () => performance.timeOrigin + performance.now();
  window.times = {};
  const send = window.fetch;
  let ears;
  window.fetch = (url, options) => {
    if (options?.method === "POST" && /\\/(whip|whep)/.test(url))
      window.times = { posted: now() };
    return send(url, options);
  };
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration) {
      super(configuration);
      this.addEventListener("connectionstatechange", () => {
        if (this.connectionState === "connected") window.times.connected ??= now();
      });
      this.addEventListener("track", ({ track, transceiver }) => {
        if (transceiver.mid !== "0") return; // the second has the original sound
        // The page mutes the element that plays it and mixes by itself, so statistics say 0.
        ears ??= new AudioContext({ sampleRate: 48000 });
        const ear = new AnalyserNode(ears, { fftSize: 256 });
        ears.createMediaStreamSource(new MediaStream([track])).connect(ear);
        const samples = new Float32Array(ear.fftSize);
        const look = () => {
          if (this.connectionState === "closed") return;
          ear.getFloatTimeDomainData(samples);
          if (samples.some((sample) => sample !== 0)) window.times.sounded ??= now();
          else setTimeout(look, 5);
        };
        look();
        window.loudspeaker = track;
      });
    }
  };
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await open(wanted);
    window.microphone = stream.getAudioTracks()[0];
    return stream;
  };
  const tap = `registerProcessor("tap", class extends AudioWorkletProcessor {
    #block = new Float32Array(1024);
    #length = 0;
    process([[samples]]) {
      if (!samples) return true;
      this.#block.set(samples, this.#length);
      this.#length += samples.length;
      if (this.#length === 1024) {
        this.port.postMessage(this.#block.slice());
        this.#length = 0;
      }
      return true;
    }
  });`;
  window.record = async (track) => {
    const context = new AudioContext({ sampleRate: 48000 });
    const script = new Blob([tap], { type: "text/javascript" });
    await context.audioWorklet.addModule(URL.createObjectURL(script));
    const node = new AudioWorkletNode(context, "tap");
    window.blocks = [];
    node.port.onmessage = ({ data }) => window.blocks.push([now(), data]);
    node.connect(context.destination);
    context.createMediaStreamSource(new MediaStream([track])).connect(node);
  };
  window.recorded = () => {
    const all = new Float32Array(window.blocks.length * 1024);
    window.blocks.forEach(([, samples], n) => all.set(samples, n * 1024));
    const bytes = new Uint8Array(all.buffer);
    let text = "";
    for (let n = 0; n < bytes.length; n += 32768)
      text += String.fromCharCode(...bytes.subarray(n, n + 32768));
    return { at: window.blocks.map(([at]) => at), samples: btoa(text) };
  };
})();"""


async def pressed(tab: Tab, button: str, *, sound: bool) -> dict[str, float]:
    """Press Start or Listen; get the ms from the POST to what followed."""
    await asyncio.sleep(PAUSE_S)
    await tab.page.evaluate("() => { window.times = {}; }")
    await tab.find(button).click()
    awaited = "sounded" if sound else "connected"
    found = await tab.page.wait_for_function(
        f"() => window.times.{awaited} && window.times.connected && window.times", timeout=20_000
    )
    times = await found.json_value()
    return {name: at - times["posted"] for name, at in times.items()}


async def clock_minus_place(tab: Tab, ruler: Ruler) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Get, for each second recorded, when its first sample came less its place in the marker, s."""
    told = await tab.page.evaluate("() => window.recorded()")
    samples = np.frombuffer(base64.b64decode(told["samples"]), np.float32)
    blocks = np.arange(1, len(told["at"]) + 1) * 1024 / SAMPLE_RATE
    begun = float(np.min(np.array(told["at"]) / 1000 - blocks))  # the promptest block's
    length = round(PIECE_S * SAMPLE_RATE)
    found = []
    for start in range(0, len(samples) - length, length):
        place = ruler.find(samples[start : start + length])
        if place is not None:
            found.append(begun + (start - place) / SAMPLE_RATE)
    return np.array(found)


async def busy(tab: Tab, seconds: float) -> dict[str, float]:
    """Measure the page's main thread: the share of a core of everything, and of its scripts."""
    devtools = await tab.context.new_cdp_session(tab.page)
    await devtools.send("Performance.enable")
    names = ("TaskDuration", "ScriptDuration")

    async def read() -> dict[str, float]:
        metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
        return {each["name"]: each["value"] for each in metrics}

    before = await read()
    await asyncio.sleep(seconds)
    after = await read()
    return {name: (after[name] - before[name]) / seconds for name in names}


async def measure(url: str, tries: int) -> None:
    """Print what two pages measure."""
    ada, bob = await sign_up(url), await sign_up(url)
    await ada.befriend(bob)
    marker = built_in()
    with tempfile.TemporaryDirectory() as folder:
        microphone = write_microphone(Path(folder) / "marker.wav", marker)
        async with chromium(microphone) as browser:
            await _measure(browser, ada, bob, Ruler(marker), tries)
    for person in (ada, bob):
        await delete_account(person)
        await person.close()


async def _measure(browser: Browser, ada: Person, bob: Person, ruler: Ruler, tries: int) -> None:
    hers = await open_tab(browser, ada, script=WATCH, bypass_csp=True)
    his = await open_tab(browser, bob, f"/u/{ada.username}", script=WATCH, bypass_csp=True)
    published, listened = [], []
    for turn in range(tries + 1):
        times = await pressed(hers, "start", sound=False)
        await expect(hers.find("stream-state")).to_have_text("Live", timeout=20_000)
        if turn:  # the first opens the microphone, and warms everything
            published.append(times)
        if turn < tries:
            await hers.end_stream()
            await expect(hers.find("stream-state")).to_have_text("Off")
            await until(lambda: _none(ada))
    await ada.http.patch("/api/stream", json={"denoise": False})
    for turn in range(tries + 1):
        times = await pressed(his, "listen", sound=True)
        if turn:
            listened.append(times)
        if turn < tries:
            await his.find("unlisten").click()
            await expect(his.find("listen")).to_be_visible()
    pages = {"publisher's page": hers, "listener's page": his}
    loads = {name: await busy(tab, HEARD_S) for name, tab in pages.items()}
    await hers.page.evaluate("() => window.record(window.microphone)")
    await his.page.evaluate("() => window.record(window.loudspeaker)")
    await asyncio.sleep(HEARD_S)
    said, heard = [await clock_minus_place(tab, ruler) for tab in (hers, his)]
    round_s = ruler.length / SAMPLE_RATE
    # The marker begins again and again: places are known but for whole rounds.
    began = said[0] + np.median((said - said[0] + round_s / 2) % round_s - round_s / 2)
    mouth_to_ear = (heard - began) % round_s * 1000
    rows = {
        "publisher: POST to connected": [each["connected"] for each in published],
        "listener: POST to connected": [each["connected"] for each in listened],
        "listener: POST to first sound": [each["sounded"] for each in listened],
        "mouth to ear": list(mouth_to_ear),
    }
    print(f"{'ms':32}{'p50':>8}{'p95':>8}{'max':>8}{'n':>5}")
    for name, values in rows.items():
        p50, p95, most = np.percentile(values, (50, 95, 100))
        print(f"{name:32}{p50:8.0f}{p95:8.0f}{most:8.0f}{len(values):5}")
    for name, load in loads.items():
        shares = (f"{load[each]:.1%} of a core" for each in ("TaskDuration", "ScriptDuration"))
        print(f"{name}, main thread: {', scripts '.join(shares)}")


async def _none(person: Person) -> bool:
    return await person.stream() is None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=30)
    parser.add_argument("--url")
    options = parser.parse_args()
    with given_or_started(options.url) as url:
        asyncio.run(measure(url, options.tries))


if __name__ == "__main__":
    main()
