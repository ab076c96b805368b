"""Every refusal that the API promises, asked for once, on the running product."""

import secrets
from collections.abc import Awaitable, Callable

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.app.client import SDP, Person
from tests.peers import encode
from tests.running import App
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = pytest.mark.slow

PACKETS = encode(speech_like(1.0))
People = Callable[[], Awaitable[Person]]

SIGNED_IN_ONLY = [
    ("DELETE", "/api/me"),
    ("DELETE", "/api/session"),
    ("GET", "/api/me"),
    ("GET", "/api/friends"),
    ("PUT", "/api/friends/ada"),
    ("DELETE", "/api/friends/ada"),
    ("POST", "/whip"),
    ("PATCH", "/whip/sessions/x"),
    ("DELETE", "/whip/sessions/x"),
    ("POST", "/whep/ada"),
    ("PATCH", "/whep/sessions/x"),
    ("DELETE", "/whep/sessions/x"),
    ("POST", "/api/stream/stop"),
    ("PATCH", "/api/stream"),
    ("POST", "/api/preview"),
    ("GET", "/api/streams"),
    ("GET", "/api/users/ada"),
    ("GET", "/api/users/ada/recordings"),
    ("GET", "/api/recordings/x"),
    ("GET", "/api/recordings/x/audio"),
    ("DELETE", "/api/recordings/x"),
]


@pytest.mark.parametrize(("method", "path"), SIGNED_IN_ONLY)
async def test_without_a_sign_in_there_is_401(app: App, method: str, path: str) -> None:
    """Everything but accounts, sign-in, pages and probes asks who is calling."""
    async with httpx.AsyncClient(base_url=app.url) as http:
        answer = await http.request(method, path)
    assert answer.status_code == 401, answer.text
    assert answer.json()["detail"].endswith(".")


async def test_accounts_are_refused_with_a_sentence(app: App) -> None:
    """A taken name, a bad one, a short password, a body that is not JSON."""
    name = f"test-{secrets.token_hex(4)}"
    good = {"username": name, "password": "an easy one"}
    async with httpx.AsyncClient(base_url=app.url) as http:
        assert (await http.post("/api/accounts", json=good)).status_code == 201
        for body, status in (
            (good, 409),
            ({**good, "username": "no"}, 422),
            ({**good, "username": "Ada"}, 422),
            ({**good, "username": "../ada"}, 422),
            ({**good, "username": "a" * 33}, 422),
            ({**good, "password": "1234567"}, 422),
            ({**good, "password": "x" * 129}, 422),
            ({"username": name}, 422),
            ([], 422),
        ):
            answer = await http.post("/api/accounts", json=body)
            assert answer.status_code == status, (body, answer.text)
            assert isinstance(answer.json()["detail"], str)
        garbage = await http.post(
            "/api/accounts", content="{", headers={"content-type": "application/json"}
        )
        assert garbage.status_code == 422
        long = await http.post("/api/accounts", json={**good, "more": "x" * 20_000})
        assert long.status_code == 413


async def test_sign_in_is_refused_after_ten_failures(app: App) -> None:
    """401 for a wrong password or an unknown name, 429 with Retry-After from the eleventh on."""
    name = f"test-{secrets.token_hex(4)}"
    async with httpx.AsyncClient(base_url=app.url) as http:
        await http.post("/api/accounts", json={"username": name, "password": "an easy one"})
        wrong = {"username": name, "password": "a wrong one"}
        statuses = []
        for _ in range(11):
            answer = await http.post("/api/session", json=wrong)
            statuses.append(answer.status_code)
        assert statuses == [401] * 10 + [429]
        right = await http.post("/api/session", json={**wrong, "password": "an easy one"})
        assert right.status_code == 429 and int(right.headers["retry-after"]) > 0
        nobody = {"username": "nobody-here", "password": "an easy one"}
        assert (await http.post("/api/session", json=nobody)).status_code == 401


async def test_the_address_of_a_sign_in_is_what_a_trusted_proxy_says(people: People) -> None:
    """Serve's own proxy changes none of it."""
    ada = await people()
    credentials = {"username": ada.username, "password": ada.password}
    for told, address in (
        ("192.0.2.66, 198.51.100.1", "198.51.100.1"),
        ("198.51.100.2, 127.0.0.1", "198.51.100.2"),
        ("127.0.0.1", "127.0.0.1"),
    ):
        headers = {"x-forwarded-for": told}
        assert (await ada.http.post("/api/session", json=credentials, headers=headers)).is_success
        newest = max((await ada.http.get("/api/me/sign-ins")).json(), key=lambda s: s["created_at"])
        assert newest["address"] == address


async def test_friends_are_refused_where_there_are_none(people: People) -> None:
    """An unknown user, oneself, and nothing to end."""
    ada, bob = await people(), await people()
    for method, name, status in (
        ("PUT", "nobody-here", 404),
        ("PUT", ada.username, 422),
        ("DELETE", bob.username, 404),
    ):
        answer = await ada.http.request(method, f"/api/friends/{name}")
        assert answer.status_code == status, answer.text


async def test_friends_ask_accept_decline_withdraw_and_end(people: People) -> None:
    """Both sides always agree, also when both ask at once."""
    ada, bob = await people(), await people()

    async def lists(person: Person) -> tuple[list[str], list[str], list[str]]:
        body = (await person.http.get("/api/friends")).json()
        return [f["username"] for f in body["friends"]], body["incoming"], body["outgoing"]

    async def ask(one: Person, method: str, other: Person) -> httpx.Response:
        return await one.http.request(method, f"/api/friends/{other.username}")

    a, b = ada.username, bob.username
    await ask(ada, "PUT", bob)
    await ask(ada, "PUT", bob)
    assert await lists(ada) == ([], [], [b]) and await lists(bob) == ([], [a], [])
    assert (await ask(ada, "DELETE", bob)).status_code == 204  # withdrawn
    assert await lists(ada) == await lists(bob) == ([], [], [])
    await ask(ada, "PUT", bob)
    assert (await ask(bob, "DELETE", ada)).status_code == 204  # declined
    await ask(ada, "PUT", bob)
    assert (await ask(bob, "PUT", ada)).json() == {"state": "friends"}  # crossing or accepted
    assert (await ask(bob, "PUT", ada)).json() == {"state": "friends"}
    assert await lists(ada) == ([b], [], []) and await lists(bob) == ([a], [], [])
    assert (await ask(bob, "DELETE", ada)).status_code == 204
    assert await lists(ada) == await lists(bob) == ([], [], [])


async def test_media_types_and_directions_are_refused(people: People) -> None:
    """415 for another type, 400 for an offer of the wrong direction, 422 for another sound."""
    ada = await people()
    for method, path, headers, status in (
        ("POST", "/whip", {"content-type": "text/plain"}, 415),
        ("POST", f"/whep/{ada.username}", {"content-type": "text/plain"}, 415),
        ("POST", f"/whep/{ada.username}?sound=other", SDP, 422),
        ("PATCH", "/whip/sessions/x", {"content-type": "text/plain"}, 415),
    ):
        answer = await ada.http.request(method, path, content="v=0", headers=headers)
        assert answer.status_code == status, (path, answer.text)


async def test_changing_a_stream_is_refused_while_not_live_and_for_nonsense(
    people: People,
) -> None:
    """409 without a live stream; 422 for values that mean nothing; 200 and the stream else."""
    ada = await people()
    assert (await ada.http.patch("/api/stream", json={"denoise": False})).status_code == 409
    await ada.publish(PACKETS)
    await until(lambda: _live(ada))
    for body in (
        {"denoise": "maybe"},
        {"denoise": None},
        {"attenuation_limit_db": -1},
        {"attenuation_limit_db": "loud"},
        {"share_original": 3},
        {"post_filter": "yes"},
    ):
        answer = await ada.http.patch("/api/stream", json=body)
        assert answer.status_code == 422, (body, answer.text)
    changed = await ada.http.patch(
        "/api/stream", json={"denoise": False, "attenuation_limit_db": 20, "post_filter": True}
    )
    assert changed.status_code == 200 and changed.json()["post_filter"] is True
    assert changed.json()["denoise"] is False and changed.json()["attenuation_limit_db"] == 20
    limitless = await ada.http.patch("/api/stream", json={"attenuation_limit_db": None})
    assert limitless.json()["attenuation_limit_db"] is None
    assert limitless.json()["denoise"] is False


async def test_the_original_is_for_friends_it_is_shared_with(people: People) -> None:
    """403 until the publisher shares the original sound."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    await ada.publish(PACKETS)
    await until(lambda: _live(ada))
    with pytest.raises(AssertionError, match="403"):
        await bob.listen(ada.username, "?sound=original")
    await ada.http.patch("/api/stream", json={"share_original": True})
    await bob.listen(ada.username, "?sound=original")


async def test_strangers_know_nothing(people: People) -> None:
    """A profile without a stream, no recordings, and 404 for an unknown user."""
    ada, eve = await people(), await people()
    await ada.publish(PACKETS)
    await until(lambda: _live(ada))
    seen = await eve.http.get(f"/api/users/{ada.username}")
    assert seen.json() == {"username": ada.username, "friend": False, "stream": None}
    assert (await eve.http.get("/api/streams")).json() == []
    assert (await eve.http.get(f"/api/users/{ada.username}/recordings")).status_code == 403
    assert (await eve.http.get("/api/users/nobody-here")).status_code == 404
    assert (await eve.http.get("/api/users/nobody-here/recordings")).status_code == 404
    for method, path in (
        ("GET", "/api/recordings/01aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("GET", "/api/recordings/01aaaaaaaaaaaaaaaaaaaaaaaa/audio"),
        ("DELETE", "/api/recordings/01aaaaaaaaaaaaaaaaaaaaaaaa"),
    ):
        assert (await eve.http.request(method, path)).status_code == 404


async def test_a_recording_is_its_owners_to_delete_and_not_to_play_too_early(
    people: People,
) -> None:
    """409 with Retry-After while recording, 403 for a friend's delete, 404 for a stranger."""
    ada, bob, eve = await people(), await people(), await people()
    await ada.befriend(bob)
    _, session = await ada.publish(PACKETS)
    await until(lambda: _live(ada))
    await until(lambda: _listed(ada))
    [recording] = await ada.recordings()
    path = f"/api/recordings/{recording['id']}"
    early = await bob.http.get(f"{path}/audio")
    assert early.status_code == 409 and int(early.headers["retry-after"]) > 0
    await ada.http.delete(session)
    await until(lambda: _stored(ada))
    beyond = await ada.http.get(f"{path}/audio", headers={"range": "bytes=999999999-"})
    assert beyond.status_code == 416
    assert (await bob.http.delete(path)).status_code == 403
    assert (await eve.http.delete(path)).status_code == 404
    assert (await eve.http.get(path)).status_code == 404
    assert (await bob.http.get(path)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/whip", "/whip/", "/whip/sessions/x", "/whep/ada", "/whep/ada/", "/whep/sessions/x/"]
)
async def test_options_answer_cors_without_a_sign_in(app: App, path: str) -> None:
    """RFC 9725: any site may ask; it learns methods and headers, but no TURN credentials."""
    async with httpx.AsyncClient(base_url=app.url) as http:
        answer = await http.options(path, headers={"origin": "https://client.example"})
    assert answer.status_code in (200, 204)
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-origin"] == "*"
    exposed = answer.headers["access-control-expose-headers"]
    assert all(name in exposed for name in ("Location", "ETag", "Link", "Retry-After"))
    assert "link" not in answer.headers


async def test_the_presence_socket_is_refused_to_strangers_and_other_sites(
    app: App, people: People
) -> None:
    """No token, a wrong one, or a cookie from another origin: no socket."""
    ada = await people()
    address = app.url.replace("http", "ws", 1) + "/api/presence"
    cookie = {"Cookie": f"hushcast={ada.token}"}
    for suffix, headers in (
        ("", {}),
        ("?token=nonsense", {}),
        ("", cookie),
        ("", {**cookie, "Origin": "https://evil.example"}),
    ):
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(address + suffix, additional_headers=headers):
                pass
        assert refusal.value.response.status_code == 403
    async with connect(address, additional_headers={**cookie, "Origin": app.url}) as socket:
        assert '"snapshot"' in await socket.recv()


async def test_garbage_on_the_presence_socket_ends_it(app: App, people: People) -> None:
    """An unrecognised message closes the socket with 1007; an unknown type is ignored."""
    ada = await people()
    address = app.url.replace("http", "ws", 1) + f"/api/presence?token={ada.token}"
    async with connect(address) as socket:
        await socket.recv()
        await socket.send('{"type": "something new"}')
        await socket.send("garbage")
        await socket.wait_closed()
        assert socket.close_code == 1007


async def test_pages_carry_their_security_headers(app: App) -> None:
    """No inline script or style, no framing, no sniffing, the microphone for us alone."""
    async with httpx.AsyncClient(base_url=app.url) as http:
        for path in ("/", "/u/ada"):
            page = await http.get(path)
            assert page.status_code == 200 and "text/html" in page.headers["content-type"]
            policy = page.headers["content-security-policy"]
            assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert page.headers["x-content-type-options"] == "nosniff"
            head = await http.head(path)
            assert head.status_code == 200 and head.content == b""
            assert head.headers["content-length"] == page.headers["content-length"]
        missing = await http.get("/static/nothing.js")
        assert missing.status_code == 404


async def _live(person: Person) -> bool:
    stream = await person.stream()
    return stream is not None and stream["state"] == "live"


async def _listed(person: Person) -> bool:
    return bool(await person.recordings())


async def _stored(person: Person) -> bool:
    recordings = await person.recordings()
    return bool(recordings) and recordings[0]["state"] == "ready"
