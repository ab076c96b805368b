"""Live streams: list those the caller may hear, change or stop the caller's own."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from serve_app.callers import Caller
from serve_app.schemas import Listener, Stream, StreamChange, listener_of, stream_of
from serve_app.services import Use

router = APIRouter(prefix="/api", tags=["streams"])


@router.get("/streams")
async def streams(caller: Caller, use: Use) -> list[Stream]:
    """List the streams that the caller may hear, their own first."""
    names = [caller, *sorted(await use.accounts.friends_of(caller))]
    return [s for status in await use.streams.statuses(names) if (s := stream_of(status))]


@router.patch("/stream")
async def change_stream(body: StreamChange, caller: Caller, use: Use) -> Stream | None:
    """Change the caller's live stream."""
    await use.rates.count("changes", caller)
    changes = body.model_dump(exclude_unset=True)
    if "model" in changes:
        use.loaded(changes["model"])
    return stream_of(await use.streams.control(caller, changes))


@router.get("/stream/listeners")
async def listeners(caller: Caller, use: Use) -> list[Listener]:
    """List who listens to the caller's live stream."""
    return [listener_of(each) for each in await use.streams.listeners(caller)]


@router.post("/stream/stop", status_code=204)
async def stop_stream(
    caller: Caller,
    use: Use,
    session: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """End the caller's stream; pages call it by `navigator.sendBeacon`. The body is ignored."""
    await asyncio.shield(use.streams.stop(caller, session))
    return Response(status_code=204)
