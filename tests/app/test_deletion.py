"""Deleting an account deletes everything in it."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from foundation.redis import RedisClient, connect
from recordings.store import RecordingStore, StoreConfig
from tests.app.client import Person, delete_account
from tests.peers import encode
from tests.running import App
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = pytest.mark.slow

PACKETS = encode(speech_like(1.0))
People = Callable[[], Awaitable[Person]]


async def test_a_deleted_account_takes_everything_with_it(
    app: App, people: People, valkey: str, s3: StoreConfig
) -> None:
    """The stream ends, recordings and friends are gone, the token is void, the name is free.

    Nothing is left that names it: no key, no object, no spool. Counts of tries and the owners of
    ended sessions forget themselves, within an hour.
    """
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    _, session = await ada.publish(PACKETS)
    await until(lambda: _live(ada))
    await ada.http.delete(session)
    await until(lambda: _stored(ada))
    await ada.publish(PACKETS)
    await until(lambda: _live(ada))
    assert (await delete_account(ada)).status_code == 204
    assert (await ada.http.get("/api/me")).status_code == 401
    assert (await bob.http.get(f"/api/users/{ada.username}")).status_code == 404
    assert (await bob.http.get("/api/friends")).json()["friends"] == []
    await until(lambda: _nothing_names(ada.username, app, valkey, s3))
    async with httpx.AsyncClient(base_url=app.url) as http:
        again = {"username": ada.username, "password": "a new person"}
        assert (await http.post("/api/accounts", json=again)).status_code == 201
        token = (await http.post("/api/session", json=again)).json()["token"]
        signed = {"authorization": f"Bearer {token}"}
        found = await http.get(f"/api/users/{ada.username}/recordings", headers=signed)
        assert found.json() == []


async def _nothing_names(username: str, app: App, valkey: str, s3: StoreConfig) -> bool:
    store = RecordingStore(s3)
    try:
        objects = [key for key in store.list_keys() if username in key]
    finally:
        store.close()
    async with connect(valkey) as redis:
        passing = ("hushcast:limit:", "hushcast:session:")
        keys = [key async for key in redis.scan_iter("*") if not key.startswith(passing)]
        values = {key: await _everything_in(redis, key) for key in keys}
    named = [key for key, value in values.items() if username in key + value]
    spools = [path for path in (app.data_dir / "spool").iterdir() if path.suffix != ".lock"]
    return not objects + named + spools


async def _everything_in(redis: RedisClient, key: str) -> str:
    read: dict[str, Callable[[str], Awaitable[Any]]] = {
        "string": redis.get, "hash": redis.hgetall, "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1), "list": lambda key: redis.lrange(key, 0, -1),
        "none": redis.get,
    }  # fmt: skip
    return str(await read[str(await redis.type(key))](key))


async def _stored(person: Person) -> bool:
    recordings = await person.recordings()
    return bool(recordings) and recordings[0]["state"] == "ready"


async def _live(person: Person) -> bool:
    stream = await person.stream()
    return stream is not None and stream["state"] == "live"
