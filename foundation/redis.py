"""The Redis client, and one error for "Redis is away"."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_AWAY = (
    RedisConnectionError,  # refused, broken, loading its data, wrong password
    RedisTimeoutError,
    ReadOnlyError,
    OutOfMemoryError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
    OSError,
)
_AWAY_CODES = ("MISCONF", "NOREPLICAS", "BUSY", "LOADING")
"""First words of error replies that redis-py has no class for."""


class RedisUnavailable(Exception):
    """Redis does not answer, or cannot serve the command now. Retrying later makes sense."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors of that kind into RedisUnavailable; let our own mistakes pass."""
    try:
        yield
    except _AWAY as error:
        raise RedisUnavailable(f"Redis: {error}") from error
    except ResponseError as error:
        if str(error).startswith(_AWAY_CODES):
            raise RedisUnavailable(f"Redis: {error}") from error
        raise


class RedisClient(Redis):
    """redis-py's client, whose every command raises RedisUnavailable when Redis is away."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return the reply."""
        with translated():
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "_Pipeline":
        """Collect commands to send in one round trip."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        with translated():
            return await super().execute(raise_on_error)


def connect_subscriber(url: str) -> RedisClient:
    """Make a client for a subscription, which may be quiet for hours: reads never time out.

    It does not retry either: a client that reconnects silently misses what is published meanwhile.
    """
    client = RedisClient.from_url(
        url, decode_responses=True, socket_timeout=None, retry=Retry(NoBackoff(), 0)
    )
    assert isinstance(client, RedisClient)  # its types say Redis
    return client


def connect(url: str) -> RedisClient:
    """Make a client for commands, not for blocking reads; sends nothing yet.

    It replaces a broken connection once, such as a restarted Redis leaves in the pool. It does not
    retry after a timeout: redis-py's default would apply an increment twice after a stall.
    """
    once = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    client = RedisClient.from_url(url, decode_responses=True, socket_timeout=5, retry=once)
    assert isinstance(client, RedisClient)  # its types say Redis
    return client
