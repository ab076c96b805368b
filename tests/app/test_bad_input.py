"""Bad input over HTTP: a clear error, nothing started, nothing leaked."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest

from foundation.redis import connect
from tests.app.client import SDP, Person
from tests.peers import ListenerPeer, PublisherPeer, encode
from tests.running import App
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = pytest.mark.slow

PACKETS = encode(speech_like(1.0))
People = Callable[[], Awaitable[Person]]


@dataclass(frozen=True)
class Traces:
    """What a request could leave behind; actors start and exit for the streams of earlier tests."""

    udp_sockets: int
    keys: frozenset[str]


def processes(app: App) -> Iterator[psutil.Process]:
    """Find the stream actors of this hushcast."""
    for child in psutil.Process(app.process.pid).children(recursive=True):
        try:
            if any("StreamHost" in word for word in child.cmdline()):
                yield child
        except psutil.NoSuchProcess:
            continue


async def traces(app: App, valkey: str) -> Traces:
    """Count the UDP sockets of actors, and list the Redis keys that are about streams."""
    actors = list(processes(app))
    redis = connect(valkey)
    names = ("stream:*", "session:*", "claim:*", "streaming", "recording*")
    keys = [str(key) for name in names for key in await redis.keys(f"hushcast:{name}")]
    await redis.aclose()
    sockets = sum(len(actor.net_connections("udp")) for actor in actors)
    return Traces(sockets, frozenset(keys))


async def offer_of(peer: PublisherPeer | ListenerPeer) -> str:
    """Make a valid offer of a client that is gone by then."""
    offer = await peer.offer()
    await peer.close()
    return offer


BAD_OFFERS: dict[str, tuple[bytes, dict[str, str], int]] = {
    "empty": (b"", SDP, 400),
    "garbage": (b"garbage", SDP, 400),
    "not text": (b"\xff\xfe\x00\x01" * 9, SDP, 400),
    "json": (b"{}", {"content-type": "application/json"}, 415),
    "no type": (b"v=0\r\n", {}, 415),
    "1 MiB": (b"v=0\r\n" + b"a=x\r\n" * 210_000, SDP, 413),
    "no media": (b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", SDP, 400),
}


@pytest.mark.parametrize("name", BAD_OFFERS)
async def test_a_bad_offer_starts_nothing(app: App, valkey: str, people: People, name: str) -> None:
    """Both /whip and /whep refuse with a sentence; sockets are as before, and no key is new."""
    ada = await people()
    await until(lambda: _settled(app, valkey))
    before = await traces(app, valkey)
    body, headers, status = BAD_OFFERS[name]
    for path in ("/whip", f"/whep/{ada.username}"):
        answer = await ada.http.post(path, content=body, headers=headers)
        assert answer.status_code == status, (path, answer.text)
        assert len(answer.json()["detail"]) > 10
    now = await traces(app, valkey)
    assert now.udp_sockets == before.udp_sockets and now.keys <= before.keys


async def test_a_chunked_body_without_a_length_is_limited_too(app: App, people: People) -> None:
    """A body without a declared length may not be longer either."""
    ada = await people()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"a=x\r\n" * 1000

    answer = await ada.http.post("/whip", content=endless(), headers=SDP)
    assert answer.status_code == 413


async def test_an_offer_whose_client_is_gone_leaves_nothing(
    app: App, valkey: str, people: People
) -> None:
    """A good offer that never connects is answered, then given up; only its record is left."""
    ada = await people()
    await until(lambda: _settled(app, valkey))
    before = await traces(app, valkey)
    offer = await offer_of(PublisherPeer(PACKETS))
    answer = await ada.http.post("/whip", content=offer, headers=SDP)
    assert answer.status_code == 201
    session = answer.headers["location"].rsplit("/", 1)[1]

    async def as_before() -> bool:
        now = await traces(app, valkey)
        kept = now.keys - {f"hushcast:session:{session}"}
        return kept <= before.keys and now.udp_sockets <= before.udp_sockets

    await until(as_before, timeout_s=60)


async def test_wrong_credentials_and_origins_open_nothing(app: App, people: People) -> None:
    """No token, a forged one, a revoked one, a foreign origin: 401 or 403, and no session."""
    ada = await people()
    offer = await offer_of(PublisherPeer(PACKETS))
    async with httpx.AsyncClient(base_url=app.url) as http:
        assert (await http.post("/whip", content=offer, headers=SDP)).status_code == 401
        forged = {**SDP, "authorization": f"Bearer {ada.token[:-3]}abc"}
        assert (await http.post("/whip", content=offer, headers=forged)).status_code == 401
        cookie = {**SDP, "cookie": f"hushcast={ada.token}", "origin": "https://evil.example"}
        answer = await http.post("/whip", content=offer, headers=cookie)
        assert answer.status_code in (401, 403), answer.text
        assert (await ada.http.delete("/api/session")).status_code == 204
        revoked = {**SDP, "authorization": f"Bearer {ada.token}"}
        assert (await http.post("/whip", content=offer, headers=revoked)).status_code == 401
    assert not [line for line in app.log if ada.token in line]


async def test_sessions_of_others_are_out_of_reach(app: App, people: People) -> None:
    """PATCH and DELETE: 403 for somebody else's session, 404 for none; garbage 400, restart 405."""
    ada, eve = await people(), await people()
    _, session = await ada.publish(PACKETS)
    fragment = {"content-type": "application/trickle-ice-sdpfrag"}
    restart = "a=ice-ufrag:new0\r\na=ice-pwd:" + "x" * 24 + "\r\n"
    base = session.rsplit("/", 1)[0]
    for person, method, path, body, status in (
        (eve, "DELETE", session, "", 403),
        (eve, "PATCH", session, "a=mid:0\r\n", 403),
        (ada, "DELETE", f"{base}/nothing", "", 404),
        (ada, "PATCH", f"{base}/nothing", "a=mid:0\r\n", 404),
        (ada, "PATCH", session, "a=candidate:garbage\r\n", 400),
        (ada, "PATCH", session, restart, 405),
        (ada, "PATCH", session, "", 204),
        (ada, "DELETE", session, "", 200),
        (ada, "DELETE", session, "", 200),
    ):
        answer = await person.http.request(method, path, content=body, headers=fragment)
        assert answer.status_code == status, (method, path, body, answer.text)


async def _settled(app: App, valkey: str) -> bool:
    """Tell whether everything of earlier tests has ended."""
    now = await traces(app, valkey)
    busy = ("hushcast:claim:", "hushcast:stream:", "hushcast:streaming", ":upload")
    return now.udp_sockets == 0 and not any(word in key for key in now.keys for word in busy)
