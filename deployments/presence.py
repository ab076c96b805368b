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

from actors.status import CHANNEL as STATUS_CHANNEL
from actors.status import CONTROL_CHANNEL, StatusChange, StatusStore, StreamStatus
from foundation.redis import RedisUnavailable, connect_subscriber, translated
from recordings.index import CHANNEL as RECORDINGS_CHANNEL
from recordings.index import RecordingChange

log = logging.getLogger(__name__)

MAX_QUEUED_EVENTS = 500
MAX_SOCKETS_OF_A_USER = 64
RETRY_S = 0.5
SILENCE_S = 5.0
"""After so long without a word Redis is asked for one, and given up after as long again."""


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
class Control:
    """Something a page of the subscriber should do."""

    action: str
    stream_id: str
    session: str


Event = Snapshot | StreamChanged | FriendsChanged | RecordingChange | Control


class SubscriptionEnded(Exception):
    """Base of why a subscription ends from our side."""


class TooManySockets(SubscriptionEnded):
    """Somebody has as many sockets as anybody may have at one replica."""


class TooSlow(SubscriptionEnded):
    """The subscriber does not read what it is told."""


class SignedOut(SubscriptionEnded):
    """The token was revoked, or the account deleted."""


class ShuttingDown(SubscriptionEnded):
    """This replica ends; another one takes over."""


@dataclass(eq=False)
class Subscription:
    """What one socket is told. Iterate over it; it ends with SubscriptionEnded."""

    username: str
    token_id: str | None = None
    audible: set[str] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)
    base_version: int = 0
    early: list[StatusChange] | None = None
    """Changes of status that came before the snapshot was read; None when it was."""
    greeted: bool = False
    friends_are_old: bool = False
    """Whether friends changed while the snapshot was read."""
    changing_friends: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the socket is to be closed, also while it is being written to."""
    why: SubscriptionEnded | None = None
    queue: asyncio.Queue[Event | None] = field(
        default_factory=lambda: asyncio.Queue(MAX_QUEUED_EVENTS)
    )

    def tell(self, event: Event) -> None:
        """Queue an event; a full queue ends the subscription."""
        if self.why is not None:
            return
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.end(TooSlow())

    def end(self, why: SubscriptionEnded) -> None:
        """End it; what is still queued is dropped. The first reason counts."""
        if self.why is None:
            self.why = why
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(None)
            self.ended.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self.queue.get()) is not None:
            yield event
        assert self.why is not None
        raise self.why


class Presence:
    """Fans out what Redis publishes. `run` is its whole life."""

    def __init__(
        self,
        redis_url: str,
        store: StatusStore,
        friends_of: Callable[[str], Awaitable[set[str]]],
        friends_channel: str,
        ended_channel: str | None = None,
    ) -> None:
        self._redis_url = redis_url
        self._store = store
        self._friends_of = friends_of
        self._subscriptions: set[Subscription] = set()
        self._connected = asyncio.Event()
        self._tell: dict[str, Callable[[str], Awaitable[None]]] = {
            STATUS_CHANNEL: self._tell_status,
            RECORDINGS_CHANNEL: self._tell_recording,
            CONTROL_CHANNEL: self._tell_control,
            friends_channel: self._tell_friends,
        }
        if ended_channel is not None:
            self._tell[ended_channel] = self._end_signed_out

    async def run(self) -> None:
        """Follow Redis until cancelled. After an outage everybody gets a new snapshot."""
        try:
            while True:
                try:
                    with translated():
                        await self._follow()
                except RedisUnavailable as error:
                    log.warning("presence: Redis is away, trying again: %r", error)
                self._connected.clear()
                await asyncio.sleep(RETRY_S)
        finally:
            self._connected.clear()
            for subscription in list(self._subscriptions):
                subscription.end(ShuttingDown())

    @contextmanager
    def subscribe(self, username: str, token_id: str | None = None) -> Iterator[Subscription]:
        """Let somebody follow; `greet` is called then to begin with a snapshot.

        It ends with SignedOut when the token is revoked, and at once with TooManySockets.
        """
        subscription = Subscription(username, token_id, early=[])
        if sum(each.username == username for each in self._subscriptions) >= MAX_SOCKETS_OF_A_USER:
            subscription.end(TooManySockets())
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def greet(self, subscription: Subscription) -> None:
        """Tell a snapshot, then what changed while it was read.

        Raises RedisUnavailable.
        """
        async with asyncio.timeout(5):
            await self._connected.wait()
        await self._greet(subscription)
        subscription.greeted = True

    async def _greet(self, subscription: Subscription) -> None:
        subscription.early = subscription.early or []
        friends = await self._friends_of(subscription.username)
        subscription.audible = {subscription.username, *friends}
        subscription.base_version = await self._store.version()
        streams = await self._store.read_all()
        own = subscription.username
        subscription.versions = {name: version for name, (version, _) in streams.items()}
        names = sorted(streams.keys() & subscription.audible, key=lambda n: (n != own, n))
        audible = [streams[name][1] for name in names]
        subscription.tell(Snapshot(subscription.base_version, audible))
        early, subscription.early = subscription.early, None
        for change in early:
            _tell_change(subscription, change)
        if subscription.friends_are_old:
            subscription.friends_are_old = False
            await self._change_friends(subscription)

    async def _follow(self) -> None:
        async with connect_subscriber(self._redis_url) as redis, redis.pubsub() as pubsub:
            await pubsub.subscribe(*self._tell)
            self._connected.set()
            for subscription in list(self._subscriptions):
                if subscription.greeted:  # before the outage
                    await self._greet(subscription)
            asked = False
            while True:
                message = await pubsub.get_message(timeout=SILENCE_S)
                if message is not None:
                    asked = False
                    await self._take(message)
                elif asked:
                    raise ConnectionError("Redis has fallen silent")
                else:
                    await pubsub.ping()
                    asked = True

    async def _take(self, message: dict[str, Any]) -> None:
        """Tell what was published; what cannot be read, from another release, is left out."""
        if message["type"] != "message":
            return
        try:
            await self._tell[message["channel"]](message["data"])
        except (ValueError, TypeError, KeyError) as error:
            log.error("presence: what came on %s is not understood: %r", message["channel"], error)

    async def _tell_status(self, message: str) -> None:
        change = StatusChange.from_json(message)
        for subscription in list(self._subscriptions):
            if subscription.early is not None:
                subscription.early.append(change)
            else:
                _tell_change(subscription, change)

    async def _tell_recording(self, message: str) -> None:
        change = RecordingChange.from_json(message)
        for subscription in list(self._subscriptions):
            if change.recording.username in subscription.audible:
                subscription.tell(change)

    async def _tell_control(self, text: str) -> None:
        message = json.loads(text)
        event = Control(message["action"], message["stream_id"], message["session"])
        for subscription in list(self._subscriptions):
            if subscription.username == message["username"]:
                subscription.tell(event)

    async def _tell_friends(self, text: str) -> None:
        message = json.loads(text)
        for subscription in list(self._subscriptions):
            if subscription.username not in message["usernames"]:
                continue
            if subscription.early is not None:
                subscription.friends_are_old = True
            else:
                await self._change_friends(subscription)

    async def _end_signed_out(self, text: str) -> None:
        message = json.loads(text)
        for subscription in list(self._subscriptions):
            tokens = (None, subscription.token_id)
            if subscription.username == message["username"] and message["token_id"] in tokens:
                subscription.end(SignedOut())

    async def _change_friends(self, subscription: Subscription) -> None:
        """Tell that the lists changed, and show or hide the streams that this concerns."""
        async with subscription.changing_friends:
            await self._change_friends_alone(subscription)

    async def _change_friends_alone(self, subscription: Subscription) -> None:
        before = subscription.audible
        friends = await self._friends_of(subscription.username)
        subscription.audible = {subscription.username, *friends}
        subscription.tell(FriendsChanged())
        version = await self._store.version()
        for status in await self._store.read_many(sorted(subscription.audible - before)):
            subscription.tell(StreamChanged(version, status.username, status))
        for username in sorted(before - subscription.audible):
            subscription.tell(StreamChanged(version, username, None))


def _tell_change(subscription: Subscription, change: StatusChange) -> None:
    """Tell a change of status unless a newer one is known; what is not heard is only noted."""
    username = change.username
    if change.version <= subscription.versions.get(username, subscription.base_version):
        return
    subscription.versions[username] = change.version
    if username in subscription.audible:
        subscription.tell(StreamChanged(change.version, username, change.stream))
