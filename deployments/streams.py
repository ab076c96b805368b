"""What the ingress asks of streams, wherever in the cluster they run."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol

from actors.access import Guest
from actors.errors import (
    ActorSilent,
    NoCapacity,
    NoPlace,
    NotLive,
    NotYourSession,
    StreamError,
    UnknownSession,
)
from actors.models import ModelName
from actors.offers import read_offer
from actors.status import LEASE_TTL_S, Listening, SessionRecord, StatusStore, StreamStatus
from actors.stream import StreamHost
from deployments.stream_actors import ActorGone, StreamActors
from foundation.ids import new_id
from foundation.lease import Grant
from foundation.logs import fields

log = logging.getLogger(__name__)

P = ParamSpec("P")

ANSWER_TIMEOUT_S = 15.0
HOLDER_TIMEOUT_S = 3.0
"""How long the actor that holds a user's lease may take to answer an offer."""
LAPSE_INTERVAL_S = 0.25
LIVE_INTERVAL_S = 0.5
MEET_INTERVAL_S = 5.0
ATTEMPTS = 3
PREVIEW_TIMEOUT_S = 60.0
"""Longer than a preview may wait for others and take itself."""


@dataclass(frozen=True)
class SessionAnswer:
    """A new session, and the SDP answer for the client."""

    session_id: str
    answer_sdp: str


class Directory(Protocol):
    """Finds a place for a user's stream (see directory.py)."""

    async def assign(self, username: str) -> str:
        """Let an actor take the lease on a user's stream; returns its name. Raises NoCapacity."""

    async def count_warm(self) -> int:
        """Count the actors that are ready for a new stream."""

    async def name_warm(self) -> list[str]:
        """Name the actors that have their model, those with the least to do first."""

    async def problems(self) -> list[str]:
        """Say why nodes of the cluster have no actors, a sentence each."""

    async def reaches_redis(self) -> bool:
        """Tell whether the replica that is asked, any of them, reaches Redis."""


class Streams:
    """Finds the actor of a stream or session by name and passes the call on."""

    def __init__(self, store: StatusStore, directory: Directory, actors: StreamActors) -> None:
        self._store = store
        self._directory = directory
        self._actors = actors

    async def run(self) -> None:
        """Keep knowing the actors where streams may begin, until cancelled.

        Otherwise the cluster's head would have to be there at the first call to each.
        """
        while True:
            try:
                await self._actors.meet(await self._directory.name_warm())
            except StreamError as error:
                log.warning("cannot meet new actors: %r", error)
            await asyncio.sleep(MEET_INTERVAL_S)

    async def publish(
        self,
        username: str,
        offer_sdp: str,
        *,
        sign_in: str,
        settings: Mapping[str, Any] | None = None,
    ) -> SessionAnswer:
        """Open a publisher session; it begins the user's stream, or takes it over once heard.

        Then the stream's settings change. It ends with the sign-in. Raises OfferRefused,
        NoCapacity, RedisUnavailable, or ActorSilent while an actor that does not answer holds the
        user's lease.
        """
        read_offer(offer_sdp, publishes=True)
        session_id = new_id()
        for _ in range(ATTEMPTS):
            grant, limit_s = await self._store.host_of(username), HOLDER_TIMEOUT_S
            if grant is None:
                await self._directory.assign(username)
                grant, limit_s = await self._store.host_of(username), ANSWER_TIMEOUT_S
            if grant is None:
                continue  # it lapsed at once: Redis has lost its data
            arguments = (username, session_id, offer_sdp)
            try:
                answer = await self._actors.ask(
                    grant.holder,
                    limit_s,
                    StreamHost.publish,
                    *arguments,
                    sign_in=sign_in,
                    settings=settings,
                )
                return SessionAnswer(session_id, answer)
            except (ActorGone, NoPlace):
                log.info("actor cannot host the stream", extra=fields(actor=grant.holder))
                await self._store.revoke(username, grant)
            except ActorSilent:
                if not await self._lapses(username, grant):
                    raise
                log.warning("actor %s is silent and lost its lease", grant.holder)
        raise NoCapacity("Could not start the stream. Please try again.")

    async def _lapses(self, username: str, grant: Grant) -> bool:
        """Tell whether an actor that does not answer loses its lease, which its stream renews.

        Waits for it if the stream's status has run out, since the lease then soon does, too.
        """
        for _ in range(round(LEASE_TTL_S / LAPSE_INTERVAL_S)):
            if grant != await self._store.host_of(username):
                return True
            if await self._store.read(username) is not None:
                break
            await asyncio.sleep(LAPSE_INTERVAL_S)
        return grant != await self._store.host_of(username)

    async def listen(
        self,
        listener: str,
        username: str,
        offer_sdp: str,
        *,
        original: bool,
        both: bool = False,
        sign_in: str | None = None,
        guest: Guest | None = None,
    ) -> SessionAnswer:
        """Open a listener session, which ends with the sign-in, or with the guest's link.

        Raises OfferRefused, NotLive, OriginalNotShared or RemovedFromStream.
        """
        read_offer(offer_sdp, publishes=False)
        status = await self._store.read(username)
        if status is None:
            raise NotLive(f"{username} is not live.")
        session_id = new_id()
        arguments = (username, session_id, offer_sdp, listener, original)
        answering = self._actors.ask(
            status.actor,
            ANSWER_TIMEOUT_S,
            StreamHost.listen,
            *arguments,
            both=both,
            sign_in=sign_in,
            guest=guest,
        )
        try:
            answer = await self._while_live(status, answering)
        except ActorGone as gone:
            raise NotLive(f"{username} is not live.") from gone
        return SessionAnswer(session_id, answer)

    async def _while_live(self, status: StreamStatus, answering: Coroutine[Any, Any, str]) -> str:
        """Wait for the answer of a stream's actor, at most until the stream ends.

        An actor on a node that was lost says nothing, not even that it is gone.
        """
        task = asyncio.create_task(answering)
        try:
            while not (await asyncio.wait([task], timeout=LIVE_INTERVAL_S))[0]:
                now = await self._store.read(status.username)
                if now is None or (now.actor, now.stream_id) != (status.actor, status.stream_id):
                    raise NotLive(f"{status.username} is not live.")
            return await task
        finally:
            task.cancel()

    async def trickle(self, session_id: str, caller: str, fragment: str) -> None:
        """Add ICE candidates to a session.

        Raises UnknownSession, NotYourSession, FragmentRefused or IceRestartRefused.
        """
        record = await self._session(session_id, caller)
        try:
            await self._actors.ask(
                record.actor,
                ANSWER_TIMEOUT_S,
                StreamHost.trickle,
                record.username,
                session_id,
                fragment,
            )
        except ActorGone as gone:
            raise UnknownSession("This session has ended.") from gone

    async def end_session(self, session_id: str, caller: str) -> None:
        """End a session, and the stream if it publishes; calling it again is fine.

        The owner of a stream removes the person whose session it is: they cannot listen again
        while the stream lasts; of a guest, this session ends. Raises UnknownSession or
        NotYourSession.
        """
        record = await self._store.read_session(session_id)
        if record and record.username == caller != record.owner:
            arguments = (caller, record.owner, session_id)
            await self._ask_if_there(record.actor, StreamHost.remove, *arguments)
            return
        record = await self._session(session_id, caller)
        if record.publishes and await self._store.read(record.username) is None:
            await self._store.forget_kept(record.username)  # what it waits for is not wanted
        await self._ask_if_there(record.actor, StreamHost.end_session, record.username, session_id)

    async def stop(
        self, username: str, session_id: str | None, *, reason: str = "the publisher stopped it"
    ) -> None:
        """End a user's stream, if there is one; with a session only while that one publishes.

        A stream whose actor was frozen until its lease expired does not go on when it wakes, nor
        does one that waits for another actor.
        """
        if (grant := await self._store.void(username)) is None:
            await self._store.forget_kept(username)
            return
        arguments = (username, session_id, reason)
        await self._ask_if_there(grant.holder, StreamHost.stop, *arguments)

    async def control(self, username: str, changes: Mapping[str, Any]) -> StreamStatus:
        """Change a live stream's settings. Raises NotLive."""
        status = await self._store.read(username)
        if status is None:
            raise NotLive("You are not live.")
        try:
            return await self._actors.ask(
                status.actor, ANSWER_TIMEOUT_S, StreamHost.control, username, changes
            )
        except ActorGone as gone:
            raise NotLive("You are not live.") from gone

    async def listeners(self, username: str) -> list[Listening]:
        """List who listens to a user's live stream. Raises NotLive."""
        status = await self._store.read(username)
        if status is None:
            raise NotLive("You are not live.")
        try:
            return await self._actors.ask(
                status.actor, ANSWER_TIMEOUT_S, StreamHost.listeners, username
            )
        except ActorGone as gone:
            raise NotLive("You are not live.") from gone

    async def preview(
        self,
        wav: bytes,
        attenuation_limit_db: float | None,
        model: ModelName,
        *,
        post_filter: bool = False,
    ) -> bytes:
        """Clean a short WAV on an actor that has time for it. Raises PreviewRefused, NoCapacity."""
        busy = NoCapacity("No stream actor is ready yet. Please try again in a moment.")
        for name in (await self._directory.name_warm())[:ATTEMPTS]:
            arguments = (wav, attenuation_limit_db, model, post_filter)
            try:
                return await self._actors.ask(
                    name, PREVIEW_TIMEOUT_S, StreamHost.preview, *arguments
                )
            except NoCapacity as error:
                busy = error
            except ActorGone:
                log.info("actor cannot make a preview", extra=fields(actor=name))
        raise busy

    async def publisher_socket(self, session_id: str, caller: str, *, connected: bool) -> None:
        """Tell a stream that its publisher's page holds a presence socket, or lost it."""
        record = await self._store.read_session(session_id)
        if record is not None and record.owner == caller and record.publishes:
            arguments = (record.username, session_id, connected)
            await self._ask_if_there(record.actor, StreamHost.publisher_socket, *arguments)

    async def status(self, username: str) -> StreamStatus | None:
        """Get a user's stream, None when there is none."""
        return await self._store.read(username)

    async def all(self) -> list[StreamStatus]:
        """Get everybody's streams, by name."""
        return await self._store.read_many(sorted(await self._store.streaming()))

    async def statuses(self, usernames: Iterable[str]) -> list[StreamStatus]:
        """Get the streams of those users that have one."""
        return await self._store.read_many(list(usernames))

    async def ready(self) -> None:
        """Raise NoCapacity unless there is a place for a stream."""
        if not await self._directory.count_warm():
            problems = await self._directory.problems()
            raise NoCapacity(" ".join(["No stream actor is ready yet.", *problems]))

    async def _session(self, session_id: str, caller: str) -> SessionRecord:
        record = await self._store.read_session(session_id)
        if record is None:
            raise UnknownSession("There is no such session.")
        if record.owner != caller:
            raise NotYourSession("This session belongs to somebody else.")
        return record

    async def _ask_if_there(
        self,
        actor: str,
        method: Callable[Concatenate[StreamHost, P], Coroutine[Any, Any, None]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        try:
            await self._actors.ask(actor, ANSWER_TIMEOUT_S, method, *args, **kwargs)
        except ActorGone:
            told = fields(actor=actor, method=method.__name__)
            log.info("actor is gone, nothing is left to do", extra=told)
