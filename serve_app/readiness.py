"""Whether a stream could start now, for /readyz. Anybody may ask, often; we look now and then."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ray.exceptions import RayError

from actors.errors import StreamError
from deployments.streams import Streams
from foundation.redis import RedisClient, RedisUnavailable
from recordings.probe import Probe
from recordings.store import RecordingStore, StoreUnavailable

log = logging.getLogger(__name__)

CHECK_TIMEOUT_S = 5.0
FRESH_S = 1.0
"""An answer counts for this long, for everybody who asks."""
PROVEN_S = 300.0
"""A probe is a dozen requests, some of which cost money: a good result counts for this long."""
REFUSED_S = 5.0
"""After a bad one, the next probe may follow this soon."""

Verdict = StoreUnavailable | None


class Readiness:
    """Checks Redis, the object storage and the stream directory."""

    def __init__(self, redis: RedisClient, store: RecordingStore, streams: Streams) -> None:
        self._redis = redis
        self._storage = StorageReadiness(store)
        self._streams = streams
        self._checking: asyncio.Task[list[str]] | None = None
        self._began = 0.0

    async def problems(self) -> list[str]:
        """Say what is wrong, a sentence each."""
        fresh = time.monotonic() - self._began < FRESH_S
        if self._checking is None or (self._checking.done() and not fresh):
            self._began = time.monotonic()
            self._checking = asyncio.create_task(self._check(), name="readiness")
        return await asyncio.shield(self._checking)

    async def _check(self) -> list[str]:
        async with asyncio.TaskGroup() as group:  # leaves no check behind, whatever is raised
            checks = [
                group.create_task(_problem("Redis", self._redis.prove())),
                group.create_task(_problem("The object storage", self._storage.check())),
                group.create_task(_problem("The stream directory", self._streams.ready())),
            ]
        return [problem for check in checks if (problem := check.result())]


async def _problem(part: str, check: Awaitable[Any]) -> str | None:
    """Say what is wrong with a part; None when nothing is."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    except StreamError as error:
        return str(error)
    except (RedisUnavailable, StoreUnavailable) as error:
        log.warning("not ready: %s: %r", part, error)
        return f"{part} {error.reason}."
    except (RayError, TimeoutError) as error:
        log.warning("not ready: %s: %r", part, error)
        return f"{part} does not answer."
    return None


class StorageReadiness:
    """Proves that the object storage does what recordings need.

    Every `check` asks for the bucket. From time to time one also starts a probe, which stores,
    reads and deletes an object. The next ones get its verdict.
    """

    def __init__(self, store: RecordingStore) -> None:
        self._store = store
        self._bucket = _OneAtATime(self._ask)
        self._probe = _OneAtATime(self._prove)
        self._proven = False
        self._verdict: Verdict = None
        self._due = 0.0

    async def check(self) -> None:
        """Raises StoreUnavailable, whose `reason` says what is wrong. Cancelling is safe."""
        verdict = await self._bucket.result()
        if verdict is None:
            if self._probe.running or time.monotonic() >= self._due:
                probed = self._probe.result()
                verdict = None if self._proven else await probed
            else:
                verdict = self._verdict
        if verdict is not None:
            raise verdict.with_traceback(None)

    def _ask(self) -> Verdict:
        try:
            self._store.check()
        except StoreUnavailable as error:
            self._proven, self._due = False, 0.0  # it may come back as another
            return error
        return None

    def _prove(self) -> Verdict:
        try:
            with Probe(self._store):
                self._verdict = None
        except StoreUnavailable as error:
            self._verdict = error
        self._proven = self._verdict is None
        self._due = time.monotonic() + (PROVEN_S if self._proven else REFUSED_S)
        return self._verdict


class _OneAtATime:
    """Work in a thread, begun only when the last is done; who asks meanwhile gets its result."""

    def __init__(self, work: Callable[[], Verdict]) -> None:
        self._work = work
        self._future: asyncio.Future[Verdict] | None = None

    @property
    def running(self) -> bool:
        return self._future is not None and not self._future.done()

    def result(self) -> "asyncio.Future[Verdict]":
        """Get the result to come. To give up waiting for it does not end the work."""
        if self._future is None or self._future.done():
            self._future = asyncio.get_running_loop().run_in_executor(None, self._work)
        return asyncio.shield(self._future)
