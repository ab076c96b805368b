"""Which copies of recordings are to be made: `hushcast:recordings:wanted` in Redis.

A copy stays there until it is made or cannot be made, so whoever is making it may crash.
"""

import time

from foundation.lease import Lease, this_process
from foundation.redis import RedisClient
from recordings.names import Copy

LEASE_TTL_S = 30
"""How long after the death of its maker a copy waits for the next one."""
_WANTED = "hushcast:recordings:wanted"


class CopyQueue:
    """Reads and changes that set: members `ID:COPY` by when to try. Raises RedisUnavailable."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def want(self, recording_id: str, copy: Copy) -> bool:
        """Have a copy made; returns whether it was not wanted before."""
        member = f"{recording_id}:{copy}"
        return bool(await self._redis.zadd(_WANTED, {member: time.time()}, nx=True))

    async def wanted(self, count: int = 20) -> list[tuple[str, Copy]]:
        """List what to make now, what has waited longest first."""
        members = await self._redis.zrange(
            _WANTED, "-inf", str(time.time()), byscore=True, offset=0, num=count
        )
        pairs = (str(member).split(":") for member in members)
        return [(recording_id, Copy(copy)) for recording_id, copy in pairs]

    async def postpone(self, recording_id: str, copy: Copy, seconds: float) -> None:
        """Try a copy again later, if it is still wanted."""
        member = f"{recording_id}:{copy}"
        await self._redis.zadd(_WANTED, {member: time.time() + seconds}, xx=True)

    async def forget(self, recording_id: str, copy: Copy) -> None:
        """Do not make a copy any more."""
        await self._redis.zrem(_WANTED, f"{recording_id}:{copy}")

    def lease(self, recording_id: str) -> Lease:
        """Make this process's side of the lease on making copies of a recording."""
        key = f"hushcast:lease:copies:{recording_id}"
        return Lease(self._redis, key, holder=this_process(), ttl_s=LEASE_TTL_S)
