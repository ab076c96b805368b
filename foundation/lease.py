"""Leases in Redis: who may act for a stream, a recording or a turn, until they stop renewing it.

redis-py's own `Lock` would not do: it cannot tell a lease that another holder has from one that
merely ran out, has no epoch, and cannot be handed over.
"""

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from foundation.ids import new_id
from foundation.redis import RedisClient, RedisUnavailable

log = logging.getLogger(__name__)

EPOCH_KEY = "hushcast:epoch"
"""Counts grants. It rises with each, so of two grants the later one has the higher epoch."""
RENEWALS_IN_A_LIFE = 4

LUA = """
-- Take a lease that nobody holds, or keep one's own. Returns the grant that stands now, as text,
-- and whether it is ours.
local function hold(key, counter, token, holder, ttl_ms)
  local text = redis.call('GET', key)
  if text then
    local ours = cjson.decode(text).token == token
    if ours then redis.call('PEXPIRE', key, ttl_ms) end
    return text, ours
  end
  text = cjson.encode({token = token, holder = holder, epoch = redis.call('INCR', counter)})
  redis.call('SET', key, text, 'PX', ttl_ms)
  return text, true
end

local function release(key, token)
  local text = redis.call('GET', key)
  if text and cjson.decode(text).token == token then return redis.call('DEL', key) end
  return 0
end
"""
"""For scripts that do something only on behalf of a lease's holder, in one step with the check."""

# KEYS: lease, counter. ARGV: token, holder, TTL in ms.
_HOLD = (
    LUA
    + """
local text = hold(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
return text
"""
)

# KEYS: lease. ARGV: token.
_RELEASE = LUA + "return release(KEYS[1], ARGV[1])"

# KEYS: lease, counter. ARGV: token, next token, next holder, TTL in ms.
_HAND_OVER = (
    LUA
    + """
if release(KEYS[1], ARGV[1]) == 0 then return false end
local text = hold(KEYS[1], KEYS[2], ARGV[2], ARGV[3], ARGV[4])
return text
"""
)


@dataclass(frozen=True)
class Bid:
    """What a lease is asked for with."""

    token: str
    holder: str
    ttl_ms: int

    @property
    def arguments(self) -> list[str | int]:
        """What `hold` in `LUA` takes behind its keys."""
        return [self.token, self.holder, self.ttl_ms]


@dataclass(frozen=True)
class Grant:
    """Who holds a lease. No two grants share a token; the later one has the higher epoch."""

    holder: str
    token: str
    epoch: int

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what the scripts write."""
        return cls(**json.loads(text))


class Lease:
    """One would-be holder's side of a lease.

    `hold` takes it and, called again in time, keeps it. A lease that ran out unrenewed is simply
    taken again; it is lost once Redis has answered that somebody else holds it, and then for
    good: whoever wants it anew makes another `Lease`. While Redis is away nothing is known and
    nothing changes.

    Attributes:
        key: where it stands in Redis.
        bid: what it is asked for with.
        grant: what stood there when Redis last answered; None before.
        lost: whether that was somebody else's.
    """

    def __init__(self, redis: RedisClient, key: str, *, holder: str, ttl_s: float) -> None:
        """Nothing is sent yet."""
        self.key = key
        self.grant: Grant | None = None
        self.lost = False
        self.bid = Bid(new_id(), holder, round(ttl_s * 1000))
        self._redis = redis

    def note(self, standing: str) -> bool:
        """Learn from a script which grant stands; tells whether the lease is ours."""
        self.grant = Grant.from_json(standing)
        self.lost = self.lost or self.grant.token != self.bid.token
        return not self.lost

    async def hold(self) -> bool:
        """Take the lease, or keep it for another TTL. False: it is lost.

        Raises RedisUnavailable.
        """
        if self.lost:
            return False
        script = self._redis.register_script(_HOLD)
        return self.note(await script(keys=[self.key, EPOCH_KEY], args=self.bid.arguments))

    async def release(self) -> None:
        """Give it back, unless it is somebody else's by now. Raises RedisUnavailable."""
        await self._redis.register_script(_RELEASE)(keys=[self.key], args=[self.bid.token])

    async def hand_over(self, successor: Bid) -> bool:
        """Let another `Lease` of the same key, in any process, hold it; nobody can come between.

        False, and nothing changed, when this one does not hold it. Raises RedisUnavailable.
        """
        standing = await self._redis.register_script(_HAND_OVER)(
            keys=[self.key, EPOCH_KEY], args=[self.bid.token, *successor.arguments]
        )
        if standing is None:
            return False
        self.note(standing)
        return True

    @asynccontextmanager
    async def kept(self, *, release: bool = True) -> AsyncIterator[Self]:
        """Keep it while entered; leaving releases it, or else lets it run out.

        Renewal goes on while Redis is away, and stops when the lease is lost.
        """
        leaving = asyncio.Event()
        keeping = asyncio.create_task(self._keep(leaving), name=f"keep {self.key}")
        try:
            yield self
        finally:
            # Not cancelled: on Python 3.11 redis-py may swallow that, and renewal would never end.
            leaving.set()
            await keeping
            if release:
                try:
                    await self.release()
                except RedisUnavailable as error:
                    log.warning("%s: not released, it runs out: %s", self.key, error)

    async def _keep(self, leaving: asyncio.Event) -> None:
        while not (self.lost or leaving.is_set()):
            try:
                await self.hold()
            except RedisUnavailable as error:
                log.warning("%s: not renewed: %s", self.key, error)
            try:
                async with asyncio.timeout(self.bid.ttl_ms / 1000 / RENEWALS_IN_A_LIFE):
                    await leaving.wait()
            except TimeoutError:
                pass


def this_process() -> str:
    """Name this process as a holder, for people who look into Redis."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def holder_of(redis: RedisClient, key: str) -> Grant | None:
    """Get who holds a lease now. Raises RedisUnavailable."""
    text = await redis.get(key)
    return None if text is None else Grant.from_json(text)


async def revoke(redis: RedisClient, key: str, grant: Grant) -> None:
    """Take a lease from a holder that is known to be dead, and from no later one.

    Raises RedisUnavailable.
    """
    await redis.register_script(_RELEASE)(keys=[key], args=[grant.token])
