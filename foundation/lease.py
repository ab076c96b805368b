"""Leases in Redis: who may act for a stream or a recording, or take a turn, while they renew it.

redis-py's own `Lock` does not suffice: it cannot tell a lease taken by another holder from one that
merely expired, it has no epoch, and it cannot be handed over.
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
"""Counts grants, so the later of two grants has the higher epoch."""
RENEWALS_IN_A_LIFE = 4
VOID_TTL_S = 86_400
"""How long a revoked or voided grant is refused: longer than any process stays frozen."""

LUA = """
-- Where it stands up to which epoch grants are void. It outlives an account, so it names nobody.
local function void_key(key) return 'hushcast:void:' .. redis.sha1hex(key) end

-- Take a lease that nobody holds, or renew our own. Returns the current grant, as JSON, and whether
-- it is ours.
local function hold(key, counter, token, holder, ttl_ms, epoch)
  local text = redis.call('GET', key)
  if text then
    local ours = cjson.decode(text).token == token
    if ours then redis.call('PEXPIRE', key, ttl_ms) end
    return text, ours
  end
  local void = tonumber(redis.call('GET', void_key(key)) or 0)
  if tonumber(epoch) > 0 and tonumber(epoch) <= void then return '', false end
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
"""For scripts that check who holds a lease and act on the holder's behalf in one step."""

# KEYS: lease, counter. ARGV: token, holder, TTL in ms, epoch.
_HOLD = (
    LUA
    + """
local text = hold(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
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
local text = hold(KEYS[1], KEYS[2], ARGV[2], ARGV[3], ARGV[4], 0)
return text
"""
)

# KEYS: lease. ARGV: token, epoch, TTL of the mark in s.
_REVOKE = (
    LUA
    + """
if release(KEYS[1], ARGV[1]) == 1 then
  redis.call('SET', void_key(KEYS[1]), ARGV[2], 'EX', ARGV[3])
end
"""
)

# KEYS: lease, counter. ARGV: TTL of the mark in s. Returns the grant that stands, if any does.
_VOID = (
    LUA
    + """
local text = redis.call('GET', KEYS[1])
if text then return text end
redis.call('SET', void_key(KEYS[1]), redis.call('GET', KEYS[2]) or 0, 'EX', ARGV[1])
return false
"""
)


@dataclass(frozen=True)
class Bid:
    """What a would-be holder asks for."""

    token: str
    holder: str
    ttl_ms: int

    @property
    def arguments(self) -> list[str | int]:
        """The arguments of `hold` in `LUA` that follow its keys."""
        return [self.token, self.holder, self.ttl_ms]


@dataclass(frozen=True)
class Grant:
    """Who holds a lease. No two grants share a token; later ones have higher epochs."""

    holder: str
    token: str
    epoch: int

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what the scripts write."""
        return cls(**json.loads(text))


class Lease:
    """One would-be holder's side of a lease.

    `hold` takes the lease or, called again in time, renews it. A lease that expired is simply taken
    again. It is lost once Redis answers that somebody else holds it, or that it was revoked or
    voided, and then for good: to compete for it again, make a new `Lease`. While Redis is away
    nothing is known and nothing changes.

    Attributes:
        key: its key in Redis.
        bid: what we ask for.
        grant: the grant that Redis last reported; None before.
        lost: whether Redis has reported somebody else's grant, or refused to renew ours.
    """

    def __init__(self, redis: RedisClient, key: str, *, holder: str, ttl_s: float) -> None:
        """Prepare a bid; sends nothing yet."""
        self.key = key
        self.grant: Grant | None = None
        self.lost = False
        self.bid = Bid(new_id(), holder, round(ttl_s * 1000))
        self._redis = redis

    @property
    def arguments(self) -> list[str | int]:
        """What `hold` in `LUA` takes behind its keys."""
        return [*self.bid.arguments, self.grant.epoch if self.grant else 0]

    def note(self, standing: str) -> bool:
        """Take in the current grant as a script returned it; returns whether the lease is ours.

        An empty text means that ours was revoked or voided.
        """
        self.grant = Grant.from_json(standing) if standing else None
        self.lost = self.lost or self.grant is None or self.grant.token != self.bid.token
        return not self.lost

    async def hold(self) -> bool:
        """Take the lease, or renew it for another TTL. Returns False if it is lost.

        Raises RedisUnavailable.
        """
        if self.lost:
            return False
        script = self._redis.register_script(_HOLD)
        return self.note(await script(keys=[self.key, EPOCH_KEY], args=self.arguments))

    async def release(self) -> None:
        """Release it, unless somebody else holds it by now. Raises RedisUnavailable."""
        await self._redis.register_script(_RELEASE)(keys=[self.key], args=[self.bid.token])

    async def hand_over(self, successor: Bid) -> bool:
        """Pass it to another `Lease` of the same key, in any process; nobody can get in between.

        Returns False, and changes nothing, if this one does not hold it. Raises RedisUnavailable.
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
        """Renew it while entered; on leaving, release it or, with `release=False`, let it expire.

        Renewal goes on while Redis is away and stops once the lease is lost.
        """
        leaving = asyncio.Event()
        keeping = asyncio.create_task(self._keep(leaving), name=f"keep {self.key}")
        try:
            yield self
        finally:
            # Not cancelled: that would close the connection of a renewal under way.
            leaving.set()
            await keeping
            if release:
                try:
                    await self.release()
                except RedisUnavailable as error:
                    log.warning("%s: not released, it will expire: %s", self.key, error)

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
    """Name this process as a holder, for people who look at Redis."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def holder_of(redis: RedisClient, key: str) -> Grant | None:
    """Get the current grant of a lease, or None. Raises RedisUnavailable."""
    text = await redis.get(key)
    return None if text is None else Grant.from_json(text)


async def revoke(redis: RedisClient, key: str, grant: Grant) -> None:
    """Take the lease from a holder known to be dead, but not from a later one.

    Should it be alive after all, it does not get the lease back. Raises RedisUnavailable.
    """
    await redis.register_script(_REVOKE)(keys=[key], args=[grant.token, grant.epoch, VOID_TTL_S])


async def void(redis: RedisClient, key: str) -> Grant | None:
    """Refuse the lease to all who held it before, unless somebody holds it now.

    Returns the current grant; None once it is void. A process that was frozen until its lease
    expired does not take it back then. Raises RedisUnavailable.
    """
    text = await redis.register_script(_VOID)(keys=[key, EPOCH_KEY], args=[VOID_TTL_S])
    return None if text is None else Grant.from_json(text)
