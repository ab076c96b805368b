"""The index of recordings in Redis: a JSON document each, sorted ids, one message per change.

`hushcast:recording:ID` holds the JSON, `hushcast:recordings:of:USERNAME` the user's ids as a
sorted set in which ids sort by time, and `hushcast:recordings:all` all ids likewise.
`hushcast:recordings:unfinished` is the set of ids that are not stored yet. A removed id leaves
`hushcast:recording:ID:removed`, so that a spool or object that turns up later does not bring back
what a person deleted. Everything except these marks can be rebuilt from the bucket.

`hushcast:recordings:bytes:USERNAME` is the sum of the sizes of the user's entries. Every change
keeps it true; where it is missing, the next to ask adds them up.

`hushcast:recordings:absent` holds, by id, the JSON of recordings that went down with their node
before anything was stored. They are not listed, and come back when the node does.
"""

import json
from builtins import list as list_of
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from foundation.lease import Lease, holder_of, this_process
from foundation.redis import RedisClient
from recordings.names import check_username, recording_key
from recordings.uploads import UploadLog
from recordings.wav import SpoolMeta

__all__ = ["CHANNEL", "Recording", "RecordingIndex", "RecordingState"]

CHANNEL = "hushcast:recordings"
"""Every change is published here, as a `RecordingChange`."""
REMOVED_TTL_S = 90 * 86_400
"""How long a removed id stays barred: longer than a lost node stays away."""
PAGE = 500
LEASE_TTL_S = 30
"""How long a recording's lease outlasts the last renewal."""

_ALL = "hushcast:recordings:all"
_UNFINISHED = "hushcast:recordings:unfinished"
_ABSENT = "hushcast:recordings:absent"

# Reads a size without decoding the peaks behind it. A quotation mark inside a text is escaped, so
# the pattern matches the field alone.
_SIZES = """
local function size_of(text)
  return text and tonumber(string.match(text, '"size_bytes": (%d+)')) or 0
end
local function resize(bytes, before, after)
  local change = size_of(after) - size_of(before)
  if change ~= 0 and redis.call('EXISTS', bytes) == 1 then redis.call('INCRBY', bytes, change) end
end
"""

# KEYS: user's bytes, user's ids.
_USED = (
    _SIZES
    + """
local known = redis.call('GET', KEYS[1])
if known then return tonumber(known) end
local used, ids = 0, redis.call('ZRANGE', KEYS[2], 0, -1)
for _, id in ipairs(ids) do
  used = used + size_of(redis.call('GET', 'hushcast:recording:' .. id))
end
if #ids > 0 then redis.call('SET', KEYS[1], string.format('%d', used)) end
return used
"""
)

# KEYS: recording, removed mark, user's ids, all ids, unfinished, absent, user's bytes.
# ARGV: id, JSON, channel, state.
_PUT = (
    _SIZES
    + """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local before = redis.call('GET', KEYS[1])
if ARGV[4] == 'recording' and before then return 1 end
resize(KEYS[7], before, ARGV[2])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
redis.call('ZADD', KEYS[4], 0, ARGV[1])
if ARGV[4] == 'recording' or ARGV[4] == 'storing' then
  redis.call('SADD', KEYS[5], ARGV[1])
else
  redis.call('SREM', KEYS[5], ARGV[1])
end
redis.call('HDEL', KEYS[6], ARGV[1])
redis.call('PUBLISH', ARGV[3], cjson.encode({recording = ARGV[2], removed = false}))
return 1
"""
)

# KEYS as above. ARGV: id, TTL of the mark in seconds (0: absent, not removed), channel.
_REMOVE = (
    _SIZES
    + """
local recording = redis.call('GETDEL', KEYS[1])
resize(KEYS[7], recording, false)
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('DEL', KEYS[7]) end
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('SREM', KEYS[5], ARGV[1])
redis.call('HDEL', KEYS[6], ARGV[1])
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
elseif recording then
  redis.call('HSET', KEYS[6], ARGV[1], recording)
end
if recording then
  redis.call('PUBLISH', ARGV[3], cjson.encode({recording = recording, removed = true}))
end
return recording
"""
)


class RecordingState(StrEnum):
    """A recording's progress. Only its stream's actor and the code that finishes it write this."""

    RECORDING = "recording"
    STORING = "storing"
    READY = "ready"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Recording:
    """A stream's recorded sound. `started_at`: epoch seconds; `peaks`: up to 1,000 numbers 0..1."""

    id: str
    username: str
    stream_id: str
    started_at: float
    duration_s: float
    size_bytes: int
    state: RecordingState
    peaks: tuple[float, ...]
    key: str

    @classmethod
    def of(cls, meta: SpoolMeta, state: RecordingState = RecordingState.RECORDING) -> Self:
        """Make the entry of a recording that has just begun."""
        return cls(
            id=meta.recording_id,
            username=meta.username,
            stream_id=meta.stream_id,
            started_at=meta.started_at,
            duration_s=0.0,
            size_bytes=0,
            state=state,
            peaks=(),
            key=recording_key(meta.username, meta.started_at, meta.recording_id),
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        state, peaks = RecordingState(fields.pop("state")), tuple(fields.pop("peaks"))
        return cls(**fields, state=state, peaks=peaks)

    def to_json(self) -> str:
        """Write every field."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class RecordingChange:
    """A published change; `removed` means that the recording is gone."""

    recording: Recording
    removed: bool

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a message from `CHANNEL`. Raises ValueError, TypeError or KeyError on others."""
        fields = json.loads(text)
        return cls(Recording.from_json(fields["recording"]), bool(fields["removed"]))


class RecordingIndex:
    """Reads and changes the index. The owner of the client closes it.

    Every method raises RedisUnavailable if Redis does not answer, and is safe to repeat.
    """

    def __init__(self, redis: RedisClient) -> None:
        self.uploads = UploadLog(redis)
        self._redis = redis
        self._channel = redis.channel(CHANNEL)
        self._put = redis.register_script(_PUT)
        self._remove = redis.register_script(_REMOVE)
        self._used = redis.register_script(_USED)

    def lease(self, recording_id: str) -> Lease:
        """Make this process's side of the lease on writing or finishing a recording."""
        return Lease(
            self._redis, _lease_key(recording_id), holder=this_process(), ttl_s=LEASE_TTL_S
        )

    async def leased(self, recording_id: str) -> bool:
        """Tell whether somebody writes or finishes this recording."""
        return await holder_of(self._redis, _lease_key(recording_id)) is not None

    def turn(self, what: str, every_s: float) -> Lease:
        """Make this process's side of the lease on periodic work that one process does for all."""
        return Lease(
            self._redis, f"hushcast:lease:turn:{what}", holder=this_process(), ttl_s=every_s
        )

    async def put(self, recording: Recording) -> bool:
        """Add or replace an entry and publish it; returns False if the id has been removed.

        A late `recording` state changes nothing: a recording begins only once.
        """
        done = await self._put(
            keys=_keys(recording.id, recording.username),
            args=[recording.id, recording.to_json(), self._channel, recording.state.value],
        )
        return bool(done)

    async def get(self, recording_id: str) -> Recording | None:
        """Get an entry, or None."""
        text = await self._redis.get(f"hushcast:recording:{recording_id}")
        return None if text is None else Recording.from_json(text)

    async def list(
        self, username: str, before: str | None = None, limit: int = 50
    ) -> list_of[Recording]:
        """Get a user's recordings, newest first: up to `limit` older than the id `before`."""
        return await self._page(_ids_of(username), before, limit)

    async def used_bytes(self, username: str) -> int:
        """Tell how large a user's stored recordings are together."""
        return int(await self._used(keys=[_bytes_of(username), _ids_of(username)]))

    async def everything(self) -> AsyncIterator[Recording]:
        """Iterate over all users' entries, newest first."""
        before: str | None = None
        while page := await self._page(_ALL, before, PAGE):
            for recording in page:
                yield recording
            before = page[-1].id

    async def remove(self, recording_id: str) -> Recording | None:
        """Remove an entry for good and publish that; returns it, or None if there was none."""
        recording = await self.get(recording_id)
        if recording is None:
            return None
        return await self._remove_known(recording)

    async def remove_user(self, username: str) -> list_of[Recording]:
        """Remove all of a user's entries for good; returns them."""
        removed = []
        while page := await self.list(username, limit=PAGE):
            removed += [await self._remove_known(recording) for recording in page]
        return removed

    async def unfinished(self) -> list_of[Recording]:
        """Get all users' entries that are not stored yet."""
        ids = await self._redis.smembers(_UNFINISHED)
        entries = [await self.get(str(each)) for each in ids]
        return [each for each in entries if each is not None]

    async def set_absent(self, recording: Recording) -> None:
        """Take an entry off the lists until its node comes back; `put` lists it again."""
        await self._remove_known(recording, mark_ttl_s=0)

    async def absent(self) -> list_of[Recording]:
        """Get all users' entries that went down with their node."""
        texts = await self._redis.hvals(_ABSENT)
        return [Recording.from_json(text) for text in texts]

    async def _remove_known(
        self, recording: Recording, mark_ttl_s: int = REMOVED_TTL_S
    ) -> Recording:
        text = await self._remove(
            keys=_keys(recording.id, recording.username),
            args=[recording.id, mark_ttl_s, self._channel],
        )
        return recording if text is None else Recording.from_json(text)

    async def _page(self, ids_key: str, before: str | None, limit: int) -> list_of[Recording]:
        ids = await self._redis.zrange(
            ids_key,
            "+" if before is None else f"({before}",
            "-",
            desc=True,
            bylex=True,
            offset=0,
            num=limit,
        )
        texts = await self._redis.mget([f"hushcast:recording:{i!s}" for i in ids]) if ids else []
        return [Recording.from_json(text) for text in texts if text is not None]


def _lease_key(recording_id: str) -> str:
    return f"hushcast:lease:recording:{recording_id}"


def _ids_of(username: str) -> str:
    return f"hushcast:recordings:of:{check_username(username)}"


def _bytes_of(username: str) -> str:
    return f"hushcast:recordings:bytes:{check_username(username)}"


def _keys(recording_id: str, username: str) -> list_of[str]:
    key = f"hushcast:recording:{recording_id}"
    shared = [_ALL, _UNFINISHED, _ABSENT]
    return [key, f"{key}:removed", _ids_of(username), *shared, _bytes_of(username)]
