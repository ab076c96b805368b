"""Rate limits, counted in Redis across all ingress replicas."""

import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from limits import RateLimitItem, parse_many
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter

from foundation.redis import RedisClient, translated

USUAL = {
    "accounts": "60/minute",
    "accounts_per_day": "300/day",
    "sign_ins": "10/5minutes",
    "sign_ins_per_address": "50/5minutes",
    "sign_ins_per_name": "100/hour",
    "passwords": "10/5minutes",
    "offers": "60/minute",
    "guest_offers": "300/minute",
    "links": "60/minute",
    "friends": "120/minute",
    "look_ups": "300/minute",
    "changes": "600/minute",
    "copies": "60/hour",
    "previews": "10/minute",
    "streams": "32",
}
"""Every limit, as docs/api.md describes it. `streams` is how many at a time."""
AT_A_TIME = ("streams",)


class TooOften(Exception):
    """A rate limit is exceeded; `retry_after_s` says when to try again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many attempts. Please wait {retry_after_s} seconds.")
        self.retry_after_s = retry_after_s


def chosen(different: Mapping[str, str]) -> dict[str, str]:
    """Get every limit: the usual ones, unless a different one is given by name.

    Raises ValueError for an unknown name, or a rate in place of a number.
    """
    if unknown := sorted(different.keys() - USUAL.keys()):
        raise ValueError(f"{unknown[0]} is not one of {', '.join(USUAL)}")
    for name, limit in different.items():
        if limit.isdecimal() != (name in AT_A_TIME):
            form = "a number" if name in AT_A_TIME else "a rate such as 60/minute"
            raise ValueError(f"{name} must be {form}")
    return {**USUAL, **different}


class Rates:
    """The limits of one ingress replica. `different` overrides the usual ones by name.

    Uses the client's connections in its turns, and thus its timeouts. Raises ValueError as `chosen`
    does.
    """

    def __init__(self, redis: RedisClient, different: Mapping[str, str]) -> None:
        limits = chosen(different)
        self._redis = redis
        shared: dict[str, Any] = {"connection_pool": redis.connection_pool}
        storage = RedisStorage(
            "async+redis://", implementation="redispy", key_prefix="hushcast:limit", **shared
        )
        self._limiter = FixedWindowRateLimiter(storage)
        self._rates: dict[str, list[RateLimitItem]] = {
            name: parse_many(rate) for name, rate in limits.items() if name not in AT_A_TIME
        }
        self.streams = int(limits["streams"])
        """How many streams may come from one address at a time."""

    async def count(self, name: str, *who: str) -> None:
        """Count one attempt. Raises TooOften if that exceeds the limit, or RedisUnavailable."""
        for rate in self._rates[name]:
            async with self._turn():
                if await self._limiter.hit(rate, name, *who):
                    continue
                window = await self._limiter.get_window_stats(rate, name, *who)
            raise TooOften(max(1, math.ceil(window.reset_time - time.time())))

    async def take_back(self, name: str, *who: str) -> None:
        """Count one attempt less. Raises RedisUnavailable."""
        async with self._turn():
            for rate in self._rates[name]:
                await self._limiter.hit(rate, name, *who, cost=-1)

    async def forget(self, name: str, *who: str) -> None:
        """Reset a count. Raises RedisUnavailable."""
        async with self._turn():
            for rate in self._rates[name]:
                await self._limiter.clear(rate, name, *who)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with self._redis.turn():
            with translated():
                yield
