"""What the ingress asks of streams, wherever in the cluster they live."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from actors.errors import (
    ActorSilent,
    NoCapacity,
    NoPlace,
    NotLive,
    NotYourSession,
    StreamError,
    UnknownSession,
)
from actors.offers import check_offer
from actors.status import SessionRecord, StatusStore, StreamStatus
from actors.stream import NAMESPACE
from foundation.ids import new_id
from foundation.redis import RedisUnavailable

log = logging.getLogger(__name__)

Result = TypeVar("Result")
ACTOR_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class SessionAnswer:
    """A session that was opened, and the SDP answer for the client."""

    session_id: str
    answer_sdp: str


class Directory(Protocol):
    """Says which actor hosts a user's stream (see directory.py)."""

    async def assign(self, username: str) -> str:
        """Get the name of the actor; raises NoCapacity."""

    async def count_warm(self) -> int:
        """Count the actors that are ready for a new stream."""


class Streams:
    """Finds the actor of a stream or session by name and passes the question on."""

    def __init__(self, store: StatusStore, directory: Directory) -> None:
        self._store = store
        self._directory = directory

    async def publish(self, username: str, offer_sdp: str) -> SessionAnswer:
        """Open a publisher session; begins the user's stream, or takes it over once heard.

        Raises OfferRefused, NoCapacity or RedisUnavailable.
        """
        check_offer(offer_sdp, publishes=True)
        session_id = new_id()
        for _ in range(3):
            grant = await self._store.host_of(username)
            actor = grant.holder if grant else await self._directory.assign(username)
            try:
                answer = await _ask(actor, "publish", username, session_id, offer_sdp)
                return SessionAnswer(session_id, answer)
            except (ActorGone, NoPlace):
                log.info("actor %s cannot host the stream; another one is asked", actor)
                grant = await self._store.host_of(username)
                if grant is not None and grant.holder == actor:
                    await self._store.revoke(username, grant)
        raise NoCapacity("No stream could be started. Please try again.")

    async def listen(
        self, listener: str, username: str, offer_sdp: str, *, original: bool
    ) -> SessionAnswer:
        """Open a listener session. Raises OfferRefused, NotLive or OriginalNotShared."""
        check_offer(offer_sdp, publishes=False)
        status = await self._store.read(username)
        if status is None:
            raise NotLive(f"{username} is not live.")
        session_id = new_id()
        arguments = (username, session_id, offer_sdp, listener, original)
        try:
            return SessionAnswer(session_id, await _ask(status.actor, "listen", *arguments))
        except ActorGone as gone:
            raise NotLive(f"{username} is not live.") from gone

    async def trickle(self, session_id: str, caller: str, fragment: str) -> None:
        """Add a session's candidates.

        Raises UnknownSession, NotYourSession, FragmentRefused or IceRestartRefused.
        """
        record = await self._session(session_id, caller)
        try:
            await _ask(record.actor, "trickle", record.username, session_id, fragment)
        except ActorGone as gone:
            raise UnknownSession("This session has ended.") from gone

    async def end_session(self, session_id: str, caller: str) -> None:
        """End a session, and the stream if it publishes; again is fine.

        Raises UnknownSession or NotYourSession.
        """
        record = await self._session(session_id, caller)
        await _ask_if_there(record.actor, "end_session", record.username, session_id)

    async def stop(self, username: str, session_id: str | None) -> None:
        """End a user's stream, if there is one; with a session only while that one publishes."""
        grant = await self._store.host_of(username)
        if grant is not None:
            arguments = (username, session_id, "the publisher stopped it")
            await _ask_if_there(grant.holder, "stop", *arguments)

    async def control(self, username: str, changes: dict[str, bool | float | None]) -> StreamStatus:
        """Change a live stream's settings. Raises NotLive."""
        status = await self._store.read(username)
        if status is None:
            raise NotLive("You are not live.")
        try:
            changed: StreamStatus = await _ask(status.actor, "control", username, changes)
        except ActorGone as gone:
            raise NotLive("You are not live.") from gone
        return changed

    async def publisher_socket(self, session_id: str, caller: str, *, connected: bool) -> None:
        """Tell a stream that its publisher's page holds a presence socket, or lost it."""
        record = await self._store.read_session(session_id)
        if record is not None and record.owner == caller and record.publishes:
            arguments = (record.username, session_id, connected)
            await _ask_if_there(record.actor, "publisher_socket", *arguments)

    async def status(self, username: str) -> StreamStatus | None:
        """Get a user's stream, None when there is none."""
        return await self._store.read(username)

    async def statuses(self, usernames: Iterable[str]) -> list[StreamStatus]:
        """Get the streams of those users that have one."""
        return await self._store.read_many(list(usernames))

    async def ready(self) -> None:
        """Raise NoCapacity unless a warm actor waits for a stream."""
        if not await self._directory.count_warm():
            raise NoCapacity("No stream actor is ready yet.")

    async def _session(self, session_id: str, caller: str) -> SessionRecord:
        record = await self._store.read_session(session_id)
        if record is None:
            raise UnknownSession("There is no such session.")
        if record.owner != caller:
            raise NotYourSession("This session belongs to somebody else.")
        return record


class ActorGone(StreamError):
    """The actor that was asked is not there any more."""


async def _ask(actor: str, method: str, *arguments: Any) -> Any:
    """Call an actor's method by the actor's name.

    Raises the StreamError or RedisUnavailable that the method raised, RayTaskError for any other
    error in it, ActorGone when the actor is dead, and ActorSilent when it does not answer in time.
    """
    try:
        handle = ray.get_actor(actor, namespace=NAMESPACE)
    except ValueError as error:
        raise ActorGone(f"The actor of this stream is gone: {actor}") from error
    try:
        async with asyncio.timeout(ACTOR_TIMEOUT_S):
            return await getattr(handle, method).remote(*arguments)
    except RayTaskError as error:
        if isinstance(error.cause, StreamError | RedisUnavailable):
            raise error.cause from None
        raise
    except (ActorDiedError, ActorUnavailableError) as error:
        raise ActorGone(f"The actor of this stream is gone: {actor}") from error
    except TimeoutError as error:
        raise ActorSilent("The stream's actor does not answer now.") from error


async def _ask_if_there(actor: str, method: str, *arguments: Any) -> None:
    try:
        await _ask(actor, method, *arguments)
    except ActorGone:
        log.info("actor %s is gone; nothing is left to do for %s", actor, method)
