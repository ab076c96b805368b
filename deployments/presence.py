"""Who is live, from Redis, fanned out to many sockets. One of these lives in every ingress replica.

A subscriber gets a snapshot and then every change of what it may hear, none missed and none
applied backwards: it is subscribed before the snapshot is read, and every change of a stream
carries a version.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from actors.errors import StatusUnavailable
from actors.status import CHANNEL as STATUS_CHANNEL
from actors.status import CONTROL_CHANNEL, StatusStore, StreamStatus
from recordings.index import CHANNEL as RECORDINGS_CHANNEL
from recordings.index import Recording

log = logging.getLogger(__name__)

MAX_QUEUED_EVENTS = 500
RETRY_S = 0.5


@dataclass(frozen=True)
class Snapshot:
    """Every stream that the subscriber may hear, as of a version."""

    version: int
    streams: list[StreamStatus]


@dataclass(frozen=True)
class StreamChanged:
    """A stream changed; None: it ended, or may not be heard any more."""

    version: int
    username: str
    stream: StreamStatus | None


@dataclass(frozen=True)
class FriendsChanged:
    """The subscriber's friends or requests changed."""


@dataclass(frozen=True)
class RecordingChanged:
    """A recording changed its state, or was removed."""

    recording: Recording
    removed: bool


@dataclass(frozen=True)
class Control:
    """Something a page of the subscriber should do."""

    action: str
    stream_id: str
    session: str


Event = Snapshot | StreamChanged | FriendsChanged | RecordingChanged | Control


class TooSlow(Exception):
    """The subscriber does not read what it is told."""


@dataclass(eq=False)
class Subscription:
    """What one socket is told. Iterate over it; it ends with TooSlow if nobody does."""

    username: str
    audible: set[str] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)
    base_version: int = 0
    early: list[dict[str, Any]] | None = None
    """Changes of status that came before the snapshot was read; None when it was."""
    queue: asyncio.Queue[Event | None] = field(
        default_factory=lambda: asyncio.Queue(MAX_QUEUED_EVENTS)
    )

    def tell(self, event: Event) -> None:
        """Queue an event; a full queue ends the subscription."""
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            event = await self.queue.get()
            if event is None:
                raise TooSlow
            yield event


class Presence:
    """Fans out what Redis publishes. `run` is its whole life."""

    def __init__(
        self,
        redis_url: str,
        store: StatusStore,
        friends_of: Callable[[str], Awaitable[set[str]]],
        friends_channel: str,
    ) -> None:
        self._redis_url = redis_url
        self._store = store
        self._friends_of = friends_of
        self._subscriptions: set[Subscription] = set()
        self._connected = asyncio.Event()
        self._tell: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            STATUS_CHANNEL: self._tell_status,
            RECORDINGS_CHANNEL: self._tell_recording,
            CONTROL_CHANNEL: self._tell_control,
            friends_channel: self._tell_friends,
        }

    async def run(self) -> None:
        """Follow Redis until cancelled. After an outage everybody gets a new snapshot."""
        while True:
            try:
                await self._follow()
            except (RedisError, StatusUnavailable, OSError) as error:
                log.warning("presence: Redis is away, trying again: %r", error)
            self._connected.clear()
            await asyncio.sleep(RETRY_S)

    @contextmanager
    def subscribe(self, username: str) -> Iterator[Subscription]:
        """Let somebody follow; `greet` is called then to begin with a snapshot."""
        subscription = Subscription(username, early=[])
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def greet(self, subscription: Subscription) -> None:
        """Tell a snapshot, then what changed while it was read.

        Raises StatusUnavailable, or RedisError, when it cannot be read now.
        """
        async with asyncio.timeout(5):
            await self._connected.wait()
        await self._greet(subscription)

    async def _greet(self, subscription: Subscription) -> None:
        subscription.early = subscription.early or []
        friends = await self._friends_of(subscription.username)
        subscription.audible = {subscription.username, *friends}
        subscription.base_version = await self._store.version()
        streams = await self._store.read_all()
        subscription.versions = {name: version for name, (version, _) in streams.items()}
        audible = [s for name, (_, s) in streams.items() if name in subscription.audible]
        subscription.tell(Snapshot(subscription.base_version, audible))
        early, subscription.early = subscription.early, None
        for message in early:
            _tell_change(subscription, message)

    async def _follow(self) -> None:
        # A blocking read of its own: redis-py's default time-out would end it every 5 s.
        async with Redis.from_url(
            self._redis_url, decode_responses=True, socket_timeout=None, health_check_interval=10
        ) as redis, redis.pubsub(ignore_subscribe_messages=True) as pubsub:  # fmt: skip
            await pubsub.subscribe(*self._tell)
            self._connected.set()
            for subscription in list(self._subscriptions):
                if subscription.early is None:  # it was greeted before the outage
                    await self._greet(subscription)
            async for message in pubsub.listen():
                await self._tell[message["channel"]](json.loads(message["data"]))

    async def _tell_status(self, message: dict[str, Any]) -> None:
        for subscription in list(self._subscriptions):
            if subscription.early is not None:
                subscription.early.append(message)
            else:
                _tell_change(subscription, message)

    async def _tell_recording(self, message: dict[str, Any]) -> None:
        event = RecordingChanged(
            Recording.from_json(json.dumps(message)), bool(message.get("removed"))
        )
        for subscription in list(self._subscriptions):
            if event.recording.username in subscription.audible:
                subscription.tell(event)

    async def _tell_control(self, message: dict[str, Any]) -> None:
        event = Control(message["action"], message["stream_id"], message["session"])
        for subscription in list(self._subscriptions):
            if subscription.username == message["username"]:
                subscription.tell(event)

    async def _tell_friends(self, message: dict[str, Any]) -> None:
        for subscription in list(self._subscriptions):
            if subscription.username in message["usernames"] and subscription.early is None:
                await self._change_friends(subscription)

    async def _change_friends(self, subscription: Subscription) -> None:
        """Tell that the lists changed, and show or hide the streams that this concerns."""
        before = subscription.audible
        friends = await self._friends_of(subscription.username)
        subscription.audible = {subscription.username, *friends}
        subscription.tell(FriendsChanged())
        version = await self._store.version()
        for status in await self._store.read_many(sorted(subscription.audible - before)):
            subscription.tell(StreamChanged(version, status.username, status))
        for username in sorted(before - subscription.audible):
            subscription.tell(StreamChanged(version, username, None))


def _tell_change(subscription: Subscription, message: dict[str, Any]) -> None:
    """Tell a change of status unless a newer one is known; what is not heard is only noted."""
    username, version = message["username"], message["version"]
    if version <= subscription.versions.get(username, subscription.base_version):
        return
    subscription.versions[username] = version
    if username in subscription.audible:
        stream = message["stream"]
        status = None if stream is None else StreamStatus.from_json(json.dumps(stream))
        subscription.tell(StreamChanged(version, username, status))
