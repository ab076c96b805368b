"""What a stream's actor does about recordings: make them, recover them, sweep old ones."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from foundation.redis import RedisUnavailable
from foundation.tasks import TaskSet
from recordings.abandoned import Look, abort_old_uploads, recover_abandoned
from recordings.copies import CopyMaker
from recordings.index import RecordingIndex
from recordings.live import LiveRecording
from recordings.quota import UNLIMITED, Quota
from recordings.recovery import recover, tell_some_accounts
from recordings.retention import KEEP_ALL, Retention, apply_retention, delete_due
from recordings.store import RecordingStore, StoreUnavailable

log = logging.getLogger(__name__)

RECOVERY_INTERVAL_S = 5.0
SWEEP_INTERVAL_S = 15
UPLOADS_INTERVAL_S = 300
"""How often the store is asked for uploads that the index does not know."""
RETENTION_INTERVAL_S = 3600
ACCOUNTS_INTERVAL_S = 3600
DELETION_INTERVAL_S = 2.0
COPY_INTERVAL_S = 1.0
UPLOADS_AT_A_TIME = 2
"""Streams that began together have their parts together; sending all at once delays sound."""
UNTOUCHED_S = 5.0
"""An unlocked spool that has not changed for this long was abandoned."""


class Recorder:
    """The recordings of one process. Storing goes on in the background until it succeeds."""

    def __init__(
        self,
        index: RecordingIndex,
        store: RecordingStore,
        spool_dir: Path,
        retention: Retention = KEEP_ALL,
        quota: Quota = UNLIMITED,
        other_disks: Sequence[Path] = (),
        tail_s: float = 0.0,
    ) -> None:
        self._retention = retention
        self._quota = quota
        self._other_disks = other_disks
        self._tail_s = tail_s
        self._index = index
        self._store = store
        self._spool_dir = spool_dir
        self._tasks = TaskSet()
        self._turns = asyncio.Semaphore(UPLOADS_AT_A_TIME)

    @property
    def busy(self) -> bool:
        """Whether a recording is being written or stored."""
        return bool(self._tasks)

    def record(
        self, username: str, stream_id: str, *, tell: Callable[[str], None] = lambda sentence: None
    ) -> LiveRecording:
        """Make a stream's recording, which does nothing until it is entered.

        `tell` is called on the event loop with what the user should know of their storage.
        """
        return LiveRecording(
            username,
            stream_id,
            index=self._index,
            store=self._store,
            spool_dir=self._spool_dir,
            in_background=self._tasks,
            turns=self._turns,
            quota=self._quota,
            other_disks=self._other_disks,
            tail_s=self._tail_s,
            tell=tell,
        )

    async def recover(self) -> None:
        """Finish what dead processes leave in this node's spool folder, until cancelled.

        Every actor on a node does this; file locks divide the work among them.
        """
        while True:
            try:
                await recover(
                    self._spool_dir, index=self._index, store=self._store, untouched_s=UNTOUCHED_S
                )
            except OSError as error:
                log.error("recordings: cannot read the spool folder, retrying: %s", error)
            await asyncio.sleep(RECOVERY_INTERVAL_S)

    async def sweep(self) -> None:
        """Finish what lost nodes left in the store and delete what is too old, until cancelled.

        Every actor of the cluster does this, in turns.
        """
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            try:
                async with self._turn("sweep", SWEEP_INTERVAL_S) as ours:
                    if ours:
                        await recover_abandoned(self._index, self._store, Look.INDEX)
                async with self._turn("uploads", UPLOADS_INTERVAL_S) as ours:
                    if ours:
                        await recover_abandoned(self._index, self._store, Look.UPLOADS)
                        await abort_old_uploads(self._index, self._store)
                async with self._turn("accounts", ACCOUNTS_INTERVAL_S) as ours:
                    if ours:
                        await self._index.give_to_accounts()
                await tell_some_accounts(self._index, self._store)
                if self._retention:
                    async with self._turn("retention", RETENTION_INTERVAL_S) as ours:
                        if ours:
                            await apply_retention(
                                self._retention, index=self._index, store=self._store
                            )
            except (RedisUnavailable, StoreUnavailable) as error:
                log.warning("recordings: sweep failed, retrying in the next round: %s", error)

    async def delete(self) -> None:
        """Delete for good what people deleted and can no longer restore, until cancelled.

        Every actor of the cluster does this, so it goes on after the loss of any of them.
        """
        while True:
            try:
                await delete_due(self._index, self._store)
            except (RedisUnavailable, StoreUnavailable) as error:
                log.warning("recordings: deletion failed, retrying in the next round: %s", error)
            await asyncio.sleep(DELETION_INTERVAL_S)

    async def copy(self) -> None:
        """Make the copies of recordings that are wanted, until cancelled."""
        maker = CopyMaker(self._index, self._store, self._spool_dir)
        while True:
            try:
                made = await maker.make_next()
            except (RedisUnavailable, StoreUnavailable, OSError) as error:
                log.warning("recordings: copying failed, retrying in the next round: %s", error)
                made = False
            if not made:
                await asyncio.sleep(COPY_INTERVAL_S)

    @asynccontextmanager
    async def _turn(self, what: str, every_s: float) -> AsyncIterator[bool]:
        """Yield whether it is this process's turn, which lasts for at least `every_s` seconds."""
        lease = self._index.turn(what, every_s)
        if not await lease.hold():
            yield False
            return
        async with lease.kept(release=False):
            yield True

    async def wait_stored(self) -> None:
        """Wait until every recording that has begun is stored. Cancelling is safe."""
        await self._tasks.wait()
