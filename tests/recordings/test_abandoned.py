"""A node is lost while recording: what it had uploaded becomes a recording, exactly once."""

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from foundation.redis import RedisClient
from recordings.abandoned import Look, abort_old_uploads, recover_abandoned
from recordings.finish import discard
from recordings.index import Reason, Recording, RecordingIndex, RecordingState
from recordings.multipart import PART_BYTES
from recordings.peaks import peaks_of
from recordings.recovery import reconcile, recover
from recordings.store import RecordingStore, StoreConfig
from recordings.uploader import Uploader
from recordings.uploads import Upload
from recordings.wav import HEADER_BYTES, SAMPLE_BYTES, SAMPLE_RATE, pack_header
from recordings.writer import RecordingWriter
from tests.recordings.spools import files_in, some_meta, some_sound
from tests.waiting import until

PART_SAMPLES = PART_BYTES // SAMPLE_BYTES


async def lose_a_node(
    spool_dir: Path,
    index: RecordingIndex,
    store: RecordingStore,
    samples: int,
    *,
    tail_s: float = 0.0,
) -> tuple[Path, Upload | None]:
    """Record and upload as a live stream would; nobody finishes it."""
    meta = some_meta()
    writer = RecordingWriter(spool_dir / f"{meta.recording_id}.wav", meta)
    await index.put(Recording.of(meta))
    uploader = Uploader(
        writer.path, meta, index=index, store=store, turns=asyncio.Semaphore(), tail_s=tail_s
    )
    over = asyncio.Event()
    running = asyncio.create_task(uploader.run(until=over))
    upload: Upload | None = None
    writer.write(some_sound(samples))
    whole, rest = divmod(writer.path.stat().st_size, PART_BYTES)

    async def put() -> bool:
        nonlocal upload
        upload = await index.uploads.read(meta.recording_id)
        return len(upload.parts if upload else ()) == whole

    await until(put)
    if tail_s:
        await until(lambda: size_of_tail(store, Recording.of(meta).key) == rest)
    over.set()
    await running
    writer.close()
    return writer.path, upload


def size_of_tail(store: RecordingStore, key: str) -> int:
    tail = store.tails.get(key)
    return len(tail.data) if tail else 0


async def recover_now(index: RecordingIndex, store: RecordingStore) -> list[Recording]:
    """Recover without the second look."""
    return await recover_abandoned(index, store, idle_s=-5, look_again_s=0)


def wav_of(store: RecordingStore, key: str) -> bytes:
    body = store.open(key)
    try:
        return b"".join(body)
    finally:
        body.close()


async def test_parts_become_a_recording_exactly_once(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """Of three recoverers one finishes it; all whole parts are there and the header is right."""
    path, upload = await lose_a_node(spool_dir, index, store, 2 * PART_SAMPLES + SAMPLE_RATE)
    assert upload is not None
    done = await asyncio.gather(*(recover_now(index, store) for _ in range(3)))
    (recording,) = [each for found in done for each in found]
    wav = wav_of(store, upload.key)
    assert len(wav) == 2 * PART_BYTES == recording.size_bytes
    sound, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
    assert (rate, len(sound)) == (SAMPLE_RATE, (2 * PART_BYTES - HEADER_BYTES) // SAMPLE_BYTES)
    assert wav[HEADER_BYTES:] == path.read_bytes()[HEADER_BYTES : 2 * PART_BYTES]
    assert recording.state is RecordingState.RECOVERED
    assert await index.get(recording.id) == recording
    assert len(recording.peaks) == 1000 and store.get_peaks(upload.key) == recording.peaks
    assert list(store.parts.open_uploads()) == []
    assert await index.unfinished() == []
    assert await index.uploads.read(recording.id) is None
    assert await recover_now(index, store) == []


@pytest.mark.parametrize("samples", [6 * SAMPLE_RATE, PART_SAMPLES + 6 * SAMPLE_RATE])
async def test_with_tails_a_lost_node_costs_only_what_came_after_the_last(
    samples: int, spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """What is not yet a part is in the recording too, with parts before it or without."""
    path, _ = await lose_a_node(spool_dir, index, store, samples, tail_s=0.1)
    (recording,) = await recover_now(index, store)
    wav = wav_of(store, recording.key)
    assert len(wav) == recording.size_bytes and wav == path.read_bytes()
    assert (recording.state, recording.duration_s) == ("recovered", samples / SAMPLE_RATE)
    assert len(recording.peaks) == 1000
    assert list(store.list_tails()) == [] and list(store.parts.open_uploads()) == []
    assert await recover_now(index, store) == []


async def test_a_tail_is_not_joined_on_twice(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """If the node was lost between storing a part and removing its tail, the part counts once."""
    path, upload = await lose_a_node(spool_dir, index, store, PART_SAMPLES + SAMPLE_RATE)
    assert upload is not None
    spool = path.read_bytes()
    store.tails.put(upload.key, 0, spool[: PART_BYTES - 4000])
    (recording,) = await recover_now(index, store)
    assert wav_of(store, recording.key)[HEADER_BYTES:] == spool[HEADER_BYTES:PART_BYTES]
    assert list(store.list_tails()) == []


async def test_a_tail_whose_part_is_missing_is_not_joined_on(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """Sound that does not follow what there is would be heard at the wrong time."""
    _, upload = await lose_a_node(spool_dir, index, store, PART_SAMPLES + SAMPLE_RATE)
    assert upload is not None
    store.tails.put(upload.key, 2 * PART_BYTES, bytes(4000))
    (recording,) = await recover_now(index, store)
    assert recording.size_bytes == PART_BYTES


async def test_a_tail_alone_survives_a_lost_redis(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """The bucket alone is enough for a recording that was too short for a part."""
    path, _ = await lose_a_node(spool_dir, index, store, 2 * SAMPLE_RATE, tail_s=0.1)
    await redis.flushdb()
    assert await recover_abandoned(index, store, Look.UPLOADS, idle_s=-5, look_again_s=0) == []
    (recording,) = await recover_now(index, store)
    assert recording.id == path.stem and wav_of(store, recording.key) == path.read_bytes()


async def test_a_tail_that_still_changes_is_left_alone(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """An actor that is cut off from Redis alone goes on storing: it is not taken for dead."""
    await lose_a_node(spool_dir, index, store, SAMPLE_RATE, tail_s=0.1)
    assert await recover_abandoned(index, store, idle_s=60, look_again_s=0) == []
    assert len(list(store.list_tails())) == 1


async def test_the_store_is_not_asked_while_all_recordings_have_owners(
    spool_dir: Path, index: RecordingIndex, store_config: StoreConfig
) -> None:
    """Looking is free: a cluster looks every few seconds."""
    meta = some_meta()
    await index.put(Recording.of(meta))
    away = RecordingStore(replace(store_config, endpoint="http://127.0.0.1:9"))
    async with index.lease(meta.recording_id).kept():
        await until(lambda: index.leased(meta.recording_id))
        assert await recover_abandoned(index, away, Look.INDEX, idle_s=-5, look_again_s=0) == []
    away.close()


async def test_a_node_that_comes_back_brings_the_rest(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """Its longer spool replaces the object."""
    path, upload = await lose_a_node(spool_dir, index, store, PART_SAMPLES + SAMPLE_RATE)
    assert upload is not None
    await recover_now(index, store)
    spool = path.read_bytes()
    (recording,) = await recover(spool_dir, index=index, store=store)
    assert wav_of(store, upload.key) == spool
    assert recording.size_bytes == len(spool) and len(recording.peaks) == 1000
    assert files_in(spool_dir) == []


async def test_a_spool_that_lost_its_end_replaces_nothing(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """After a power cut the store may hold more than the disk; then the object stays."""
    path, upload = await lose_a_node(spool_dir, index, store, PART_SAMPLES + SAMPLE_RATE)
    assert upload is not None
    await recover_now(index, store)
    stored = wav_of(store, upload.key)
    with path.open("r+b") as file:
        file.truncate(HEADER_BYTES + SAMPLE_RATE * SAMPLE_BYTES)
    (recording,) = await recover(spool_dir, index=index, store=store)
    assert wav_of(store, upload.key) == stored
    assert recording.size_bytes == len(stored)
    assert files_in(spool_dir) == []


async def test_a_recording_in_work_is_left_alone(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """A leased recording is not finished, nor one that has just got a part."""
    _, upload = await lose_a_node(spool_dir, index, store, PART_SAMPLES)
    assert upload is not None
    async with index.lease(upload.recording_id).kept():
        await until(lambda: index.leased(upload.recording_id))
        assert await recover_now(index, store) == []
        assert await abort_old_uploads(index, store, max_age_s=-5) == 0
    assert await recover_abandoned(index, store, idle_s=60, look_again_s=0) == []
    assert len(list(store.parts.open_uploads())) == 1


async def test_redis_lost_too(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """The store alone is enough: it lists the parts, and the header gives the entry."""
    path, upload = await lose_a_node(spool_dir, index, store, PART_SAMPLES + SAMPLE_RATE)
    assert upload is not None
    await redis.flushdb()
    (recording,) = await recover_now(index, store)
    assert (recording.username, recording.key) == ("anna", upload.key)
    assert recording.size_bytes == PART_BYTES
    assert not await reconcile(index, store)


async def test_a_recoverer_that_dies_in_the_middle(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore, redis: RedisClient
) -> None:
    """Completed, but with an open header and not listed: the next round finishes it."""
    path, upload = await lose_a_node(spool_dir, index, store, PART_SAMPLES + SAMPLE_RATE)
    assert upload is not None
    store.parts.complete(upload.key, upload.upload_id, upload.parts)
    soundfile.read(io.BytesIO(wav_of(store, upload.key)))  # an open header plays, too
    (recording,) = await recover_now(index, store)
    wav = wav_of(store, upload.key)
    assert recording.size_bytes == PART_BYTES == len(wav)
    assert int.from_bytes(wav[HEADER_BYTES - 4 : HEADER_BYTES], "little") == (
        PART_BYTES - HEADER_BYTES
    )
    open_header = pack_header(some_meta(), None)[HEADER_BYTES - 4 :]
    assert open_header == b"\xff" * 4  # what it was before
    await redis.flushdb()
    store._client.delete_object(
        Bucket=store.config.bucket, Key=upload.key.removesuffix(".wav") + ".peaks.json"
    )
    difference = await reconcile(index, store)
    assert len(difference.unclaimed) == 1 and difference.unclaimed[0].peaks


async def test_nothing_stored_is_listed_to_nobody_until_the_node_is_back(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """A short recording lost with its node is listed as absent, and comes back with it."""
    path, upload = await lose_a_node(spool_dir, index, store, SAMPLE_RATE)
    assert upload is None
    assert await recover_now(index, store) == []
    assert await index.list("anna") == []
    (absent,) = (await reconcile(index, store)).absent
    assert absent.id == path.stem
    (recording,) = await recover(spool_dir, index=index, store=store)
    assert recording.id == absent.id and await index.list("anna") == [recording]
    assert not await reconcile(index, store)


async def test_what_its_owner_deleted_does_not_come_back(
    spool_dir: Path, index: RecordingIndex, store: RecordingStore
) -> None:
    """If it is deleted while its parts are in the store, they go too."""
    _, upload = await lose_a_node(spool_dir, index, store, PART_SAMPLES)
    assert upload is not None
    entry = await index.get(upload.recording_id)
    assert entry is not None
    await discard(entry, Reason.OWNER, index=index, store=store)
    assert await recover_now(index, store) == []
    assert list(store.list_keys()) == [] and list(store.parts.open_uploads()) == []


async def test_uploads_of_nobody_are_aborted_after_a_day(
    store: RecordingStore, redis: RedisClient
) -> None:
    """An old upload without a part is aborted; a young one stays."""
    index = RecordingIndex(redis)
    store.parts.begin("recordings/anna/20260921T141320Z_" + "0" * 26 + ".wav")
    assert await recover_now(index, store) == []
    assert await abort_old_uploads(index, store) == 0
    assert await abort_old_uploads(index, store, max_age_s=-5) == 1
    assert list(store.parts.open_uploads()) == []


def test_peaks_do_not_depend_on_how_they_are_read(spool_dir: Path) -> None:
    """However the file is cut into chunks, the outline is that of the sound."""
    sound = some_sound(12_345)
    wav = b"\0" * HEADER_BYTES + (sound * 32768).astype("<i2").tobytes()
    whole = peaks_of([wav], len(wav))
    for size in (1, 333, 690, 691, 4096):
        pieces = [wav[at : at + size] for at in range(0, len(wav), size)]
        assert peaks_of(pieces, len(wav)) == whole
    edges = np.linspace(0, len(sound), 1001).astype(int)
    expected = [np.abs(sound[a:b]).max() for a, b in zip(edges[:-1], edges[1:], strict=True)]
    np.testing.assert_allclose(whole, expected, atol=0.0006)
    assert peaks_of([wav[:HEADER_BYTES]], HEADER_BYTES) == ()
