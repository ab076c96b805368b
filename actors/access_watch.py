"""Ends what rested on access that was taken back, in every stream of a process."""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from actors import access
from actors.access import AccessEnded
from foundation.follower import Follower
from foundation.redis import RedisClient, RedisUnavailable

if TYPE_CHECKING:
    from actors.live_stream import LiveStream

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 10.0
CHECK_PAUSE_S = 0.2
"""However many sessions open, there is at most one check in this time."""


class AccessWatch:
    """Follows the news of access that ended. `run` is its whole life.

    News can be lost while Redis is away, or come before a session that was just verified is there.
    So it also asks Redis what still holds: every 10 s, after an outage and when a session opened.
    While Redis is away nothing ends.

    Attributes:
        failed: whether `run` ended by an error of ours: nobody watches any more.
    """

    def __init__(
        self, redis_url: str, redis: RedisClient, streams: "Mapping[str, LiveStream]"
    ) -> None:
        self.failed = False
        self._redis = redis
        self._streams = streams
        self._due = asyncio.Event()
        self._follower = Follower(
            redis_url, {access.CHANNEL: self._take}, joined=self._join, name="stream access"
        )

    async def run(self) -> None:
        """Follow and ask until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follower.run(), name="access follower")
                tasks.create_task(self._check(), name="access check")
        except ExceptionGroup:
            self.failed = True
            raise

    def check_soon(self) -> None:
        """Ask Redis now: a session opened."""
        self._due.set()

    async def _join(self) -> None:
        self.check_soon()

    async def _take(self, text: str) -> None:
        ended = AccessEnded.from_json(text)
        for stream in list(self._streams.values()):
            stream.end_access(ended)

    async def _check(self) -> None:
        while True:
            try:
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            for stream in list(self._streams.values()):
                try:
                    for ended in await access.lapsed(self._redis, stream.username, stream.grounds):
                        stream.end_access(ended)
                except RedisUnavailable as error:
                    log.warning("access not checked: %s", error)
                    break
            await asyncio.sleep(CHECK_PAUSE_S)
