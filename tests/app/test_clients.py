"""Third-party clients: from npm, on a page of another site, and FFmpeg."""

import asyncio
import functools
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.async_api import Page, Response

from tests.app.browser import chromium, write_microphone
from tests.app.client import Person
from tests.app.conftest import GRACE_S
from tests.peers import encode
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]
People = Callable[[], Awaitable[Person]]
SOUND = speech_like(8.0)

# Both offer a picture too, as their examples do, and as OBS does.
PUBLISH = {
    "whip-whep": """async ([url, token]) => {
      const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
      const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
      for (const track of media.getTracks()) pc.addTransceiver(track, { direction: "sendonly" });
      const client = new clients.WHIPClient();
      await client.publish(pc, url, token);
      window.restart = () => client.restart();
      window.leave = () => client.stop();
    }""",
    "@eyevinn/whip-web-client": """async ([url, token]) => {
      const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
      const opts = { authkey: token, iceServers: [] };
      const client = new clients.EyevinnClient({ endpoint: url, opts });
      await client.setIceServersFromEndpoint();
      await client.ingest(media);
      window.leave = () => client.destroy();
    }""",
}

# Looks at a media stream. `heard` resolves with the loudest sample once there is a loud one,
# `silent()` with when it was last loud, once that is a second ago; both in ms of the page's clock.
METER = """(stream) => {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let lastAt = Date.now();
  window.heard = new Promise((resolve) => setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    if (loudest <= 0.02) return;
    lastAt = Date.now();
    resolve(loudest);
  }, 20));
  window.silent = () => new Promise((resolve) => {
    const timer = setInterval(() => {
      if (Date.now() - lastAt < 1000) return;
      clearInterval(timer);
      resolve(lastAt);
    }, 20);
  });
}"""

# Resolves with the loudest sample once something is heard.
LISTEN = f"""async ([url, token]) => {{
  const pc = new RTCPeerConnection({{ bundlePolicy: "max-bundle" }});
  for (const kind of ["audio", "video"]) pc.addTransceiver(kind, {{ direction: "recvonly" }});
  pc.ontrack = ({{ track }}) => {{
    if (track.kind !== "audio") return;
    const stream = new MediaStream([track]);
    window.player = Object.assign(new Audio(), {{ srcObject: stream, muted: true }});
    player.play();
    ({METER})(stream);
  }};
  const client = new clients.WHEPClient();
  await client.view(pc, url, token);
  window.leave = () => client.stop();
  return window.heard;
}}"""
LISTEN_ON_PAGE = f"""() => {{
  ({METER})(document.querySelector("[data-testid=listen-audio]").srcObject);
  return window.heard;
}}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another site, with a page that brings the clients: the address of that page."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(Path(__file__).with_name("clients"), folder, dirs_exist_ok=True)
    for command in (
        ("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"),
        ("node_modules/.bin/esbuild", "index.js", "--bundle", "--global-name=clients",
         "--outfile=clients.js"),
    ):  # fmt: skip
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    (folder / "index.html").write_text('<!doctype html><script src="clients.js"></script>')
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
async def pages(site: str, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Page]]]:
    """Open pages of the other site in Chromium."""
    async with chromium(write_microphone(tmp_path / "microphone.wav", SOUND)) as browser:
        context = await browser.new_context(permissions=["microphone", "camera"])

        async def open_page() -> Page:
            page = await context.new_page()
            await page.goto(site)
            return page

        yield open_page


@pytest.mark.parametrize("client", list(PUBLISH))
async def test_clients_from_npm(
    client: str, pages: Callable[[], Awaitable[Page]], people: People
) -> None:
    """They publish and play from another origin, with video in the offer; both can leave."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    hers, his = await pages(), await pages()
    complaints: list[str] = []
    trickled: list[Page] = []
    for page in (hers, his):
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", functools.partial(_note_trickle, trickled))
    await hers.evaluate(PUBLISH[client], [f"{ada.url}/whip", ada.token])
    await until(lambda: _in_state(ada, "live"))
    heard = await his.evaluate(LISTEN, [f"{bob.url}/whep/{ada.username}", bob.token])
    assert heard > 0.02
    await until(lambda: _listeners(ada, 1))
    if client == "whip-whep":
        await hers.evaluate("restart()")  # refused with 405, which it takes for an answer
        await asyncio.sleep(1)
        assert await _in_state(ada, "live")
    await his.evaluate("leave()")
    await until(lambda: _listeners(ada, 0))
    async with bob.presence() as told:
        await until(lambda: bool(told.messages))
        left_at = asyncio.get_running_loop().time()
        await hers.evaluate("leave()")  # whip-whep closes its connection, then sends DELETE
        await until(lambda: told.states(ada.username)[-1:] == [None])
        ended_s = told.times[-1] - left_at
    print(f"\n{client}: its friend is told of the end {ended_s:.3f} s after it left")
    assert ended_s < GRACE_S / 2, "an explicit end does not wait for the grace"
    await until(lambda: _in_state(ada, None))
    await until(lambda: _stored(ada))
    assert not complaints and {hers, his} == set(trickled)


async def test_an_invite_link(pages: Callable[[], Awaitable[Page]], people: People) -> None:
    """A fresh browser and a client from npm hear by it, without an account, until it is revoked."""
    guest, client = await pages(), await pages()
    ada = await people()
    made = (await ada.http.post("/api/links", json={"label": "band"})).json()
    token = made["url"].rpartition("/l/")[2]
    await guest.goto(made["url"])
    await guest.get_by_test_id("wait").click()
    await ada.publish(encode(SOUND))
    await until(lambda: _in_state(ada, "live"))
    assert (await ada.http.patch("/api/stream", json={"denoise": False})).status_code == 200
    assert await client.evaluate(LISTEN, [f"{ada.url}/whep/{ada.username}", token]) > 0.02
    await guest.get_by_test_id("unlisten").wait_for()
    assert await guest.evaluate(LISTEN_ON_PAGE) > 0.02
    await until(lambda: _listeners(ada, 2))
    [link] = (await ada.http.get("/api/links")).json()
    assert link["guests"] == 2
    revoked_at = time.time() * 1000
    assert (await ada.http.delete(f"/api/links/{made['id']}")).status_code == 204
    await guest.get_by_test_id("link-over").wait_for()
    silent_ms = [await page.evaluate("window.silent()") - revoked_at for page in (guest, client)]
    print(f"\nrevoked: silent after {silent_ms[0]:.0f} ms (page), {silent_ms[1]:.0f} ms (npm)")
    assert max(silent_ms) < 1000
    await until(lambda: _listeners(ada, 0))


async def test_ffmpeg(people: People, certificate: tuple[Path, Path]) -> None:
    """FFmpeg's WHIP muxer publishes; a friend hears it, and the stream ends with it."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    cert, key = certificate
    command = [sys.executable, "-m", "tests.app.ffmpeg", f"{ada.url}/whip", ada.token]
    ffmpeg = await asyncio.create_subprocess_exec(
        *command, str(cert), str(key), stdin=asyncio.subprocess.PIPE
    )
    try:
        await until(lambda: _in_state(ada, "live"))
        listener, _ = await bob.listen(ada.username)
        await asyncio.wait_for(listener.first_sound.wait(), 30)
        assert ffmpeg.stdin is not None
        ffmpeg.stdin.close()
        assert await asyncio.wait_for(ffmpeg.wait(), 30) == 0
    finally:
        if ffmpeg.returncode is None:
            ffmpeg.kill()
    await until(lambda: _in_state(ada, None))
    await until(lambda: _stored(ada))


def _note_trickle(trickled: list[Page], response: Response) -> None:
    if response.request.method == "PATCH" and response.status == 204:
        trickled.append(response.frame.page)


async def _in_state(person: Person, state: str | None) -> bool:
    stream = await person.stream()
    return (stream["state"] if stream else None) == state


async def _listeners(person: Person, number: int) -> bool:
    stream = await person.stream()
    return stream is not None and stream["listeners"] == number


async def _stored(person: Person) -> bool:
    recordings = await person.recordings()
    return bool(recordings) and recordings[0]["state"] == "ready"
