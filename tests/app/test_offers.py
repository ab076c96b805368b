"""Offers of real clients, in every shape that they give them: they connect, and sound flows."""

import asyncio
import shutil
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.app.browser import chromium, write_microphone
from tests.app.client import Person
from tests.app.firefox import firefox
from tests.peers import encode
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
People = Callable[[], Awaitable[Person]]

# Offers one shape after the other; returns for each what came of it: [shape, connected or why not,
# the direction of each audio, that of all else].
OFFER = """async ({ url, token, shapes }) => {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/sdp" };
  const until = (target, event, done) => new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`no ${event}`)), 20000);
    const look = () => done() && resolve();
    target.addEventListener(event, look);
    look();
  });
  const picture = () => {
    const canvas = document.createElement("canvas");
    canvas.getContext("2d").fillRect(0, 0, 1, 1);
    return canvas.captureStream(5).getVideoTracks()[0];
  };
  const sound = async () =>
    (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
  const results = [];
  for (const { bundlePolicy, parts, way } of shapes) {
    const pc = new RTCPeerConnection({ bundlePolicy, iceServers: [] });
    const tracks = [];
    for (const part of parts) {
      if (part === "data") pc.createDataChannel("stats");
      else if (way === "recvonly") pc.addTransceiver(part, { direction: way });
      else {
        const track = part === "audio" ? await sound() : picture();
        tracks.push(track);
        pc.addTransceiver(track, { direction: way });
      }
    }
    await pc.setLocalDescription();
    await until(pc, "icegatheringstatechange", () => pc.iceGatheringState === "complete");
    const reply = await fetch(url, { method: "POST", headers, body: pc.localDescription.sdp });
    let came = `${reply.status}`;
    if (reply.status === 201) {
      try {
        await pc.setRemoteDescription({ type: "answer", sdp: await reply.text() });
        await until(pc, "connectionstatechange", () => pc.connectionState === "connected");
        came = "connected";
      } catch (error) {
        came = `${error}`;
      }
    } else came += await reply.text();
    const directions = (wanted) => pc.getTransceivers()
      .filter(({ receiver }) => (receiver.track.kind === "audio") === wanted)
      .map(({ currentDirection }) => currentDirection);
    results.push([parts.join(" "), came, directions(true), directions(false)]);
    for (const track of tracks) track.stop();
    pc.close();
  }
  return results;
}"""

PARTS = [
    ["audio", "video", "data"],
    ["video", "audio"],
    ["data", "video", "audio"],
    ["audio", "audio"],
]
POLICIES = ["max-bundle", "balanced"]
UNUSED = ("inactive", "stopped", None)


def shapes(*ways: str) -> list[dict[str, Any]]:
    """List the shapes: orders of parts, and policies for bundles."""
    return [
        {"bundlePolicy": policy, "parts": parts, "way": way}
        for way in ways
        for parts in PARTS
        for policy in (POLICIES if way.endswith("only") else POLICIES[:1])
    ]


def check(results: list[Any], ours: str) -> None:
    """One audio goes the way that is asked for, nothing else goes anywhere."""
    for parts, came, audio, rest in results:
        assert came == "connected", (parts, came)
        assert audio[0] == ours and all(each in UNUSED for each in audio[1:] + rest), (parts, audio)


async def offer_all(
    evaluate: Callable[..., Awaitable[Any]], ada: Person, bob: Person, step: int = 1
) -> None:
    """Publish in every shape as one person, listen as a friend; or in every `step`-th shape."""
    publish = {"url": f"{ada.url}/whip", "token": ada.token}
    ways = shapes("sendonly", "sendrecv")[::step]
    check(await evaluate(OFFER, {**publish, "shapes": ways}), "sendonly")
    await ada.http.post("/api/stream/stop")
    await ada.publish(encode(speech_like(2.0)))
    await until(lambda: _live(ada))
    listen = {"url": f"{bob.url}/whep/{ada.username}", "token": bob.token}
    ways = shapes("recvonly", "sendrecv")[::step]
    check(await evaluate(OFFER, {**listen, "shapes": ways}), "recvonly")
    await ada.http.post("/api/stream/stop")


async def test_chromium_connects_in_every_shape(people: People, tmp_path: Path) -> None:
    """Sections in any order, bundled in any way, with what we do not use beside the sound."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    async with chromium(write_microphone(tmp_path / "m.wav", speech_like(2.0))) as browser:
        context = await browser.new_context(permissions=["microphone"], bypass_csp=True)
        page = await context.new_page()
        await page.goto(ada.url)
        await offer_all(page.evaluate, ada, bob)


SIGN_IN = """async ([username, password]) => {
  const body = JSON.stringify({ username, password });
  const headers = { "content-type": "application/json" };
  return (await fetch("/api/session", { method: "POST", headers, body })).status;
}"""
CLICK = """async (testid) => {
  for (;;) {
    const found = document.querySelector(`[data-testid="${testid}"]`);
    if (found && !found.hidden && !found.disabled) return found.click();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}"""
HEARD = """async () => {
  for (;;) {
    const player = document.querySelector('[data-testid="listen-audio"]');
    if (player?.srcObject?.getAudioTracks().length && player.currentTime > 0.5) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}"""


async def firefox_everywhere(make: People, profile: Path, step: int) -> None:
    """Firefox connects in every `step`-th shape, then streams and listens on our pages."""
    ada, bob = await make(), await make()
    await ada.befriend(bob)
    async with firefox(profile) as page:
        await page.goto(ada.url)
        await offer_all(page.evaluate, ada, bob, step)
        assert await page.evaluate(SIGN_IN, [ada.username, ada.password]) == 200
        await page.goto(ada.url)
        await page.evaluate(CLICK, "start")
        await until(lambda: _live(ada))
        await page.evaluate(CLICK, "stop")
        await until(lambda: _off(ada))
        await ada.publish(encode(speech_like(2.0)))
        await until(lambda: _live(ada))
        await page.goto(f"{ada.url}/u/{ada.username}")
        await page.evaluate(CLICK, "listen")
        async with asyncio.timeout(30):
            assert await page.evaluate(HEARD)
    await ada.http.post("/api/stream/stop")


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_firefox_connects_in_every_shape_and_uses_our_pages(step: int) -> None:
    """In a network of its own: Firefox neither gathers nor checks loopback addresses."""
    command = [*"unshare --net --map-root-user".split(), sys.executable, "-m"]
    ran = subprocess.run(
        [*command, "tests.app.firefox_alone", str(step)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout[-4000:]}{ran.stderr[-4000:]}"


@pytest.fixture(scope="module")
def datachannel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install libdatachannel from npm; returns the script that uses it."""
    folder = tmp_path_factory.mktemp("datachannel")
    shutil.copytree(Path(__file__).with_name("clients"), folder, dirs_exist_ok=True)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder / "datachannel.mjs"


@pytest.mark.parametrize(
    ("picture", "payload_type"),
    [
        ("AV1", 63),
        ("VP9", 96 + 1),
        pytest.param("H265", 111, marks=pytest.mark.soak),
        pytest.param("H264", 120, marks=pytest.mark.soak),
    ],
)
async def test_obs_library_publishes_beside_a_picture_of_any_codec(
    picture: str, payload_type: int, datachannel: Path, people: People
) -> None:
    """A friend hears the sound; the picture is refused in its place; DELETE ends the stream."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    packets = encode(speech_like(2.0)) * 30
    node = await asyncio.create_subprocess_exec(
        "node", datachannel, f"{ada.url}/whip", ada.token, picture, str(payload_type),
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert node.stdin is not None
    talk = asyncio.create_task(
        node.communicate(b"".join(struct.pack(">H", len(each)) + each for each in packets))
    )
    await until(lambda: _live(ada) if not talk.done() else _gone(talk))
    listener, _ = await bob.listen(ada.username)
    await asyncio.wait_for(listener.first_sound.wait(), 50)
    node.terminate()
    _, complaint = await asyncio.wait_for(talk, 60)
    assert node.returncode == 0, complaint
    await until(lambda: _off(ada))
    await listener.close()


async def _gone(talk: "asyncio.Task[tuple[bytes, bytes]]") -> bool:
    raise AssertionError((await talk)[1])


async def _live(person: Person) -> bool:
    stream = await person.stream()
    return stream is not None and stream["state"] == "live"


async def _off(person: Person) -> bool:
    return await person.stream() is None
