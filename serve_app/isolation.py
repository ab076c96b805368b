"""Whether this ingress replica is cut off from Redis while others reach it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ray.exceptions import RayError

from actors.errors import ActorSilent
from foundation.redis import RedisClient, RedisUnavailable

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
ANSWER_S = 1.0
"""How long Redis, or a replica of the directory, may take to answer."""
CUT_S = 3.0
"""Shorter absences of Redis mean nothing."""
ASKS = 4
"""How often some other process is asked, any of several: one on this node is cut off, too."""


class Isolation:
    """Looks whether it is Redis that is away, or this replica. `run` is its whole life.

    While Redis is away for everybody, replicas stay as they are: nothing else would be better.
    `another_reaches_redis` asks some other process; `leave` sends the pages that are here away.

    Attributes:
        isolated: whether others reach Redis and this replica has not for `CUT_S`.
    """

    def __init__(
        self,
        redis: RedisClient,
        another_reaches_redis: Callable[[], Awaitable[bool]],
        leave: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._another_reaches_redis = another_reaches_redis
        self._leave = leave
        self._reached_at = time.monotonic()
        self.isolated = False

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def _look(self) -> None:
        if await _answers(self._redis.ping()):
            self._reached_at = time.monotonic()
        cut = time.monotonic() - self._reached_at > CUT_S
        before, self.isolated = self.isolated, cut and await self._others_reach_redis()
        if self.isolated:
            if not before:
                log.error("cut off: other nodes reach Redis, this one does not")
            self._leave()
        elif before:
            log.info("no longer cut off")

    async def _others_reach_redis(self) -> bool:
        """Ask twice: Redis may have come back just now, and others have noticed first."""
        for _ in range(2):
            for _ in range(ASKS):
                if await _answers(self._another_reaches_redis()):
                    break
            else:
                return False
        return not await _answers(self._redis.ping())


async def _answers(question: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(ANSWER_S):
            return await question
    except (ActorSilent, RayError, RedisUnavailable, TimeoutError):
        return False
