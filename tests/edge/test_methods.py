"""HEAD, OPTIONS, `Allow` and slashes, over every route."""

from pathlib import Path

import pytest

from recordings.store import StoredBody
from tests import statuses
from tests.edge.conftest import Edge
from tests.edge.made_up import OFFER, live
from tests.edge.test_authorisation import FRAGMENT, SDP, TABLE, routes_of
from tests.edge.test_recordings import SOUND, stored

GETS = [row for row in TABLE if row.method == "GET"]


def unlike(headers: dict[str, str]) -> dict[str, str]:
    """Drop what differs between any two answers."""
    return {name: value for name, value in headers.items() if name != "x-request-id"}


async def test_head_is_answered_wherever_get_is(edge: Edge, tmp_path: Path) -> None:
    """The same status and headers, length included, and no body; errors too."""
    ada = await edge.person("ada")
    recording = await stored(edge, "ada", tmp_path)
    await statuses.write(edge.streams.store, live("ada"))
    paths = [row.path.format(ada="ada", recording=recording.id, session="x") for row in GETS]
    paths += ["/static/app.js", "/static/nothing.js", "/openapi.json", "/nowhere", "/whip"]
    for http in (ada.http, edge.client()):
        for path in paths:
            get, head = await http.get(path), await http.head(path)
            assert head.status_code == get.status_code, path
            assert unlike(dict(head.headers)) == unlike(dict(get.headers)), path
            assert head.content == b"" and int(head.headers["content-length"]) > 0, path


@pytest.mark.parametrize("wanted", [None, "bytes=0-11", "bytes=9999-"])
async def test_head_of_sound_reads_none_of_it(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str | None
) -> None:
    """Its length, or that of a range, before a player asks for the bytes; the store sends none."""
    ada = await edge.person("ada")
    recording = await stored(edge, "ada", tmp_path)
    path, headers = f"/api/recordings/{recording.id}/audio", {"range": wanted} if wanted else {}
    get = await ada.http.get(path, headers=headers)
    monkeypatch.delattr(StoredBody, "__iter__")
    head = await ada.http.head(path, headers=headers)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert unlike(dict(head.headers)) == unlike(dict(get.headers))
    if wanted is None:
        assert head.headers["content-length"] == str(len(SOUND))


async def test_a_slash_at_the_end_changes_nothing(edge: Edge) -> None:
    """No redirect: a browser follows none for a preflight, and it would name our own address."""
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    created = await ada.http.post("/whip/", content=OFFER, headers=SDP)
    assert created.status_code == 201
    place = created.headers["location"]
    for method, path, status in (
        ("OPTIONS", "/whip/", 204),
        ("OPTIONS", "/whep/ada/", 204),
        ("OPTIONS", f"{place}/", 204),
        ("GET", "/u/ada/", 200),
        ("GET", "/api/me//", 200),
        ("GET", "//", 200),
        ("GET", "/static/", 404),
        ("GET", "/nowhere/", 404),
        ("POST", "/whep/", 404),
        ("DELETE", f"{place}/", 200),
    ):
        answer = await ada.http.request(method, f"http://hushcast.test{path}")
        assert answer.status_code == status, (method, path)
    listening = await ada.http.post("/whep/ada/?sound=original", content=OFFER, headers=SDP)
    assert listening.status_code == 201


async def test_the_methods_of_an_address_are_told(edge: Edge) -> None:
    """In the `Allow` of a 405, and by OPTIONS, with or without an Origin; all of its routes."""
    routes: dict[str, set[str]] = {"/static/app.js": {"GET"}, "/openapi.json": {"GET"}}
    for method, path in routes_of(edge.api.routes):
        routes.setdefault(path, set()).add(method)
    for path, methods in routes.items():
        told = (methods | {"OPTIONS"}) | ({"HEAD"} if "GET" in methods else set())
        for method, headers in (("PUT" if "PUT" not in methods else "BREW", {}), ("OPTIONS", {}),
                                ("OPTIONS", {"origin": "https://elsewhere.test"})):  # fmt: skip
            answer = await edge.client().request(method, path, headers=headers)
            assert answer.status_code == (204 if method == "OPTIONS" else 405), path
            assert set(answer.headers["allow"].split(", ")) == told, path
            cross_origin = "access-control-allow-origin" in answer.headers
            assert cross_origin is path.startswith(("/whip", "/whep"))
    assert (await edge.client().options("/nowhere")).status_code == 404


async def test_media_types_are_told(edge: Edge) -> None:
    """By OPTIONS (RFC 9725, section 4.2; RFC 5789) and by a 415."""
    ada = await edge.person("ada")
    for path, method, header, accepted in (
        ("/whip", "POST", "accept-post", SDP["content-type"]),
        ("/whep/ada", "POST", "accept-post", SDP["content-type"]),
        ("/whip/sessions/x", "PATCH", "accept-patch", FRAGMENT["content-type"]),
        ("/whep/sessions/x", "PATCH", "accept-patch", FRAGMENT["content-type"]),
    ):
        options = await edge.client().options(path)
        refused = await ada.http.request(method, path, content="{}")
        assert refused.status_code == 415 and accepted in refused.json()["detail"]
        assert options.headers[header] == refused.headers[header] == accepted
