"""Recordings: list, play, download, name, delete and restore."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import RedirectResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from recordings.index import Reason
from recordings.index import Recording as KeptRecording
from recordings.multipart import AUDIO
from recordings.names import (
    MEDIA_TYPES,
    Copy,
    attachment,
    check_recording_id,
    copy_key,
    file_name,
)
from recordings.peaks import MAX_PEAKS
from recordings.recording import STORED
from recordings.store import ObjectMissing, StoredBody
from serve_app.callers import Caller, Hearer, session_owner
from serve_app.errors import NoSuchRecording, NotAFriend, NotStoredYet, NotYours
from serve_app.friends import NoSuchUser
from serve_app.links import Link
from serve_app.methods import HEAD
from serve_app.rates import TooOften
from serve_app.schemas import Recording, RecordingTitle, recording_of
from serve_app.services import Use

router = APIRouter(prefix="/api", tags=["recordings"])

PRESIGNED_S = 3600
Format = Literal["wav", "flac", "small"]
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
    """Describe a recording, with all its peaks."""
    return recording_of(await _audible(recording_id, caller, use), MAX_PEAKS)


@router.patch("/recordings/{recording_id}")
async def change_recording(
    recording_id: RecordingId, body: RecordingTitle, caller: Caller, use: Use
) -> Recording:
    """Name one of the caller's own recordings; an empty title takes its name away."""
    await use.rates.count("changes", caller)
    kept = await _own(recording_id, caller, use, "Only the owner can name a recording.")
    changed = await use.index.change(kept, title=body.title)
    if changed is None:
        raise NoSuchRecording
    if changed.state in STORED:  # from where it comes back if Redis loses everything
        beside = changed.peaks, changed.title, changed.account
        await run_in_threadpool(use.store.put_peaks, changed.key, *beside)
    return recording_of(changed, MAX_PEAKS)


@router.get("/recordings/{recording_id}/audio")
async def audio(
    request: Request,
    recording_id: RecordingId,
    caller: Hearer,
    use: Use,
    download: bool = False,
    format: Format = "wav",
) -> Response:
    """Play or download a recording: from the store if browsers can reach it, else relayed."""
    kept = await _audible(recording_id, caller, use)
    if kept.state not in STORED:
        raise NotStoredYet("This recording is not stored yet. Please try again in a moment.")
    copy = None if format == "wav" else Copy(format)
    if copy is not None and copy not in kept.copies:
        raise await _in_the_making(kept, copy, caller, use)
    key = copy_key(kept.key, copy) if copy else kept.key
    name = file_name(kept.username, kept.started_at, kept.title, copy) if download else None
    if use.store.browsers_reach_it:
        media_type = MEDIA_TYPES[copy] if copy else AUDIO
        # In a thread: boto3 may ask for credentials first.
        url = await asyncio.to_thread(
            lambda: use.store.presign(
                key, download_name=name, expires_s=PRESIGNED_S, media_type=media_type
            )
        )
        return RedirectResponse(url, 307)
    try:
        asked = [request.headers.get(name) for name in ("range", "if-range")]
        stored = await run_in_threadpool(use.store.open, key, *asked)
    except ObjectMissing:
        if copy is None:
            raise
        await use.index.change(kept, copies=tuple(each for each in kept.copies if each != copy))
        raise await _in_the_making(kept, copy, caller, use) from None
    disposition = attachment(name) if name else "inline"
    return StoredResponse(stored, {**stored.headers, "Content-Disposition": disposition})


async def _in_the_making(
    kept: KeptRecording, copy: Copy, caller: str | Link, use: Use
) -> NotStoredYet:
    """Have a copy made, unless it already is."""
    if await use.index.copies.want(kept.id, copy):
        try:
            await use.rates.count("copies", session_owner(caller))
        except TooOften:
            await use.index.copies.forget(kept.id, copy)
            raise
    return NotStoredYet("This format is being made. Please try again in a moment.")


@router.delete("/recordings/{recording_id}", status_code=204)
async def delete_recording(recording_id: RecordingId, caller: Caller, use: Use) -> None:
    """Delete one of the caller's own recordings: at once for everybody, for good a little later."""
    kept = await _own(recording_id, caller, use, "Only the owner can delete a recording.")
    await use.index.delete(kept, Reason.OWNER)


@router.post("/recordings/{recording_id}/restore")
async def restore_recording(recording_id: RecordingId, caller: Caller, use: Use) -> Recording:
    """Take back the deletion of one of the caller's own recordings, while that is possible."""
    try:
        deleted = await use.index.get_deleted(check_recording_id(recording_id))
    except ValueError:
        deleted = None
    if deleted is None or not await _may_hear(caller, deleted.username, use):
        raise NoSuchRecording
    if not await use.index.belongs(deleted):
        raise NoSuchRecording
    if deleted.username != caller:
        raise NotYours("Only the owner can restore a recording.")
    restored = await use.index.restore(deleted)
    if restored is None:
        raise NoSuchRecording
    return recording_of(restored, MAX_PEAKS)


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
    if not await _may_hear(caller, kept.username, use) or not await use.index.belongs(kept):
        raise NoSuchRecording
    return kept


async def _own(recording_id: str, caller: str, use: Use, refusal: str) -> KeptRecording:
    """Get one of the caller's own recordings. Raises NoSuchRecording, or NotYours."""
    kept = await _audible(recording_id, caller, use)
    if kept.username != caller:
        raise NotYours(refusal)
    return kept


async def _may_hear(caller: str | Link, username: str, use: Use) -> bool:
    if isinstance(caller, Link):
        return caller.recordings and caller.owner == username
    return caller == username or await use.accounts.are_friends(caller, username)
