"""How many people publish from one address at a time."""

import time

from deployments.streams import Streams
from foundation.redis import RedisClient

STARTING_S = 20.0
"""A stream has a status by then, or it did not start."""
TTL_S = 24 * 3600


class TooManyStreams(Exception):
    """An address publishes as many streams as one may."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"There are already {limit} streams from your network. Please wait.")


class Publishers:
    """Who publishes from which address: a sorted set for each, by when they last began.

    An entry counts while its user has a status, which expires with the actor that writes it: so
    nothing has to be taken back when a stream ends, however that happens.
    """

    def __init__(self, redis: RedisClient, streams: Streams) -> None:
        self._redis = redis
        self._streams = streams

    async def begin(self, username: str, address: str, limit: int) -> None:
        """Note that a user begins to publish. Raises TooManyStreams or RedisUnavailable."""
        key, now = f"hushcast:publishing:{address}", time.time()
        pipeline = self._redis.pipeline()
        # Before counting, or streams that begin at the same time would not count each other.
        pipeline.zadd(key, {username: now})
        pipeline.expire(key, TTL_S)
        pipeline.zrange(key, 0, -1, withscores=True)
        noted = {str(name): float(at) for name, at in (await pipeline.execute())[-1]}
        live = {status.username for status in await self._streams.statuses(noted)}
        gone = [name for name, at in noted.items() if name not in live and now - at > STARTING_S]
        full = len(noted) - len(gone) > limit
        if full and username not in live:
            gone.append(username)
        if gone:
            await self._redis.zrem(key, *gone)
        if full and username not in live:
            raise TooManyStreams(limit)
