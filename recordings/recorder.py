"""What a stream's actor does about recordings: begin one, upload it, have it finished."""

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from recordings.abandoned import abort_old_uploads, recover_abandoned
from recordings.finish import finish
from recordings.index import IndexUnavailable, Recording, RecordingIndex
from recordings.names import new_recording_id
from recordings.recovery import recover
from recordings.retention import KEEP_ALL, Retention, apply_retention
from recordings.store import RecordingStore, StoreUnavailable
from recordings.uploader import Uploader
from recordings.writer import RecordingWriter, SpoolMeta

log = logging.getLogger(__name__)

RECOVERY_INTERVAL_S = 10.0
SWEEP_INTERVAL_S = 30
RETENTION_INTERVAL_S = 3600
UNTOUCHED_S = 5.0
"""A spool that nobody holds and that has not changed for so long was left behind."""


class Recorder:
    """The recordings of one process. Storing goes on in the background, until it succeeded."""

    def __init__(
        self,
        index: RecordingIndex,
        store: RecordingStore,
        spool_dir: Path,
        retention: Retention = KEEP_ALL,
    ) -> None:
        self._retention = retention
        self._index = index
        self._store = store
        self._spool_dir = spool_dir
        self._tasks: set[asyncio.Task[Any]] = set()
        self._spools: dict[str, asyncio.Future[Path | None]] = {}

    @property
    def busy(self) -> bool:
        """Whether a recording is being written or stored."""
        return bool(self._tasks)

    def begin(self, username: str, stream_id: str, started_at: float) -> SpoolMeta:
        """Name a new recording, list it, and upload it from then on; `started_at`: epoch seconds.

        Nothing is written yet. Ends with `store` or `withdraw`.
        """
        meta = SpoolMeta(new_recording_id(), username, stream_id, started_at)
        self._spools[meta.recording_id] = asyncio.get_running_loop().create_future()
        self._own(self._keep(meta), name=f"recording {meta.recording_id}")
        return meta

    def withdraw(self, meta: SpoolMeta) -> None:
        """Take a recording off the list of which nothing could be written."""
        self._spools.pop(meta.recording_id).set_result(None)

    def open(self, meta: SpoolMeta) -> RecordingWriter:
        """Create the spool. For the thread that writes it. Raises SpoolFull or OSError."""
        self._spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return RecordingWriter(self._path(meta), meta)

    def _path(self, meta: SpoolMeta) -> Path:
        return self._spool_dir / f"{meta.recording_id}.wav"

    def store(self, spool: Path) -> None:
        """Begin to store a closed spool; `wait_stored` waits for it."""
        self._spools.pop(spool.stem).set_result(spool)

    async def _keep(self, meta: SpoolMeta) -> None:
        """Follow a recording from its first sound to the verified object."""
        closed = self._spools[meta.recording_id]
        uploader = Uploader(self._path(meta), meta, index=self._index, store=self._store)
        async with self._index.uploads.hold(meta.recording_id):
            uploading = asyncio.create_task(uploader.run(), name=f"upload {meta.recording_id}")
            try:
                await self._list(meta)
                spool = await closed
            finally:
                uploader.stop()
                await uploading
            if spool is None:
                await self._unlist(meta)
            else:
                await finish(spool, index=self._index, store=self._store)

    async def _list(self, meta: SpoolMeta) -> None:
        try:
            await self._index.put(Recording.of(meta))
        except IndexUnavailable as error:  # it is listed when it is stored
            log.warning("recording %s: not listed yet: %s", meta.recording_id, error)

    async def _unlist(self, meta: SpoolMeta) -> None:
        try:
            await self._index.remove(meta.recording_id)
        except IndexUnavailable as error:
            log.warning("recording %s: still listed: %s", meta.recording_id, error)

    async def recover(self) -> None:
        """Finish what dead processes leave in this node's spool folder, until cancelled.

        Every actor of a node does so, and the locks share the work out among them.
        """
        while True:
            await recover(
                self._spool_dir, index=self._index, store=self._store, untouched_s=UNTOUCHED_S
            )
            await asyncio.sleep(RECOVERY_INTERVAL_S)

    async def sweep(self) -> None:
        """Finish what lost nodes left in the store, delete what is too old, until cancelled.

        Every actor of the cluster does so, one at a time.
        """
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            try:
                if await self._index.uploads.take_turn("sweep", SWEEP_INTERVAL_S):
                    await recover_abandoned(self._index, self._store)
                    await abort_old_uploads(self._index, self._store)
                if self._retention and await self._index.uploads.take_turn(
                    "retention", RETENTION_INTERVAL_S
                ):
                    await apply_retention(self._retention, index=self._index, store=self._store)
            except (IndexUnavailable, StoreUnavailable) as error:
                log.warning("recordings: looking for what was left goes on later: %s", error)

    async def wait_stored(self) -> None:
        """Wait until everything is stored that was begun; cancelling is safe."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _own(self, coroutine: Coroutine[Any, Any, object], *, name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s failed; its spool is left for recovery", task.get_name(), exc_info=error)
