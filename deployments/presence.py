"""Fans out from Redis who is live, to many sockets. Every ingress replica runs one.

It parses a message once and touches only the subscriptions that the message concerns. A subscriber
gets a snapshot, then every change of what it may hear, in the order that `StatusOrder` keeps.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

from actors import access
from actors.access import AccessEnded
from actors.status import CHANNEL as STATUS_CHANNEL
from actors.status import (
    CONTROL_CHANNEL,
    LISTENERS_CHANNEL,
    Listening,
    StatusChange,
    StatusStore,
)
from deployments.subscription import (
    Control,
    FriendsChanged,
    Hearing,
    ListenersChanged,
    ShuttingDown,
    SignedOut,
    Snapshot,
    StreamChanged,
    Subscription,
    Subscriptions,
    TooManySockets,
)
from foundation.follower import Follower
from foundation.logs import fields
from foundation.redis import RedisUnavailable
from recordings.index import CHANNEL as RECORDINGS_CHANNEL
from recordings.index import RecordingChange

log = logging.getLogger(__name__)

USERNAME = re.compile(r'"username":"([^"]*)"')
"""Finds whose change a message is; inside the stream, a text, quotation marks are escaped."""
MAX_SOCKETS_OF_A_USER = 64
MAX_SOCKETS_OF_A_LINK = 200
"""Of its guests: those who listen, and those who wait until somebody is live."""
CHECK_INTERVAL_S = 10.0
"""How often sign-ins are asked for, in case the news that one ended was lost."""
CHECK_PAUSE_S = 0.2


class Presence:
    """Fans out what Redis publishes. `run` is its whole life."""

    def __init__(
        self,
        redis_url: str,
        store: StatusStore,
        friends_of: Callable[[str], Awaitable[set[str]]],
        friends_channel: str,
        gone: Callable[[Collection[str]], Awaitable[set[str]]],
    ) -> None:
        self._store = store
        self._friends_of = friends_of
        self._gone = gone
        self._subscriptions = Subscriptions()
        self._greeted: set[Subscription] = set()
        """The subscriptions that get a new snapshot after an outage."""
        self._follower = Follower(
            redis_url,
            {
                STATUS_CHANNEL: self._fan_out_status,
                RECORDINGS_CHANNEL: self._fan_out_recording,
                CONTROL_CHANNEL: self._fan_out_control,
                LISTENERS_CHANNEL: self._fan_out_listeners,
                friends_channel: self._fan_out_friendship,
                access.CHANNEL: self._end_signed_out,
            },
            joined=self._greet_again,
            name="presence",
        )
        self._connected = self._follower.connected
        self._check_due = asyncio.Event()

    async def run(self) -> None:
        """Follow Redis until cancelled. After an outage everybody gets a new snapshot."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follower.run(), name="presence follower")
                tasks.create_task(self._check_sign_ins(), name="presence check")
        finally:
            self.leave()

    def leave(self) -> None:
        """End all subscriptions: pages come back by another replica."""
        for subscription in self._subscriptions.all():
            subscription.end(ShuttingDown())

    @contextmanager
    def subscribe(
        self, username: str, sign_in: str | None = None, hearing: Hearing | None = None
    ) -> Iterator[Subscription]:
        """Add a subscription for a user, or a guest; then call `greet`: it begins with a snapshot.

        It ends with SignedOut when the sign-in or link ends, or at once with TooManySockets.
        """
        subscription = Subscription(username, sign_in, hearing)
        most = MAX_SOCKETS_OF_A_LINK if hearing else MAX_SOCKETS_OF_A_USER
        if len(self._subscriptions.of_user(username)) >= most:
            subscription.end(TooManySockets())
        self._subscriptions.add(subscription)
        self._check_due.set()  # the sign-in may have ended since it was verified
        expiry = hearing and asyncio.get_running_loop().call_later(
            hearing.until - time.time(), subscription.end, SignedOut(access.LINK_ENDED)
        )
        try:
            yield subscription
        finally:
            if expiry:
                expiry.cancel()
            self._greeted.discard(subscription)
            self._subscriptions.remove(subscription)

    async def greet(self, subscription: Subscription) -> None:
        """Send a snapshot, then what changed while it was read.

        Raises RedisUnavailable.
        """
        async with asyncio.timeout(5):
            await self._connected.wait()
        self._greeted.add(subscription)
        await self._read(subscription, from_the_beginning=True)

    async def _greet_again(self) -> None:
        self._check_due.set()
        for subscription in list(self._greeted):
            await self._read(subscription, from_the_beginning=True)

    async def _fan_out_status(self, message: str) -> None:
        # Most of many streams concern nobody here: their changes are not even parsed.
        named = USERNAME.search(message)
        if named and not self._subscriptions.hearing(named[1]):
            return
        change = StatusChange.from_json(message)
        _log(change, "received")
        event = StreamChanged(change.version, change.username, change.stream)
        hearing = self._subscriptions.hearing(change.username)
        told = [subscription for subscription in hearing if subscription.order.take(change)]
        for subscription in told:
            subscription.tell(event)
        _log(change, "forwarded", sockets=len(told))

    async def _fan_out_recording(self, message: str) -> None:
        change = RecordingChange.from_json(message)
        for subscription in self._subscriptions.hearing(change.recording.username):
            if subscription.hears_recordings:
                subscription.tell(change)

    async def _fan_out_control(self, text: str) -> None:
        message = json.loads(text)
        event = Control(
            message["action"],
            message["stream_id"],
            message["session"],
            message.get("reason"),
            message.get("at"),
        )
        for subscription in self._subscriptions.of_user(message["username"]):
            subscription.tell(event)

    async def _fan_out_listeners(self, text: str) -> None:
        message = json.loads(text)
        people = message["listeners"]
        event = ListenersChanged(
            [Listening(**{**each, "sessions": tuple(each["sessions"])}) for each in people]
        )
        for subscription in self._subscriptions.of_user(message["username"]):
            subscription.tell(event)

    async def _fan_out_friendship(self, text: str) -> None:
        for username in json.loads(text)["usernames"]:
            for subscription in self._subscriptions.of_user(username):
                subscription.friends_are_old = True
                if subscription in self._greeted and not subscription.reading.locked():
                    await self._read(subscription)

    async def _end_signed_out(self, text: str) -> None:
        ended = AccessEnded.from_json(text)
        for subscription in self._subscriptions.of_user(ended.username):
            if ended.stream is None and ended.covers(subscription.sign_in):
                subscription.end(SignedOut(ended.reason))

    async def _check_sign_ins(self) -> None:
        """Ask now and then whether sign-ins are still valid; while Redis is away nothing ends."""
        while True:
            try:
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._check_due.wait()
            except TimeoutError:
                pass
            self._check_due.clear()
            held = self._subscriptions.all()
            try:
                gone = await self._gone(set(map(_rests_on, held)) - {""})
            except RedisUnavailable as error:
                log.warning("presence: sign-ins not checked: %s", error)
                gone = set()
            for subscription in held:
                if _rests_on(subscription) in gone:
                    told = access.LINK_ENDED if subscription.hearing else access.SIGNED_OUT
                    subscription.end(SignedOut(told))
            await asyncio.sleep(CHECK_PAUSE_S)

    async def _read(self, subscription: Subscription, *, from_the_beginning: bool = False) -> None:
        """Read whom a subscriber may hear, and tell it what changed.

        From the beginning, that is a snapshot; otherwise that friends changed, and the streams that
        appear or are gone. Raises RedisUnavailable.
        """
        async with subscription.reading:
            if from_the_beginning:
                await self._tell_audience(subscription, snapshot=True)
            while subscription.friends_are_old:
                await self._tell_audience(subscription, snapshot=False)

    async def _tell_audience(self, subscription: Subscription, *, snapshot: bool) -> None:
        subscription.friends_are_old = False
        own, before = subscription.username, subscription.order.audible
        if subscription.hearing:
            audible = {subscription.hearing.username}
        else:
            audible = {own, *await self._friends_of(own)}
        self._subscriptions.silence(subscription, before - audible)
        self._subscriptions.read(subscription, audible if snapshot else audible - before)
        version, found = await self._store.read_versions(
            sorted(audible if snapshot else audible - before, key=lambda name: (name != own, name))
        )
        if snapshot:
            subscription.tell(Snapshot(version, [status for _, status in found.values()]))
            if not subscription.hearing and own not in found:
                await self._repeat_what_was_asked(subscription)
        else:
            subscription.tell(FriendsChanged())
            for name, (written, status) in found.items():
                subscription.tell(StreamChanged(max(version, written), name, status))
            for name in sorted(before - audible):
                subscription.tell(StreamChanged(version, name, None))
        versions = {name: written for name, (written, _) in found.items()}
        for change in subscription.order.end_reading(version, versions):
            subscription.tell(StreamChanged(change.version, change.username, change.stream))

    async def _repeat_what_was_asked(self, subscription: Subscription) -> None:
        if asked := await self._store.asked(subscription.username):
            subscription.tell(Control(*asked, session=""))


def _rests_on(subscription: Subscription) -> str:
    """Name what a subscription rests on, as `access.gone` does; empty if we were not told."""
    return subscription.username if subscription.hearing else subscription.sign_in or ""


def _log(change: StatusChange, what: str, **more: object) -> None:
    delay_ms = round((time.time() - change.changed_at) * 1000)
    stream_id = change.stream.stream_id if change.stream else None
    told = fields(change=change.change_id, stream=stream_id, **more, delay_ms=delay_ms)
    log.info(what, extra=told)
