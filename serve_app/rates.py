"""Rate limits, counted in Redis across all ingress replicas."""

import math
import time
from collections.abc import Mapping
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from foundation.redis import RedisClient, translated

USUAL = {"accounts": "60/minute", "sign_ins": "10/5minutes", "offers": "60/minute"}
"""New accounts per address; failed sign-ins per user and address; offers per user."""


class TooOften(Exception):
    """A rate limit is exceeded; `retry_after_s` says when to try again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many attempts. Please wait {retry_after_s} seconds.")
        self.retry_after_s = retry_after_s


class Rates:
    """The rate limits of one ingress replica. `different` overrides the usual ones by name.

    Uses the client's connections, and thus its timeouts. Raises ValueError for an unknown name.
    """

    def __init__(self, redis: RedisClient, different: Mapping[str, str]) -> None:
        if unknown := sorted(different.keys() - USUAL.keys()):
            raise ValueError(f"HUSHCAST_LIMITS: {unknown[0]} is not one of {', '.join(USUAL)}")
        shared: dict[str, Any] = {"connection_pool": redis.connection_pool}
        storage = RedisStorage(
            "async+redis://", implementation="redispy", key_prefix="hushcast:rate", **shared
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._rates: dict[str, RateLimitItem] = {
            name: parse(rate) for name, rate in {**USUAL, **different}.items()
        }

    async def count(self, name: str, *who: str) -> None:
        """Count one attempt.

        Raises TooOften if that exceeds the limit, and then does not count it; or RedisUnavailable.
        """
        rate = self._rates[name]
        with translated():
            if await self._limiter.hit(rate, name, *who):
                return
            window = await self._limiter.get_window_stats(rate, name, *who)
        raise TooOften(max(1, math.ceil(window.reset_time - time.time())))

    async def forget(self, name: str, *who: str) -> None:
        """Reset a count. Raises RedisUnavailable."""
        with translated():
            await self._limiter.clear(self._rates[name], name, *who)
