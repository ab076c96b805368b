"""The recording of one live stream, from its first sound to the stored object."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from foundation.ids import new_id
from foundation.lease import Lease
from foundation.logs import fields
from foundation.redis import RedisUnavailable
from foundation.tasks import TaskSet
from recordings.finish import finish, persist
from recordings.index import Recording, RecordingIndex
from recordings.quota import DISK_FAILED, DISK_FULL, UNLIMITED, Quota
from recordings.spool_thread import Block, SpoolThread
from recordings.store import RecordingStore
from recordings.uploader import Uploader
from recordings.writer import RecordingWriter, SpoolFull, SpoolMeta

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 2.0
"""How often a recording is compared with what its user may still record."""


class LiveRecording:
    """The context of one recording: enter it when the stream begins, leave it when its sound ends.

    `begin` names and lists the recording at the first sound. Leaving closes the spool; the recorder
    goes on to store it in the background. At its user's limit, or if the disk fails, that happens
    while the stream goes on, and `tell` gets a sentence for the user. Errors of the disk, Redis or
    S3 never escape: what could not be stored is left to recovery, unlocked and unleased.
    """

    def __init__(
        self,
        username: str,
        stream_id: str,
        *,
        index: RecordingIndex,
        store: RecordingStore,
        spool_dir: Path,
        in_background: TaskSet,
        turns: asyncio.Semaphore,
        quota: Quota = UNLIMITED,
        other_disks: Sequence[Path] = (),
        tail_s: float = 0.0,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._username = username
        self._stream_id = stream_id
        self._index = index
        self._store = store
        self._spool_dir = spool_dir
        self._in_background = in_background
        self._turns = turns
        self._quota = quota
        self._other_disks = other_disks
        self._tail_s = tail_s
        self._tell = tell
        self._title: str | None = None
        self._account: str | None = None
        self._used_bytes = 0
        self._meta: SpoolMeta | None = None
        self._thread = SpoolThread(self._open, name=f"stream {stream_id} spool")
        self._closed = asyncio.Event()
        self._lease: Lease | None = None

    async def __aenter__(self) -> Self:
        await self._identify()
        await self._measure()
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await asyncio.to_thread(self._thread.close)
        finally:
            self._closed.set()

    @property
    def recording_id(self) -> str | None:
        """The recording's id, once it has begun."""
        return self._meta.recording_id if self._meta else None

    @property
    def title(self) -> str | None:
        """What the owner calls it. May be set at any time, before `begin` too."""
        return self._title

    @title.setter
    def title(self, title: str | None) -> None:
        if title == self._title:
            return
        self._title = title
        if self._meta is not None:
            name = f"title of recording {self._meta.recording_id}"
            self._in_background.start(self._retitle(self._meta), name=name)

    @property
    def spool(self) -> Path | None:
        """The spool, once something has been written."""
        return self._thread.spool

    @property
    def lost(self) -> bool:
        """Whether somebody else holds the lease on this recording."""
        return self._lease is not None and self._lease.lost

    def begin(self, started_at: float) -> None:
        """Name the recording, list it and start uploading it. `started_at`: epoch seconds.

        Does nothing but tell the user if too little is left of their quota.
        """
        if self._quota.reached(self._used_bytes):
            told = fields(stream=self._stream_id)
            log.info("stream is not recorded, its user's storage is full", extra=told)
            self._thread.refuse()
            self._tell(self._quota.full)
            return
        self._meta = SpoolMeta(
            new_id(), self._username, self._stream_id, started_at, self._account or ""
        )
        told = fields(recording=self._meta.recording_id, stream=self._stream_id)
        log.info("recording begins", extra=told)
        name = f"recording {self._meta.recording_id}"
        self._in_background.start(self._follow(self._meta), name=name)

    def push(self, block: Block) -> None:
        """Queue sound [T], or a number of silent samples, from any thread; never blocks.

        Call `begin` before the first block.
        """
        self._thread.push(block)

    def _open(self) -> RecordingWriter:
        """Create the spool, on its thread. Raises SpoolFull or OSError."""
        assert self._meta is not None, "sound came before `begin`"
        self._spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return RecordingWriter(self._path(self._meta), self._meta, other_disks=self._other_disks)

    def _path(self, meta: SpoolMeta) -> Path:
        return self._spool_dir / f"{meta.recording_id}.wav"

    async def _follow(self, meta: SpoolMeta) -> None:
        """Upload what is written and store it at the end, as long as we hold the lease."""
        uploader = Uploader(
            self._path(meta),
            meta,
            index=self._index,
            store=self._store,
            turns=self._turns,
            tail_s=self._tail_s,
        )
        async with self._index.lease(meta.recording_id).kept() as lease:
            self._lease = lease
            await self._list(meta)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._check(), name="recording check")
                await uploader.run(until=self._closed)
            if self._thread.spool is None:
                await self._unlist(meta)
            elif lease.lost:
                log.warning("recording %s: lease lost, left to recovery", meta.recording_id)
            else:
                await finish(
                    self._thread.spool, index=self._index, store=self._store, title=self._title
                )

    async def _check(self) -> None:
        """Keep the spool within the user's limit; once it is closed, let it be stored."""
        warned = False
        while not self._closed.is_set():
            await self._measure()
            if (why := self._cut_short()) is not None:
                log.info("recording ends before its stream", extra=fields(stream=self._stream_id))
                self._tell(why)
                self._closed.set()
            elif not warned and self._quota.near(self._used_bytes + self._thread.written_bytes):
                warned = True
                self._tell(self._quota.almost_full)
            try:
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._closed.wait()
            except TimeoutError:
                pass

    def _cut_short(self) -> str | None:
        """Say what ended the recording before the stream."""
        thread = self._thread
        if not thread.ended or not (thread.full or thread.failed):
            return None
        if thread.full:
            return self._quota.full
        return DISK_FULL if isinstance(thread.failed, SpoolFull) else DISK_FAILED

    async def _identify(self) -> None:
        """Ask for the user's account. Without an answer, the index gives it to the name's later."""
        try:
            self._account = await self._index.account_of(self._username)
        except RedisUnavailable as error:
            log.warning("stream %s: its user's account is unknown: %s", self._stream_id, error)

    async def _measure(self) -> None:
        """Ask how much the user has stored. While Redis is away the last answer counts."""
        if self._quota.max_user_bytes is None:
            return
        try:
            self._used_bytes = await self._index.used_bytes(self._username)
        except RedisUnavailable as error:
            log.warning("stream %s: its user's storage is unknown: %s", self._stream_id, error)
        self._thread.limit_bytes = self._quota.left(self._used_bytes)

    async def _list(self, meta: SpoolMeta) -> None:
        try:
            await self._index.put(replace(Recording.of(meta), title=self._title))
        except RedisUnavailable as error:  # storing it lists it
            log.warning("recording %s: not listed yet: %s", meta.recording_id, error)

    async def _retitle(self, meta: SpoolMeta) -> None:
        """Write the newest title to the index, where it also survives this process."""
        recording = Recording.of(meta)
        await persist("index", lambda: self._index.change(recording, title=self._title))

    async def _unlist(self, meta: SpoolMeta) -> None:
        try:
            await self._index.remove(meta.recording_id)
        except RedisUnavailable as error:
            log.warning("recording %s: still listed: %s", meta.recording_id, error)
