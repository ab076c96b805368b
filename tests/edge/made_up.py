"""Streams without actors: the one part of the edge's tests that is not real."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from actors.access import Guest
from actors.denoiser import load_model
from actors.errors import NoCapacity, NotLive, NotYourSession, OfferRefused, UnknownSession
from actors.models import ModelName
from actors.preview import clean
from actors.status import Listening, StatusStore, StreamState, StreamStatus
from deployments.streams import SessionAnswer, Streams
from foundation.redis import RedisUnavailable
from tests import statuses

OFFER = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
ANSWER = "v=0\r\nanswer\r\n"


def live(username: str, **fields: Any) -> StreamStatus:
    """Make the status of a stream that is heard."""
    status = StreamStatus(
        username=username,
        stream_id=f"stream-of-{username}",
        state=StreamState.LIVE,
        started_at=1.7e9,
        listeners=0,
        denoise=True,
        attenuation_limit_db=None,
        share_original=False,
        actor="an-actor",
        session=None,
    )
    return replace(status, **fields)


class MadeUpStreams(Streams):
    """Keeps sessions in memory and status in Redis; answers any offer that looks like one."""

    def __init__(self, store: StatusStore) -> None:
        self.store = store
        self.owners: dict[str, str] = {}
        self.sign_ins: dict[str, str | None] = {}
        self.guests: list[Guest] = []
        self.sockets: list[tuple[str, bool]] = []
        self.stopped: list[tuple[str, str | None]] = []
        self.fragments: list[str] = []
        self.settings: list[Mapping[str, Any]] = []
        self.full = self.broken = False
        self.waiting = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def run(self) -> None:
        """Meet no actors."""
        await asyncio.Event().wait()

    async def publish(
        self,
        username: str,
        offer_sdp: str,
        *,
        sign_in: str,
        settings: Mapping[str, Any] | None = None,
    ) -> SessionAnswer:
        """Open a session, once it may go on."""
        if "m=audio" not in offer_sdp:
            raise OfferRefused("This is not an offer with audio.")
        if self.full:
            raise NoCapacity("All stream actors are busy.", retry_after_s=7)
        self.waiting += 1
        await self.may_go_on.wait()
        self.settings.append(settings or {})
        return self._open(username, sign_in)

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
        """Open a session while there is a status."""
        if "m=audio" not in offer_sdp:
            raise OfferRefused("This is not an offer with audio.")
        if await self.store.read(username) is None:
            raise NotLive(f"{username} is not live.")
        if guest:
            self.guests.append(guest)
        return self._open(listener, sign_in)

    async def trickle(self, session_id: str, caller: str, fragment: str) -> None:
        """Keep a fragment."""
        self._check(session_id, caller)
        self.fragments.append(fragment)

    async def end_session(self, session_id: str, caller: str) -> None:
        """End nothing but check."""
        self._check(session_id, caller)

    async def stop(self, username: str, session_id: str | None, *, reason: str = "") -> None:
        """Note it, and end the status."""
        self.stopped.append((username, session_id))
        if status := await self.store.read(username):
            await statuses.write(self.store, replace(status, state=StreamState.ENDED))

    async def control(self, username: str, changes: Mapping[str, Any]) -> StreamStatus:
        """Change the status in Redis."""
        if (status := await self.store.read(username)) is None:
            raise NotLive("You are not live.")
        changed = replace(status, **changes)
        await statuses.write(self.store, changed)
        return changed

    async def listeners(self, username: str) -> list[Listening]:
        """List one listener of whoever has a status, and the guests."""
        if await self.store.read(username) is None:
            raise NotLive("You are not live.")
        bob = Listening("bob", 1.7e9, ("session-of-bob",))
        return [bob, *(Listening(None, 1.7e9, ("a",), g.label, g.link) for g in self.guests)]

    async def preview(
        self,
        wav: bytes,
        attenuation_limit_db: float | None,
        model: ModelName,
        *,
        post_filter: bool = False,
    ) -> bytes:
        """Clean it here."""
        if self.full:
            raise NoCapacity("Many previews are being made.", retry_after_s=7)
        loaded = load_model(model, normalise_level=True)
        return await asyncio.to_thread(
            clean, wav, loaded, attenuation_limit_db, post_filter=post_filter
        )

    async def publisher_socket(self, session_id: str, caller: str, *, connected: bool) -> None:
        """Note it; a page that came, once it may go on."""
        if connected:
            await self.may_go_on.wait()
        if session_id == "unheard":
            raise RedisUnavailable("The stream is not responding right now. Please try again.")
        self.sockets.append((session_id, connected))

    async def status(self, username: str) -> StreamStatus | None:
        """Read from Redis."""
        return await self.store.read(username)

    async def all(self) -> list[StreamStatus]:
        """Read everybody's from Redis."""
        return await self.store.read_many(sorted(await self.store.streaming()))

    async def statuses(self, usernames: Iterable[str]) -> list[StreamStatus]:
        """Read from Redis."""
        return await self.store.read_many(list(usernames))

    async def ready(self) -> None:
        """Be ready, full or broken."""
        if self.broken:
            raise RuntimeError("a bug")
        if self.full:
            raise NoCapacity("No stream actor is ready yet.")

    def _open(self, owner: str, sign_in: str | None) -> SessionAnswer:
        session_id = f"session{len(self.owners)}"
        self.sign_ins[session_id] = sign_in
        self.owners[session_id] = owner
        return SessionAnswer(session_id, ANSWER)

    def _check(self, session_id: str, caller: str) -> None:
        if session_id not in self.owners:
            raise UnknownSession("There is no such session.")
        if self.owners[session_id] != caller:
            raise NotYourSession("This session belongs to somebody else.")
