"""The presence socket: tells a page what changes, and a stream that its page is open."""

import asyncio
import json
import logging
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketDisconnected

from actors.errors import StreamError
from deployments.subscription import (
    Control,
    Event,
    FriendsChanged,
    Hearing,
    ListenersChanged,
    ShuttingDown,
    SignedOut,
    Snapshot,
    StreamChanged,
    Subscription,
    SubscriptionEnded,
    TooManySockets,
    TooSlow,
)
from foundation.redis import RedisUnavailable
from recordings.index import RecordingChange
from serve_app.accounts import WrongCredentials
from serve_app.callers import ForeignOrigin, verified_socket
from serve_app.links import Link, LinkRefused
from serve_app.schemas import listener_of, news_of, plain, rfc3339, stream_of
from serve_app.services import Services, services

log = logging.getLogger(__name__)

router = APIRouter(prefix="/api", tags=["presence"])

MAX_MESSAGE_CHARS = 4096
MAX_SESSIONS = 32
"""How many sessions one socket may publish, one after another."""
CLOSE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Close:
    """How to close a socket, after a last message if there is one; `code` 0: the page has gone."""

    code: int
    reason: str = ""
    message: dict[str, Any] | None = None


GONE = Close(0)
POLICY_VIOLATION = 1008
UNREADABLE = Close(1007, "Unrecognised message.")
TOO_LONG = Close(1009, "The message is too long.")
TOO_MANY = Close(POLICY_VIOLATION, "Too many sessions were published over this socket.")
TRY_AGAIN = Close(1013, "Live status is unavailable right now.")
ENDS: dict[type[SubscriptionEnded], Close] = {
    TooManySockets: Close(1013, "You have too many pages open."),
    TooSlow: Close(1013, "You are reading messages too slowly."),
    SignedOut: Close(4401, "Please sign in again."),
    ShuttingDown: Close(1012, "The server is restarting."),
}


@router.websocket("/presence")
async def presence(socket: WebSocket) -> None:
    """Tell a page what changes until it leaves; keep track of whether it publishes."""
    use = services(socket)
    if use.isolation.isolated:  # it would wait for Redis, and be sent away
        await socket.accept()
        await socket.close(TRY_AGAIN.code, TRY_AGAIN.reason)
        return
    try:
        who = await verified_socket(socket, use)
    except (WrongCredentials, LinkRefused, ForeignOrigin) as refusal:
        await socket.close(POLICY_VIOLATION, str(refusal))
        return
    except RedisUnavailable as error:
        log.warning("could not serve a presence socket: %r", error)
        await socket.accept()
        await socket.close(TRY_AGAIN.code, TRY_AGAIN.reason)
        return
    try:
        await socket.accept()
    except (WebSocketDisconnect, WebSocketDisconnected):
        return  # it has gone in the middle of the handshake
    if isinstance(who, Link):
        hearing = Hearing(who.owner, who.recordings, who.expires_at)
        subscribing = use.presence.subscribe(who.guest.name, hearing=hearing)
    else:
        subscribing = use.presence.subscribe(who.username, who.token_id)
    with subscribing as subscription:
        await Page(socket, subscription.username, use).run(subscription)


class Page:
    """One presence socket."""

    def __init__(self, socket: WebSocket, caller: str, use: Services) -> None:
        self._socket = socket
        self._caller = caller
        self._use = use
        self._publishing: dict[str, asyncio.Task[None]] = {}
        self._announcement_failed = asyncio.Event()

    async def run(self, subscription: Subscription) -> None:
        """Talk both ways until either side closes, then tell the streams that the page is gone."""
        tasks = [
            asyncio.create_task(self._send(subscription), name="presence out"),
            asyncio.create_task(self._receive(), name="presence in"),
            asyncio.create_task(self._wait_for_failure(), name="presence failure"),
            # The first task may be stuck writing to a socket that nobody reads.
            asyncio.create_task(_wait_for_end(subscription), name="presence end"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._close(done.pop().result())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.shield(self._leave(tasks))

    async def _send(self, subscription: Subscription) -> Close:
        heartbeat_s = self._use.settings.heartbeat_s
        try:
            await self._use.presence.greet(subscription)
            while True:
                message = await _next_message(subscription, heartbeat_s)
                await self._socket.send_text(json.dumps(message))
        except (WebSocketDisconnect, WebSocketDisconnected):
            return GONE
        except SubscriptionEnded as end:
            return _close_of(end)
        except (StreamError, RedisUnavailable, TimeoutError) as error:
            log.warning("could not serve a presence socket: %r", error)
            return TRY_AGAIN

    async def _receive(self) -> Close:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return GONE
            text = message.get("text")
            if text is not None and len(text) > MAX_MESSAGE_CHARS:
                return TOO_LONG
            said = _read(text)
            if said is None:
                return UNREADABLE
            session = said.get("session")
            if said.get("type") == "publishing" and isinstance(session, str):
                if (end := self._begin_publishing(session)) is not None:
                    return end

    def _begin_publishing(self, session: str) -> Close | None:
        """Tell a stream once that this is its page's socket, while still listening to the page."""
        if session in self._publishing:
            return None
        if len(self._publishing) >= MAX_SESSIONS:
            return TOO_MANY
        self._publishing[session] = asyncio.create_task(
            self._announce(session), name="presence announcement"
        )
        return None

    async def _announce(self, session: str) -> None:
        try:
            await self._use.streams.publisher_socket(session, self._caller, connected=True)
        except (StreamError, RedisUnavailable):
            self._announcement_failed.set()  # the page reconnects and says it again
            raise

    async def _wait_for_failure(self) -> Close:
        await self._announcement_failed.wait()
        return TRY_AGAIN

    async def _leave(self, tasks: "list[asyncio.Task[Close]]") -> None:
        """End the tasks, then retract every `connected` that was sent, and only those."""
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._retract(*said) for said in self._publishing.items()))

    async def _retract(self, session: str, said: "asyncio.Task[None]") -> None:
        try:
            await said
            await self._use.streams.publisher_socket(session, self._caller, connected=False)
        except (StreamError, RedisUnavailable) as error:
            log.warning("could not tell a stream about its page's socket: %s", error)

    async def _close(self, end: Close) -> None:
        if end is GONE:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if end.message is not None:
                    await self._socket.send_text(json.dumps(end.message))
                await self._socket.close(end.code, end.reason)
        except (WebSocketDisconnect, WebSocketDisconnected, TimeoutError):
            return


async def _next_message(subscription: Subscription, heartbeat_s: float) -> dict[str, Any]:
    """Get the next message; without news a heartbeat, since a path that is cut closes nothing."""
    try:
        async with asyncio.timeout(heartbeat_s):
            event = await subscription.next()
    except TimeoutError:
        return {"type": "heartbeat"}
    said = {"heartbeat_s": heartbeat_s} if isinstance(event, Snapshot) else {}
    return message_of(event) | said


async def _wait_for_end(subscription: Subscription) -> Close:
    await subscription.ended.wait()
    return _close_of(subscription.why) if subscription.why else GONE


def _close_of(why: SubscriptionEnded) -> Close:
    close = ENDS[type(why)]
    if isinstance(why, SignedOut):
        message = {"type": "control", "action": "signed_out", "reason": str(why)}
        return replace(close, message=message)
    return close


def message_of(event: Event) -> dict[str, Any]:
    """Write an event as a message of the presence socket."""
    match event:
        case Snapshot():
            streams = [plain(stream_of(status)) for status in event.streams]
            return {
                "type": "snapshot",
                "version": event.version,
                "streams": streams,
            }
        case StreamChanged():
            return {
                "type": "stream",
                "version": event.version,
                "username": event.username,
                "stream": plain(stream_of(event.stream)),
            }
        case FriendsChanged():
            return {"type": "friends"}
        case RecordingChange():
            recording = plain(news_of(event))
            return {"type": "recording", "recording": recording, "removed": event.removed}
        case ListenersChanged():
            listeners = [plain(listener_of(each)) for each in event.listeners]
            return {"type": "listeners", "listeners": listeners}
        case Control():
            told = {
                "type": "control",
                "action": event.action,
                "stream_id": event.stream_id,
                "session": event.session,
            }
            if event.reason is not None:
                told["reason"] = event.reason
            if event.at is not None:
                told["at"] = rfc3339(event.at)
            return told


def _read(text: str | None) -> dict[str, Any] | None:
    try:
        message = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
