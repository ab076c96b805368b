"""Who may do what: every route of the application, six callers each.

The table below is the whole of it; a route that is missing from it fails the test. `pytest -s`
prints what was answered. The presence socket's refusals are in test_presence_socket.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from tests import statuses
from tests.edge.conftest import PASSWORD, Edge, MakeEdge
from tests.edge.made_up import OFFER, live
from tests.edge.test_recordings import stored
from tests.media.test_preview import wav

CALLERS = ("anonymous", "stranger", "friend", "guest", "owner", "admin")
SDP = {"content-type": "application/sdp"}
FRAGMENT = {"content-type": "application/trickle-ice-sdpfrag"}


@dataclass(frozen=True)
class Row:
    """A route, what is sent to it, and the statuses for CALLERS.

    `answers` leaves two out: an administrator is a stranger unless `admin` says otherwise, and a
    guest, who has a link of the owner, is forbidden what is not for everybody, unless `guest` says
    otherwise. In paths, {ada} is the owner, {session}, {recording} and {link} hers. `told`: words
    that only friend and owner, and a guest who gets an answer, may find in it.
    """

    method: str
    route: str
    answers: tuple[int, int, int, int]
    json: Any = None
    content: str | bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    told: str | None = None
    admin: int | None = None
    guest: int | None = None

    @property
    def expected(self) -> tuple[int, ...]:
        """The statuses for CALLERS."""
        anonymous, stranger = self.answers[:2]
        admin = stranger if self.admin is None else self.admin
        guest = (403 if anonymous == 401 else anonymous) if self.guest is None else self.guest
        return (*self.answers[:3], guest, self.answers[3], admin)

    @property
    def path(self) -> str:
        """The path with Ada's things in it."""
        names = {
            "name": "{ada}",
            "recording_id": "{recording}",
            "session": "{session}",
            "sign_in_id": "{sign_in}",
            "link_id": "{link}",
            "token": "anything",
            "name:path": "nothing.js",
        }
        path = self.route
        for parameter, value in names.items():
            path = path.replace("{" + parameter + "}", value)
        return path


SIGNED = (401, 200, 200, 200)
"""Everybody who is signed in, each for themselves."""
EVERYBODY = (200, 200, 200, 200)
FORBIDDEN = (401, 403, 403, 403)
STREAM = "stream-of-ada"
CLIP = wav(np.zeros(480, np.float32))

TABLE = [
    Row("POST", "/api/accounts", (201, 201, 201, 201), {"username": "{new}", "password": PASSWORD}),
    Row("GET", "/api/sign-up", EVERYBODY),
    Row("POST", "/api/session", EVERYBODY, {"username": "ada", "password": PASSWORD}),
    Row("DELETE", "/api/session", (401, 204, 204, 204)),
    Row("GET", "/api/me", SIGNED),
    Row("DELETE", "/api/me", (401, 204, 204, 204), {"password": PASSWORD}),
    Row("PUT", "/api/me/password", (401, 204, 204, 204),
        {"current": PASSWORD, "new": "another horse"}),
    Row("GET", "/api/me/sign-ins", SIGNED),
    Row("DELETE", "/api/me/sign-ins", (401, 204, 204, 204)),
    Row("DELETE", "/api/me/sign-ins/{sign_in_id}", (401, 404, 404, 204)),
    Row("GET", "/api/blocks", SIGNED),
    Row("PUT", "/api/blocks/{name}", (401, 204, 204, 422)),
    Row("DELETE", "/api/blocks/{name}", (401, 204, 204, 204)),
    Row("GET", "/api/friends", SIGNED),
    Row("PUT", "/api/friends/{name}", (401, 200, 200, 422)),
    Row("DELETE", "/api/friends/{name}", (401, 404, 204, 404)),
    Row("GET", "/api/users/{name}", SIGNED, told=STREAM, guest=200),
    Row("GET", "/api/streams", SIGNED, told=STREAM),
    Row("PATCH", "/api/stream", (401, 409, 409, 200), {"denoise": False}),
    Row("POST", "/api/preview", SIGNED, content=CLIP, headers=(("content-type", "audio/wav"),)),
    Row("GET", "/api/stream/listeners", (401, 409, 409, 200)),
    Row("POST", "/api/stream/stop", (401, 204, 204, 204)),
    Row("GET", "/api/users/{name}/recordings", (401, 403, 200, 200), told="peaks", guest=200),
    Row("GET", "/api/recordings/{recording_id}", (401, 404, 200, 200), told="peaks", guest=200),
    Row("GET", "/api/recordings/{recording_id}/audio", (401, 404, 200, 200), guest=200),
    Row("PATCH", "/api/recordings/{recording_id}", (401, 404, 403, 200), {"title": "Mine"}),
    Row("DELETE", "/api/recordings/{recording_id}", (401, 404, 403, 204)),
    Row("POST", "/api/recordings/{recording_id}/restore", (401, 404, 404, 404)),
    Row("POST", "/api/links", (401, 201, 201, 201), {}),
    Row("GET", "/api/links", SIGNED),
    Row("DELETE", "/api/links/{link_id}", (401, 404, 404, 204)),
    Row("GET", "/api/link", FORBIDDEN, guest=200),
    Row("GET", "/api/admin/streams", FORBIDDEN, admin=200),
    Row("DELETE", "/api/admin/streams/{name}", FORBIDDEN, admin=204),
    Row("GET", "/api/admin/accounts", FORBIDDEN, admin=200),
    Row("PUT", "/api/admin/accounts/{name}", FORBIDDEN, {"disabled": True}, admin=200),
    Row("DELETE", "/api/admin/recordings/{recording_id}", FORBIDDEN, admin=204),
    Row("POST", "/whip", (401, 201, 201, 201), content=OFFER, headers=tuple(SDP.items())),
    Row("POST", "/whep/{name}", (401, 403, 201, 201), content=OFFER, headers=tuple(SDP.items()),
        guest=201),
    *(
        row
        for kind in ("whip", "whep")
        for row in (
            Row("PATCH", f"/{kind}/sessions/{{session}}", (401, 403, 403, 204),
                content="a=mid:0\r\n", headers=tuple(FRAGMENT.items())),
            Row("DELETE", f"/{kind}/sessions/{{session}}", (401, 403, 403, 200)),
            Row("OPTIONS", f"/{kind}/sessions/{{session}}", (204, 204, 204, 204)),
        )
    ),
    Row("OPTIONS", "/whip", (204, 204, 204, 204)),
    Row("OPTIONS", "/whep/{name}", (204, 204, 204, 204)),
    Row("GET", "/", EVERYBODY),
    Row("GET", "/u/{name}", EVERYBODY),
    Row("GET", "/r/{recording}", EVERYBODY),
    Row("GET", "/l/{token}", EVERYBODY),
    Row("GET", "/admin", EVERYBODY),
    Row("GET", "/static/{name:path}", (404, 404, 404, 404)),
    Row("GET", "/healthz", EVERYBODY),
    Row("GET", "/readyz", EVERYBODY),
]  # fmt: skip


ELSEWHERE = {"/api/presence", "/openapi.json"}
"""The socket, and the schema, which holds no secret."""


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """List what is answered: method and path."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in route.methods or ())
        elif hasattr(route, "original_router"):  # a router that the application includes
            yield from routes_of(route.original_router.routes)
        else:
            assert isinstance(route, WebSocketRoute | Route | Mount)
            assert route.path in ELSEWHERE, f"who may use {route.path}?"


async def test_the_table_is_complete(edge: Edge) -> None:
    """Every route is in it, and it holds no other."""
    assert sorted((row.method, row.route) for row in TABLE) == sorted(routes_of(edge.api.routes))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.route}")
async def test_who_may(make_edge: MakeEdge, tmp_path: Path, row: Row) -> None:
    """Nobody gets more than the table says; what is refused changed nothing."""
    edge = make_edge(admins=("root",))
    owner = await edge.person("ada")
    friend, stranger = await edge.person("bob"), await edge.person("eve")
    admin = await edge.person("root")
    await edge.befriend("ada", "bob")
    recording = await stored(edge, "ada", tmp_path)
    await statuses.write(edge.streams.store, live("ada"))
    opened = await owner.http.post("/whip", content=OFFER, headers=SDP)
    session = opened.headers["location"].rpartition("/")[2]
    [sign_in] = await edge.services.accounts.sign_ins("ada")
    links = [
        await edge.services.links.make("ada", label=None, expires_in_s=300, recordings=True)
        for _ in range(2)
    ]
    guest = edge.client(authorization=f"Bearer {links[0][0]}")
    link = links[1][1]
    callers = (edge.client(), stranger.http, friend.http, guest, owner.http, admin.http)
    answers = []
    for caller, http in zip(CALLERS, callers, strict=True):
        path = row.path.format(
            ada="ada", recording=recording.id, session=session, sign_in=sign_in.id, link=link.id
        )
        body = row.json
        if isinstance(body, dict) and body.get("username") == "{new}":
            body = {**body, "username": f"new-{caller}"}
        answer = await http.request(
            row.method, path, json=body, content=row.content, headers=dict(row.headers)
        )
        answers.append(answer)
        if caller not in ("owner", "admin"):
            await _unharmed(owner.http, recording.id)
    print(f"\n{row.method:8}{row.route:36}", *(answer.status_code for answer in answers))
    assert tuple(answer.status_code for answer in answers) == row.expected
    for answer in answers:
        if answer.status_code >= 400:
            assert set(answer.json()) == {"detail"}
    if row.told:
        told = [False, False, True, row.guest == 200, True, False]
        assert [row.told in answer.text for answer in answers] == told


async def _unharmed(ada: httpx.AsyncClient, recording_id: str) -> None:
    """Check that Ada still has her account, her stream as it was, and her recording."""
    me = (await ada.get("/api/me")).json()
    assert me["username"] == "ada" and me["stream"]["denoise"] is True
    assert (await ada.get(f"/api/recordings/{recording_id}")).status_code == 200
