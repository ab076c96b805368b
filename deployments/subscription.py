"""What one presence socket is told: the events, their order, their queue, their end."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from actors.status import Listening, StatusChange, StreamStatus
from recordings.index import RecordingChange

MAX_QUEUED_EVENTS = 500


@dataclass(frozen=True)
class Snapshot:
    """Every stream that the subscriber may hear, as of a version."""

    version: int
    streams: list[StreamStatus]


@dataclass(frozen=True)
class StreamChanged:
    """A stream changed; None: it ended, or the subscriber may no longer hear it."""

    version: int
    username: str
    stream: StreamStatus | None


@dataclass(frozen=True)
class FriendsChanged:
    """The subscriber's friends or requests changed."""


@dataclass(frozen=True)
class Control:
    """Something that a page of the subscriber should do, or that happens to it.

    `reason` is a sentence; `at` is seconds since the epoch.
    """

    action: str
    stream_id: str
    session: str
    reason: str | None = None
    at: float | None = None


@dataclass(frozen=True)
class ListenersChanged:
    """Who listens to the subscriber's own stream now."""

    listeners: list[Listening]


Event = Snapshot | StreamChanged | FriendsChanged | RecordingChange | Control | ListenersChanged


class SubscriptionEnded(Exception):
    """Base of the reasons why we end a subscription."""


class TooManySockets(SubscriptionEnded):
    """The user or link is at the limit of sockets per replica."""


class TooSlow(SubscriptionEnded):
    """The subscriber does not read its events fast enough."""


class SignedOut(SubscriptionEnded):
    """The sign-in or link ended; `str(error)` is a sentence for who is there."""


class ShuttingDown(SubscriptionEnded):
    """This replica is shutting down; another one takes over."""


class StatusOrder:
    """Decides which status changes a subscriber gets: none missed, none out of order. No I/O.

    Changes arrive while statuses are being read. Call `begin_reading` first: it holds back changes
    of these users. Then read the version of the newest change, then the statuses, which contain
    every change up to that version. `end_reading` returns the changes that they do not contain.
    """

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        """The version last told, for each user whose status was read."""
        self._waiting: dict[str, list[StatusChange]] = {}

    @property
    def audible(self) -> set[str]:
        """The users whose changes the subscriber gets."""
        return {*self._told, *self._waiting}

    def begin_reading(self, usernames: Iterable[str]) -> None:
        """Hold back changes of these users until their statuses have been read."""
        for username in usernames:
            self._told.pop(username, None)
            self._waiting[username] = []

    def end_reading(self, newest: int, found: Mapping[str, int]) -> list[StatusChange]:
        """Get the changes to tell after the statuses that were read.

        `newest` was read before them; `found` has the versions of those that exist.
        """
        waiting, self._waiting = self._waiting, {}
        for username in waiting:
            self._told[username] = max(newest, found.get(username, 0))
        changes = (change for changes in waiting.values() for change in changes)
        return [c for c in sorted(changes, key=lambda c: c.version) if self.take(c)]

    def drop(self, usernames: Iterable[str]) -> None:
        """Forget these users."""
        for username in usernames:
            self._told.pop(username, None)
            self._waiting.pop(username, None)

    def take(self, change: StatusChange) -> bool:
        """Accept a change; returns whether to tell it now."""
        username = change.username
        if username in self._waiting:
            self._waiting[username].append(change)
            return False
        if change.version <= self._told.get(username, change.version):
            return False
        self._told[username] = change.version
        return True


@dataclass(frozen=True)
class Hearing:
    """What a guest's link lets its socket hear: one user, and of their recordings or not.

    `until` is when it ends, in seconds since the epoch.
    """

    username: str
    recordings: bool
    until: float


@dataclass(eq=False)
class Subscription:
    """The events for one socket."""

    username: str
    """A user, or the name of a link's guests."""
    sign_in: str | None = None
    hearing: Hearing | None = None
    """For guests alone."""
    order: StatusOrder = field(default_factory=StatusOrder)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while its friends and statuses are being read."""
    friends_are_old: bool = False
    """Whether friends have changed since they were read."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the socket should close, even during a write to it."""
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

    @property
    def hears_recordings(self) -> bool:
        """Whether recordings of those it hears concern it."""
        return self.hearing is None or self.hearing.recordings

    def end(self, why: SubscriptionEnded) -> None:
        """End it and drop what is still queued. The first reason counts."""
        if self.why is None:
            self.why = why
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(None)
            self.ended.set()

    async def next(self) -> Event:
        """Get the next event. Raises SubscriptionEnded; cancelling loses nothing."""
        if (event := await self.queue.get()) is not None:
            return event
        assert self.why is not None
        raise self.why


class Subscriptions:
    """Every subscription of a replica, indexed by its user and by the users it may hear."""

    def __init__(self) -> None:
        self._of_user: dict[str, set[Subscription]] = {}
        self._hearing: dict[str, set[Subscription]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._of_user.values()))

    def all(self) -> list[Subscription]:
        """Get all of them."""
        return [each for own in self._of_user.values() for each in own]

    def of_user(self, username: str) -> list[Subscription]:
        """Get the subscriptions of a user."""
        return list(self._of_user.get(username, ()))

    def hearing(self, username: str) -> list[Subscription]:
        """Get the subscriptions that may hear a user."""
        return list(self._hearing.get(username, ()))

    def add(self, subscription: Subscription) -> None:
        """Add one, which hears nobody yet."""
        self._of_user.setdefault(subscription.username, set()).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Remove one."""
        self.silence(subscription, subscription.order.audible)
        _discard(self._of_user, subscription.username, subscription)

    def read(self, subscription: Subscription, usernames: set[str]) -> None:
        """Let a subscription hear these users; their statuses are being read."""
        if subscription not in self._of_user.get(subscription.username, ()):
            return  # its socket closed meanwhile
        subscription.order.begin_reading(usernames)
        for username in usernames:
            self._hearing.setdefault(username, set()).add(subscription)

    def silence(self, subscription: Subscription, usernames: set[str]) -> None:
        """Stop a subscription from hearing these users."""
        subscription.order.drop(usernames)
        for username in usernames:
            _discard(self._hearing, username, subscription)


def _discard(index: dict[str, set[Subscription]], key: str, subscription: Subscription) -> None:
    found = index.get(key, set())
    found.discard(subscription)
    if not found:
        index.pop(key, None)
