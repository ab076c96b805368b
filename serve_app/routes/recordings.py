"""Recordings: list, play, download, delete."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import RedirectResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from recordings.index import Recording as KeptRecording
from recordings.index import RecordingState
from recordings.names import check_recording_id
from recordings.store import StoredBody
from serve_app.callers import Caller, Hearer
from serve_app.deletion import delete_recording as delete_for_good
from serve_app.errors import NoSuchRecording, NotAFriend, NotStoredYet, NotYours
from serve_app.friends import NoSuchUser
from serve_app.links import Link
from serve_app.methods import HEAD
from serve_app.schemas import Recording, recording_of
from serve_app.services import Use

router = APIRouter(prefix="/api", tags=["recordings"])

PRESIGNED_S = 3600
RecordingId = Annotated[str, Path(max_length=64)]


@router.get("/users/{name}/recordings")
async def list_recordings(
    name: Annotated[str, Path(max_length=64)],
    caller: Hearer,
    use: Use,
    before: Annotated[str | None, Query(pattern="^[0-9a-z]{26}$")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[Recording]:
    """List somebody's recordings, newest first."""
    if not await _may_hear(caller, name, use):
        if isinstance(caller, Link):
            raise NotAFriend("This link does not include recordings.")
        await use.rates.count("look_ups", caller)
        if not await use.accounts.exists(name):
            raise NoSuchUser(name)
        raise NotAFriend(f"Only friends of {name} can see their recordings.")
    return [recording_of(kept) for kept in await use.index.list(name, before, limit)]


@router.get("/recordings/{recording_id}")
async def get_recording(recording_id: RecordingId, caller: Hearer, use: Use) -> Recording:
    """Describe a recording."""
    return recording_of(await _audible(recording_id, caller, use))


@router.get("/recordings/{recording_id}/audio")
async def audio(
    request: Request, recording_id: RecordingId, caller: Hearer, use: Use, download: bool = False
) -> Response:
    """Play or download a recording: from the store if browsers can reach it, else relayed."""
    kept = await _audible(recording_id, caller, use)
    if kept.state in (RecordingState.RECORDING, RecordingState.STORING):
        raise NotStoredYet("This recording is not stored yet. Please try again in a moment.")
    name = _file_name(kept) if download else None
    if use.store.browsers_reach_it:
        # In a thread: boto3 may ask for credentials first.
        url = await asyncio.to_thread(
            use.store.presign, kept.key, download_name=name, expires_s=PRESIGNED_S
        )
        return RedirectResponse(url, 307)
    stored = await run_in_threadpool(use.store.open, kept.key, request.headers.get("range"))
    disposition = f'attachment; filename="{name}"' if name else "inline"
    return StoredResponse(stored, {**stored.headers, "Content-Disposition": disposition})


@router.delete("/recordings/{recording_id}", status_code=204)
async def delete_recording(recording_id: RecordingId, caller: Caller, use: Use) -> None:
    """Delete one of the caller's own recordings for good."""
    kept = await _audible(recording_id, caller, use)
    if kept.username != caller:
        raise NotYours("Only the owner can delete a recording.")
    await asyncio.shield(delete_for_good(kept, index=use.index, store=use.store))


class StoredResponse(StreamingResponse):
    """Sends an object's bytes, and releases its connection even if the client has gone."""

    def __init__(self, stored: StoredBody, headers: dict[str, str]) -> None:
        super().__init__(stored, stored.status, headers)
        self._stored = stored

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the whole response, or its headers alone."""
        if HEAD in scope:
            self.body_iterator = iterate_in_threadpool(())
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stored.close()


async def find_recording(recording_id: str, use: Use) -> KeptRecording:
    """Get a recording, whoever asks. Raises NoSuchRecording."""
    try:
        kept = await use.index.get(check_recording_id(recording_id))
    except ValueError:
        kept = None
    if kept is None:
        raise NoSuchRecording
    return kept


async def _audible(recording_id: str, caller: str | Link, use: Use) -> KeptRecording:
    """Get a recording that the caller may hear; to a stranger it does not exist."""
    kept = await find_recording(recording_id, use)
    if not await _may_hear(caller, kept.username, use):
        raise NoSuchRecording
    return kept


async def _may_hear(caller: str | Link, username: str, use: Use) -> bool:
    if isinstance(caller, Link):
        return caller.recordings and caller.owner == username
    return caller == username or await use.accounts.are_friends(caller, username)


def _file_name(kept: KeptRecording) -> str:
    """Name a download, without leading dashes or underscores, which trip up shells and tools."""
    moment = datetime.fromtimestamp(kept.started_at, UTC)
    return f"{kept.username.lstrip('_-') or 'recording'} {moment:%Y-%m-%d %H.%M.%S}.wav"
