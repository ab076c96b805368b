"""WHIP and WHEP over HTTP: bodies, headers, sessions."""

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from actors.errors import IceRestartRefused
from deployments.stream_actors import ActorFailed
from foundation.redis import RedisUnavailable
from recordings.store import RecordingStore, StoreConfig
from serve_app.errors import STATUS, retry_after_s
from tests import statuses
from tests.edge.conftest import Edge, MakeEdge
from tests.edge.made_up import ANSWER, OFFER, live
from tests.waiting import until

SDP = {"content-type": "application/sdp"}
FRAGMENT = {"content-type": "application/trickle-ice-sdpfrag"}


async def pieces(count: int) -> AsyncIterator[bytes]:
    """Send KiB by KiB, without saying how many."""
    for _ in range(count):
        yield b"x" * 1024


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (OFFER, "application/sdp", 201),
        (OFFER, "Application/SDP; charset=utf-8", 201),
        (OFFER, "text/plain", 415),
        (OFFER, "", 415),
        ("", "application/sdp", 400),
        (b"\xff\xfe" * 20, "application/sdp", 400),
    ],
)
async def test_offers_are_sdp(edge: Edge, body: str | bytes, media_type: str, status: int) -> None:
    """415 for another media type, whatever its parameters; 400 for anything but an offer."""
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    for path in ("/whip", "/whep/ada"):
        answer = await ada.http.post(path, content=body, headers={"content-type": media_type})
        assert answer.status_code == status, answer.text
    assert bool(edge.streams.owners) is (status == 201)


@pytest.mark.parametrize("said", [None, "5", "70000000"])
async def test_bodies_are_limited_whatever_they_say(edge: Edge, said: str | None) -> None:
    """413 with a sentence: with no declared length, a false one and a true one."""
    ada = await edge.person("ada")
    length = {} if said is None else {"content-length": said}
    for path, count, headers in (
        ("/whip", 65, SDP),
        ("/whep/ada", 65, SDP),
        ("/api/session", 17, {"content-type": "application/json"}),
    ):
        answer = await ada.http.post(path, content=pieces(count), headers=headers | length)
        assert answer.status_code == 413, (path, answer.text)
        assert "KiB" in answer.json()["detail"]
    assert edge.streams.owners == {}


async def test_sessions_rest_on_the_sign_in_of_their_caller(edge: Edge) -> None:
    """What publishes and what listens knows which sign-in ends it."""
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    token = await edge.services.accounts.verify(ada.token)
    for path in ("/whip", "/whep/ada"):
        created = await ada.http.post(path, content=OFFER, headers=SDP)
        session = created.headers["location"].rpartition("/")[2]
        assert edge.streams.sign_ins[session] == token.token_id


async def test_the_owner_sees_who_listens(edge: Edge) -> None:
    """Names, times and sessions; 409 while there is no stream."""
    ada = await edge.person("ada")
    assert (await ada.http.get("/api/stream/listeners")).status_code == 409
    await statuses.write(edge.streams.store, live("ada"))
    assert (await ada.http.get("/api/stream/listeners")).json() == [
        {
            "username": "bob",
            "label": None,
            "since": "2023-11-14T22:13:20.000Z",
            "sessions": ["session-of-bob"],
        }
    ]


async def test_a_session_is_found_by_its_location(edge: Edge) -> None:
    """Location, ETag and the answer; then candidates, an end, and the end again."""
    ada, eve = await edge.person("ada"), await edge.person("eve")
    created = await ada.http.post("/whip", content=OFFER, headers=SDP)
    assert created.text == ANSWER and created.headers["content-type"].startswith("application/sdp")
    place, etag = created.headers["location"], created.headers["etag"]
    assert "link" not in created.headers, "there is no TURN"
    for body, headers, status in (
        ("a=mid:0\r\n", FRAGMENT | {"if-match": etag}, 204),
        ("a=mid:1\r\n", FRAGMENT, 204),
        ("", FRAGMENT, 204),
        ("", {}, 204),
        ("a=mid:0\r\n", SDP, 415),
        ("a=mid:0\r\n", FRAGMENT | {"if-match": '"another"'}, 412),
    ):
        answer = await ada.http.patch(place, content=body, headers=headers)
        assert answer.status_code == status, (body, headers, answer.text)
        assert "etag" not in answer.headers  # RFC 9725, section 4.3.2
    assert edge.streams.fragments == ["a=mid:0\r\n", "a=mid:1\r\n", "", ""]
    assert (await eve.http.delete(place)).status_code == 403
    assert [(await ada.http.delete(place)).status_code for _ in range(2)] == [200, 200]
    assert (await ada.http.delete("/whip/sessions/nothing")).status_code == 404


async def test_an_ice_restart_is_refused_with_what_is_allowed(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """405 names the methods, as RFC 9110 wants; the client posts a new offer."""
    ada = await edge.person("ada")

    async def refuse(*arguments: str) -> None:
        raise IceRestartRefused("Please post a new offer.")

    monkeypatch.setattr(edge.streams, "trickle", refuse)
    headers = FRAGMENT | {"if-match": "*"}
    answer = await ada.http.patch("/whip/sessions/x", content="a=ice-ufrag:n", headers=headers)
    assert answer.status_code == 405 and "DELETE" in answer.headers["allow"]


def failed_task(cause: Exception) -> Exception:
    """Make what Ray raises for an exception in an actor's method."""
    trace = f"Traceback (most recent call last):\n  File stream.py\n{cause!r}"
    make: Any = RayTaskError
    error: Exception = make("publish", trace, cause, "a stream actor", 1, "127.0.0.1")
    return error.as_instanceof_cause()  # type: ignore[attr-defined, no-any-return]


def a_failed_actor() -> Exception:
    """Make what the client of actors raises then."""
    error = ActorFailed("publish of an actor failed")
    error.__cause__ = failed_task(ValueError("a bug"))
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (failed_task(ValueError("a bug")), 500),
        (failed_task(AttributeError("a bug")), 500),
        (failed_task(RedisUnavailable("Redis is away.")), 503),
        (failed_task(ActorDiedError()), 503),
        (a_failed_actor(), 500),
        (ActorDiedError(), 503),
        (ActorUnavailableError("away", None), 503),
    ],
    ids=["ValueError", "AttributeError", "Redis is away", "another died", "actor", "died", "away"],
)
async def test_a_bug_in_an_actor_is_a_500_and_an_actor_out_of_reach_a_503(
    edge: Edge,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
) -> None:
    """The bug is logged once, with its trace; only what may get better says when to try again."""
    ada = await edge.person("ada")

    async def fail(*arguments: str, **more: Any) -> None:
        raise error

    monkeypatch.setattr(edge.streams, "publish", fail)
    answer = await ada.http.post("/whip", content=OFFER, headers=SDP)
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) is (status == 503)
    assert "bug" not in answer.text
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in logged] == ["POST /whip failed"] * (status == 500)
    assert ("stream.py" in caplog.text) is (status == 500)


async def test_turn_credentials_are_told_to_those_who_may_use_them(make_edge: MakeEdge) -> None:
    """`expiry:user` and its HMAC-SHA1, which coturn verifies; OPTIONS tells none."""
    secret = secrets.token_hex(16)
    edge = make_edge(turn_urls=("turn:turn.example.org",), turn_secret=secret)
    ada, ben = await edge.person("ada"), await edge.person("ben")
    link = (await ada.http.post("/whip", content=OFFER, headers=SDP)).headers["link"]
    assert link.startswith("<turn:turn.example.org>") and 'rel="ice-server"' in link
    fields = dict(part.split("=", 1) for part in link.split("; ")[1:])
    username = fields["username"].strip('"')
    expires, name = username.split(":")
    assert name == "ada" and 3600 < int(expires) - time.time() <= 7200
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    assert fields["credential"].strip('"') == base64.b64encode(digest).decode()
    for refused in (
        await ben.http.post("/whep/ada", content=OFFER, headers=SDP),
        await ben.http.post("/whep/ben", content=OFFER, headers=SDP),
        await edge.client().post("/whip", content=OFFER, headers=SDP),
    ):
        assert refused.status_code in (401, 403, 409) and "link" not in refused.headers
    for path in ("/whip", "/whep/ada", "/whip/sessions/x", "/whep/sessions/x"):
        told = await edge.client().options(path)
        assert told.status_code in (200, 204) and "link" not in told.headers
        assert "PATCH" in told.headers["access-control-allow-methods"]
        assert told.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in told.headers


async def test_no_capacity_says_when_to_try_again(edge: Edge) -> None:
    """503 with Retry-After, readable by pages of any site."""
    ada = await edge.person("ada")
    edge.streams.full = True
    answer = await ada.http.post("/whip", content=OFFER, headers=SDP)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "7"
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert (await edge.client().get("/readyz")).status_code == 503


async def test_too_many_offers_are_429(make_edge: MakeEdge) -> None:
    """The limit is per user, and says when to try again."""
    edge = make_edge(rates={"offers": "2/minute"})
    ada = await edge.person("ada")
    answers = [await ada.http.post("/whip", content=OFFER, headers=SDP) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60


async def test_a_client_that_goes_away_does_not_interrupt_a_start(edge: Edge) -> None:
    """A session begun is finished, so that an actor keeps nothing half-made."""
    ada = await edge.person("ada")
    edge.streams.may_go_on.clear()
    request = asyncio.create_task(ada.http.post("/whip", content=OFFER, headers=SDP))
    await until(lambda: edge.streams.waiting == 1)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    edge.streams.may_go_on.set()
    await until(lambda: list(edge.streams.owners.values()) == ["ada"])


async def test_the_page_may_load_from_where_presigned_urls_lead(make_edge: MakeEdge) -> None:
    """Amazon's regions and a public endpoint are in the content policy; nothing else is."""
    for region, public in (("us-east-1", None), ("eu-west-1", None), ("x", "https://s3.test")):
        config = StoreConfig("bucket", None, region, public, access_key="a", secret_key="s")
        store = RecordingStore(config)
        url = urlsplit(store.presign("recordings/ada/x.wav"))
        answer = await make_edge(other_store=store).client().get("/healthz")
        store.close()
        directives = answer.headers["content-security-policy"].split("; ")
        policy = dict(directive.split(" ", 1) for directive in directives)
        for directive in ("connect-src", "media-src"):
            assert f"{url.scheme}://{url.netloc}" in policy[directive].split(), url
        assert "unsafe" not in answer.headers["content-security-policy"]
    answer = await make_edge().client().get("/healthz")
    assert "http" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("kind", [kind for kind, status in STATUS.items() if status == 503])
def test_whoever_is_told_503_is_told_when_to_come_back(kind: type[Exception]) -> None:
    """Clients that obey Retry-After come back by themselves, whatever was away."""
    error = kind("x")
    assert retry_after_s(error) in range(1, 60)
