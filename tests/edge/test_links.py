"""Invite links over HTTP: made, listed, revoked; and what a guest may do with one."""

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from actors import access
from serve_app import links
from tests import statuses
from tests.edge.conftest import Edge, MakeEdge, Person
from tests.edge.made_up import OFFER, live
from tests.edge.test_recordings import stored

SDP = {"content-type": "application/sdp"}


async def make(person: Person, **wanted: Any) -> tuple[dict[str, Any], str]:
    """Make a link; get what was answered, and its token."""
    answer = await person.http.post("/api/links", json=wanted)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made, made["url"].rpartition("/l/")[2]


def guest_of(edge: Edge, token: str) -> httpx.AsyncClient:
    """Make a client that has a link's token."""
    return edge.client(authorization=f"Bearer {token}")


async def test_a_link_is_made_listed_and_revoked(edge: Edge) -> None:
    """Only its maker sees it, only the first answer has its token, and Redis has none."""
    ada, eve = await edge.person("ada"), await edge.person("eve")
    await statuses.write(edge.streams.store, live("ada"))
    made, token = await make(ada, label="  the   band ", expires_in_s=300, recordings=True)
    assert set(made) == {"id", "url", "label", "expires_at", "recordings", "guests"}
    assert made["url"] == f"http://hushcast.test/l/{token}"
    assert (made["label"], made["recordings"], made["guests"]) == ("the band", True, 0)
    plain, _ = await make(ada)
    assert (plain["label"], plain["recordings"]) == (None, False)
    guest = guest_of(edge, token)
    for _ in range(2):
        assert (await guest.post("/whep/ada", content=OFFER, headers=SDP)).status_code == 201
    told = await ada.http.get("/api/links")
    del made["url"], plain["url"]
    assert told.json() == [made | {"guests": 2}, plain] and token not in told.text
    for key in [key async for key in edge.redis.scan_iter()]:
        assert token not in str(key)
        if await edge.redis.type(key) == "string":
            assert token not in str(await edge.redis.get(key))
    assert (await eve.http.get("/api/links")).json() == []
    assert (await eve.http.delete(f"/api/links/{made['id']}")).status_code == 404
    assert (await ada.http.delete(f"/api/links/{made['id']}")).status_code == 204
    assert (await ada.http.delete(f"/api/links/{made['id']}")).status_code == 404
    assert (await ada.http.get("/api/links")).json() == [plain]
    refused = await guest.get("/api/users/ada")
    assert refused.status_code == 401 and refused.json()["detail"] == access.LINK_ENDED


@pytest.mark.parametrize(
    "wanted",
    [
        {"expires_in_s": 299},
        {"expires_in_s": 31_536_001},
        {"expires_in_s": "300"},
        {"expires_in_s": 300.5},
        {"label": "x" * 81},
        {"label": 7},
        {"label": "a\x1b[31mb"},
        {"label": "a\u2028b"},
        {"recordings": "yes"},
        [],
    ],
)
async def test_what_a_link_cannot_be(edge: Edge, wanted: Any) -> None:
    """422, and nothing is made."""
    ada = await edge.person("ada")
    assert (await ada.http.post("/api/links", json=wanted)).status_code == 422
    assert (await ada.http.get("/api/links")).json() == []


async def test_links_are_limited(make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at a time, and so many a minute; one that expired no longer counts."""
    monkeypatch.setattr(links, "MAX_LINKS", 2)
    edge = make_edge(rates={"links": "4/minute", "guest_offers": "1/minute"})
    ada = await edge.person("ada")
    (first, token), _ = await make(ada), await make(ada)
    answer = await ada.http.post("/api/links", json={})
    assert answer.status_code == 429 and "Revoke" in answer.json()["detail"]
    await edge.redis.zadd(links.links_key("ada"), {first["id"]: 1})
    _, token = await make(ada)
    answer = await ada.http.post("/api/links", json={})
    assert answer.status_code == 429 and "retry-after" in answer.headers
    statuses = [
        (await guest_of(edge, token).post("/whep/ada", content=OFFER, headers=SDP)).status_code
        for _ in range(2)
    ]
    assert statuses == [409, 429]


async def test_a_guest_hears_one_user_and_leaves_again(edge: Edge) -> None:
    """Whose link it is, their stream, a session of its own; the owner may end that too."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    await edge.befriend("ada", "bob")
    _, token = await make(ada, label="band")
    guest = guest_of(edge, token)
    whose = (await guest.get("/api/link")).json()
    assert (whose["username"], whose["recordings"]) == ("ada", False)
    nobody = {"username": "ada", "friend": False, "stream": None}
    assert (await guest.get("/api/users/ada")).json() == nobody
    for name in ("ada", "bob"):
        await statuses.write(edge.streams.store, live(name))
    assert (await guest.get("/api/users/ada")).json()["stream"]["state"] == "live"
    for method, path in (
        ("GET", "/api/users/bob"), ("POST", "/whep/bob"), ("GET", "/api/users/ada/recordings"),
        ("GET", "/api/users/nobody"), ("POST", "/whep/nobody"), ("POST", "/whip"),
    ):  # fmt: skip
        answer = await guest.request(method, path, content=OFFER, headers=SDP)
        assert answer.status_code == 403, (path, answer.text)
    opened = await guest.post("/whep/ada?sound=original", content=OFFER, headers=SDP)
    assert opened.status_code == 201
    [session] = edge.streams.owners
    assert edge.streams.sign_ins[session] is None
    assert [each.label for each in edge.streams.guests] == ["band"]
    place = urlsplit(opened.headers["location"]).path
    assert (await guest.patch(place, content="")).status_code == 204
    _, another = await make(ada)
    for stranger in (bob.http, guest_of(edge, another)):
        assert (await stranger.delete(place)).status_code == 403
    assert (await guest.delete(place)).status_code == 200


async def test_a_guest_s_player_hears_recordings(edge: Edge, tmp_path: Path) -> None:
    """It sends a cookie, which counts where the address names the link, and nowhere else."""
    ada, eve = await edge.person("ada"), await edge.person("eve")
    recording = await stored(edge, "ada", tmp_path)
    (silent, _), (made, token) = await make(ada), await make(ada, recordings=True)
    guest = edge.client()
    guest.headers["cookie"] = f"hushcast={eve.token}"  # somebody who is signed in, too
    opened = await guest.get("/api/link", headers={"authorization": f"Bearer {token}"})
    set_cookie = opened.headers["set-cookie"]
    for part in (f"hushcast-link-{made['id']}={token};", "HttpOnly", "Path=/api/recordings;"):
        assert part in set_cookie
    guest.headers["cookie"] += f"; hushcast-link-{made['id']}={token}"
    path = f"/api/recordings/{recording.id}/audio"
    for query, status in (
        (f"?link={made['id']}", 200), ("", 404), (f"?link={silent['id']}", 404), ("?link=", 404)
    ):  # fmt: skip
        answer = await guest.get(path + query, follow_redirects=True)
        assert answer.status_code == status, query
    for method in ("DELETE", "PATCH"):
        answer = await guest.request(
            method,
            f"/api/recordings/{recording.id}?link={made['id']}",
            json={"title": "hers"},
            headers={"origin": "http://hushcast.test"},
        )
        assert answer.status_code == 404
    await ada.http.delete(f"/api/links/{made['id']}")
    assert (await guest.get(f"{path}?link={made['id']}")).status_code == 401


async def test_each_guest_has_turn_credentials_of_its_own(make_edge: MakeEdge) -> None:
    """A TURN server's quota counts guests apart."""
    edge = make_edge(turn_urls=("turn:turn.example",), turn_secret=secrets.token_hex())
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    _, token = await make(ada)
    guest = guest_of(edge, token)
    given = {
        (await guest.post("/whep/ada", content=OFFER, headers=SDP)).headers["link"]
        for _ in range(2)
    }
    assert len(given) == 2


async def test_the_page_of_a_link_tells_its_address_to_nobody(edge: Edge) -> None:
    """No referrer, no search engine; the page is the same for any token."""
    for token in ("0" * 32, "garbage"):
        page = await edge.client().get(f"/l/{token}")
        assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
        assert page.headers.get_list("referrer-policy") == ["no-referrer"]
        assert page.headers["x-robots-tag"] == "noindex"
    other = await edge.client().get("/")
    assert other.headers.get_list("referrer-policy") == ["same-origin"]
