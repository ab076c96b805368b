"""Uploads a spool while it is being written, so that losing the node loses little.

Part 1 carries a header of open length, because the length is not known yet. Finishing the recording
replaces it.
"""

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path

from foundation.redis import RedisUnavailable
from recordings.errors import ObjectMissing, StoreUnavailable
from recordings.index import Recording, RecordingIndex
from recordings.multipart import MAX_PARTS, PART_BYTES, Part
from recordings.store import RecordingStore
from recordings.uploads import Upload
from recordings.wav import HEADER_BYTES, SpoolMeta, pack_header

log = logging.getLogger(__name__)

POLL_S = 1.0
RETRY_S = 5.0


class Uploader:
    """Uploads the whole parts of one spool while it is being written, and retries failures."""

    def __init__(
        self, path: Path, meta: SpoolMeta, *, index: RecordingIndex, store: RecordingStore
    ) -> None:
        self._path = path
        self._meta = meta
        self._log = index.uploads
        self._store = store

    async def run(self, *, until: asyncio.Event) -> None:
        """Upload each part once it is complete, until the event is set.

        A part in flight arrives or fails first. Once the upload is gone, nothing more is sent.
        """
        upload: Upload | None = None
        noted = True
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
            except (RedisUnavailable, StoreUnavailable, OSError) as error:
                log.warning(
                    "recording %s: upload failed, retrying: %s", self._meta.recording_id, error
                )
                pause_s = RETRY_S
            except ObjectMissing:
                log.warning("recording %s: its upload is gone", self._meta.recording_id)
                await until.wait()
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
            key = Recording.of(self._meta).key
            upload_id = await asyncio.to_thread(self._store.parts.begin, key)
            return Upload(self._meta.recording_id, key, upload_id)
        number = len(upload.parts) + 1
        data = await asyncio.to_thread(read_part, self._path, number)
        if number == 1:
            data = pack_header(self._meta, None) + data[HEADER_BYTES:]
        part = await asyncio.to_thread(
            self._store.parts.put, upload.key, upload.upload_id, number, data
        )
        return replace(upload, parts=(*upload.parts, part))


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
