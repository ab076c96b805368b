"""Live streams: which there are, changing one's own, and the presence socket."""

import asyncio
import json
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response, WebSocket
from starlette.websockets import WebSocketDisconnect

from actors.errors import StreamError
from deployments.presence import (
    Control,
    Event,
    FriendsChanged,
    RecordingChanged,
    Snapshot,
    StreamChanged,
    Subscription,
    TooSlow,
)
from serve_app.accounts import WrongCredentials
from serve_app.callers import Caller, ForeignOrigin, verified_socket
from serve_app.schemas import Stream, StreamChange, plain, recording_of, stream_of
from serve_app.services import Services, Use, services

log = logging.getLogger(__name__)

router = APIRouter(prefix="/api", tags=["streams"])

MAX_MESSAGE_CHARS = 4096
POLICY_VIOLATION, UNREADABLE, TRY_AGAIN_LATER = 1008, 1007, 1013


@router.get("/streams")
async def streams(caller: Caller, use: Use) -> list[Stream]:
    """List the streams that the caller may hear, their own first."""
    names = [caller, *sorted(await use.accounts.friends_of(caller))]
    return [s for status in await use.streams.statuses(names) if (s := stream_of(status))]


@router.patch("/stream")
async def change_stream(body: StreamChange, caller: Caller, use: Use) -> Stream | None:
    """Change the caller's live stream."""
    changes = body.model_dump(exclude_unset=True)
    return stream_of(await use.streams.control(caller, changes))


@router.post("/stream/stop", status_code=204)
async def stop_stream(
    caller: Caller,
    use: Use,
    session: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """End the caller's stream; what `navigator.sendBeacon` calls. The body does not matter."""
    await asyncio.shield(use.streams.stop(caller, session))
    return Response(status_code=204)


@router.websocket("/presence")
async def presence(socket: WebSocket) -> None:
    """Tell a page what changes, until it goes; note whether it publishes."""
    use = services(socket)
    try:
        caller = (await verified_socket(socket, use)).username
    except (WrongCredentials, ForeignOrigin) as refusal:
        await socket.close(POLICY_VIOLATION, str(refusal))
        return
    await socket.accept()
    with use.presence.subscribe(caller) as subscription:
        page = Page(socket, caller, use)
        try:
            await page.run(subscription)
        finally:
            await asyncio.shield(page.leave())


class Page:
    """One presence socket."""

    def __init__(self, socket: WebSocket, username: str, use: Services) -> None:
        self._socket = socket
        self._username = username
        self._use = use
        self._publishes: str | None = None

    async def run(self, subscription: Subscription) -> None:
        """Talk both ways until either side ends."""
        tasks = [
            asyncio.create_task(self._tell(subscription), name="presence out"),
            asyncio.create_task(self._listen(), name="presence in"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect):
                log.info("a presence socket ended: %r", result)

    async def leave(self) -> None:
        """Tell the stream that its page's socket is gone."""
        await self._say_publishing(connected=False)

    async def _tell(self, subscription: Subscription) -> None:
        try:
            await self._use.presence.greet(subscription)
            async for event in subscription:
                await self._socket.send_text(json.dumps(message_of(event)))
        except TooSlow:
            await self._socket.close(TRY_AGAIN_LATER, "You do not read what you are told.")
        except (StreamError, TimeoutError) as error:
            await self._socket.close(TRY_AGAIN_LATER, "The live status cannot be read now.")
            log.warning("a presence socket was not served: %r", error)

    async def _listen(self) -> None:
        while True:
            text = await self._socket.receive_text()
            message = _read(text)
            if message is None:
                await self._socket.close(UNREADABLE, "This is no message of hushcast.")
                return
            session = message.get("session")
            if message.get("type") == "publishing" and isinstance(session, str):
                await self._say_publishing(connected=False)
                self._publishes = session
                await self._say_publishing(connected=True)

    async def _say_publishing(self, *, connected: bool) -> None:
        if self._publishes is None:
            return
        try:
            await self._use.streams.publisher_socket(
                self._publishes, self._username, connected=connected
            )
        except StreamError as error:
            log.warning("a stream was not told of its page's socket: %s", error)


def message_of(event: Event) -> dict[str, Any]:
    """Write an event as the presence socket tells it."""
    match event:
        case Snapshot():
            streams = [plain(stream_of(status)) for status in event.streams]
            return {"type": "snapshot", "version": event.version, "streams": streams}
        case StreamChanged():
            return {
                "type": "stream",
                "version": event.version,
                "username": event.username,
                "stream": plain(stream_of(event.stream)),
            }
        case FriendsChanged():
            return {"type": "friends"}
        case RecordingChanged():
            recording = plain(recording_of(event.recording))
            return {"type": "recording", "recording": recording, "removed": event.removed}
        case Control():
            return {
                "type": "control",
                "action": event.action,
                "stream_id": event.stream_id,
                "session": event.session,
            }


def _read(text: str) -> dict[str, Any] | None:
    if len(text) > MAX_MESSAGE_CHARS:
        return None
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
