"""Keeps one stream's status true in Redis: every change at once, and a heartbeat between."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from actors.status import Listening, SessionRecord, StatusStore, StreamState, StreamStatus
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


@dataclass(frozen=True)
class Change:
    """When a status was changed, on behalf of which request, and the name of that in every log."""

    change_id: str = field(default_factory=new_id)
    changed_at: float = field(default_factory=time.time)
    request: str = field(default_factory=request_id.get)


class Announcer:
    """The one writer of a stream's status, for as long as it holds the lease on the stream.

    A Redis that is down stops nothing: the change is logged and comes with the next heartbeat.
    """

    def __init__(self, store: StatusStore, status: StreamStatus, lease: Lease) -> None:
        self.status = status
        self._store = store
        self._lease = lease
        self._changed = asyncio.Event()
        self._change = Change()
        self._written: StreamStatus | None = None
        """What Redis took last."""
        self._counted_at = -COUNT_INTERVAL_S
        """When it took another number of listeners, by the monotonic clock."""
        self._sessions: set[str] = set()

    @property
    def lost(self) -> bool:
        """Whether another actor holds the lease."""
        return self._lease.lost

    def change(self, **changes: Any) -> None:
        """Change fields of the status; `run` writes them at once.

        Another number of listeners alone may wait for the next heartbeat.
        """
        before, self.status = self.status, replace(self.status, **changes)
        assert before.state is not StreamState.ENDED or before == self.status, "it has ended"
        if before == self.status:
            return
        self._change = Change()
        only_counts = replace(before, listeners=self.status.listeners) == self.status
        if not only_counts or time.monotonic() - self._counted_at >= COUNT_INTERVAL_S:
            self._changed.set()

    async def run(self) -> None:
        """Write every change and renew status and lease every second.

        Returns when the end is written, or at once when the lease is lost. It ends by the state
        alone: cancelling a client of Redis in the middle of a command leaves a connection in doubt.
        """
        while not self._lease.lost:
            self._changed.clear()
            written = self.status
            await self._write(written)
            if written.state is StreamState.ENDED:
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

    async def _tell(self, telling: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_S):
                await telling
        except (TimeoutError, RedisUnavailable) as error:
            log.warning("stream %s: a page was not told: %r", self.status.stream_id, error)

    async def _write(self, status: StreamStatus) -> None:
        write = self._store.end if status.state is StreamState.ENDED else self._store.write
        change = self._change
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_S):
                await write(
                    status,
                    self._lease,
                    change_id=change.change_id,
                    changed_at=change.changed_at,
                )
                self._note_published(status, change)
                await self._store.renew_sessions(list(self._sessions))
        except (TimeoutError, RedisUnavailable) as error:
            log.warning("stream %s: status not written: %r", status.stream_id, error)

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
