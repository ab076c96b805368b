"""Recordings over HTTP, on a real S3."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from foundation.ids import new_id
from recordings.index import Reason, Recording, RecordingState, account_key
from recordings.names import Copy, recording_key
from recordings.retention import delete_due
from recordings.store import Beside, ObjectMissing, RecordingStore, StoreConfig, StoreUnavailable
from tests.edge.conftest import PASSWORD, Edge, MakeEdge

SOUND = bytes(range(256)) * 8


def recording_of(username: str, state: RecordingState = RecordingState.READY) -> Recording:
    """Make an entry of a moment in November 2023."""
    recording_id = new_id()
    key = recording_key(username, 1.7e9, recording_id)
    return Recording(recording_id, username, "s1", 1.7e9, 0.02, len(SOUND), state, (0.5,), key)


async def stored(edge: Edge, username: str, folder: Path) -> Recording:
    """Keep a sound in bucket and index."""
    account = await edge.services.index.account_of(username)
    recording = replace(recording_of(username), account=account)
    path = folder / f"{recording.id}.wav"
    path.write_bytes(SOUND)
    await asyncio.to_thread(edge.services.store.put, path, recording.key)
    await edge.services.index.put(recording)
    return recording


@pytest.fixture
def unreachable(store_config: StoreConfig) -> Iterator[RecordingStore]:
    """A store that does not answer."""
    store = RecordingStore(replace(store_config, endpoint="http://127.0.0.1:9"))
    yield store
    store.close()


@pytest.mark.parametrize(
    ("wanted", "status", "got"),
    [
        (None, 200, SOUND),
        ("bytes=0-11", 206, SOUND[:12]),
        ("bytes=-8", 206, SOUND[-8:]),
        ("bytes=2000-", 206, SOUND[2000:]),
        ("bytes=9999-", 416, None),
        ("garbage", 200, SOUND),
    ],
)
async def test_sound_plays_in_ranges(
    edge: Edge, tmp_path: Path, wanted: str | None, status: int, got: bytes | None
) -> None:
    """Whole, in part, or 416 with the size; strangers hear of none."""
    ada, eve = await edge.person("ada"), await edge.person("eve")
    recording = await stored(edge, "ada", tmp_path)
    path = f"/api/recordings/{recording.id}/audio"
    answer = await ada.http.get(path, headers={"range": wanted} if wanted else {})
    assert answer.status_code == status
    if got is None:
        assert answer.headers["content-range"] == f"bytes */{len(SOUND)}"
    else:
        assert answer.content == got and answer.headers["accept-ranges"] == "bytes"
    assert (await eve.http.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("username", "name"),
    [
        ("ada", "ada 2023-11-14 22.13.20.wav"),
        ("_ada-", "ada- 2023-11-14 22.13.20.wav"),
        ("---", "recording 2023-11-14 22.13.20.wav"),
    ],
)
async def test_downloads_have_readable_names(
    make_edge: MakeEdge, store_config: StoreConfig, tmp_path: Path, username: str, name: str
) -> None:
    """Relayed and by presigned URL, whatever the user's name."""
    edge = make_edge()
    ada = await edge.person(username)
    recording = await stored(edge, username, tmp_path)
    path = f"/api/recordings/{recording.id}/audio?download=1"
    through = await ada.http.get(path)
    assert through.headers["content-disposition"] == f'attachment; filename="{name}"'
    public = RecordingStore(replace(store_config, public_endpoint=store_config.endpoint))
    redirected = make_edge(other_store=public)
    client = redirected.client(authorization=f"Bearer {ada.token}")
    answer = await client.get(path)
    assert answer.status_code == 307 and "no-store" in answer.headers["cache-control"]
    assert name.split(" ")[0] in answer.headers["location"]
    public.close()


@pytest.mark.parametrize("state", [RecordingState.RECORDING, RecordingState.STORING])
async def test_what_is_not_stored_yet_is_409(edge: Edge, state: RecordingState) -> None:
    """With Retry-After; it is listed and described before."""
    ada = await edge.person("ada")
    recording = recording_of("ada", state)
    await edge.services.index.put(recording)
    answer = await ada.http.get(f"/api/recordings/{recording.id}/audio")
    assert answer.status_code == 409 and answer.headers["retry-after"]
    told = (await ada.http.get(f"/api/recordings/{recording.id}")).json()
    assert told["state"] == state and told["started_at"] == "2023-11-14T22:13:20.000Z"
    assert "key" not in told


async def test_ids_that_are_none_are_404(edge: Edge) -> None:
    """Also the one under which Redis remembers that a recording was deleted."""
    ada = await edge.person("ada")
    recording = recording_of("ada")
    await edge.services.index.put(recording)
    assert (await ada.http.delete(f"/api/recordings/{recording.id}")).status_code == 204
    for wrong in (recording.id, f"{recording.id}:removed", "of:ada", "x" * 64, "%00", "é"):
        for method, path in (("GET", ""), ("GET", "/audio"), ("DELETE", "")):
            answer = await ada.http.request(method, f"/api/recordings/{wrong}{path}")
            assert answer.status_code == 404, (wrong, answer.text)


async def test_lists_are_for_friends_and_in_pages(edge: Edge) -> None:
    """Newest first, `before` an id, `limit` of them; 403 for strangers, 422 for nonsense."""
    ada, bob, eve = [await edge.person(name) for name in ("ada", "bob", "eve")]
    await edge.befriend("ada", "bob")
    entries = [recording_of("ada") for _ in range(5)]
    for entry in entries:
        await edge.services.index.put(entry)
    ids = sorted((entry.id for entry in entries), reverse=True)
    path = "/api/users/ada/recordings"
    first = (await bob.http.get(path, params={"limit": 2})).json()
    rest = (await bob.http.get(path, params={"before": first[-1]["id"]})).json()
    assert [entry["id"] for entry in first + rest] == ids
    assert (await eve.http.get(path)).status_code == 403
    assert (await ada.http.get("/api/users/nobody/recordings")).status_code == 404
    for nonsense in ({"limit": 0}, {"limit": 10_000}, {"before": "(ada"}):
        answer = await bob.http.get(path, params=nonsense)
        assert answer.status_code == 422 and isinstance(answer.json()["detail"], str)
    assert (await bob.http.delete(f"/api/recordings/{ids[0]}")).status_code == 403
    assert (await eve.http.delete(f"/api/recordings/{ids[0]}")).status_code == 404


async def test_a_deletion_that_failed_can_be_tried_again(
    make_edge: MakeEdge, unreachable: RecordingStore, tmp_path: Path
) -> None:
    """While the store is away nothing is forgotten; afterwards nothing is left."""
    edge, cut_off = (
        make_edge(admins=("root",)),
        make_edge(other_store=unreachable, admins=("root",)),
    )
    ada, root = await edge.person("ada"), await edge.person("root")
    recording = await stored(edge, "ada", tmp_path)
    for who, path in ((root, f"/api/admin/recordings/{recording.id}"), (ada, "/api/me")):
        client = cut_off.client(authorization=f"Bearer {who.token}")
        answer = await client.request("DELETE", path, json={"password": PASSWORD})
        assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
    assert await edge.services.index.get(recording.id) == recording
    assert (await ada.http.delete(f"/api/recordings/{recording.id}")).status_code == 204
    with pytest.raises(StoreUnavailable):
        await due_now(edge, unreachable)
    assert (await ada.delete_account()).status_code == 204
    assert await edge.services.index.list("ada") == []
    with pytest.raises(ObjectMissing):
        edge.services.store.open(recording.key)
    assert edge.streams.stopped
    assert await edge.services.index.list_deleted("ada") == []


async def due_now(edge: Edge, store: RecordingStore) -> None:
    """Delete for good what was deleted, as if its time were over."""
    due: list[Any] = await edge.redis.zrange("hushcast:recordings:due", 0, -1)
    for each in due:
        await edge.redis.zadd("hushcast:recordings:due", {each: 0})
    await delete_due(edge.services.index, store)


async def test_a_deleted_recording_can_be_restored_for_a_while(edge: Edge, tmp_path: Path) -> None:
    """It is gone for everybody at once, back if its owner says so in time, and then really gone."""
    ada, bob, eve = [await edge.person(name) for name in ("ada", "bob", "eve")]
    await edge.befriend("ada", "bob")
    recording = await stored(edge, "ada", tmp_path)
    index, store = edge.services.index, edge.services.store
    path = f"/api/recordings/{recording.id}"
    assert (await ada.http.post(f"{path}/restore")).status_code == 404, "it is not deleted"
    before = (await ada.http.get(path)).json()
    assert (await ada.http.delete(path)).status_code == 204
    for person in (ada, bob):
        assert (await person.http.get("/api/users/ada/recordings")).json() == []
        for method, what in (("GET", ""), ("GET", "/audio"), ("PATCH", ""), ("DELETE", "")):
            answer = await person.http.request(method, path + what, json={"title": None})
            assert answer.status_code == 404
    assert (await ada.http.get("/api/me")).json()["storage"]["used_bytes"] == len(SOUND)
    await delete_due(index, store)
    for person, status in ((eve, 404), (bob, 403), (ada, 200), (ada, 404)):
        answer = await person.http.post(f"{path}/restore")
        assert answer.status_code == status, person.username
        assert status != 200 or answer.json() == before
    assert (await bob.http.get(f"{path}/audio")).content == SOUND
    assert (await ada.http.delete(path)).status_code == 204
    await due_now(edge, store)
    assert (await ada.http.post(f"{path}/restore")).status_code == 404
    assert not store.exists(recording.key) and not await index.put(recording)
    assert (await ada.http.get("/api/me")).json()["storage"]["used_bytes"] == 0


async def test_what_is_due_cannot_be_restored(edge: Edge, tmp_path: Path) -> None:
    """Even if nobody has deleted it yet: otherwise it could come back without its sound."""
    ada = await edge.person("ada")
    recording = await stored(edge, "ada", tmp_path)
    await edge.services.index.delete(recording, Reason.OWNER, undo_s=0)
    assert (await ada.http.post(f"/api/recordings/{recording.id}/restore")).status_code == 404


async def test_a_title_belongs_to_the_owner(edge: Edge, tmp_path: Path) -> None:
    """Friends read it. It stays through everything that is written later, even by the bucket."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    await edge.befriend("ada", "bob")
    recording = await stored(edge, "ada", tmp_path)
    path = f"/api/recordings/{recording.id}"
    for title, kept in (
        ("  Über 2 Brücken ", "Über 2 Brücken"),
        ("", None),
        ("\u200b \u3164\ufeff", None),  # nothing would be seen of it
        ("\u202egpj.\u2066exe", "gpj.exe"),  # nor is it to be read backwards
        (
            "\U0001f469\u200d\U0001f3a4 \u05e9\u05dc\u05d5\u05dd",
            "\U0001f469\u200d\U0001f3a4 \u05e9\u05dc\u05d5\u05dd",
        ),
        ("x" * 80, "x" * 80),
    ):
        answer = await ada.http.patch(path, json={"title": title})
        assert answer.status_code == 200 and answer.json()["title"] == kept
        assert (await bob.http.get(path)).json()["title"] == kept
    for wrong in ({"title": "x" * 81}, {"title": "a\nb"}, {"title": "a\u2029b"}, {"title": 5}, {}):
        assert (await ada.http.patch(path, json=wrong)).status_code == 422, wrong
    assert (await bob.http.patch(path, json={"title": "mine"})).status_code == 403
    assert (await edge.services.index.put(recording)) == replace(recording, title="x" * 80)
    beside = Beside((0.5,), "x" * 80, recording.account)
    assert edge.services.store.get_beside(recording.key) == beside


async def test_formats_are_made_when_they_are_asked_for(
    make_edge: MakeEdge, store_config: StoreConfig, tmp_path: Path
) -> None:
    """409 until they are there, within limits; then they play in ranges, or from the store."""
    edge = make_edge(rates={"copies": "2/hour"})
    ada, eve = await edge.person("ada"), await edge.person("eve")
    recording = await stored(edge, "ada", tmp_path)
    path = f"/api/recordings/{recording.id}/audio"
    for name in ("small", "small", "flac"):
        answer = await ada.http.get(path, params={"format": name})
        assert answer.status_code == 409 and answer.headers["retry-after"]
    wanted = await edge.services.index.copies.wanted()
    assert sorted(wanted) == [(recording.id, Copy.FLAC), (recording.id, Copy.SMALL)]
    other = await stored(edge, "ada", tmp_path)
    answer = await ada.http.get(f"/api/recordings/{other.id}/audio?format=small")
    assert answer.status_code == 429 and len(await edge.services.index.copies.wanted()) == 2
    assert (await eve.http.get(path, params={"format": "small"})).status_code == 404
    assert (await ada.http.get(path, params={"format": "mp3"})).status_code == 422
    with (tmp_path / f"{recording.id}.wav").open("rb") as file:
        edge.services.store.put_copy(file, recording.key, Copy.SMALL)
    await edge.services.index.change(recording, copies=(Copy.SMALL,), title="Über")
    assert (await ada.http.get(path.removesuffix("/audio"))).json()["formats"] == ["wav", "small"]
    part = await ada.http.get(
        path, params={"format": "small", "download": 1}, headers={"range": "bytes=5-9"}
    )
    assert part.status_code == 206 and part.content == SOUND[5:10]
    assert part.headers["content-type"] == "audio/mp4"
    assert part.headers["content-disposition"] == (
        'attachment; filename="ada 2023-11-14 22.13.20 Uber.m4a"; '
        "filename*=UTF-8''ada%202023-11-14%2022.13.20%20%C3%9Cber.m4a"
    )
    public = RecordingStore(replace(store_config, public_endpoint=store_config.endpoint))
    client = make_edge(other_store=public).client(authorization=f"Bearer {ada.token}")
    answer = await client.get(path, params={"format": "small", "download": 1})
    assert answer.status_code == 307
    async with httpx.AsyncClient() as browser:
        named = await browser.get(answer.headers["location"])
    assert named.content == SOUND and named.headers["content-type"] == "audio/mp4"
    assert named.headers["content-disposition"] == part.headers["content-disposition"]
    public.close()
    edge.services.store.delete(recording.key)
    assert (await ada.http.get(path, params={"format": "small"})).status_code == 409, "made again"
    assert (await ada.http.get(path)).status_code == 404


async def test_lists_have_a_hundred_peaks_each(edge: Edge) -> None:
    """One recording has all of them; a peak is never lost on the way."""
    ada = await edge.person("ada")
    peaks = tuple(0.001 * (i == 457) for i in range(1000))
    recording = replace(recording_of("ada"), peaks=peaks)
    await edge.services.index.put(recording)
    [listed] = (await ada.http.get("/api/users/ada/recordings")).json()
    assert [i for i, peak in enumerate(listed["peaks"]) if peak] == [45]
    assert len(listed["peaks"]) == 100
    alone = (await ada.http.get(f"/api/recordings/{recording.id}")).json()
    assert alone["peaks"] == list(peaks)


async def test_the_caller_learns_what_they_use_and_may_use(make_edge: MakeEdge) -> None:
    """Before a stream that would not be recorded."""
    edge = make_edge(max_gb_per_user=0.0005)
    ada = await edge.person("ada")
    for used, full in ((400_000, False), (98_930, True)):
        await edge.services.index.put(replace(recording_of("ada"), size_bytes=used))
        storage = (await ada.http.get("/api/me")).json()["storage"]
        assert storage["limit_bytes"] == 500_000 and storage["full"] is full
    assert storage["used_bytes"] == 498_930


async def test_whoever_has_a_name_later_gets_none_of_its_recordings(
    edge: Edge, tmp_path: Path
) -> None:
    """By id neither: not to hear, name, delete or restore, nor for friends of the name."""
    ada, bob = await edge.person("ada"), await edge.person("bob")
    await edge.befriend("ada", "bob")
    kept, deleted = [await stored(edge, "ada", tmp_path) for _ in range(2)]
    assert (await ada.http.get(f"/api/recordings/{kept.id}")).status_code == 200
    await edge.services.index.delete(deleted, Reason.OWNER)
    document = await edge.redis.get(account_key("ada"))
    await edge.redis.delete(account_key("ada"))  # Redis is lost; the index comes back
    heir = await edge.person("ada")
    path = f"/api/recordings/{kept.id}"
    assert (await heir.http.get("/api/users/ada/recordings")).json() == []
    assert (await bob.http.get("/api/users/ada/recordings")).json() == []
    for answer in (
        await heir.http.get(path),
        await bob.http.get(f"{path}/audio"),
        await heir.http.get(f"{path}/audio?format=flac"),
        await heir.http.patch(path, json={"title": "Mine"}),
        await heir.http.delete(path),
        await heir.http.post(f"/api/recordings/{deleted.id}/restore"),
    ):
        assert answer.status_code == 404
    assert (await heir.http.get("/api/me")).json()["storage"]["used_bytes"] == 0
    assert (await heir.delete_account()).status_code == 204
    assert await asyncio.to_thread(edge.services.store.exists, kept.key)
    assert document is not None
    await edge.redis.set(account_key("ada"), document)
    assert [each.id for each in await edge.services.index.list("ada")] == [kept.id]
