"""Live status in Redis: who streams, in which state, on which actor.

A stream's status is one key. The actor that holds the user's lease writes it every second, and with
it a deadline: once that has passed the actor counts as dead, and whoever sweeps publishes the end.
Check and write are one Lua script, so an actor that lost its lease cannot overwrite its successor's
status. Each change is published with a version, so a reader that subscribes before reading the keys
misses nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from actors.models import DEFAULT_MODEL, ModelName
from actors.status_scripts import BURY_ACTOR, CALL_BACK, END, SWEEP, WRITE
from foundation import lease
from foundation.ids import new_id
from foundation.lease import EPOCH_KEY, VOID_TTL_S, Grant, Lease
from foundation.redis import RedisClient

CHANNEL = "hushcast:status"
"""Every change, as a `StatusChange`."""
VERSION_KEY = "hushcast:status-version"
STREAMING_KEY = "hushcast:streaming"
"""Hash username -> stream id of every stream whose end has not been published yet."""
CONTROL_CHANNEL = "hushcast:control"
"""What a user's pages should do, as JSON `{username, action, stream_id, session, reason, at}`."""
LISTENERS_CHANNEL = "hushcast:listeners"
"""Who listens to a user's stream now, as JSON `{username, listeners}`, of each a `Listening`."""
DEADLINES_KEY = "hushcast:deadlines"
"""Sorted set of the same users, by when (by Redis's clock) their status ends unless renewed."""
SWEEPS_KEY = "hushcast:sweeps"
"""Hash: when somebody last swept (`at`), and since when deadlines count again (`from`)."""
STATUS_LIFE_S = 3
"""A stream ends for its friends when its status has not been renewed for this long."""
STATUS_TTL_S = 60
"""The key outlives an outage of Redis, in which nobody can renew it."""
SWEEP_PAUSE_S = 2
"""If nobody swept for longer, Redis was away, or everybody who sweeps."""
PATIENCE_S = 5
"""How long actors then have to renew their deadlines: a heartbeat, and its longest delay."""
MAX_ENDS = 500
"""How many ends one sweep publishes at most; it takes a few ms."""
RETURNING_KEY = "hushcast:returning"
"""Sorted set of `USERNAME STREAM_ID` by when the stream's actor died: pages that may come back."""
CALLED_KEY = "hushcast:called"
"""Sorted set of the users whose pages were called back, by when, until they are back."""
WAIT_S = 60
"""How long a page waits to be called back."""
COMING_S = 4
"""One who was called and did not come back for this long keeps nobody else waiting."""
MIN_CALLED = 8
"""So many are called even if no place is ready: what waits for one lets the directory make some."""
HOSTED_TTL_S = 86_400
"""How long the list of an actor's streams outlives its last change."""
LEASE_TTL_S = 5
"""Another actor may take a stream when its own has not been heard of for this long."""
SESSION_TTL_S = 3600


class StreamState(StrEnum):
    """A stream's stage of life. It is `live` from the first decoded sound."""

    CONNECTING = "connecting"
    LIVE = "live"
    RECONNECTING = "reconnecting"
    ENDED = "ended"


@dataclass(frozen=True)
class StreamStatus:
    """What everybody may know about a stream, and which actor hosts it.

    `started_at` is when the first sound was decoded, in seconds since the epoch; None before.
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
    muted: bool = False
    title: str | None = None
    post_filter: bool = False
    model: ModelName = DEFAULT_MODEL
    undenoised_on_overload: bool = False
    degraded: bool = False
    """Whether its actor has too little time for it: it passes undenoised, or some of it is lost."""
    part: int = 1
    """Counts the actors that have hosted it: it goes on with another when one is lost or leaves."""

    @staticmethod
    def from_json(text: str | bytes) -> "StreamStatus":
        """Read what `to_json` wrote; fields of a later release are left out."""
        written = json.loads(text)
        known = {
            each.name: written[each.name] for each in fields(StreamStatus) if each.name in written
        }
        return StreamStatus(**{**known, "state": StreamState(written["state"])})

    def to_json(self) -> str:
        """Write every field. Equal statuses give equal texts."""
        return json.dumps(asdict(self))


SETTINGS = (
    "denoise",
    "attenuation_limit_db",
    "post_filter",
    "model",
    "undenoised_on_overload",
    "share_original",
    "muted",
    "title",
)
"""The fields of a status that its publisher chooses."""


@dataclass(frozen=True)
class Kept:
    """What outlives the actor of a stream that goes on elsewhere."""

    stream_id: str
    settings: Mapping[str, Any]
    removed: Sequence[str] = ()
    """Whom its publisher removed, as `Audience` names them."""
    started_at: float | None = None
    """When its first sound was decoded, in seconds since the epoch."""
    part: int = 1


@dataclass(frozen=True)
class Listening:
    """One person's listening: since when, in seconds since the epoch, and by which sessions.

    A guest has no `username`, but the label and id of a link.
    """

    username: str | None
    since: float
    sessions: tuple[str, ...]
    label: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class StatusChange:
    """A published change; `stream` is None when the stream has ended.

    `change_id` names the change in every log. `changed_at` is when the actor made it, in seconds
    since the epoch.
    """

    version: int
    username: str
    stream: StreamStatus | None
    change_id: str
    changed_at: float

    @staticmethod
    def from_json(text: str | bytes) -> "StatusChange":
        """Read a message from `CHANNEL`. Raises ValueError, TypeError or KeyError on others."""
        change = json.loads(text)
        stream = change["stream"] if "stream" in change else None
        return StatusChange(
            version=int(change["version"]),
            username=str(change["username"]),
            stream=StreamStatus.from_json(stream) if stream else None,
            change_id=str(change["change_id"]),
            changed_at=float(change["changed_at"]),
        )


@dataclass(frozen=True)
class Expired:
    """A stream whose actor died, with the id of the change that published its end."""

    username: str
    stream_id: str
    change_id: str


@dataclass(frozen=True)
class SessionRecord:
    """Who owns a session, and which actor holds it."""

    session_id: str
    owner: str
    username: str
    actor: str
    publishes: bool


class StatusStore:
    """Reads and writes live status. Every method raises RedisUnavailable."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._write = redis.register_script(WRITE)
        self._end = redis.register_script(END)
        self._sweep = redis.register_script(SWEEP)
        self._bury_actor = redis.register_script(BURY_ACTOR)
        self._call_back = redis.register_script(CALL_BACK)

    def lease(self, username: str, *, actor: str) -> Lease:
        """Make an actor's side of the lease on a user's stream; sends nothing yet."""
        return Lease(self._redis, lease_key(username), holder=actor, ttl_s=LEASE_TTL_S)

    async def host_of(self, username: str) -> Grant | None:
        """Get the current grant of the lease on a user's stream, which names the actor."""
        return await lease.holder_of(self._redis, lease_key(username))

    async def revoke(self, username: str, grant: Grant) -> None:
        """Take the lease away from an actor that is known to be dead."""
        await lease.revoke(self._redis, lease_key(username), grant)

    async def void(self, username: str) -> Grant | None:
        """Let no actor that hosted a user's stream before go on with it, unless one hosts it now.

        Returns the grant of the one that does.
        """
        return await lease.void(self._redis, lease_key(username))

    async def write(
        self, status: StreamStatus, lease: Lease, *, change_id: str, changed_at: float
    ) -> bool:
        """Renew the lease; publish the status if it changed, else renew its TTL.

        Returns False if the lease is lost; then nothing was written.
        """
        username = status.username
        leased, shared = [lease.key, EPOCH_KEY], [VERSION_KEY, STREAMING_KEY, DEADLINES_KEY]
        what: list[str | int] = [
            username,
            status.stream_id,
            status.to_json(),
            STATUS_LIFE_S,
            STATUS_TTL_S,
        ]
        change: list[str | float] = [self._redis.channel(CHANNEL), change_id, changed_at]
        host = hosted_key(status.actor)
        standing = await self._write(
            keys=[*leased, status_key(username), *shared, host, CALLED_KEY],
            args=[*lease.arguments, *what, *change, HOSTED_TTL_S],
        )
        return lease.note(standing)

    async def end(
        self, status: StreamStatus, lease: Lease, *, change_id: str, changed_at: float
    ) -> None:
        """Publish a stream's end and release its lease; do nothing if the lease is lost."""
        username = status.username
        subject = [lease.bid.token, username, status.stream_id, status.actor]
        shared = [VERSION_KEY, STREAMING_KEY, DEADLINES_KEY, hosted_key(status.actor)]
        await self._end(
            keys=[lease.key, status_key(username), *shared],
            args=[*subject, self._redis.channel(CHANNEL), change_id, repr(changed_at)],
        )

    async def publish_expired(self) -> list[Expired]:
        """Publish the ends of streams whose actor stopped renewing their status.

        Their pages are told to wait until `call_back` calls them. Returns those whose end this call
        published, `MAX_ENDS` at most. Costs what is due, not what is live; call it more often than
        every `SWEEP_PAUSE_S`, from as many places as you like.
        """
        limits = [SWEEP_PAUSE_S, PATIENCE_S, STATUS_LIFE_S, MAX_ENDS]
        keys, arguments = self._burial
        return _expired(await self._sweep(keys=[*keys, SWEEPS_KEY], args=[*arguments, *limits]))

    async def publish_death(self, actor: str) -> list[Expired]:
        """Publish the ends of all streams of an actor that is known to be dead.

        Its leases on them are revoked, so they can begin elsewhere at once. Returns those whose end
        this call published.
        """
        keys, arguments = self._burial
        given: list[str | int] = [*arguments, actor, lease_key(""), VOID_TTL_S]
        return _expired(await self._bury_actor(keys=keys, args=given))

    @property
    def _burial(self) -> tuple[list[str], list[str]]:
        """The keys and arguments of the scripts that end what a dead actor cannot end itself."""
        channels = [self._redis.channel(CHANNEL), self._redis.channel(CONTROL_CHANNEL)]
        keys = [VERSION_KEY, STREAMING_KEY, DEADLINES_KEY, RETURNING_KEY]
        names = [status_key(""), hosted_key(""), *channels, new_id()]
        return keys, [*names, asked_key(""), str(WAIT_S)]

    async def count_returning(self) -> int:
        """Count the pages that wait to be called back."""
        return int(await self._redis.zcard(RETURNING_KEY))

    async def call_back(self, places: int) -> list[tuple[str, str]]:
        """Ask pages whose stream's actor died to publish again, as many as there are places for.

        The longest waiting come first. Returns username and former stream id of each.
        """
        prefixes = [status_key(""), lease_key(""), asked_key("")]
        limits = [max(places, MIN_CALLED), COMING_S, WAIT_S]
        called = await self._call_back(
            keys=[RETURNING_KEY, CALLED_KEY],
            args=[*prefixes, self._redis.channel(CONTROL_CHANNEL), *limits],
        )
        names = iter(map(str, called))
        return list(zip(names, names, strict=True))

    async def streaming(self) -> list[str]:
        """Name the users whose stream's end has not been published yet."""
        return [str(name) for name in await self._redis.hkeys(STREAMING_KEY)]

    async def read(self, username: str) -> StreamStatus | None:
        """Get a user's stream, or None."""
        found = await self.read_many([username])
        return found[0] if found else None

    async def read_many(self, usernames: list[str]) -> list[StreamStatus]:
        """Get the streams of those users who have one, in this order."""
        _, found = await self.read_versions(usernames)
        return [status for _, status in found.values()]

    async def read_versions(
        self, usernames: list[str]
    ) -> tuple[int, dict[str, tuple[int, StreamStatus]]]:
        """Get the version of the latest change, and the streams of those users who have one.

        Each comes with its last change's version. All are of the same moment.
        """
        keys = [VERSION_KEY, *map(status_key, usernames)]
        version, *texts = await self._redis.mget(keys)
        found = {}
        for name, text in zip(usernames, texts, strict=True):
            if text:
                written = json.loads(text)
                found[name] = int(written["version"]), StreamStatus.from_json(written["stream"])
        return int(version or 0), found

    async def tell_pages(
        self,
        username: str,
        action: str,
        stream_id: str,
        session: str,
        *,
        reason: str | None = None,
        at: float | None = None,
    ) -> None:
        """Tell a user's pages what to do or what happens: an action of docs/api.md.

        An empty session means whichever one belongs to the stream. `reason` is a sentence, `at` a
        time in seconds since the epoch.
        """
        message = {
            "username": username,
            "action": action,
            "stream_id": stream_id,
            "session": session,
            "reason": reason,
            "at": at,
        }
        async with self._redis.pipeline() as pipeline:
            if action in ("wait", "republish"):
                pipeline.set(asked_key(username), json.dumps(message), ex=WAIT_S)
            pipeline.publish(self._redis.channel(CONTROL_CHANNEL), json.dumps(message))
            await pipeline.execute()

    async def asked(self, username: str) -> tuple[str, str] | None:
        """Get what a user's pages were asked lately, `wait` or `republish`, and of which stream.

        A page whose socket was lost together with its stream learns it from here.
        """
        text = await self._redis.get(asked_key(username))
        if not text:
            return None
        message = json.loads(text)
        return str(message["action"]), str(message["stream_id"])

    async def keep(self, username: str, kept: Kept) -> None:
        """Note what outlives the actor of a user's stream."""
        await self._redis.set(kept_key(username), json.dumps(asdict(kept)), ex=HOSTED_TTL_S)

    async def forget_kept(self, username: str) -> None:
        """Forget it: the stream has ended for good."""
        await self._redis.delete(kept_key(username))

    async def kept(self, username: str) -> Kept | None:
        """Get what is kept of the stream that a user's pages were asked to continue lately."""
        asked, text = await self._redis.mget(asked_key(username), kept_key(username))
        if not asked or not text:
            return None
        kept = json.loads(text)
        if kept["stream_id"] != json.loads(asked)["stream_id"]:
            return None
        settings = {name: value for name, value in kept["settings"].items() if name in SETTINGS}
        return Kept(
            str(kept["stream_id"]),
            settings,
            tuple(kept["removed"]),
            kept.get("started_at"),  # an earlier release wrote neither this
            kept.get("part", 1),
        )

    async def tell_listeners(self, username: str, people: list[Listening]) -> None:
        """Tell a user's pages who listens now."""
        message = {"username": username, "listeners": [asdict(each) for each in people]}
        await self._redis.publish(self._redis.channel(LISTENERS_CHANNEL), json.dumps(message))

    async def write_session(self, record: SessionRecord) -> None:
        """Write a session's record, so that any ingress replica finds its actor."""
        document = json.dumps(asdict(record))
        await self._redis.set(session_key(record.session_id), document, ex=SESSION_TTL_S)

    async def renew_sessions(self, session_ids: list[str]) -> None:
        """Keep the records of these sessions for another hour."""
        pipeline = self._redis.pipeline(transaction=False)
        for session_id in session_ids:
            pipeline.expire(session_key(session_id), SESSION_TTL_S)
        await pipeline.execute()

    async def read_session(self, session_id: str) -> SessionRecord | None:
        """Get a session's record, which outlives the session by at most an hour."""
        text = await self._redis.get(session_key(session_id))
        return SessionRecord(**json.loads(text)) if text else None


def _expired(told: list[str]) -> list[Expired]:
    """Read what the scripts return that publish ends."""
    names = iter(map(str, told))
    return [Expired(*each) for each in zip(names, names, names, strict=True)]


def hosted_key(actor: str) -> str:
    """Name the set of the users whose streams an actor hosts."""
    return f"hushcast:hosted:{actor}"


def status_key(username: str) -> str:
    """Name the key that holds a user's live status."""
    return f"hushcast:stream:{username}"


def asked_key(username: str) -> str:
    """Name the key of what a user's pages were asked: to wait, or to publish again."""
    return f"hushcast:asked:{username}"


def kept_key(username: str) -> str:
    """Name the key of what outlives the actor of a user's stream."""
    return f"hushcast:kept:{username}"


def lease_key(username: str) -> str:
    """Name the key of the lease on a user's stream."""
    return f"hushcast:lease:stream:{username}"


def session_key(session_id: str) -> str:
    """Name the key that holds a session's record."""
    return f"hushcast:session:{session_id}"
