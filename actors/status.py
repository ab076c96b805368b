"""Live status in Redis: who streams, in which state, on which actor.

A stream's status is one key with a TTL, written by its actor alone and refreshed
every second: a dead actor stops being live by itself. Every write is one Lua script
that compares stream ids and publishes what changed, so that a late "ended" of an
old stream cannot undo the "live" of a new one, and a reader that subscribed before
it read the keys misses nothing.
"""

import functools
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import ParamSpec, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from actors.errors import StatusUnavailable

CHANNEL = "hushcast:status"
"""Changes, as JSON `{version, username, stream}`; `stream` is null when it ended."""
VERSION_KEY = "hushcast:status-version"
STREAMING_KEY = "hushcast:streaming"
"""Hash username -> stream id of everybody whose end has not been published yet."""
CONTROL_CHANNEL = "hushcast:control"
"""What a user's pages should do, as JSON `{username, action, stream_id, session}`."""
STATUS_TTL_S = 3
CLAIM_TTL_S = 10
SESSION_TTL_S = 3600


class StreamState(StrEnum):
    """Where a stream is in its life. It is `live` from the first decoded sound on."""

    CONNECTING = "connecting"
    LIVE = "live"
    RECONNECTING = "reconnecting"
    ENDED = "ended"


@dataclass(frozen=True)
class StreamStatus:
    """A stream as everybody may know it, and where it lives.

    `started_at` is seconds since the epoch of the first decoded sound, None before.
    `stream_id`s sort by time of birth.
    """

    username: str
    stream_id: str
    state: StreamState
    started_at: float | None
    listeners: int
    denoise: bool
    attenuation_limit_db: float | None
    share_original: bool
    actor: str
    session: str | None

    @staticmethod
    def from_json(text: str | bytes) -> "StreamStatus":
        """Read what `StatusStore.write` wrote."""
        fields = json.loads(text)
        fields.pop("version", None)
        return StreamStatus(**{**fields, "state": StreamState(fields["state"])})


@dataclass(frozen=True)
class SessionRecord:
    """Whose session it is, and which actor holds it."""

    session_id: str
    owner: str
    username: str
    actor: str
    publishes: bool


def new_stream_id() -> str:
    """Make an id that sorts by time: 48 bits of milliseconds, then 64 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


# KEYS: status, version, streaming. ARGV: username, stream id, document or "", TTL (s).
# An end is taken from the stream that it ends only; a document is refused when a younger
# stream stands. Unchanged documents only have their TTL renewed. Returns 1 when published.
_WRITE = """
local current = redis.call('GET', KEYS[1])
local known = redis.call('HGET', KEYS[3], ARGV[1])
if ARGV[3] == '' then
  if known ~= ARGV[2] then return 0 end
  redis.call('DEL', KEYS[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
else
  if known and known > ARGV[2] then return -1 end
  local bare = current and string.gsub(current, '^{"version": %d+, ', '{') or ''
  if bare == ARGV[3] then
    redis.call('EXPIRE', KEYS[1], ARGV[4])
    return 0
  end
end
local version = redis.call('INCR', KEYS[2])
local document = 'null'
if ARGV[3] ~= '' then
  document = '{"version": ' .. version .. ', ' .. string.sub(ARGV[3], 2)
  redis.call('SET', KEYS[1], document, 'EX', ARGV[4])
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
end
redis.call('PUBLISH', ARGV[5], '{"version": ' .. version .. ', "username": "' .. ARGV[1]
  .. '", "stream": ' .. document .. '}')
return 1
"""


# KEYS: status, version, streaming. ARGV: username, stream id, channel. Publishes the end of a
# stream whose status has run out, once, whoever notices first.
_EXPIRE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[3], ARGV[1])
local version = redis.call('INCR', KEYS[2])
redis.call('PUBLISH', ARGV[3], '{"version": ' .. version .. ', "username": "' .. ARGV[1]
  .. '", "stream": null}')
return 1
"""


_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def connect_redis(url: str) -> Redis:
    """Make a client for commands, not for blocking reads; nothing is sent yet.

    A broken connection, such as a restarted Redis leaves in the pool, is replaced once. Time-outs
    are not retried: redis-py's default applies an increment twice after a stall.
    """
    once = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    return Redis.from_url(url, decode_responses=True, socket_timeout=5, retry=once)


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _reaches_redis(
    method: Callable[Arguments, Awaitable[Result]],
) -> Callable[Arguments, Awaitable[Result]]:
    """Make a method raise StatusUnavailable, so that no caller needs to know of Redis."""

    @functools.wraps(method)
    async def translated(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return await method(*args, **kwargs)
        except RedisError as error:
            raise StatusUnavailable("The live status cannot be reached now.") from error

    return translated


class StatusStore:
    """Reads and writes live status. The client must decode responses to str.

    Every method raises StatusUnavailable when Redis does not answer.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._write = redis.register_script(_WRITE)
        self._expire = redis.register_script(_EXPIRE)
        self._release = redis.register_script(_RELEASE)

    @_reaches_redis
    async def write(self, status: StreamStatus) -> bool:
        """Publish a change of status, or renew its TTL when nothing changed.

        Returns False when a younger stream of the same user stands, which then wins.
        """
        document = "" if status.state is StreamState.ENDED else json.dumps(asdict(status))
        result = await self._write(
            keys=[status_key(status.username), VERSION_KEY, STREAMING_KEY],
            args=[status.username, status.stream_id, document, STATUS_TTL_S, CHANNEL],
        )
        return int(result) >= 0

    @_reaches_redis
    async def read(self, username: str) -> StreamStatus | None:
        """Get a user's stream, None when there is none."""
        text = await self._redis.get(status_key(username))
        return StreamStatus.from_json(text) if text else None

    @_reaches_redis
    async def read_all(self) -> dict[str, tuple[int, StreamStatus]]:
        """Get every stream by username, each with the version of its last change."""
        names = [str(name) for name in await self._redis.hkeys(STREAMING_KEY)]
        if not names:
            return {}
        texts = await self._redis.mget([status_key(name) for name in names])
        return {
            name: (int(json.loads(text)["version"]), StreamStatus.from_json(text))
            for name, text in zip(names, texts, strict=True)
            if text
        }

    @_reaches_redis
    async def read_many(self, usernames: list[str]) -> list[StreamStatus]:
        """Get the streams of those users that have one, in this order."""
        if not usernames:
            return []
        texts = await self._redis.mget([status_key(name) for name in usernames])
        return [StreamStatus.from_json(text) for text in texts if text]

    @_reaches_redis
    async def version(self) -> int:
        """Get the version of the newest change."""
        return int(await self._redis.get(VERSION_KEY) or 0)

    @_reaches_redis
    async def publish_expired(self) -> list[tuple[str, str]]:
        """Publish the end of every stream whose actor stopped renewing it.

        Returns username and stream id of those whose end this call published.
        """
        ended = []
        streaming = await self._redis.hgetall(STREAMING_KEY)
        for username, stream_id in ((str(a), str(b)) for a, b in streaming.items()):
            keys = [status_key(username), VERSION_KEY, STREAMING_KEY]
            if await self._expire(keys=keys, args=[username, stream_id, CHANNEL]):
                ended.append((username, stream_id))
        return ended

    @_reaches_redis
    async def claim(self, username: str, actor: str) -> str:
        """Decide which actor hosts a user's stream; returns the one that does.

        The first claim wins (SET NX) and is renewed by `renew_claim` while the stream lives.
        """
        key = claim_key(username)
        for _ in range(3):
            if await self._redis.set(key, actor, nx=True, ex=CLAIM_TTL_S):
                return actor
            if owner := await self._redis.get(key):
                return str(owner)
        return actor

    @_reaches_redis
    async def claimed_by(self, username: str) -> str | None:
        """Get the name of the actor that hosts a user's stream."""
        owner = await self._redis.get(claim_key(username))
        return str(owner) if owner else None

    @_reaches_redis
    async def renew_claim(self, username: str, actor: str) -> None:
        """Keep a claim that this actor holds."""
        await self._redis.set(claim_key(username), actor, ex=CLAIM_TTL_S)

    @_reaches_redis
    async def release_claim(self, username: str, actor: str) -> None:
        """Give a claim up, unless another actor holds it by now."""
        await self._release(keys=[claim_key(username)], args=[actor])

    @_reaches_redis
    async def announce(self, username: str, action: str, stream_id: str, session: str) -> None:
        """Tell a user's pages what to do: `republish`, `relisten` or `taken_over`.

        An empty session means whichever belongs to the stream.
        """
        message = {
            "username": username,
            "action": action,
            "stream_id": stream_id,
            "session": session,
        }
        await self._redis.publish(CONTROL_CHANNEL, json.dumps(message))

    @_reaches_redis
    async def write_session(self, record: SessionRecord) -> None:
        """Keep whose session it is, so that any ingress replica finds its actor."""
        document = json.dumps(asdict(record))
        await self._redis.set(session_key(record.session_id), document, ex=SESSION_TTL_S)

    @_reaches_redis
    async def renew_sessions(self, session_ids: list[str]) -> None:
        """Keep the records of these sessions for another hour."""
        pipeline = self._redis.pipeline(transaction=False)
        for session_id in session_ids:
            pipeline.expire(session_key(session_id), SESSION_TTL_S)
        await pipeline.execute()

    @_reaches_redis
    async def read_session(self, session_id: str) -> SessionRecord | None:
        """Get a session's record; it outlives the session for an hour at most."""
        text = await self._redis.get(session_key(session_id))
        return SessionRecord(**json.loads(text)) if text else None


def status_key(username: str) -> str:
    """Name the key that holds a user's live status."""
    return f"hushcast:stream:{username}"


def claim_key(username: str) -> str:
    """Name the key that says which actor hosts a user's stream."""
    return f"hushcast:claim:{username}"


def session_key(session_id: str) -> str:
    """Name the key that holds a session's record."""
    return f"hushcast:session:{session_id}"
