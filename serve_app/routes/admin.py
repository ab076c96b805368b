"""What administrators may: see streams and accounts, end, disable and delete. Not: listen."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from recordings.index import Reason
from recordings.retention import delete_now
from serve_app import security
from serve_app.accounts import AccountInfo
from serve_app.callers import Caller
from serve_app.errors import NoSuchStream, NotAnAdmin
from serve_app.friends import NoSuchUser, NotWithOneself
from serve_app.routes.recordings import RecordingId, find_recording
from serve_app.schemas import Account, AccountChange, Stream, rfc3339, stream_of
from serve_app.services import Services, Use


async def _admin(caller: Caller, use: Use) -> str:
    if caller not in use.settings.admins:
        raise NotAnAdmin("Only administrators can do this.")
    return caller


Admin = Annotated[str, Depends(_admin)]
Name = Annotated[str, Path(max_length=64)]

router = APIRouter(prefix="/api/admin", tags=["admin"], dependencies=[Depends(_admin)])
"""Whatever is changed here stands in the security log, with the administrator's name."""


@router.get("/streams")
async def streams(use: Use) -> list[Stream]:
    """List everybody's streams."""
    return [s for status in await use.streams.all() if (s := stream_of(status))]


@router.delete("/streams/{name}", status_code=204)
async def end_stream(name: Name, admin: Admin, use: Use) -> None:
    """End somebody's stream; they may start another one unless their account is disabled."""
    if await use.streams.status(name) is None:
        raise NoSuchStream(f"{name} has no stream.")
    security.note("stream ended by an administrator", name, admin=admin)
    await asyncio.shield(use.streams.stop(name, None, reason="an administrator ended it"))


@router.get("/accounts")
async def accounts(use: Use) -> list[Account]:
    """List all accounts, by name."""
    return [await _described(each, use) for each in await use.accounts.all()]


@router.put("/accounts/{name}")
async def change_account(name: Name, body: AccountChange, admin: Admin, use: Use) -> Account:
    """Disable an account, which ends its sign-ins and its stream, or enable it again."""
    if name == admin:
        raise NotWithOneself("You cannot disable your own account.")
    await asyncio.shield(_disable(name, body.disabled, use))
    change = "disabled" if body.disabled else "enabled"
    security.note(f"account {change} by an administrator", name, admin=admin)
    for each in await use.accounts.all():
        if each.username == name:
            return await _described(each, use)
    raise NoSuchUser(name)


@router.delete("/recordings/{recording_id}", status_code=204)
async def delete(recording_id: RecordingId, admin: Admin, use: Use) -> None:
    """Delete anybody's recording for good."""
    kept = await find_recording(recording_id, use)
    security.note(
        "recording deleted by an administrator", kept.username, admin=admin, recording=kept.id
    )
    await asyncio.shield(delete_now(kept, Reason.ADMIN, index=use.index, store=use.store))


async def _disable(name: str, disabled: bool, use: Services) -> None:
    await use.accounts.disable(name, disabled)
    if disabled:
        await use.streams.stop(name, None, reason="an administrator disabled the account")


async def _described(info: AccountInfo, use: Services) -> Account:
    return Account(
        username=info.username,
        created_at=None if info.created_at is None else rfc3339(info.created_at),
        last_used_at=None if info.last_used_at is None else rfc3339(info.last_used_at),
        disabled=info.disabled,
        admin=info.username in use.settings.admins,
        used_bytes=await use.index.used_bytes(info.username),
    )
