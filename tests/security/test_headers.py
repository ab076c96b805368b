"""The headers of answers: what browsers and caches are told, and whom we believe."""

import pytest

from tests.edge.conftest import PASSWORD, Edge, MakeEdge

ELSEWHERE = {
    "host": "evil.example",
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "http",
    "forwarded": "host=evil.example;proto=http",
}


async def test_nothing_private_is_kept_by_caches(edge: Edge) -> None:
    """Neither answers nor refusals, of the API, of WHIP and WHEP; pages and scripts may be kept."""
    ada = await edge.person("ada")
    await edge.person("ben")
    credentials = {"username": "ada", "password": PASSWORD}
    answers = [
        await ada.http.get(path)
        for path in ("/api/me", "/api/friends", "/api/streams", "/api/users/ben", "/api/nowhere")
    ]
    answers.append(await edge.client().get("/api/me"))
    answers.append(await edge.client().post("/api/session", json=credentials))
    answers.append(await ada.http.post("/whip", content="x"))
    assert {answer.status_code for answer in answers} == {200, 401, 404, 415}
    for answer in answers:
        assert answer.headers.get_list("cache-control") == ["no-store"], answer.url
    for path in ("/", "/static/app.js"):
        kept = await edge.client().get(path)
        assert kept.status_code == 200 and kept.headers.get_list("cache-control") == ["no-cache"]


@pytest.mark.parametrize(
    ("url", "told"), [("https://cast.example", True), ("http://cast.example", False), (None, False)]
)
async def test_browsers_stay_with_https(make_edge: MakeEdge, url: str | None, told: bool) -> None:
    """For a year, wherever people reach it by HTTPS."""
    client = make_edge(public_url=url).client()
    for path in ("/", "/api/me", "/static/app.js", "/healthz", "/nowhere"):
        given = (await client.get(path)).headers.get_list("strict-transport-security")
        assert given == ["max-age=31536000"] * told


@pytest.mark.parametrize(
    "path", ["/static", "/static/", "/api/me/", "//evil.example/..", "/u/ada/"]
)
async def test_no_redirect_believes_the_host(edge: Edge, path: str) -> None:
    """What a client says of where it is leads nobody anywhere."""
    ada = await edge.person("ada")
    for method in ("GET", "POST", "HEAD"):
        answer = await ada.http.request(method, path, headers=ELSEWHERE)
        assert "location" not in answer.headers
        assert "evil" not in str(answer.headers) + answer.text


@pytest.mark.parametrize("site", ["https://cast.example", None])
async def test_a_link_s_address_does_not_believe_the_host(
    make_edge: MakeEdge, site: str | None
) -> None:
    """It begins with the site's own address, or with the one that the request came to."""
    ada = await make_edge(public_url=site).person("ada")
    made = (await ada.http.post("/api/links", json={}, headers=ELSEWHERE)).json()
    assert made["url"].startswith(f"{site or 'http://hushcast.test'}/l/")
