"""From spool to verified object, whatever dies or goes away in between."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from foundation.ids import new_id
from foundation.redis import RedisClient, connect
from recordings.finish import discard, discard_user, finish
from recordings.index import CHANNEL, Reason, Recording, RecordingChange, RecordingIndex
from recordings.recovery import recover
from recordings.spool import any_abandoned, claim_spool
from recordings.store import RecordingStore, StoreConfig
from recordings.wav import HEADER_BYTES, SAMPLE_RATE, unpack_header
from tests.recordings.spools import files_in, relay, some_sound, write_spool
from tests.waiting import until

SOUND = some_sound(3 * SAMPLE_RATE)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def meta_key(path: Path) -> str:
    """Get the key under which a spool is stored."""
    return Recording.of(unpack_header(path.read_bytes()[:HEADER_BYTES])).key


def stored_bytes(store: RecordingStore, key: str) -> bytes:
    stored = store.open(key)
    try:
        return b"".join(stored)
    finally:
        stored.close()


@asynccontextmanager
async def states_of(redis: RedisClient) -> AsyncIterator[list[str]]:
    """Collect the published states of all recordings until the context ends."""
    states: list[str] = []
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(channel := redis.channel(CHANNEL), f"{CHANNEL}:test-end")
        yield states
        await redis.publish(f"{CHANNEL}:test-end", "")

        async def ended() -> bool:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message and message["channel"] == channel:
                states.append(RecordingChange.from_json(message["data"]).recording.state)
            return bool(message and message["channel"] != channel)

        await until(ended)


async def assert_finished(
    spool_dir: Path, body: bytes, index: RecordingIndex, store: RecordingStore, state: str
) -> Recording:
    """Check that there is one recording, complete everywhere, and no spool."""
    assert files_in(spool_dir) == []
    (recording,) = [recording async for recording in index.everything()]
    assert recording.state == state
    assert recording.size_bytes == len(body)
    assert list(store.list_keys()) == [recording.key]
    assert stored_bytes(store, recording.key) == body
    assert store.get_peaks(recording.key) == recording.peaks
    return recording


async def test_a_spool_becomes_a_recording(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """It is listed as storing, stored with its peaks, listed as ready, and the spool goes."""
    path = write_spool(spool_dir, SOUND)
    body = path.read_bytes()
    async with states_of(redis) as states:
        recording = await finish(path, index=index, store=store)
    assert states == ["storing", "ready"]
    assert recording == await assert_finished(spool_dir, body, index, store, "ready")
    assert recording.id == path.stem and recording.duration_s == 3.0
    assert len(recording.peaks) == 1000 and max(recording.peaks) > 0.9
    assert await finish(path, index=index, store=store) == recording, "finished already"


@pytest.mark.parametrize("length", [0, 100, 690])
async def test_no_sound_leaves_nothing(
    length: int, spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """A spool without a sample, or with half a header, leaves no entry, object or file."""
    path = write_spool(spool_dir, np.empty(0, np.float32))
    claimed = claim_spool(path)
    assert claimed is not None and claimed.meta is not None
    await index.put(Recording.of(claimed.meta))
    claimed.close()
    os.truncate(path, length)
    assert await finish(path, index=index, store=store) is None
    assert files_in(spool_dir) == [] and not list(store.list_keys())
    assert await index.list("anna") == []


async def test_finishing_a_copy_again_changes_nothing(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """The same sound finished twice is one entry and one object."""
    path = write_spool(spool_dir, SOUND)
    body = path.read_bytes()
    copy = spool_dir.parent / path.name
    shutil.copyfile(path, copy)
    first = await finish(path, index=index, store=store)
    shutil.move(copy, path)
    assert await finish(path, index=index, store=store) == first
    await assert_finished(spool_dir, body, index, store, "ready")


STEPS = ["listed", "put", "verified", "peaks", "done"]

DIE_AT = """
import asyncio, os, signal, sys
from pathlib import Path
from foundation.redis import connect
from recordings.finish import finish
from recordings.index import Recording, RecordingIndex
from recordings.store import RecordingStore, StoreConfig

path, die_at, redis_url, *store_args = sys.argv[1:]

def reached(step):
    if step == die_at:
        os.kill(os.getpid(), signal.SIGKILL)

class Index(RecordingIndex):
    async def put(self, recording):
        kept = await super().put(recording)
        reached("listed" if recording.state == "storing" else "done")
        return kept

class Store(RecordingStore):
    def put(self, path, key):
        super().put(path, key)
        reached("put")

    def verify(self, path, key):
        same = super().verify(path, key)
        if same:
            reached("verified")
        return same

    def put_peaks(self, *args):
        super().put_peaks(*args)
        reached("peaks")

async def main():
    store = Store(StoreConfig(**dict(zip(["bucket", "endpoint", "access_key", "secret_key"],
                                         store_args))))
    async with connect(redis_url) as redis:
        await finish(Path(path), index=Index(redis), store=store)

asyncio.run(main())
"""


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_at_any_step_converges(
    step: str,
    spool_dir: Path,
    index: RecordingIndex,
    store: RecordingStore,
    store_config: StoreConfig,
    redis_url: str,
) -> None:
    """After a kill at any step, the next run completes it: one entry, one object, no spool."""
    path = write_spool(spool_dir, SOUND)
    body = path.read_bytes()
    config = store_config
    args = [config.bucket, config.endpoint, config.access_key, config.secret_key]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DIE_AT, str(path), step, redis_url, *map(str, args)),
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    )
    assert await process.wait() == -signal.SIGKILL
    assert path.exists(), "nothing local goes before the last step"
    (recording,) = await recover(spool_dir, index=index, store=store)
    assert recording == await assert_finished(spool_dir, body, index, store, "recovered")


async def test_a_tampered_object_is_replaced(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """An object under our key that is not our sound does not count as stored."""
    path = write_spool(spool_dir, SOUND)
    body = path.read_bytes()
    foreign = spool_dir.parent / "foreign"
    foreign.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    store.put(foreign, meta_key(path))
    await finish(path, index=index, store=store)
    await assert_finished(spool_dir, body, index, store, "ready")


async def test_an_unreadable_object_is_replaced(
    spool_dir: Path,
    index: RecordingIndex,
    store: RecordingStore,
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the store's disk spoiled what an earlier run had stored, it is stored again."""
    path = write_spool(spool_dir, some_sound(3 * SAMPLE_RATE, seed=int(time.time())))
    body = path.read_bytes()
    key = meta_key(path)
    store.put(path, key)
    volumes = tmp_path_factory.getbasetemp().glob("s3*/**/*.dat")
    assert any([spoil(volume, body[5000:5100]) for volume in volumes]) and store.exists(key)
    await asyncio.wait_for(finish(path, index=index, store=store), 120)
    assert "cannot be read back" in caplog.text
    await assert_finished(spool_dir, body, index, store, "ready")


def spoil(volume: Path, sound: bytes) -> bool:
    """Overwrite some bytes of an object on SeaweedFS' disk."""
    with volume.open("r+b") as file:
        at = file.read().find(sound)
        if at >= 0:
            file.seek(at)
            file.write(b"rust")
    return at >= 0


def test_only_what_nobody_holds_is_abandoned(spool_dir: Path) -> None:
    """A spool that is written or finished keeps nobody on its node."""
    assert not any_abandoned(spool_dir)
    path = write_spool(spool_dir, some_sound(SAMPLE_RATE))
    assert any_abandoned(spool_dir)
    claimed = claim_spool(path)
    assert claimed is not None and not any_abandoned(spool_dir)
    claimed.close()
    assert any_abandoned(spool_dir)


async def test_s3_may_be_away(
    spool_dir: Path,
    index: RecordingIndex,
    store: RecordingStore,
    store_config: StoreConfig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While the store's port is closed, finish keeps retrying and shows `storing`; it succeeds
    when the port opens."""
    assert store_config.endpoint is not None
    path, port = write_spool(spool_dir, SOUND), free_port()
    body = path.read_bytes()
    away = RecordingStore(replace(store_config, endpoint=f"http://127.0.0.1:{port}"))
    finishing = asyncio.create_task(finish(path, index=index, store=away))

    async def storing() -> bool:
        return [r.state for r in await index.list("anna")] == ["storing"]

    await until(storing)
    await until(lambda: "store failed, retrying" in caplog.text)
    assert not finishing.done() and path.read_bytes() == body
    async with relay(port, port_of(store_config.endpoint)):
        await asyncio.wait_for(finishing, 60)
        away.close()
    await assert_finished(spool_dir, body, index, store, "ready")


async def test_redis_may_be_away(
    spool_dir: Path,
    index: RecordingIndex,
    store: RecordingStore,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While Redis's port is closed nothing is deleted; the recording is listed when it opens."""
    path, port = write_spool(spool_dir, SOUND), free_port()
    body = path.read_bytes()
    away_url = redis_url.replace(f":{port_of(redis_url)}", f":{port}")
    async with connect(away_url) as away:
        finishing = asyncio.create_task(finish(path, index=RecordingIndex(away), store=store))
        await until(lambda: "index failed, retrying" in caplog.text)
        assert not finishing.done() and path.read_bytes() == body
        async with relay(port, port_of(redis_url)):
            await asyncio.wait_for(finishing, 60)
            await away.connection_pool.disconnect()
    await assert_finished(spool_dir, body, index, store, "ready")


async def test_cancelling_leaves_the_spool_to_the_next(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, store_config: StoreConfig
) -> None:
    """A cancelled finish releases the lock and deletes nothing; recovery completes it."""
    path = write_spool(spool_dir, SOUND)
    body = path.read_bytes()
    away = RecordingStore(replace(store_config, endpoint=f"http://127.0.0.1:{free_port()}"))
    finishing = asyncio.create_task(finish(path, index=index, store=away))

    async def storing() -> bool:
        return bool(await index.list("anna"))

    await until(storing)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    away.close()
    assert path.read_bytes() == body
    (recording,) = await recover(spool_dir, index=index, store=store)
    assert recording == await assert_finished(spool_dir, body, index, store, "recovered")


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_cancelling_early_gives_the_lock_back(
    turns: int, spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """A finish cancelled while it takes the lock leaves the spool unlocked."""
    path = write_spool(spool_dir, SOUND)
    finishing = asyncio.create_task(finish(path, index=index, store=store))
    for _ in range(turns):
        await asyncio.sleep(0)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    spool = claim_spool(path)
    assert spool is not None
    spool.close()


async def test_a_recording_deleted_meanwhile_stays_deleted(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """If its owner deletes it before it is stored, no entry, object or spool is left."""
    path = write_spool(spool_dir, SOUND)
    spool = claim_spool(path)
    assert spool is not None and spool.meta is not None
    spool.close()
    live = Recording.of(spool.meta)
    await index.put(live)
    await discard(live, Reason.OWNER, index=index, store=store)
    assert await finish(path, index=index, store=store) is None
    assert files_in(spool_dir) == [] and not list(store.list_keys())
    assert await index.list("anna") == []


async def test_deleting_an_account_takes_its_recordings(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """All of a user's entries, objects and peaks go; another user's stay."""
    for username in ("anna", "anna", "bert"):
        await finish(write_spool(spool_dir, SOUND, username), index=index, store=store)
    await discard_user("anna", None, index=index, store=store)
    (other,) = [recording async for recording in index.everything()]
    assert other.username == "bert"
    assert list(store.list_keys()) == [other.key]


async def test_an_unknown_spool_is_none(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """Without a file there is nothing to finish."""
    path = spool_dir / f"{new_id()}.wav"
    assert await finish(path, index=index, store=store) is None
