"""Administrators: what they see and end, and what stays closed to them."""

from pathlib import Path

import pytest

from recordings.store import ObjectMissing
from tests import statuses
from tests.edge.conftest import PASSWORD, Edge, MakeEdge, Person
from tests.edge.made_up import OFFER, live
from tests.edge.test_recordings import SOUND, stored

SDP = {"content-type": "application/sdp"}


@pytest.fixture
async def edge(make_edge: MakeEdge) -> Edge:
    """An ingress with an administrator."""
    return make_edge(admins=("root",))


@pytest.fixture
async def root(edge: Edge) -> Person:
    """The administrator."""
    return await edge.person("root")


async def test_streams_are_seen_and_ended_but_not_heard(edge: Edge, root: Person) -> None:
    """Everybody's, without being anybody's friend."""
    await edge.person("ada")
    await statuses.write(edge.streams.store, live("ada"))
    await statuses.write(edge.streams.store, live("bob"))
    streams = (await root.http.get("/api/admin/streams")).json()
    assert [stream["username"] for stream in streams] == ["ada", "bob"]
    assert (await root.http.post("/whep/ada", content=OFFER, headers=SDP)).status_code == 403
    assert (await root.http.get("/api/streams")).json() == []
    assert (await root.http.delete("/api/admin/streams/ada")).status_code == 204
    assert edge.streams.stopped == [("ada", None)]
    assert (await root.http.delete("/api/admin/streams/ada")).status_code == 404


async def test_accounts_are_seen_and_disabled(edge: Edge, root: Person, tmp_path: Path) -> None:
    """A disabled one has no sign-in and no stream, and gets none until it is enabled."""
    ada = await edge.person("ada")
    await stored(edge, "ada", tmp_path)
    await statuses.write(edge.streams.store, live("ada"))
    seen = {each["username"]: each for each in (await root.http.get("/api/admin/accounts")).json()}
    assert seen.keys() == {"ada", "root"} and seen["root"]["admin"]
    assert seen["ada"]["used_bytes"] == len(SOUND) and not seen["ada"]["disabled"]
    path, credentials = "/api/admin/accounts/ada", {"username": "ada", "password": PASSWORD}
    changed = await root.http.put(path, json={"disabled": True})
    assert changed.json() == {**seen["ada"], "disabled": True}
    assert ("ada", None) in edge.streams.stopped
    assert (await ada.http.get("/api/me")).status_code == 401
    assert (await edge.client().post("/api/session", json=credentials)).status_code == 403
    assert (await root.http.put(path, json={"disabled": False})).json()["disabled"] is False
    assert (await edge.client().post("/api/session", json=credentials)).status_code == 200


async def test_a_recording_is_deleted_unheard(edge: Edge, root: Person, tmp_path: Path) -> None:
    """From the list and from the store."""
    await edge.person("ada")
    recording = await stored(edge, "ada", tmp_path)
    assert (await root.http.get(f"/api/recordings/{recording.id}/audio")).status_code == 404
    assert (await root.http.delete(f"/api/admin/recordings/{recording.id}")).status_code == 204
    assert await edge.services.index.get(recording.id) is None
    with pytest.raises(ObjectMissing):
        edge.services.store.size(recording.key)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/api/admin/accounts/nobody", {"disabled": True}, 404),
        ("PUT", "/api/admin/accounts/root", {"disabled": True}, 422),
        ("PUT", "/api/admin/accounts/ada", {"disabled": "yes"}, 422),
        ("PUT", "/api/admin/accounts/ada", {}, 422),
        ("DELETE", "/api/admin/streams/nobody", None, 404),
        ("DELETE", "/api/admin/recordings/nothing", None, 404),
        ("DELETE", "/api/admin/recordings/01m8a3d1chxxxxxxxxxxxxxxxx", None, 404),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_sentence(
    edge: Edge, root: Person, method: str, path: str, body: object, status: int
) -> None:
    """Unknown names and ids, an administrator who would lock themselves out."""
    answer = await root.http.request(method, path, json=body)
    assert answer.status_code == status and answer.json()["detail"]


async def test_a_page_learns_that_it_is_an_administrators(edge: Edge, root: Person) -> None:
    """Others learn that they are none."""
    ada = await edge.person("ada")
    assert [(await p.http.get("/api/me")).json()["admin"] for p in (root, ada)] == [True, False]
