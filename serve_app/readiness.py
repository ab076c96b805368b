"""Whether the object storage works, for /readyz. Many ask; one thread at a time looks."""

import asyncio
import time
from collections.abc import Callable

from recordings.probe import Probe
from recordings.store import RecordingStore, StoreUnavailable

PROVEN_S = 300.0
"""A probe is a dozen requests, some of which cost money: a good result counts for this long."""
REFUSED_S = 5.0
"""After a bad one, the next probe may follow this soon."""

Verdict = StoreUnavailable | None


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
