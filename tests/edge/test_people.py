"""Accounts, tokens, origins, limits and friends, over HTTP on a real Redis."""

import asyncio
import json
import secrets
import time
from typing import Any

import jwt
import pytest

from foundation.redis import MAX_AT_ONCE
from serve_app import friends
from serve_app.accounts import WrongCredentials
from tests.edge.conftest import PASSWORD, SECRET, Edge, MakeEdge, Person
from tests.servers import running
from tests.waiting import until

JSON = {"content-type": "application/json"}


async def claims_of(edge: Edge, person: Person) -> dict[str, Any]:
    """Read a token."""
    claims: dict[str, Any] = jwt.decode(person.token, SECRET, ["HS256"])
    return claims


async def test_tokens_that_are_forged_expired_or_revoked_open_nothing(edge: Edge) -> None:
    """Another key, no signature, expired, a claim missing, signed out: 401."""
    ada = await edge.person("ada")
    claims = await claims_of(edge, ada)
    few = {name: value for name, value in claims.items() if name != "account"}
    bad = {
        "another key": jwt.encode(claims, SECRET[::-1], "HS256"),
        "no signature": jwt.encode(claims, "", "none"),
        "expired": jwt.encode(claims | {"exp": int(time.time()) - 1}, SECRET, "HS256"),
        "another account": jwt.encode(claims | {"account": "0" * 16}, SECRET, "HS256"),
        "too little": jwt.encode(few, SECRET, "HS256"),
        "no token": "garbage",
        "nothing": "",
    }
    for why, token in bad.items():
        answer = await edge.client(authorization=f"Bearer {token}").get("/api/me")
        assert (why, answer.status_code) == (why, 401)
        assert len(answer.json()["detail"]) > 10
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await ada.http.delete("/api/session")).status_code == 204
    assert (await ada.http.get("/api/me")).status_code == 401


async def test_a_later_account_of_the_same_name_is_somebody_else(edge: Edge) -> None:
    """Old tokens stay void, and no friend or request of the former owner is inherited."""
    before, bob, eve = [await edge.person(name) for name in ("ada", "bob", "eve")]
    await edge.befriend("ada", "bob")
    await edge.services.accounts.befriend("ada", "eve")
    assert (await before.delete_account()).status_code == 204
    after = await edge.person("ada")
    assert (await before.http.get("/api/me")).status_code == 401
    for person in (after, bob, eve):
        lists = (await person.http.get("/api/friends")).json()
        assert lists == {"friends": [], "incoming": [], "outgoing": []}


@pytest.mark.parametrize(
    ("origin", "settings", "allowed"),
    [
        ("http://hushcast.test", {}, True),
        ("https://cast.example.org", {"public_url": "https://cast.example.org"}, True),
        ("https://cast.example.org", {"public_url": "HTTPS://Cast.Example.org:443/"}, True),
        ("http://HUSHCAST.test:80", {}, True),
        ("http://hushcast.test:8000", {}, False),
        ("hushcast.test", {}, False),
        ("https://evil.example", {}, False),
        ("https://evil.example", {"public_url": "https://cast.example.org"}, False),
        ("null", {}, False),
        (None, {}, False),
    ],
)
async def test_a_cookie_changes_something_only_for_our_own_pages(
    make_edge: MakeEdge, origin: str | None, settings: dict[str, str], allowed: bool
) -> None:
    """With a cookie, changes need a same-origin `Origin`; reading and bearer tokens do not."""
    edge = make_edge(**settings)
    ada = await edge.person("ada")
    headers = {"cookie": f"hushcast={ada.token}"} | ({"origin": origin} if origin else {})
    page = edge.client(**headers)
    assert (await page.get("/api/me")).status_code == 200
    for method, path in (("POST", "/api/stream/stop"), ("DELETE", "/api/session")):
        answer = await page.request(method, path)
        assert answer.status_code == (204 if allowed else 403), (method, answer.text)
    if not allowed:
        assert (await ada.http.post("/api/stream/stop")).status_code == 204


async def test_the_cookie_is_for_our_pages_only(make_edge: MakeEdge) -> None:
    """No script can read it, no other site can send it, and with HTTPS it stays on HTTPS."""
    for url, secure in (("https://cast.example.org", True), (None, False)):
        edge = make_edge(public_url=url)
        name = "ada" if secure else "bob"
        await edge.services.accounts.create(name, PASSWORD)
        credentials = {"username": name, "password": PASSWORD}
        answer = await edge.client().post("/api/session", json=credentials)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=" in cookie
        assert ("secure" in cookie) is secure
        assert answer.json()["expires_at"].endswith("Z")


async def test_guesses_at_the_same_time_are_counted_before_they_are_looked_at(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 parallel guesses exactly ten are compared with the password."""
    looked_at = 0

    async def slow(username: str, password: str, **where: str) -> None:
        nonlocal looked_at
        looked_at += 1
        await asyncio.sleep(0.2)
        raise WrongCredentials("no")

    monkeypatch.setattr(edge.services.accounts, "sign_in", slow)
    client = edge.client()
    guess = {"username": "ada", "password": "guess"}
    answers = await asyncio.gather(*(client.post("/api/session", json=guess) for _ in range(40)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 30
    assert looked_at == 10


async def test_a_successful_sign_in_begins_the_count_anew(make_edge: MakeEdge) -> None:
    """A user who knows the password is not locked out by signing in often."""
    edge = make_edge(rates={"sign_ins": "2/5minutes"})
    await edge.services.accounts.create("ada", PASSWORD)
    client = edge.client()
    for password, status in ((PASSWORD, 200), ("wrong", 401), (PASSWORD, 200), (PASSWORD, 200)):
        answer = await client.post("/api/session", json={"username": "ada", "password": password})
        assert answer.status_code == status


async def test_retry_after_is_when_the_next_try_is_free(make_edge: MakeEdge) -> None:
    """It counts down: trying again after that time works."""
    edge = make_edge(rates={"accounts": "1/3second"})
    client = edge.client(**{"x-forwarded-for": "198.51.100.1"})
    names = iter(f"ada-{n}" for n in range(9))

    async def create() -> tuple[int, int]:
        body = {"username": next(names), "password": PASSWORD}
        answer = await client.post("/api/accounts", json=body)
        return answer.status_code, int(answer.headers.get("retry-after", 0))

    assert await create() == (201, 0)
    began = time.monotonic()
    status, wait_s = await create()
    assert status == 429 and 1 <= wait_s <= 3
    await until(lambda: time.monotonic() - began > wait_s)
    assert (await create())[0] == 201


async def test_behind_a_proxy_limits_count_its_clients(make_edge: MakeEdge) -> None:
    """The last forwarded address counts, an IPv6 network once; a client's own word never does."""

    async def create(edge: Edge, *forwarded: str) -> int:
        body = {"username": f"name-{secrets.token_hex(4)}", "password": PASSWORD}
        headers = [("x-forwarded-for", line) for line in forwarded]
        return (await edge.client().post("/api/accounts", json=body, headers=headers)).status_code

    behind = make_edge(rates={"accounts": "1/minute"})
    assert await create(behind, "198.51.100.1") == 201
    assert await create(behind, "203.0.113.9, 198.51.100.1") == 429
    assert await create(behind, "198.51.100.2") == 201
    assert await create(behind, "2001:db8::1") == 201
    assert await create(behind, "2001:db8::ffff:2") == 429
    assert await create(behind, "2001:db8:0:1::1") == 201
    assert await create(behind, "198.51.100.1:5678") == 429
    assert await create(behind, "[2001:db8::3]:443") == 429
    assert await create(behind, "::ffff:198.51.100.1") == 429
    assert await create(behind, "203.0.113.9", "198.51.100.1, ") == 429
    assert await create(behind, "198.51.100.1, unknown") == 201  # the proxy itself
    assert await create(behind, "anything") == 429
    alone = make_edge(rates={"accounts": "1/minute"}, trusted_proxies=("192.0.2.1",))
    await alone.redis.flushdb()
    assert await create(alone, "198.51.100.7") == 201
    assert await create(alone, "198.51.100.8") == 429
    assert await create(alone) == 429  # it is the same one


async def test_a_crowd_is_counted_on_few_connections(make_edge: MakeEdge) -> None:
    """Those of the limits' library are the client's, and take their turns as its commands do."""
    edge = make_edge()
    before = (await edge.redis.info("clients"))["connected_clients"]
    counted = [edge.services.rates.count("changes", f"user-{n}") for n in range(400)]
    await asyncio.gather(*counted)
    after = (await edge.redis.info("clients"))["connected_clients"]
    assert after - before <= MAX_AT_ONCE


def test_an_unknown_limit_is_an_error(make_edge: MakeEdge) -> None:
    """A misspelt limit is an error, not silently ignored."""
    with pytest.raises(ValueError, match="sign_in is not one of"):
        make_edge(rates={"sign_in": "1/minute"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 16_000,
        b'{"username": "ada\\ud800", "password": "\\ud800aaaaaaaa"}',
        b'{"username": {"a": 1}, "password": null}',
        b'{"username": "\xff\xfe", "password": "12345678"}',
        b"null",
    ],
)
async def test_garbage_is_refused_with_one_sentence(edge: Edge, body: bytes) -> None:
    """An invalid message is the client's mistake, and a sentence says so."""
    for path in ("/api/accounts", "/api/session"):
        answer = await edge.client().post(path, content=body, headers=JSON)
        assert answer.status_code in (400, 422), answer.text
        assert isinstance(answer.json()["detail"], str)


async def test_friends_always_agree_also_when_both_ask_at_once(edge: Edge) -> None:
    """Any number of crossing requests makes one friendship, on both sides."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    for _ in range(10):
        answers = await asyncio.gather(
            *(ada.http.put("/api/friends/bob") for _ in range(3)),
            *(bob.http.put("/api/friends/ada") for _ in range(3)),
        )
        assert {answer.status_code for answer in answers} == {200}
        assert "friends" in {answer.json()["state"] for answer in answers}
        for person, other in ((ada, "bob"), (bob, "ada")):
            lists = (await person.http.get("/api/friends")).json()
            assert lists == {
                "friends": [{"username": other, "stream": None}], "incoming": [], "outgoing": []
            }  # fmt: skip
        assert (await ada.http.delete("/api/friends/bob")).status_code == 204
        assert (await bob.http.delete("/api/friends/ada")).status_code == 404


async def test_friends_and_requests_are_limited(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On both sides; earlier requests can still be accepted."""
    monkeypatch.setattr(friends, "MAX_FRIENDS", 2)
    ada = await edge.person("ada")
    for name in ("bob", "eve", "zoe"):
        await edge.person(name)
    assert (await ada.http.put("/api/friends/bob")).status_code == 200
    assert (await ada.http.put("/api/friends/eve")).status_code == 200
    refused = await ada.http.put("/api/friends/zoe")
    assert refused.status_code == 409 and "2 friends" in refused.json()["detail"]
    with pytest.raises(friends.TooManyFriends):
        await edge.services.accounts.befriend("zoe", "ada")
    assert await edge.services.accounts.befriend("bob", "ada") == "friends"


async def test_nothing_is_asked_of_an_account_that_is_being_deleted(edge: Edge) -> None:
    """A request that races a deletion leaves nothing behind."""
    for _ in range(10):
        await edge.person("ada")
        bob = await edge.person("bob")
        people = edge.services.accounts
        await asyncio.gather(
            *(people.befriend("bob", "ada") for _ in range(2)),
            people.delete("ada"),
            *(people.befriend("bob", "ada") for _ in range(4)),
            return_exceptions=True,
        )
        lists = (await bob.http.get("/api/friends")).json()
        assert lists == {"friends": [], "incoming": [], "outgoing": []}
        await people.delete("bob")


async def test_without_redis_everything_is_503_with_a_sentence(
    make_edge: MakeEdge, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No traceback, no 500, and /readyz says which part is missing."""
    from commands.local.valkey import Valkey

    folder = tmp_path_factory.mktemp("valkey-that-ends")
    server = Valkey.prepare(folder / "data", folder / "log")
    with running(server) as child:
        edge = make_edge(url=server.url)
        ada = await edge.person("ada")
        await asyncio.to_thread(child.stop)
        credentials = json.dumps({"username": "ada", "password": PASSWORD})
        for method, path in (
            ("GET", "/api/me"),
            ("POST", "/api/session"),
            ("PUT", "/api/friends/bob"),
            ("POST", "/whip"),
            ("GET", "/readyz"),
        ):
            answer = await ada.http.request(method, path, content=credentials, headers=JSON)
            assert answer.status_code == 503, (path, answer.text)
            assert answer.json()["detail"] and answer.headers["retry-after"]
        assert "Redis" in answer.json()["detail"]
        assert (await ada.http.get("/healthz")).status_code == 200


async def test_a_mistake_of_ours_is_told_in_json_too(edge: Edge) -> None:
    """500 has a sentence and no traceback; the other checks do not run on."""
    edge.streams.broken = True
    before = asyncio.all_tasks()
    answer = await edge.client().get("/readyz")
    assert asyncio.all_tasks() <= before
    assert answer.status_code == 500 and "bug" not in answer.text
    assert answer.json()["detail"]
