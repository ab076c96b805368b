"""Made-up input against the whole of it: requests, offers, candidates, datagrams.

Nothing gets a 500 or hangs; what was live goes on; nothing stays behind. `pytest -s` prints how
much was tried and what was answered.
"""

import asyncio
import random
import re
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    response_schema_conformance,
    status_code_conformance,
)

from tests.app.client import SDP, Person
from tests.app.test_bad_input import processes
from tests.app.test_faults import hosting
from tests.mangling import mangled
from tests.peers import PublisherPeer, encode
from tests.running import App
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
People = Callable[[], Awaitable[Person]]
PACKETS = encode(speech_like(2.0))
PATIENT = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
DATAGRAMS = 3000


@pytest.fixture(scope="module")
def account(app: App) -> Iterator[httpx.Client]:
    """Somebody who signs in, and whose account is gone afterwards."""
    name = {"username": f"fuzz-{secrets.token_hex(4)}", "password": secrets.token_hex(8)}
    with httpx.Client(base_url=app.url, timeout=30) as http:
        assert http.post("/api/accounts", json=name).status_code == 201
        http.headers["authorization"] = (
            f"Bearer {http.post('/api/session', json=name).json()['token']}"
        )
        http.cookies.clear()
        yield http
        http.request("DELETE", "/api/me", json={"password": name["password"]})


@pytest.fixture(scope="module")
def answers() -> Iterator[Counter[str]]:
    """Count what was answered; printed at the end."""
    counted: Counter[str] = Counter()
    yield counted
    print(f"\nfuzzed: {sum(counted.values())} inputs: {dict(sorted(counted.items()))}")


def test_requests(app: App, account: httpx.Client, answers: Counter[str]) -> None:
    """Whatever our schema allows, and what it does not, is answered as the schema says.

    Left out is what would end the account that asks.
    """
    schema = schemathesis.openapi.from_url(f"{app.url}/openapi.json")
    signed_in = {"authorization": account.headers["authorization"]}
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if operation.method == "delete" and operation.path in ("/api/me", "/api/session"):
            continue

        @settings(PATIENT, max_examples=12)
        @given(operation.as_strategy(), st.booleans())
        def request(case: Any, anonymous: bool) -> None:
            answer = case.call(headers=None if anonymous else signed_in)
            answers[f"{case.method} {answer.status_code}"] += 1
            case.validate_response(answer, checks=checks)

        request()


async def _offer() -> str:
    peer = PublisherPeer(PACKETS)
    try:
        return await peer.offer()
    finally:
        await peer.close()


OFFER = asyncio.run(_offer())
FRAGMENT = (
    "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
    "a=mid:0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"
)


def test_offers(app: App, account: httpx.Client, answers: Counter[str]) -> None:
    """An offer is answered or refused with a sentence; its session ends, and leaves no socket."""

    @settings(PATIENT, max_examples=80)
    @given(mangled(OFFER))
    def offer(sdp: str) -> None:
        body = sdp.encode(errors="surrogatepass")
        answer = account.post("/whip", content=body, headers=SDP)
        answers[f"offer {answer.status_code}"] += 1
        assert answer.status_code in (201, 400, 413), f"{answer.status_code} {answer.text}"
        if answer.status_code == 201:
            assert account.delete(answer.headers["location"]).status_code == 200

    offer()
    asyncio.run(until(lambda: not _sockets(app)))


def test_fragments(app: App, account: httpx.Client, answers: Counter[str]) -> None:
    """Candidates are taken or refused with a sentence; the session is still there afterwards."""
    answer = account.post("/whip", content=OFFER, headers=SDP)
    assert answer.status_code == 201, answer.text
    location = answer.headers["location"]
    found = re.search(r"a=ice-ufrag:(\S+)", OFFER)
    assert found

    @settings(PATIENT, max_examples=80)
    @given(mangled(FRAGMENT.format(ufrag=found[1])))
    def trickle(fragment: str) -> None:
        nonlocal location
        said = account.patch(
            location,
            content=fragment.encode(errors="surrogatepass"),
            headers={"content-type": "application/trickle-ice-sdpfrag"},
        )
        answers[f"fragment {said.status_code}"] += 1
        if said.status_code == 404:  # it was not connected in time: another one
            location = account.post("/whip", content=OFFER, headers=SDP).headers["location"]
            return
        assert said.status_code in (204, 400, 405), f"{said.status_code} {said.text}"

    trickle()
    assert account.delete(location).status_code == 200
    asyncio.run(until(lambda: not _sockets(app)))


async def test_datagrams(app: App, people: People, answers: Counter[str]) -> None:
    """Datagrams from nowhere, of every kind, at the port of a live stream: it stays live."""
    ada = await people()
    await ada.publish(PACKETS)
    await until(lambda: _live(ada))
    actor = hosting(app)
    ports = {each.laddr.port for each in actor.net_connections("udp")}
    dice = random.Random(1)
    first_bytes = (0, 1, 20, 22, 23, 25, 63, 64, 79, 128, 144, 191, 192, 255)
    before = actor.memory_info().rss
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for n in range(DATAGRAMS):
            length = dice.choice((0, 3, 11, 40, 1400))
            junk = bytes([dice.choice(first_bytes)]) + dice.randbytes(length)
            for port in ports:
                stranger.sendto(junk, ("127.0.0.1", port))
            if n % 50 == 0:
                await asyncio.sleep(0.005)
    answers["datagram"] += DATAGRAMS
    stream = await ada.stream()
    await asyncio.sleep(1)
    assert await _live(ada) and hosting(app).pid == actor.pid
    grown_mb = (actor.memory_info().rss - before) / 1e6
    print(f"\n{DATAGRAMS} datagrams: the actor grew by {grown_mb:.1f} MB")
    assert stream is not None and grown_mb < 20


def _sockets(app: App) -> list[object]:
    return [each for actor in processes(app) for each in actor.net_connections("udp")]


async def _live(person: Person) -> bool:
    stream = await person.stream()
    return stream is not None and stream["state"] == "live"
