"""The Redis client, one error for "Redis is away", and which Redis can serve hushcast."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterCrossSlotError,
    ClusterError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_AWAY: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((AuthenticationError,), "refuses the user or the password"),
    ((NoPermissionError,), "does not allow the user all commands, keys and channels"),
    ((ReadOnlyError, MasterDownError), "is a read-only replica"),
    ((OutOfMemoryError,), "is full"),
    (
        (ClusterCrossSlotError, ClusterError, AskError, TryAgainError),
        "runs in cluster mode, which hushcast does not support",
    ),
    # Refused, broken, loading its data.
    ((RedisConnectionError, RedisTimeoutError, OSError), "does not answer"),
)
"""Errors, and what to say of Redis then."""
_AWAY_CODES = {
    "MISCONF": "refuses writes, because it cannot save its data",
    "NOREPLICAS": "refuses writes, because it has too few replicas",
    "BUSY": "is busy with a script",
    "LOADING": "is still loading its data",
}
"""First words of error replies that redis-py has no class for."""
_OF_PIPELINE = " of pipeline caused error: "
"""What redis-py puts before a reply, which it then writes as a tuple."""


NOW_LUA = """
local function now()
  local time = redis.call('TIME')
  return time[1] + time[2] / 1000000
end
"""
"""For scripts: seconds since the epoch by Redis's clock, the one clock that all nodes share."""


class RedisUnavailable(Exception):
    """Redis does not answer, or cannot serve the command now. Retrying later makes sense.

    `reason` completes the sentence "Redis ...", without names.
    """

    def __init__(self, told: str, reason: str = "does not answer") -> None:
        super().__init__(told)
        self.reason = reason


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors of that kind into RedisUnavailable; let our own mistakes pass."""
    try:
        yield
    except (RedisError, OSError) as error:
        if (reason := _reason(error)) is None:
            raise
        raise RedisUnavailable(f"Redis: {error}", reason) from error


def _reason(error: Exception) -> str | None:
    for kinds, reason in _AWAY:
        if isinstance(error, kinds):
            return reason
    if isinstance(error, ResponseError):
        reply = str(error).rpartition(_OF_PIPELINE)[2].lstrip("('\"")
        return _AWAY_CODES.get(reply.partition(" ")[0])
    return None


MAX_AT_ONCE = 32
"""How many commands of a client may be under way; each takes a connection."""
SILENCE_S = 5.0
"""A crowd of commands waits for as long as Redis answers some of them within this time."""


class _Turns:
    """Lets some commands pass at a time: a crowd would open, and keep, a connection for each.

    redis-py's own blocking pool loses a connection when a command is cancelled while it is given
    back.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MAX_AT_ONCE)
        self._answered = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Wait for a turn. Raises RedisUnavailable when nobody gets an answer meanwhile.

        A command that is cancelled while it is sent passes that on: `asyncio.wait_for`, by which
        redis-py waits for this, loses a cancel that comes as it ends (Python 3.11).
        """
        task = asyncio.current_task()
        assert task is not None
        cancels = task.cancelling()
        while self._free.locked():
            answered = self._answered
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._free.acquire()
                break
            except TimeoutError:
                if answered == self._answered:
                    raise RedisUnavailable("Redis: no command is answered") from None
        else:
            await self._free.acquire()  # at once
        try:
            yield
            self._answered += 1
            if task.cancelling() > cancels:
                raise asyncio.CancelledError
        finally:
            self._free.release()


class RedisClient(Redis):
    """redis-py's client, whose every command raises RedisUnavailable when Redis is away."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._turns = _Turns()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return the reply."""
        async with self._turns.taken():
            return await self._execute(*args, **options)

    async def _execute(self, *args: Any, **options: Any) -> Any:
        with translated():
            try:
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except ReadOnlyError:
                # No longer the primary. The name of the new one may lead elsewhere by now.
                await self.connection_pool.disconnect(inuse_connections=False)
                raise

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for a turn, to use its connections without its commands. Raises RedisUnavailable."""
        return self._turns.taken()

    def channel(self, name: str) -> str:
        """Get a channel's name in this database: Redis itself knows one set of channels for all.

        Database 0 keeps the plain name, so that actors of an earlier release are still heard.
        """
        database = self.connection_pool.connection_kwargs.get("db") or 0
        return f"{name}:{database}" if database else name

    async def prove(self) -> None:
        """Prove that it can be written, leaving nothing behind. Raises RedisUnavailable."""
        async with self.pipeline() as pipeline:
            pipeline.set("hushcast:proof:1", 1)
            pipeline.delete("hushcast:proof:1", "hushcast:proof:2")  # in a cluster, on two nodes
            await pipeline.execute()

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "_Pipeline":
        """Collect commands to send in one round trip."""
        pipeline = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.turns = self._turns
        return pipeline


class _Pipeline(Pipeline):
    turns: _Turns

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        async with self.turns.taken():
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


async def answer(url: str) -> None:
    """Raise RedisUnavailable unless a Redis answers."""
    async with connect(url) as redis:
        await redis.ping()


async def unfit(url: str) -> str | None:
    """Say in a sentence why a Redis can never serve hushcast.

    None if it can, does not answer now, or does not tell.
    """
    async with connect(url) as redis:
        try:
            told = await redis.info()
        except (RedisUnavailable, ResponseError):  # such as a proxy that does not know the command
            return None
    mode = told.get("redis_mode") or told.get("server_mode")  # Valkey's name
    if mode == "cluster" or told.get("cluster_enabled"):
        return (
            "Redis runs in cluster mode, which hushcast does not support: its scripts change keys "
            "of several people at once. Use a single Redis or Valkey, with replicas if you like."
        )
    if mode == "sentinel":
        return "This is a Sentinel. Give the URL of its primary, or of a proxy that follows it."
    if told.get("role") == "slave" and told.get("slave_read_only", 1):
        return "Redis is a read-only replica. Give the URL of its primary."
    return None


_OPTIONS = {
    "db", "username", "password", "client_name", "health_check_interval", "socket_keepalive",
    "socket_connect_timeout", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile",
    "ssl_password", "ssl_cert_reqs", "ssl_check_hostname", "ssl_ciphers",
}  # fmt: skip
"""redis-py's options that a URL may hold. The others are ours to choose, or no options at all."""
_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}


def check_url(url: str) -> str:
    """Return the URL of a Redis. Raises ValueError, with a sentence that quotes nothing of it."""
    scheme = url.partition("://")[0]
    if scheme not in ("redis", "rediss", "unix"):
        raise ValueError("give a URL that begins with redis://, rediss:// or unix://")
    parts = _split(url)
    placed = parts and (
        parts.hostname is None and parts.path if scheme == "unix" else parts.hostname
    )
    if parts is None or not placed or parts.fragment:
        raise ValueError(
            "give redis://USER:PASSWORD@HOST:PORT/DATABASE or unix:///PATH?db=DATABASE, with / # ? "
            "@ : and % in user and password as %2F %23 %3F %40 %3A %25"
        )
    path, options = parts.path.strip("/"), dict(parse_qsl(parts.query, keep_blank_values=True))
    if scheme != "unix" and path and not path.isdecimal():
        raise ValueError("the database at the end must be a number, as in redis://HOST:6379/0")
    if not options.keys() <= _OPTIONS:
        raise ValueError(
            "has an unknown option behind the ?; known are " + " ".join(sorted(_OPTIONS))
        )
    for name in _FILES & options.keys():
        if not Path(options[name]).is_file():
            raise ValueError(f"{name} names no file")
    try:
        # It names an option whose value it cannot read.
        connect(url).connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except TypeError:
        raise ValueError(f"has an option that does not go with {scheme}://") from None
    return url


def _split(url: str) -> SplitResult | None:
    """Split a URL; None if it is none. The standard library's error would quote it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
