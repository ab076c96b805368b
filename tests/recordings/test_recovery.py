"""Abandoned spools are finished exactly once, and index and bucket agree afterwards."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from foundation.redis import RedisClient
from recordings.finish import finish
from recordings.index import Recording, RecordingIndex, RecordingState
from recordings.recovery import Difference, reconcile, recover
from recordings.store import RecordingStore, StoreConfig
from recordings.wav import HEADER_BYTES, SAMPLE_RATE
from recordings.writer import RecordingWriter
from tests.recordings.spools import files_in, register, some_meta, some_sound, write_spool

SOUND = some_sound(SAMPLE_RATE)
NOTHING = Difference((), (), (), (), ())

RECOVER = """
import asyncio, sys
from pathlib import Path
from foundation.redis import connect
from recordings.index import RecordingIndex
from recordings.recovery import recover
from recordings.store import RecordingStore, StoreConfig

folder, redis_url, *store_args = sys.argv[1:]

async def main():
    store = RecordingStore(StoreConfig(**dict(zip(
        ["bucket", "endpoint", "access_key", "secret_key"], store_args))))
    async with connect(redis_url) as redis:
        print("ready", flush=True)
        sys.stdin.readline()
        for recording in await recover(Path(folder), index=RecordingIndex(redis), store=store):
            print(recording.id, flush=True)

asyncio.run(main())
"""


async def test_a_live_spool_is_not_touched(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """Recovery finishes abandoned spools and leaves those being written."""
    meta = some_meta("bert")
    writer = RecordingWriter(spool_dir / f"{meta.recording_id}.wav", meta)
    writer.write(SOUND)
    orphan = write_spool(spool_dir, SOUND)
    recovered = await recover(spool_dir, index=index, store=store)
    assert [(r.id, r.state) for r in recovered] == [(orphan.stem, RecordingState.RECOVERED)]
    assert files_in(spool_dir) == [writer.path]
    writer.write(SOUND)
    writer.close()
    recording = await finish(writer.path, index=index, store=store)
    assert recording is not None and recording.duration_s == 2.0


async def test_a_damaged_spool_does_not_stop_the_others(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """A spool that cannot be read stays for a person; those after it are finished."""
    damaged, good = sorted(write_spool(spool_dir, SOUND) for _ in range(2))
    with damaged.open("r+b") as file:
        file.write(bytes(100))
    recovered = await recover(spool_dir, index=index, store=store)
    assert [r.id for r in recovered] == [good.stem]
    assert files_in(spool_dir) == [damaged]


async def test_two_recoverers_finish_each_spool_once(
    spool_dir: Path,
    index: RecordingIndex,
    store: RecordingStore,
    store_config: StoreConfig,
    redis_url: str,
) -> None:
    """Two processes at the same moment divide the spools: each is finished by one of them."""
    paths = [write_spool(spool_dir, SOUND) for _ in range(12)]
    os.truncate(paths[0], HEADER_BYTES + 2 * SAMPLE_RATE - 1001)
    config = store_config
    args = [config.bucket, config.endpoint, config.access_key, config.secret_key]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RECOVER, str(spool_dir), redis_url, *map(str, args)),
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    outputs = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0]
    finished = [line.decode() for output, _ in outputs for line in output.split()]
    print(f"finished {[len(output.split()) for output, _ in outputs]} of {len(paths)}")
    assert sorted(finished) == sorted(path.stem for path in paths)
    assert files_in(spool_dir) == []
    assert len(list(store.list_keys())) == len(paths)
    recordings = [recording async for recording in index.everything()]
    assert {r.state for r in recordings} == {RecordingState.RECOVERED}
    durations = sorted(r.duration_s for r in recordings)
    assert durations == [1 - 501 / SAMPLE_RATE] + [1.0] * 11


async def test_an_empty_redis_is_rebuilt_from_the_bucket(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """Everything people see of a recording is in its object; only the state `recovered` is lost."""
    accounts = {"anna": "a1", "bert": "b1"}
    await register(redis, accounts)
    before = [
        await finish(write_spool(spool_dir, SOUND, name, accounts[name]), index=index, store=store)
        for name in ("anna", "anna", "bert")
    ]
    assert await reconcile(index, store) == NOTHING
    await redis.flushdb()
    await register(redis, accounts)
    difference = await reconcile(index, store)
    assert set(difference.restored) == set(before)
    assert difference == replace(NOTHING, restored=difference.restored)
    assert {r async for r in index.everything()} == set(before)
    assert not await reconcile(index, store)


async def test_reconcile_finds_what_differs(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """Lost entries and foreign objects are reported and kept; objects of removed entries go."""
    lost, deleted, fine = [
        await finish(write_spool(spool_dir, SOUND), index=index, store=store) for _ in range(3)
    ]
    assert lost and deleted and fine
    await asyncio.to_thread(store.delete, lost.key)
    await index.remove(deleted.id)  # and the service died before it deleted the object
    await index.put(Recording.of(some_meta()))  # a live stream has no object yet
    empty, rubbish = spool_dir / "empty", spool_dir / "rubbish"
    empty.write_bytes(b"")
    rubbish.write_bytes(bytes(5000))
    foreign = ["recordings/anna/holiday.wav", fine.key.replace("/anna/", "/bert/")]
    for key, path in ((foreign[0], empty), (fine.key + ".wav", rubbish), (foreign[1], rubbish)):
        await asyncio.to_thread(store.put, path, key)
    difference = await reconcile(index, store)
    assert difference.lost == (lost,)
    assert difference.deleted == (deleted.key,)
    assert difference.restored == ()
    assert set(difference.foreign) == {*foreign, fine.key + ".wav"}
    assert not store.exists(deleted.key) and store.exists(foreign[0])
    assert await index.get(lost.id) == lost
