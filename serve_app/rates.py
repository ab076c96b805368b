"""How often somebody may do something, counted in Redis for all ingress replicas together."""

from collections.abc import Mapping

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

USUAL = {"accounts": "60/minute", "sign_ins": "10/5minutes", "offers": "60/minute"}
"""New accounts per address; failed sign-ins per user and address; offers per user."""


class TooOften(Exception):
    """A limit is used up; `retry_after_s` says when to try again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many tries. Please wait {retry_after_s} seconds.")
        self.retry_after_s = retry_after_s


class Rates:
    """The limits of one ingress replica. `different` replaces usual ones by name."""

    def __init__(self, redis_url: str, different: Mapping[str, str]) -> None:
        storage = RedisStorage(
            f"async+{redis_url}", implementation="redispy", key_prefix="hushcast:rate"
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._rates: dict[str, RateLimitItem] = {
            name: parse(rate) for name, rate in {**USUAL, **different}.items()
        }

    async def count(self, name: str, *who: str) -> None:
        """Count one try. Raises TooOften when it is one too many."""
        rate = self._rates[name]
        if not await self._limiter.hit(rate, name, *who):
            raise TooOften(rate.get_expiry())

    async def check(self, name: str, *who: str) -> None:
        """Raise TooOften when no try is left; counts nothing."""
        rate = self._rates[name]
        if not await self._limiter.test(rate, name, *who):
            raise TooOften(rate.get_expiry())
