"""Accounts, sign-ins, friends, blocks."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from serve_app import passwords
from serve_app.callers import COOKIE, Caller, From, Hearer, Signed
from serve_app.deletion import delete_account as delete_for_good
from serve_app.errors import NameReserved, SignUpClosed
from serve_app.friends import NoSuchUser
from serve_app.guesses import guess
from serve_app.links import Link
from serve_app.schemas import (
    Created,
    Farewell,
    Friend,
    Friends,
    FriendState,
    KnownSignIn,
    Me,
    NewAccount,
    PasswordChange,
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
Id = Annotated[str, Path(max_length=64)]
SIGNED_OUT_ELSEWHERE = "You were signed out from another place."


@router.get("/sign-up")
async def sign_up(use: Use) -> SignUp:
    """Say who may create an account, for the page that asks."""
    return SignUp(sign_up=use.settings.sign_up)


@router.post("/accounts", status_code=201)
async def create_account(body: NewAccount, place: From, use: Use) -> Created:
    """Create an account, where that is allowed."""
    passwords.check_new(body.username, body.password)  # a refusal costs no try
    await use.rates.count("accounts", place.counted)
    if not place.local:
        await use.rates.count("accounts_per_day", place.counted)
    invitation = await _needed_invitation(body, use)
    await use.accounts.create(body.username, body.password, invitation=invitation)
    return Created(username=body.username)


@router.post("/session")
async def sign_in(
    body: SignIn, place: From, request: Request, response: Response, use: Use
) -> SignedIn:
    """Sign in: returns a token, and sets it as a cookie for our pages."""
    async with guess(use, body.username, place):
        text, token = await use.accounts.sign_in(
            body.username,
            body.password,
            address=place.address,
            user_agent=request.headers.get("user-agent", ""),
        )
    _set_cookie(response, text, use)
    return SignedIn(username=token.username, token=text, expires_at=rfc3339(token.expires_at))


@router.delete("/session", status_code=204)
async def sign_out(token: Signed, response: Response, use: Use) -> None:
    """Revoke the caller's token."""
    await use.accounts.end_sign_in(token.username, token.token_id, "You signed out.")
    response.delete_cookie(COOKIE)


@router.get("/me")
async def me(caller: Caller, request: Request, response: Response, use: Use) -> Me:
    """Get the caller, their stream and storage. It renews the cookie of pages."""
    status = await use.streams.status(caller)
    quota, used = use.settings.quota, await use.index.used_bytes(caller)
    if "authorization" not in request.headers:
        _set_cookie(response, request.cookies[COOKIE], use)
    return Me(
        username=caller,
        stream=stream_of(status),
        session=status.session if status else None,
        storage=Storage(
            used_bytes=used, limit_bytes=quota.max_user_bytes, full=quota.reached(used)
        ),
        admin=caller in use.settings.admins,
        models=list(use.settings.all_models),
    )


@router.put("/me/password", status_code=204)
async def change_password(body: PasswordChange, token: Signed, use: Use) -> None:
    """Change the caller's password; every other sign-in ends."""
    checked = await _confirm(token.username, body.current, use)
    await use.accounts.set_password(token.username, body.new, checked=checked, kept=token.token_id)


@router.get("/me/sign-ins")
async def sign_ins(token: Signed, use: Use) -> list[KnownSignIn]:
    """List where the caller is signed in, the last used first."""
    return [
        KnownSignIn(
            id=each.id,
            created_at=rfc3339(each.created_at),
            last_used_at=rfc3339(each.last_used_at),
            current=each.id == token.token_id,
            address=each.address,
            user_agent=each.user_agent,
        )
        for each in await use.accounts.sign_ins(token.username)
    ]


@router.delete("/me/sign-ins", status_code=204)
async def end_other_sign_ins(token: Signed, use: Use) -> None:
    """Sign the caller out everywhere else."""
    await use.accounts.end_sign_ins(token.username, SIGNED_OUT_ELSEWHERE, kept=token.token_id)


@router.delete("/me/sign-ins/{sign_in_id}", status_code=204)
async def end_sign_in(sign_in_id: Id, token: Signed, use: Use) -> None:
    """Sign the caller out in one place."""
    await use.accounts.end_sign_in(token.username, sign_in_id, SIGNED_OUT_ELSEWHERE)


@router.delete("/me", status_code=204)
async def delete_account(body: Farewell, caller: Caller, response: Response, use: Use) -> None:
    """Delete the account and everything in it, even if the client does not wait."""
    await _confirm(caller, body.password, use)
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
    await use.rates.count("friends", caller)
    state = await use.accounts.befriend(caller, name)
    return FriendState.model_validate({"state": state})


@router.delete("/friends/{name}", status_code=204)
async def unfriend(name: Name, caller: Caller, use: Use) -> None:
    """End a friendship, decline a request or withdraw one."""
    await use.rates.count("friends", caller)
    await use.accounts.unfriend(caller, name)


@router.get("/blocks")
async def blocks(caller: Caller, use: Use) -> list[str]:
    """List whom the caller has blocked."""
    return await use.accounts.blocks(caller)


@router.put("/blocks/{name}", status_code=204)
async def block(name: Name, caller: Caller, use: Use) -> None:
    """End what the two have with each other; the other is not told, and cannot ask again."""
    await use.rates.count("friends", caller)
    await use.accounts.block(caller, name)


@router.delete("/blocks/{name}", status_code=204)
async def unblock(name: Name, caller: Caller, use: Use) -> None:
    """Let a user ask again."""
    await use.rates.count("friends", caller)
    if not await use.accounts.exists(name):
        raise NoSuchUser(name)
    await use.accounts.unblock(caller, name)


@router.get("/users/{name}")
async def user(name: Name, caller: Hearer, use: Use) -> User:
    """Describe a user, as far as the caller may see them."""
    if isinstance(caller, Link):
        caller.check(name)
        return User(username=name, friend=False, stream=stream_of(await use.streams.status(name)))
    friend = await use.accounts.are_friends(caller, name)
    audible = friend or name == caller
    if not audible:
        await use.rates.count("look_ups", caller)
    if not await use.accounts.exists(name):
        raise NoSuchUser(name)
    stream = stream_of(await use.streams.status(name)) if audible else None
    return User(username=name, friend=friend, stream=stream)


async def _needed_invitation(body: NewAccount, use: Use) -> str | None:
    """Check that this account may be created, before its password costs anything."""
    if use.settings.sign_up == "closed":
        raise SignUpClosed("Sign-up is closed here. Ask whoever runs this hushcast for an account.")
    if use.settings.sign_up == "invite":
        await use.invitations.check(body.invite)
    if body.username in use.settings.admins:
        raise NameReserved(f"The name {body.username} is reserved. Please choose another.")
    return body.invite if use.settings.sign_up == "invite" else None


async def _confirm(username: str, password: str, use: Use) -> str:
    """Check the password of somebody who is signed in; returns the document it was checked in.

    Raises WrongPassword or TooOften.
    """
    await use.rates.count("passwords", username)
    checked = await use.accounts.check_password(username, password)
    await use.rates.forget("passwords", username)
    return checked


def _set_cookie(response: Response, text: str, use: Use) -> None:
    response.set_cookie(
        COOKIE,
        text,
        max_age=TTL_S,
        httponly=True,
        samesite="strict",
        secure=use.settings.https,
    )
