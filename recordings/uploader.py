"""Uploads a spool while it is being written, so that losing the node loses little.

Part 1 carries a header of open length, because the length is not known yet. Finishing the recording
replaces it.
"""

import asyncio
import logging
import os
import time
from dataclasses import replace
from pathlib import Path

from foundation.redis import RedisUnavailable
from recordings.errors import ObjectMissing, StoreUnavailable
from recordings.index import Recording, RecordingIndex
from recordings.multipart import MAX_PARTS, PART_BYTES, Part
from recordings.store import RecordingStore
from recordings.uploads import Upload
from recordings.wav import HEADER_BYTES, SAMPLE_BYTES, SpoolMeta, pack_header

log = logging.getLogger(__name__)

POLL_S = 1.0
RETRY_S = 5.0


class Uploader:
    """Uploads the whole parts of one spool while it is being written, and retries failures.

    With `tail_s`, what is not yet a part is stored every so many seconds too; see `tail.py`.
    """

    def __init__(
        self,
        path: Path,
        meta: SpoolMeta,
        *,
        index: RecordingIndex,
        store: RecordingStore,
        turns: asyncio.Semaphore,
        tail_s: float = 0.0,
    ) -> None:
        """`turns` are shared by all recordings of a process that send their parts."""
        self._path = path
        self._meta = meta
        self._key = Recording.of(meta).key
        self._log = index.uploads
        self._store = store
        self._turns = turns
        self._tail_s = tail_s
        self._tail_due = 0.0
        self._has_tail = False

    async def run(self, *, until: asyncio.Event) -> None:
        """Upload each part once it is complete, until the event is set.

        A part in flight arrives or fails first. If the upload is gone, because somebody took us for
        dead and completed it, another one begins.
        """
        upload: Upload | None = None
        noted = True
        self._put_off_tail()
        while not until.is_set():
            pause_s = POLL_S
            try:
                if not noted and upload is not None:
                    await self._log.write(upload)
                    noted = True
                if await self._has_part(upload):
                    upload = await self._put_next(upload)
                    noted = False
                    continue
                await self._keep_tail(upload)
            except (RedisUnavailable, StoreUnavailable, OSError) as error:
                log.warning(
                    "recording %s: upload failed, retrying: %s", self._meta.recording_id, error
                )
                pause_s = RETRY_S
            except ObjectMissing:
                log.warning("recording %s: its upload is gone", self._meta.recording_id)
                upload, noted = None, True
            await _pause(until, pause_s)

    async def _has_part(self, upload: Upload | None) -> bool:
        put = 0 if upload is None else len(upload.parts)
        try:
            written = (await asyncio.to_thread(os.stat, self._path)).st_size
        except FileNotFoundError:  # not yet created
            return False
        return written >= (put + 1) * PART_BYTES and put < MAX_PARTS

    async def _put_next(self, upload: Upload | None) -> Upload:
        """Open the upload, or send its next part."""
        if upload is None:
            upload_id = await asyncio.to_thread(self._store.parts.begin, self._key)
            return Upload(self._meta.recording_id, self._key, upload_id)
        number = len(upload.parts) + 1
        async with self._turns:
            data = await self._read_part(number)
            part = await asyncio.to_thread(
                self._store.parts.put, upload.key, upload.upload_id, number, data
            )
        if self._has_tail:
            await self._remove_tail()
        return replace(upload, parts=(*upload.parts, part))

    async def _keep_tail(self, upload: Upload | None) -> None:
        """Store what follows the parts, if that is due."""
        if not self._tail_s or time.monotonic() < self._tail_due:
            return
        put = 0 if upload is None else len(upload.parts)
        try:
            data = await self._read_part(put + 1)
        except FileNotFoundError:  # not yet created
            return
        self._put_off_tail()
        data = data[: len(data) // SAMPLE_BYTES * SAMPLE_BYTES]
        if len(data) > (0 if put else HEADER_BYTES):
            await asyncio.to_thread(self._store.tails.put, self._key, put * PART_BYTES, data)
            self._has_tail = True

    async def _remove_tail(self) -> None:
        """Remove a tail that is part of a part now. One that stays does no harm."""
        self._has_tail = False
        self._put_off_tail()
        try:
            await asyncio.to_thread(self._store.tails.delete, self._key)
        except StoreUnavailable as error:
            log.warning("recording %s: its old tail stays: %s", self._meta.recording_id, error)

    def _put_off_tail(self) -> None:
        self._tail_due = time.monotonic() + self._tail_s

    async def _read_part(self, number: int) -> bytes:
        data = await asyncio.to_thread(read_part, self._path, number)
        return pack_header(self._meta, None) + data[HEADER_BYTES:] if number == 1 else data


async def _pause(until: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        pass


def read_part(path: Path, number: int) -> bytes:
    """Read a part, numbered from 1; the last one may be shorter than the others."""
    with path.open("rb") as file:
        file.seek((number - 1) * PART_BYTES)
        return file.read(PART_BYTES)


def complete(path: Path, upload: Upload, store: RecordingStore) -> None:
    """Complete the upload: send missing parts, and part 1 again because of its header.

    Raises StoreUnavailable or ObjectMissing.
    """
    count = -(-path.stat().st_size // PART_BYTES)
    there = {each.number: each for each in upload.parts}
    parts: list[Part] = []
    for number in range(1, count + 1):
        part = there.get(number)
        if number == 1 or part is None or part.size_bytes != PART_BYTES:
            part = store.parts.put(upload.key, upload.upload_id, number, read_part(path, number))
        parts.append(part)
    store.parts.complete(upload.key, upload.upload_id, parts)
