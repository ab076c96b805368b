"""Keeps one stream's status true in Redis: every change at once, and a heartbeat between."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actors.status import (
    SESSION_TTL_S,
    SETTINGS,
    Kept,
    Listening,
    SessionRecord,
    StatusStore,
    StreamState,
    StreamStatus,
)
from foundation.ids import new_id
from foundation.lease import Lease
from foundation.logs import fields, request_id
from foundation.redis import RedisUnavailable

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
COUNT_INTERVAL_S = 1.0
"""The number of listeners alone is written at most this often."""
REDIS_TIMEOUT_S = 2.0
"""How long Redis may take before a stream goes on without it."""
RENEW_SESSIONS_S = SESSION_TTL_S / 4


@dataclass(frozen=True)
class Change:
    """When a status was changed, on behalf of which request, and the name of that in every log."""

    change_id: str = field(default_factory=new_id)
    changed_at: float = field(default_factory=time.time)
    request: str = field(default_factory=request_id.get)


class Announcer:
    """The one writer of a stream's status, for as long as it holds the lease on the stream.

    A Redis that is down stops nothing: the change is logged and comes with the next heartbeat.

    `run` may have a thread of its own (see heartbeat.py) and then has a `writer` of its own; all
    other methods belong to the stream's loop, and to `store`.
    """

    def __init__(
        self,
        store: StatusStore,
        status: StreamStatus,
        lease: Lease,
        *,
        writer: StatusStore | None = None,
    ) -> None:
        self._store = store
        self._writer = writer or store
        self._lease = lease
        self._latest = status, Change()
        """What Redis should hold, replaced as a whole: `run` may read it from another thread."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where `run` runs."""
        self._changed = asyncio.Event()
        self._written: StreamStatus | None = None
        """What Redis took last."""
        self._counted_at = -COUNT_INTERVAL_S
        """When it took another number of listeners, by the monotonic clock."""
        self._sessions: set[str] = set()
        self._sessions_renewed_at = time.monotonic()

    @property
    def status(self) -> StreamStatus:
        """What everybody may know of the stream now."""
        return self._latest[0]

    @property
    def lost(self) -> bool:
        """Whether another actor holds the lease."""
        return self._lease.lost

    def change(self, **changes: Any) -> None:
        """Change fields of the status; `run` writes them at once.

        Another number of listeners alone may wait for the next heartbeat.
        """
        before, status = self.status, replace(self.status, **changes)
        if before == status:
            return
        assert before.state is not StreamState.ENDED, "it has ended"
        self._latest = status, Change()
        only_counts = replace(before, listeners=status.listeners) == status
        if only_counts and time.monotonic() - self._counted_at < COUNT_INTERVAL_S:
            return
        if self._loop is not None:  # otherwise `run` begins with it
            self._loop.call_soon_threadsafe(self._changed.set)

    async def run(self) -> None:
        """Write every change and renew status and lease every second.

        Returns when the end is written, or at once when the lease is lost. It ends by the state
        alone: cancelling a client of Redis in the middle of a command leaves a connection in doubt.
        """
        self._loop = asyncio.get_running_loop()
        while not self._lease.lost:
            self._changed.clear()
            status, change = self._latest
            await self._write(status, change)
            if status.state is StreamState.ENDED:
                return
            try:
                async with asyncio.timeout(0 if self._lease.lost else HEARTBEAT_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
        log.warning("stream %s: another actor hosts its user now", self.status.stream_id)

    async def add_session(self, session_id: str, owner: str, *, publishes: bool) -> None:
        """Let any ingress replica find this session. Raises RedisUnavailable."""
        record = SessionRecord(
            session_id, owner, self.status.username, self.status.actor, publishes
        )
        self._sessions.add(session_id)
        await self._store.write_session(record)

    def remove_session(self, session_id: str) -> None:
        """Stop renewing a session's record."""
        self._sessions.discard(session_id)

    async def tell_pages(
        self,
        username: str,
        action: str,
        session_id: str,
        *,
        reason: str | None = None,
        at: float | None = None,
    ) -> None:
        """Tell a user's pages what to do or what happens to them, if Redis is there."""
        status = self.status
        await self._tell(
            self._store.tell_pages(
                username, action, status.stream_id, session_id, reason=reason, at=at
            )
        )

    async def tell_listeners(self, people: list[Listening]) -> None:
        """Tell the publisher's pages who listens, if Redis is there."""
        await self._tell(self._store.tell_listeners(self.status.username, people))

    async def keep(self, removed: Sequence[str]) -> None:
        """Note, if Redis is there, what is to go on with another actor, should this one be lost."""
        status = self.status
        settings = {name: getattr(status, name) for name in SETTINGS}
        kept = Kept(status.stream_id, settings, tuple(removed), status.started_at, status.part)
        await self._tell(self._store.keep(status.username, kept))

    async def forget_kept(self) -> None:
        """Let nothing of it go on, if Redis is there."""
        await self._tell(self._store.forget_kept(self.status.username))

    async def _tell(self, telling: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_S):
                await telling
        except (TimeoutError, RedisUnavailable) as error:
            log.warning("stream %s: not told: %r", self.status.stream_id, error)

    async def _write(self, status: StreamStatus, change: Change) -> None:
        write = self._writer.end if status.state is StreamState.ENDED else self._writer.write
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_S):
                await write(
                    status,
                    self._lease,
                    change_id=change.change_id,
                    changed_at=change.changed_at,
                )
                self._note_published(status, change)
                await self._renew_sessions()
        except (TimeoutError, RedisUnavailable) as error:
            log.warning("stream %s: status not written: %r", status.stream_id, error)

    async def _renew_sessions(self) -> None:
        """Keep the sessions' records, which last an hour."""
        if time.monotonic() - self._sessions_renewed_at >= RENEW_SESSIONS_S:
            await self._writer.renew_sessions(list(self._sessions))
            self._sessions_renewed_at = time.monotonic()

    def _note_published(self, status: StreamStatus, change: Change) -> None:
        if status == self._written or self._lease.lost:
            return
        if self._written is not None and status.listeners != self._written.listeners:
            self._counted_at = time.monotonic()
        self._written = status
        told = fields(
            change=change.change_id,
            stream=status.stream_id,
            state=status.state,
            session=status.session,
            listeners=status.listeners,
            delay_ms=round((time.time() - change.changed_at) * 1000),
            request=change.request,
        )
        log.info("published", extra=told)
