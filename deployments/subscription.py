"""What one presence socket is told: the events, their order, their queue, their end."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

from actors.status import StatusChange, StreamStatus
from recordings.index import RecordingChange

MAX_QUEUED_EVENTS = 500


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


class StatusOrder:
    """Which changes of status a subscriber is told: none missed, none applied backwards. No I/O.

    Statuses are read while changes arrive. `begin_reading` comes first: from then on changes of
    these users wait. Then the version of the newest change is read, then the statuses; what had
    that version or a lower one is in them. `end_reading` gives the changes that are not.
    """

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        """Users whose status is known, and the version up to which it was told."""
        self._waiting: dict[str, list[StatusChange]] = {}

    @property
    def audible(self) -> set[str]:
        """Whose changes matter."""
        return {*self._told, *self._waiting}

    def begin_reading(self, usernames: Iterable[str]) -> None:
        """Let changes of these users wait until their statuses were read."""
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
        """Stop caring for these users."""
        for username in usernames:
            self._told.pop(username, None)
            self._waiting.pop(username, None)

    def take(self, change: StatusChange) -> bool:
        """Take a change in; tells whether it is to be told now."""
        username = change.username
        if username in self._waiting:
            self._waiting[username].append(change)
            return False
        if change.version <= self._told.get(username, change.version):
            return False
        self._told[username] = change.version
        return True


@dataclass(eq=False)
class Subscription:
    """What one socket is told. Iterate over it; it ends with SubscriptionEnded."""

    username: str
    token_id: str | None = None
    order: StatusOrder = field(default_factory=StatusOrder)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while friends and statuses are read for it."""
    friends_are_old: bool = False
    """Whether friends changed meanwhile."""
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


class Subscriptions:
    """Every subscription of a replica, found by its user and by whom it may hear."""

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
        """Take one in, which hears nobody yet."""
        self._of_user.setdefault(subscription.username, set()).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Forget one."""
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
        """Let a subscription hear these users no more."""
        subscription.order.drop(usernames)
        for username in usernames:
            _discard(self._hearing, username, subscription)


def _discard(index: dict[str, set[Subscription]], key: str, subscription: Subscription) -> None:
    found = index.get(key, set())
    found.discard(subscription)
    if not found:
        index.pop(key, None)
