"""Recordings are uploaded while being written, and end up whole whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from recordings.index import RecordingIndex, RecordingState
from recordings.live import LiveRecording
from recordings.multipart import PART_BYTES
from recordings.recorder import Recorder
from recordings.store import ObjectMissing, RecordingStore
from recordings.uploads import Upload
from recordings.wav import HEADER_BYTES, SAMPLE_BYTES, SAMPLE_RATE
from tests.recordings.spools import STARTED_AT, files_in, some_sound
from tests.waiting import until

PART_SAMPLES = PART_BYTES // SAMPLE_BYTES


@pytest.fixture
async def recorder(
    index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> AsyncIterator[Recorder]:
    yield Recorder(index, store, spool_dir)


class Take:
    """A recording in progress. `spool` is a second link to its spool, which stays."""

    def __init__(self, recording: LiveRecording, recorder: Recorder, spool: Path) -> None:
        self.recording = recording
        self.recorder = recorder
        self.spool = spool

    @property
    def id(self) -> str:
        assert self.recording.recording_id is not None
        return self.recording.recording_id

    async def keep_spool(self) -> None:
        """Link the spool once it exists, so that it can be compared after it is removed."""
        await until(lambda: self.recording.spool is not None)
        assert self.recording.spool is not None
        self.spool.hardlink_to(self.recording.spool)

    async def parts(self, index: RecordingIndex, count: int) -> Upload:
        """Wait until that many parts are in the upload log."""
        upload: Upload | None = None

        async def noted() -> bool:
            nonlocal upload
            upload = await index.uploads.read(self.id)
            return upload is not None and len(upload.parts) >= count

        await until(noted)
        assert upload is not None
        return upload


@pytest.fixture
def take(recorder: Recorder, tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Take]]:
    @asynccontextmanager
    async def make() -> AsyncIterator[Take]:
        async with recorder.record("anna", "stream-1") as recording:
            recording.begin(STARTED_AT)
            yield Take(recording, recorder, tmp_path / "linked.wav")
        await recorder.wait_stored()

    return make


MakeTake = Callable[[], AbstractAsyncContextManager[Take]]


def stored(store: RecordingStore, key: str) -> bytes:
    body = store.open(key)
    try:
        return b"".join(body)
    finally:
        body.close()


async def test_parts_go_up_while_the_stream_is_live(
    take: MakeTake, index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> None:
    """Each whole part is in the store before the end; the object equals the spool."""
    puts: list[int] = []
    put_part = store.parts.put

    def counted(key: str, upload_id: str, number: int, data: bytes) -> object:
        puts.append(number)
        return put_part(key, upload_id, number, data)

    store.parts.put = counted  # type: ignore[method-assign,assignment]
    async with take() as made:
        made.recording.push(some_sound(PART_SAMPLES))
        upload = await made.parts(index, 1)
        made.recording.push(some_sound(PART_SAMPLES, seed=2))
        upload = await made.parts(index, 2)
        assert [part.size_bytes for part in upload.parts] == [PART_BYTES] * 2
        assert await index.leased(made.id)
        await made.keep_spool()
        made.recording.push(some_sound(SAMPLE_RATE, seed=3))
    assert puts == [1, 2, 1, 3]  # at the end the header's part again, and the rest
    assert stored(store, upload.key) == made.spool.read_bytes()
    entry = await index.get(made.id)
    assert entry is not None and entry.state is RecordingState.READY
    assert entry.size_bytes == made.spool.stat().st_size
    assert list(store.parts.open_uploads()) == []
    assert await index.uploads.read(made.id) is None
    assert not await index.leased(made.id)
    assert files_in(spool_dir) == []


async def test_a_short_stream_is_one_put(
    take: MakeTake, index: RecordingIndex, store: RecordingStore
) -> None:
    """Below the size of a part, no upload is opened that would have to be closed."""
    async with take() as made:
        made.recording.push(some_sound(SAMPLE_RATE))
        await asyncio.sleep(1.5)  # more than one look of the uploader
        assert list(store.parts.open_uploads()) == []
    entry = await index.get(made.id)
    assert entry is not None and store.size(entry.key) == entry.size_bytes


async def test_a_tail_lasts_until_its_part_is_stored(
    index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> None:
    """It grows with the sound, goes with its part, and begins again behind that."""
    changes: list[int | str] = []
    put, delete = store.tails.put, store.tails.delete

    def noted_put(key: str, start: int, data: bytes) -> None:
        put(key, start, data)
        changes.append(start)

    def noted_delete(key: str) -> None:
        delete(key)
        changes.append("deleted")

    store.tails.put, store.tails.delete = noted_put, noted_delete  # type: ignore[method-assign]
    recorder = Recorder(index, store, spool_dir, tail_s=0.2)
    async with recorder.record("anna", "stream-1") as recording:
        recording.begin(STARTED_AT)
        key, written = await key_of(recording, index), HEADER_BYTES
        for samples in (SAMPLE_RATE, PART_SAMPLES, SAMPLE_RATE):
            recording.push(some_sound(samples))
            written += SAMPLE_BYTES * samples
            await until(lambda all=written: end_of_tail(store, key) == all)  # type: ignore[misc]
    await recorder.wait_stored()
    order = [
        each for before, each in zip([None, *changes], changes, strict=False) if each != before
    ]
    assert order == [0, "deleted", PART_BYTES, "deleted"]


def end_of_tail(store: RecordingStore, key: str) -> int:
    tail = store.tails.get(key)
    return tail.start + len(tail.data) if tail else 0


async def key_of(recording: LiveRecording, index: RecordingIndex) -> str:
    await until(lambda: listed(index, recording.recording_id or ""))
    entry = await index.get(recording.recording_id or "")
    assert entry is not None
    return entry.key


async def test_a_recording_that_was_completed_under_us_is_uploaded_again(
    take: MakeTake, index: RecordingIndex, store: RecordingStore
) -> None:
    """After a cut somebody may have finished it: the next loss must not cost all that follows."""
    async with take() as made:
        made.recording.push(some_sound(PART_SAMPLES))
        upload = await made.parts(index, 1)
        store.parts.complete(upload.key, upload.upload_id, upload.parts)
        made.recording.push(some_sound(PART_SAMPLES, seed=2))
        again = await made.parts(index, 2)
        assert again.upload_id != upload.upload_id
        await made.keep_spool()
    assert stored(store, upload.key) == made.spool.read_bytes()
    assert list(store.parts.open_uploads()) == []


async def test_an_upload_that_was_ended_by_somebody_costs_nothing(
    take: MakeTake, index: RecordingIndex, store: RecordingStore
) -> None:
    """Parts that are gone are sent again, from the spool."""
    async with take() as made:
        made.recording.push(some_sound(PART_SAMPLES))
        upload = await made.parts(index, 1)
        store.parts.abort(upload.key, upload.upload_id)
        await made.keep_spool()
        made.recording.push(some_sound(PART_SAMPLES, seed=2))
    assert stored(store, upload.key) == made.spool.read_bytes()
    assert list(store.parts.open_uploads()) == []


async def test_a_stream_without_sound_leaves_nothing(take: MakeTake, index: RecordingIndex) -> None:
    """It is no longer listed, and holds no lease."""
    async with take() as made:
        await until(lambda: listed(index, made.id))
    assert not await listed(index, made.id)
    assert not await index.leased(made.id)


async def test_a_recording_that_somebody_else_holds_is_left_to_them(
    take: MakeTake, index: RecordingIndex, spool_dir: Path
) -> None:
    """An actor that lost the lease while frozen closes the spool and stores nothing."""
    async with take() as made:
        made.recording.push(some_sound(SAMPLE_RATE))
        await until(lambda: index.leased(made.id))
        await index._redis.delete(f"hushcast:lease:recording:{made.id}")
        other = index.lease(made.id)
        assert await other.hold()
        await until(lambda: made.recording.lost, timeout_s=30)
    assert len(files_in(spool_dir)) == 1
    entry = await index.get(made.id)
    assert entry is not None and entry.state is RecordingState.RECORDING
    assert await index.leased(made.id), "the other one's lease stands"


async def listed(index: RecordingIndex, recording_id: str) -> bool:
    return await index.get(recording_id) is not None


def test_the_head_of_an_object_is_replaced_inside_the_store(
    store: RecordingStore, spool_dir: Path
) -> None:
    """What follows the head is unchanged, in an object of several parts and in a small one."""
    for size in (2 * PART_BYTES + 12_345, 50_000):
        key = f"recordings/anna/20260921T141320Z_{'0' * 20}{size % 10**6:06}.wav"
        data = np.random.default_rng(size).bytes(size)
        path = spool_dir / "file"
        path.write_bytes(data)
        store.put(path, key)
        store.parts.replace_head(key, b"h" * HEADER_BYTES)
        assert stored(store, key) == b"h" * HEADER_BYTES + data[HEADER_BYTES:]
    with pytest.raises(ObjectMissing):
        store.parts.replace_head("recordings/anna/none.wav", b"h")
    assert list(store.parts.open_uploads()) == []
