"""Accounts, sign-ins, friends."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from serve_app.addresses import client_of
from serve_app.callers import COOKIE, Caller, Signed
from serve_app.deletion import delete_account as delete_for_good
from serve_app.errors import NameReserved, SignUpClosed
from serve_app.friends import NoSuchUser
from serve_app.schemas import (
    Created,
    Friend,
    Friends,
    FriendState,
    Me,
    NewAccount,
    SignedIn,
    SignIn,
    SignUp,
    Storage,
    User,
    rfc3339,
    stream_of,
)
from serve_app.services import Use
from serve_app.sign_ins import TTL_S

router = APIRouter(prefix="/api", tags=["people"])

Name = Annotated[str, Path(max_length=64)]


@router.get("/sign-up")
async def sign_up(use: Use) -> SignUp:
    """Say who may create an account, for the page that asks."""
    return SignUp(sign_up=use.settings.sign_up)


@router.post("/accounts", status_code=201)
async def create_account(body: NewAccount, request: Request, use: Use) -> Created:
    """Create an account, where that is allowed."""
    await use.rates.count("accounts", _client(request, use))
    invitation = await _needed_invitation(body, use)
    await use.accounts.create(body.username, body.password, invitation=invitation)
    return Created(username=body.username)


@router.post("/session")
async def sign_in(body: SignIn, request: Request, response: Response, use: Use) -> SignedIn:
    """Sign in: returns a token, and sets it as a cookie for our pages."""
    who = (body.username, _client(request, use))
    # Count before checking the password, or parallel guesses would all be checked.
    await use.rates.count("sign_ins", *who)
    text, token = await use.accounts.sign_in(
        body.username,
        body.password,
        address=who[1],
        user_agent=request.headers.get("user-agent", ""),
    )
    await use.rates.forget("sign_ins", *who)
    response.set_cookie(
        COOKIE,
        text,
        max_age=TTL_S,
        httponly=True,
        samesite="strict",
        secure=use.settings.https,
    )
    return SignedIn(username=token.username, token=text, expires_at=rfc3339(token.expires_at))


@router.delete("/session", status_code=204)
async def sign_out(token: Signed, response: Response, use: Use) -> None:
    """Revoke the caller's token."""
    await use.accounts.end_sign_in(token.username, token.token_id, "You signed out.")
    response.delete_cookie(COOKIE)


@router.get("/me")
async def me(caller: Caller, use: Use) -> Me:
    """Get the caller, their stream and their storage."""
    status = await use.streams.status(caller)
    return Me(
        username=caller,
        stream=stream_of(status),
        session=status.session if status else None,
        storage=Storage(
            used_bytes=await use.index.used_bytes(caller),
            limit_bytes=use.settings.quota.max_user_bytes,
        ),
        admin=caller in use.settings.admins,
    )


@router.delete("/me", status_code=204)
async def delete_account(caller: Caller, response: Response, use: Use) -> None:
    """Delete the account and everything in it, even if the client does not wait."""
    deletion = delete_for_good(
        caller,
        end_stream=lambda: use.streams.stop(caller, None),
        accounts=use.accounts,
        index=use.index,
        store=use.store,
    )
    await asyncio.shield(deletion)
    response.delete_cookie(COOKIE)


@router.get("/friends")
async def friends(caller: Caller, use: Use) -> Friends:
    """List friends with their streams, and pending requests."""
    lists = await use.accounts.lists(caller)
    live = {status.username: status for status in await use.streams.statuses(lists.friends)}
    return Friends(
        friends=[Friend(username=n, stream=stream_of(live.get(n))) for n in lists.friends],
        incoming=lists.incoming,
        outgoing=lists.outgoing,
    )


@router.put("/friends/{name}")
async def befriend(name: Name, caller: Caller, use: Use) -> FriendState:
    """Send a friend request, or accept one."""
    state = await use.accounts.befriend(caller, name)
    return FriendState.model_validate({"state": state})


@router.delete("/friends/{name}", status_code=204)
async def unfriend(name: Name, caller: Caller, use: Use) -> None:
    """End a friendship, decline a request or withdraw one."""
    await use.accounts.unfriend(caller, name)


@router.get("/users/{name}")
async def user(name: Name, caller: Caller, use: Use) -> User:
    """Describe a user, as far as the caller may see them."""
    if not await use.accounts.exists(name):
        raise NoSuchUser(name)
    friend = await use.accounts.are_friends(caller, name)
    audible = friend or name == caller
    stream = stream_of(await use.streams.status(name)) if audible else None
    return User(username=name, friend=friend, stream=stream)


async def _needed_invitation(body: NewAccount, use: Use) -> str | None:
    """Check that this account may be created, before its password costs anything."""
    if use.settings.sign_up == "closed":
        raise SignUpClosed("Sign-up is closed here. Ask whoever runs this hushcast for an account.")
    if use.settings.sign_up == "invite":
        await use.invitations.check(body.invite)
    if body.username in use.settings.admins:
        raise NameReserved(f"The username {body.username} is reserved. Please choose another.")
    return body.invite if use.settings.sign_up == "invite" else None


def _client(request: Request, use: Use) -> str:
    """Name the client for rate limits. A public URL implies a proxy."""
    return client_of(request, behind_proxy=use.settings.public_url is not None)
