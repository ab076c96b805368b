"""Which nodes people want to be drained, as marks in Redis, and what is left on them."""

import json
from dataclasses import asdict, dataclass

from foundation.redis import RedisClient

DRAINS_KEY = "hushcast:drains"
"""Hash NODE -> when it should be empty, in seconds since the epoch. NODE is an id or an address."""
LEFT_KEY = "hushcast:drains:left"
"""Hash NODE -> what is left on it, as `Left`, from the pool that keeps the supply."""
FORGOTTEN_S = 86_400.0
"""A mark whose time was this long ago is dropped: addresses are given to other nodes."""


@dataclass(frozen=True)
class Left:
    """What is left on a node: its actors, and the streams on them. None: there is no such node."""

    actors: int | None
    streams: int
    told_at: float
    """In seconds since the epoch."""


class Drains:
    """The marks. Methods raise RedisUnavailable."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def begin(self, node: str, ends_at: float) -> None:
        """Ask for a node to be drained until a time since the epoch."""
        await self._redis.hdel(LEFT_KEY, node)
        await self._redis.hset(DRAINS_KEY, node, repr(ends_at))

    async def end(self, node: str) -> None:
        """Take that back; what has left the node stays away until actors start there again."""
        await self._redis.hdel(DRAINS_KEY, node)
        await self._redis.hdel(LEFT_KEY, node)

    async def read(self, now: float) -> dict[str, float]:
        """Get the nodes that should be drained, each with its time; drop what is long past."""
        marks = {str(k): float(v) for k, v in (await self._redis.hgetall(DRAINS_KEY)).items()}
        for node in [node for node, at in marks.items() if at < now - FORGOTTEN_S]:
            del marks[node]
            await self.end(node)
        return marks

    async def tell(self, node: str, left: Left) -> None:
        """Tell the people who wait what is left on a node."""
        await self._redis.hset(LEFT_KEY, node, json.dumps(asdict(left)))

    async def left(self, node: str) -> Left | None:
        """Get what is left on a node; None while no pool has said."""
        text = await self._redis.hget(LEFT_KEY, node)
        return Left(**json.loads(text)) if text else None
