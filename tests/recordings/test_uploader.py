"""Recordings go up while they are written, and come out whole whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from recordings.index import RecordingIndex, RecordingState
from recordings.multipart import PART_BYTES
from recordings.recorder import Recorder
from recordings.store import ObjectMissing, RecordingStore
from recordings.uploads import Upload
from recordings.wav import HEADER_BYTES, SAMPLE_BYTES, SAMPLE_RATE
from recordings.writer import RecordingWriter
from tests.recordings.spools import STARTED_AT, files_in, some_sound
from tests.waiting import until

PART_SAMPLES = PART_BYTES // SAMPLE_BYTES


@pytest.fixture
async def recorder(
    index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> AsyncIterator[Recorder]:
    yield Recorder(index, store, spool_dir)


class Take:
    """A recording that is being made."""

    def __init__(self, recorder: Recorder, index: RecordingIndex) -> None:
        self._index = index
        self._recorder = recorder
        self.meta = recorder.begin("anna", "stream-1", STARTED_AT)
        self.writer: RecordingWriter = recorder.open(self.meta)
        self.upload: Upload | None = None

    async def parts(self, count: int) -> Upload:
        """Wait until that many parts are noted off the node."""

        async def noted() -> bool:
            self.upload = await self._index.uploads.read(self.meta.recording_id)
            return self.upload is not None and len(self.upload.parts) >= count

        await until(noted)
        assert self.upload is not None
        return self.upload

    async def store(self) -> None:
        """End it as its stream does."""
        self.writer.close()
        self._recorder.store(self.writer.path)
        await self._recorder.wait_stored()


@pytest.fixture
def take(recorder: Recorder, index: RecordingIndex) -> Callable[[], Take]:
    return lambda: Take(recorder, index)


def stored(store: RecordingStore, key: str) -> bytes:
    body = store.open(key)
    try:
        return b"".join(body)
    finally:
        body.close()


async def test_parts_go_up_while_the_stream_is_live(
    take: Callable[[], Take], index: RecordingIndex, store: RecordingStore, spool_dir: Path
) -> None:
    """Each whole part is in the store before the end; the object is the spool, byte by byte."""
    recording = take()
    recording.writer.write(some_sound(PART_SAMPLES))
    upload = await recording.parts(1)
    recording.writer.write(some_sound(PART_SAMPLES, seed=2))
    upload = await recording.parts(2)
    assert [part.size_bytes for part in upload.parts] == [PART_BYTES] * 2
    assert await index.uploads.held(recording.meta.recording_id)
    recording.writer.write(some_sound(SAMPLE_RATE, seed=3))
    recording.writer.close()
    spool = recording.writer.path.read_bytes()
    puts: list[int] = []
    put_part = store.parts.put

    def counted(key: str, upload_id: str, number: int, data: bytes) -> object:
        puts.append(number)
        return put_part(key, upload_id, number, data)

    store.parts.put = counted  # type: ignore[method-assign,assignment]
    await recording.store()
    assert puts == [1, 3]  # the header's part again, and the rest; never what is there already
    assert stored(store, upload.key) == spool
    entry = await index.get(recording.meta.recording_id)
    assert entry is not None and entry.state is RecordingState.READY
    assert entry.size_bytes == len(spool)
    assert list(store.parts.open_uploads()) == []
    assert await index.uploads.read(recording.meta.recording_id) is None
    assert not await index.uploads.held(recording.meta.recording_id)
    assert files_in(spool_dir) == []


async def test_a_short_stream_is_one_put(
    take: Callable[[], Take], index: RecordingIndex, store: RecordingStore
) -> None:
    """Below the size of a part nothing is opened that would have to be closed."""
    recording = take()
    recording.writer.write(some_sound(SAMPLE_RATE))
    await asyncio.sleep(1.5)  # more than one look of the uploader
    assert list(store.parts.open_uploads()) == []
    await recording.store()
    entry = await index.get(recording.meta.recording_id)
    assert entry is not None and store.size(entry.key) == entry.size_bytes


async def test_an_upload_that_was_ended_by_somebody_costs_nothing(
    take: Callable[[], Take], index: RecordingIndex, store: RecordingStore
) -> None:
    """Parts that are gone are put again, from the spool."""
    recording = take()
    recording.writer.write(some_sound(PART_SAMPLES))
    upload = await recording.parts(1)
    store.parts.abort(upload.key, upload.upload_id)
    recording.writer.write(some_sound(PART_SAMPLES, seed=2))
    recording.writer.close()
    spool = recording.writer.path.read_bytes()
    await recording.store()
    assert stored(store, upload.key) == spool
    assert list(store.parts.open_uploads()) == []


async def test_a_stream_without_sound_leaves_nothing(
    recorder: Recorder, index: RecordingIndex, store: RecordingStore
) -> None:
    """Withdrawn, it is not listed any more."""
    meta = recorder.begin("anna", "stream-1", STARTED_AT)

    async def listed() -> bool:
        return await index.get(meta.recording_id) is not None

    await until(listed)
    recorder.withdraw(meta)
    await recorder.wait_stored()
    assert await index.get(meta.recording_id) is None


def test_the_head_of_an_object_is_replaced_inside_the_store(
    store: RecordingStore, spool_dir: Path
) -> None:
    """What follows the head stays as it was, in an object of several parts and in a small one."""
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
