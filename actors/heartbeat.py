"""A thread of its own for what must not wait: the statuses of a process's streams.

However busy the event loop of the streams is, their statuses and leases are renewed, so overload is
not taken for death. The thread tells a busy process from a hung one by whether the loop and the
sound thread get anywhere: a busy one is late, a hung one stands still.
"""

import asyncio
import faulthandler
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from actors.status import StatusStore
from foundation.redis import connect

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.25
STUCK_S = 5.0
"""A process that got nowhere for this long is hung. A stall of a second or two is overload."""
LAG_WINDOW_S = 5.0
LAST_WORDS_S = 1.0
"""How long a hung process may take to log that it ends."""

T = TypeVar("T")
Progress = Callable[[], int | None]
"""Gets a number that differs from the last one when something was done; None: nothing is to do."""


class Heartbeat:
    """A thread with an event loop and a Redis client. The caller of `start` must call `close`.

    A hung process ends: Ray, and Redis by what expires, then tell that its streams are gone. It
    counts its own looks rather than time: a process that was frozen as a whole is not hung when it
    goes on.

    Attributes:
        store: for coroutines that `run` gets, and for no others.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        stuck_s: float = STUCK_S,
        give_up: Callable[[str], None] | None = None,
    ) -> None:
        """`give_up` is called with what hangs; by default the process ends."""
        self._redis = connect(redis_url)
        self.store = StatusStore(self._redis)
        self._limit = round(stuck_s / LOOK_INTERVAL_S)
        self._give_up = give_up or _end_process
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._watched: dict[str, Progress] = {}
        self._lags: deque[float] = deque(maxlen=round(LAG_WINDOW_S / LOOK_INTERVAL_S))
        self._asked_at: float | None = None
        self._answers = 0

    def start(self) -> None:
        """Start, and watch the running event loop."""
        loop = asyncio.get_running_loop()
        self._watched["the event loop"] = lambda: self._ask(loop)
        self._thread.start()

    def watch(self, name: str, progress: Progress) -> None:
        """Watch something else; called before `start`, and from then on in the thread."""
        self._watched[name] = progress

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    @property
    def lag_ms(self) -> float:
        """How late the watched loop was at worst in the last five seconds."""
        asked_at = self._asked_at
        waiting_s = 0.0 if asked_at is None else time.monotonic() - asked_at
        return 1000 * max(waiting_s, *self._lags, 0.0)

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread and wait for what it returns or raises."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def close(self) -> None:
        """End the thread; nothing may run in it any more."""
        if self.alive:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _beat(self) -> None:
        asyncio.set_event_loop(self._loop)
        looking = self._loop.create_task(self._look(), name="heartbeat looks")
        self._loop.run_forever()
        looking.cancel()
        self._loop.run_until_complete(asyncio.gather(looking, return_exceptions=True))
        self._loop.run_until_complete(self._redis.aclose())

    async def _look(self) -> None:
        """Look again and again whether everything that is watched gets anywhere."""
        before: dict[str, int | None] = {}
        still = dict.fromkeys(self._watched, 0)
        while True:
            for name, progress in self._watched.items():
                now = progress()
                still[name] = still[name] + 1 if now is not None and now == before.get(name) else 0
                before[name] = now
                if still[name] == self._limit:
                    self._give_up(name)
            await asyncio.sleep(LOOK_INTERVAL_S)

    def _ask(self, loop: asyncio.AbstractEventLoop) -> int | None:
        """Ask the loop for a sign of life, unless it still owes one; get how many it gave."""
        if loop.is_closed():
            return None
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            loop.call_soon_threadsafe(self._answer, self._asked_at)
        return self._answers

    def _answer(self, asked_at: float) -> None:
        self._lags.append(time.monotonic() - asked_at)
        self._answers += 1
        self._asked_at = None


def _end_process(hung: str) -> None:
    """End without a word to anybody: whatever could say it hangs. Spools are left to recovery."""
    faulthandler.dump_traceback_later(LAST_WORDS_S, exit=True)  # what hangs may hold logging's lock
    log.critical("%s hangs: this process ends, and its streams may go on elsewhere", hung)
