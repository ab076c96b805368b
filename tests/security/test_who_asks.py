"""Who is asking, and how often they may: addresses, proxies, limits."""

import asyncio
from dataclasses import replace

import pytest
from starlette.requests import HTTPConnection

from actors.status import StreamState
from serve_app import publishers
from serve_app.addresses import Proxies
from tests import statuses
from tests.edge.conftest import PASSWORD, Edge, MakeEdge
from tests.edge.made_up import OFFER, live

SDP = {"content-type": "application/sdp"}


def seen(peer: str, *lines: str, trusted: tuple[str, ...], **headers: str) -> str:
    """Get the address that counts for a request, `local` if none does."""
    told = [(b"x-forwarded-for", line.encode()) for line in lines]
    told += [(name.replace("_", "-").encode(), each.encode()) for name, each in headers.items()]
    scope = {"type": "http", "client": (peer, 9), "headers": told}
    client = Proxies(trusted).client_of(HTTPConnection(scope))
    return "local" if client.local else client.counted


@pytest.mark.parametrize(
    ("peer", "lines", "counted"),
    [
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["192.0.2.66", "198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["192.0.2.66, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        ("10.9.9.9", ["127.0.0.1, 198.51.100.1", "10.1.2.3,127.0.0.1"], "198.51.100.1"),
        ("::ffff:10.9.9.9", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["198.51.100.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["127.0.0.1"], "127.0.0.1"),
        ("127.0.0.1", [], "local"),
        ("::1", [], "local"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("203.0.113.5", ["127.0.0.1"], "203.0.113.5"),
        ("2001:db8::1:5", ["127.0.0.1"], "2001:db8::/64"),
        ("a socket", ["127.0.0.1"], "a socket"),
    ],
)
def test_only_trusted_proxies_say_who_asks(peer: str, lines: list[str], counted: str) -> None:
    """The last address that no proxy of ours has; what a client writes itself stands before it."""
    trusted = ("127.0.0.0/8", "::1", "10.0.0.0/8")
    assert seen(peer, *lines, trusted=trusted) == counted


@pytest.mark.parametrize("header", ["via", "forwarded", "x_real_ip", "x_forwarded_proto"])
def test_a_proxy_without_the_header_is_no_local_client(header: str) -> None:
    """Its clients share a count, rather than to have none."""
    assert seen("127.0.0.1", trusted=("127.0.0.1",), **{header: "x"}) == "127.0.0.1"


async def sprayed(edge: Edge, names: list[str], *, address: str | None = None) -> list[int]:
    """Try the same password for many names, one after another."""
    client = edge.client(**({"x-forwarded-for": address} if address else {}))
    answers = []
    for name in names:
        body = {"username": name, "password": "summer is here"}
        answers.append((await client.post("/api/session", json=body)).status_code)
    return answers


async def test_one_address_cannot_try_many_names(make_edge: MakeEdge) -> None:
    """A neighbour can still sign in, and right passwords do not count."""
    edge = make_edge(rates={"sign_ins_per_address": "3/5minutes"})
    await edge.services.accounts.create("ada", PASSWORD)
    names = [f"name-{n}" for n in range(5)]
    assert await sprayed(edge, names, address="198.51.100.1") == [401] * 3 + [429] * 2
    neighbour = edge.client(**{"x-forwarded-for": "198.51.100.2"})
    credentials = {"username": "ada", "password": PASSWORD}
    for _ in range(5):
        assert (await neighbour.post("/api/session", json=credentials)).status_code == 200


async def test_many_names_at_the_same_time_are_counted_too(edge: Edge) -> None:
    """Before they are looked at: of 60 at once, 50 are."""
    client = edge.client(**{"x-forwarded-for": "198.51.100.1"})
    answers = await asyncio.gather(
        *(
            client.post("/api/session", json={"username": f"name-{n}", "password": "a guess"})
            for n in range(60)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [401] * 50 + [429] * 10


async def test_many_addresses_cannot_guess_one_name(make_edge: MakeEdge) -> None:
    """And lock nobody out: neither a sign-in that is there, nor the place where it began."""
    edge = make_edge(rates={"sign_ins_per_name": "5/hour"})
    await edge.services.accounts.create("ada", PASSWORD)
    home = edge.client(**{"x-forwarded-for": "198.51.100.1"})
    credentials = {"username": "ada", "password": PASSWORD}
    session = await home.post("/api/session", json=credentials)
    answers = [(await sprayed(edge, ["ada"], address=f"203.0.113.{n}"))[0] for n in range(7)]
    assert answers == [401] * 5 + [429] * 2
    stranger = edge.client(**{"x-forwarded-for": "192.0.2.1"})
    assert (await stranger.post("/api/session", json=credentials)).status_code == 429
    assert (await home.post("/api/session", json=credentials)).status_code == 200
    bearer = {"authorization": f"Bearer {session.json()['token']}"}
    assert (await stranger.get("/api/me", headers=bearer)).status_code == 200


async def test_one_address_cannot_hold_all_streams(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream counts while it lives, or for a moment while it starts; the user's own does not."""
    edge = make_edge(rates={"streams": "2"})
    people = [await edge.person(name) for name in ("ada", "bob", "eve")]
    place = {"x-forwarded-for": "198.51.100.1", **SDP}

    async def starts(*places: dict[str, str]) -> list[int]:
        return [
            (await each.http.post("/whip", content=OFFER, headers=where)).status_code
            for each, where in zip(people, places, strict=True)
        ]

    assert await starts(place, place, place) == [201, 201, 429]
    assert await starts(place, place, place | {"x-forwarded-for": "192.0.2.1"}) == [201] * 3
    assert await starts(place, place, SDP) == [201] * 3  # local
    monkeypatch.setattr(publishers, "STARTING_S", 0.0)
    await statuses.write(edge.streams.store, live("ada"))
    assert (await starts(place, place, place))[1:] == [201, 201]
    await statuses.write(edge.streams.store, live("bob"))
    assert await starts(place, place, place) == [201, 201, 429]
    refused = await people[2].http.post("/whip", content=OFFER, headers=place)
    assert "2 streams" in refused.json()["detail"] and refused.headers["retry-after"]
    await statuses.write(edge.streams.store, replace(live("bob"), state=StreamState.ENDED))
    assert (await starts(SDP, SDP, place))[2] == 201


async def test_streams_that_start_at_once_count_each_other(make_edge: MakeEdge) -> None:
    """Never more than the limit."""
    edge = make_edge(rates={"streams": "2"})
    people = [await edge.person(f"name-{n}") for n in range(4)]
    place = {"x-forwarded-for": "198.51.100.1", **SDP}
    answers = await asyncio.gather(
        *(each.http.post("/whip", content=OFFER, headers=place) for each in people)
    )
    assert [answer.status_code for answer in answers].count(201) <= 2


async def test_what_people_do_often_has_a_limit(make_edge: MakeEdge) -> None:
    """Requests, look-ups and changes, for each user: the next one is 429, others go on."""
    limits = {"friends": "2/minute", "look_ups": "2/minute", "changes": "2/minute"}
    edge = make_edge(rates=limits)
    ada, bob = await edge.person("ada"), await edge.person("bob")
    for method, path in (
        ("PUT", "/api/friends/bob"),
        ("GET", "/api/users/eve"),
        ("PATCH", "/api/stream"),
    ):
        answers = [await ada.http.request(method, path, json={}) for _ in range(3)]
        assert [answer.status_code == 429 for answer in answers] == [False, False, True], path
        assert answers[-1].headers["retry-after"]
        assert (await bob.http.request(method, path, json={})).status_code != 429
    for method, path in (
        ("DELETE", "/api/friends/bob"),
        ("PUT", "/api/blocks/bob"),
        ("DELETE", "/api/blocks/bob"),
        ("GET", "/api/users/eve/recordings"),
    ):
        assert (await ada.http.request(method, path)).status_code == 429, path
    assert (await ada.http.patch("/whip/sessions/any")).status_code == 429


@pytest.mark.parametrize(
    ("name", "limit"), [("streams", "2/minute"), ("offers", "7"), ("stream", "7")]
)
def test_limits_have_a_name_and_a_form(make_edge: MakeEdge, name: str, limit: str) -> None:
    """A mistake is told at the start, not found when it is needed."""
    with pytest.raises(ValueError, match=f"{name} (must be|is not one of)"):
        make_edge(rates={name: limit})


async def test_numbers_and_switches_are_what_they_say(edge: Edge) -> None:
    """`true` is no number; what we do not know is left alone."""
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    for value, status in ((True, 422), ("3", 422), (-1, 422), (3, 200), (2.5, 200), (None, 200)):
        body = {"attenuation_limit_db": value}
        assert (await ada.http.patch("/api/stream", json=body)).status_code == status, value
    for value in (0, 1, "true", None):
        assert (await ada.http.patch("/api/stream", json={"denoise": value})).status_code == 422
    assert (await ada.http.patch("/api/stream", json={"of_tomorrow": 1})).status_code == 200


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("  Birds \u2600 ", "Birds \u2600"),
        ("x" * 80, "x" * 80),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
async def test_a_title_is_a_short_line(edge: Edge, title: str | None, kept: str | None) -> None:
    """What is empty is null; the same as a query parameter."""
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    changed = await ada.http.patch("/api/stream", json={"title": title})
    assert changed.status_code == 200 and changed.json()["title"] == kept
    asked = {"title": "null" if title is None else title}
    begun = await ada.http.post("/whip", content=OFFER, headers=SDP, params=asked)
    assert begun.status_code == 201 and edge.streams.settings == [{"title": kept}]


@pytest.mark.parametrize("title", ["x" * 81, "a\nb", "a\x00", "a\x85b", 7, True, [], {}])
async def test_other_titles_are_refused_with_a_sentence(edge: Edge, title: object) -> None:
    """Too long, on several lines, no text."""
    ada = await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    answer = await ada.http.patch("/api/stream", json={"title": title})
    assert answer.status_code == 422
    assert answer.json() == {"detail": "A title has up to 80 characters, on one line."}
    broken = await ada.http.patch("/api/stream", content=b'{"title": "\\ud800"}')
    assert broken.status_code == 422


async def test_a_stream_begins_with_settings_in_its_address(edge: Edge) -> None:
    """Those of PATCH /api/stream; only what is given counts, and nonsense begins nothing."""
    ada = await edge.person("ada")

    async def begin(**asked: str) -> int:
        answer = await ada.http.post("/whip", content=OFFER, headers=SDP, params=asked)
        return answer.status_code

    assert await begin(denoise="false", attenuation_limit_db="12", of_tomorrow="1") == 201
    assert await begin(attenuation_limit_db="null", post_filter="true", model="dfn2") == 201
    assert await begin() == 201
    given = list(edge.streams.settings)
    assert given == [
        {"denoise": False, "attenuation_limit_db": 12.0},
        {"attenuation_limit_db": None, "post_filter": True, "model": "dfn2"},
        {},
    ]
    for name, value in (
        ("denoise", "maybe"), ("denoise", "null"), ("attenuation_limit_db", "-1"),
        ("attenuation_limit_db", "nan"), ("attenuation_limit_db", "inf"), ("muted", ""),
        ("title", "x" * 81), ("title", "a\nb"), ("post_filter", "2"), ("model", "dfn3"),
        ("model", "x" * 65), ("undenoised_on_overload", "x"),
    ):  # fmt: skip
        assert await begin(**{name: value}) == 422, (name, value)
    assert edge.streams.settings == given
