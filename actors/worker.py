"""A thread that works through a bounded queue: what is too much is dropped and counted."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")


class WorkerThread(Generic[Item]):
    """Runs `work(item)` in order on one thread, away from the event loop.

    `push` never blocks. A full queue drops its oldest item and hands it to `dropped`, on the
    caller's thread. An exception in `work` ends the thread, and `failed` is told on it; what is
    queued then is left.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Item], None],
        *,
        capacity: int,
        dropped: Callable[[Item], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._work = work
        self._capacity = capacity
        self._dropped = dropped
        self._failed = failed
        self._queue: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work. Whoever starts it calls `close`."""
        self._thread.start()

    def push(self, item: Item) -> None:
        """Queue an item; the oldest goes when the queue is full."""
        with self._changed:
            oldest = self._queue.popleft() if len(self._queue) >= self._capacity else None
            self._queue.append(item)
            self._changed.notify()
        if oldest is not None:
            self._dropped(oldest)

    @property
    def waiting(self) -> int:
        """How many items are queued."""
        return len(self._queue)

    def close(self) -> None:
        """Finish what is queued, end the thread and wait for it. Call it off the event loop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    while not self._queue and not self._closing:
                        self._changed.wait()
                    if not self._queue:
                        return
                    item = self._queue.popleft()
                self._work(item)
        except Exception as error:  # the end of the thread's life: whoever owns it decides
            log.exception("%s ended by an error", self._thread.name)
            self._failed(error)
