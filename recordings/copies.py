"""Makes copies of stored recordings: a small one for phones, a FLAC.

`CopyMaker` runs in stream actors and only waits. The work is done by a process of its own, this
module run as a program, at the lowest priority: it reads the WAV from the store, encodes it into a
file without a name, which goes with the process, and stores that. Nobody sees half a copy.
"""

import asyncio
import errno
import fcntl
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.logs import fields
from recordings.errors import ObjectMissing, StoreUnavailable
from recordings.index import RecordingIndex
from recordings.names import Copy, copy_key, file_name, id_in_key
from recordings.peaks import sound_in
from recordings.quota import RESERVE_BYTES
from recordings.recording import STORED, Recording
from recordings.store import RecordingStore, StoreConfig
from recordings.wav import samples_in

log = logging.getLogger(__name__)

TRY_AGAIN_S = 60.0
"""When to try again what failed for a reason that may pass."""
LOWEST_PRIORITY = 19
LARGEST_SHARE = 0.7
"""How large a copy is at most, as a share of the WAV; the disk has to have room for that."""

DONE, HOPELESS, LATER = 0, 3, 4
"""The exit codes of the process: a copy is stored; it cannot be made; not now."""


class CopyMaker:
    """Makes the copies that are wanted, one at a time on each node."""

    def __init__(self, index: RecordingIndex, store: RecordingStore, folder: Path) -> None:
        """`folder`: for the file in the making, on a disk with room for a recording."""
        self._index = index
        self._store = store
        self._folder = folder

    async def make_next(self) -> bool:
        """Make the next copy; returns whether there was one for this process to make.

        Raises RedisUnavailable, or OSError.
        """
        wanted = await self._index.copies.wanted()
        if not wanted:
            return False
        with _alone(self._folder) as alone:
            if not alone:
                return False
            for recording_id, copy in wanted:
                async with self._index.copies.lease(recording_id).kept() as lease:
                    if await lease.hold():
                        await self._make(recording_id, copy)
                        return True
        return False

    async def _make(self, recording_id: str, copy: Copy) -> None:
        recording = await self._index.get(recording_id)
        if recording is None or not _is_stored(recording):
            return await self._index.copies.forget(recording_id, copy)
        code = await self._encode(recording, copy)
        now = await self._index.get(recording_id)
        if now is not None and now.size_bytes != recording.size_bytes:
            return None  # more of it was found meanwhile: this copy stays wanted
        told = fields(recording=recording_id, copy=copy, code=code)
        if code == LATER or code < 0:
            log.warning("copy could not be made, trying again later", extra=told)
            return await self._index.copies.postpone(recording_id, copy, TRY_AGAIN_S)
        if code != DONE and not _is_stored(now):
            log.info("copy is not made, its recording has been deleted", extra=told)
        elif code != DONE:
            log.error("copy cannot be made", extra=told)
        elif await self._note(recording, copy):
            log.info("copy is stored", extra=told)
        await self._index.copies.forget(recording_id, copy)

    async def _note(self, recording: Recording, copy: Copy) -> bool:
        """List a copy that is stored, unless its recording has gone meanwhile."""
        copies = tuple(sorted({*recording.copies, copy}))
        changed = await self._index.change(recording, even_deleted=True, copies=copies)
        if changed is None:
            await asyncio.to_thread(self._store.delete, recording.key)
        return changed is not None

    async def _encode(self, recording: Recording, copy: Copy) -> int:
        """Run the process; returns its exit code. Ends it if we are cancelled."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "recordings.copies"),
            stdin=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        )
        try:
            assert process.stdin is not None
            job = {
                "store": asdict(self._store.config) | {"authority": self._authority},
                "key": recording.key,
                "copy": copy,
                "tags": _tags(recording),
                "folder": str(self._folder),
            }
            process.stdin.write(json.dumps(job).encode() + b"\n")  # and stays open while we live
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @property
    def _authority(self) -> str | None:
        authority = self._store.config.authority
        return None if authority is None else str(authority)


def _is_stored(recording: Recording | None) -> bool:
    return recording is not None and recording.state in STORED


def _tags(recording: Recording) -> dict[str, str]:
    """Say who and when. The owner may change the recording's title, but not these."""
    name = file_name(recording.username, recording.started_at, None, None)
    date = datetime.fromtimestamp(recording.started_at, UTC).date().isoformat()
    return {"title": Path(name).stem, "artist": recording.username, "date": date}


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Tell whether no other process of this node makes copies, and keep it so."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder / "copies.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)


def main() -> None:
    """Do the job on standard input, a line of JSON. Ends with whoever holds its other end."""
    os.nice(LOWEST_PRIORITY)
    pipe = open(0, "rb", buffering=0, closefd=False)  # without a lock that an exit would wait for
    job: dict[str, Any] = json.loads(pipe.readline())
    threading.Thread(target=_end_with, args=[pipe], daemon=True).start()
    config = job["store"]
    config["authority"] = config["authority"] and Path(config["authority"])
    store = RecordingStore(StoreConfig(**config))
    try:
        make_copy(job["key"], Copy(job["copy"]), store, Path(job["folder"]), job["tags"])
    except StoreUnavailable as error:
        _tell(job["key"], f"the object storage {error.reason}")
        sys.exit(LATER)
    except OSError as error:
        _tell(job["key"], os.strerror(error.errno or 0))
        sys.exit(LATER)
    except (ObjectMissing, ValueError) as error:
        _tell(job["key"], type(error).__name__)
        sys.exit(HOPELESS)


def _tell(key: str, why: str) -> None:
    """Say what went wrong, without the key: it names a person."""
    print(f"recording {id_in_key(key)}: no copy: {why}", file=sys.stderr)


def _end_with(pipe: FileIO) -> None:
    """End this process once the other end of a pipe is closed."""
    while pipe.read(4096):
        pass
    os._exit(LATER)


def make_copy(
    key: str, copy: Copy, store: RecordingStore, folder: Path, tags: Mapping[str, str]
) -> None:
    """Store a copy beside a recording, with tags for players.

    Raises StoreUnavailable or OSError, after which to try again, or ObjectMissing or ValueError.
    """
    from recordings.encoder import encode  # only this process loads FFmpeg for it

    store.parts.abort_all(copy_key(key, copy))  # of a process that did not get to the end
    body = store.open(key)
    try:
        size_bytes = int(body.headers["Content-Length"])
        room = shutil.disk_usage(folder).free - RESERVE_BYTES
        if size_bytes * LARGEST_SHARE > room:
            raise OSError(errno.ENOSPC, f"no space left in {folder}")
        with tempfile.TemporaryFile(dir=folder) as file:
            path = Path(f"/dev/fd/{file.fileno()}")
            samples = encode(_pieces(body), copy, path, tags)
            if samples != samples_in(size_bytes):
                raise ValueError(f"expected {samples_in(size_bytes)} samples, got {samples}")
            store.put_copy(file, key, copy)
    finally:
        body.close()


def _pieces(body: Any) -> Iterator[NDArray[np.int16]]:
    """Read the sound of a stored WAV."""
    return (piece for piece in sound_in(body) if len(piece))


if __name__ == "__main__":
    main()
