"""How many may listen at one actor, and how fast they come in."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from actors.errors import NoCapacity
from foundation.tasks import TaskSet

MAX_LISTENERS = 300
"""Fewer than a core carries (docs/benchmarks.md): the sound and those who come need some of it."""
MAX_WAITING = 64
MAX_WAIT_S = 4.0
RESTS_FOR = 2.0
"""The pause after a join, as a multiple of what it took: joins take a third of the loop at most."""
CALM_S = 0.04
"""An event loop that is later than this has enough to do: a frame later than 60 ms is missed."""
LOOK_S = 0.005
FULL_RETRY_S = 30
CROWD_RETRY_S = (2, 6)
"""Drawn for each who is refused, so that they do not come back together."""


class Admission:
    """Lets listeners join one after another, and only while the event loop is on time.

    To answer an offer takes the loop some milliseconds, in which it does nothing for those who are
    in. However many want to join at once, sound goes out in between; whom that keeps waiting too
    long is refused. Publishers are not asked to wait.
    """

    def __init__(self, limit: int, *, listening: Callable[[], int]) -> None:
        """`limit` is how many may listen, `listening` counts those who do, connected or not."""
        self._limit = limit
        self._listening = listening
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._tasks = TaskSet()

    async def join(self, answer: Callable[[], Awaitable[str]]) -> str:
        """Answer a listener's offer when its turn comes.

        Raises NoCapacity, or what `answer` raises.
        """
        if self._listening() + self._waiting >= self._limit:
            raise NoCapacity(
                "As many people are listening as this server can carry. Please try again later.",
                FULL_RETRY_S,
            )
        if self._waiting >= MAX_WAITING:
            raise _crowded()
        await self._take_turn()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await answer()
        finally:
            self._tasks.start(self._rest(loop.time() - began), name="pause after a join")

    async def _take_turn(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise _crowded() from None
        finally:
            self._waiting -= 1

    async def _rest(self, took_s: float) -> None:
        """Give the turn back after a pause, and once the loop is on time."""
        try:
            await asyncio.sleep(RESTS_FOR * took_s)
            while await _lateness_s() > CALM_S:
                pass
        finally:
            self._turn.release()


async def _lateness_s() -> float:
    """Measure how late the loop comes back from a short sleep."""
    loop = asyncio.get_running_loop()
    due = loop.time() + LOOK_S
    await asyncio.sleep(LOOK_S)
    return loop.time() - due


def _crowded() -> NoCapacity:
    return NoCapacity(
        "Many people are joining right now. Please try again in a moment.",
        random.randint(*CROWD_RETRY_S),
    )
