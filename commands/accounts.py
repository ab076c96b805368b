"""`hushcast accounts`: what whoever runs hushcast does with accounts."""

import argparse
import asyncio
import json
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any

from actors.status import StatusStore
from commands.local.child import StartFailed
from commands.local.data_dir import DataDirRefused, kept_secret
from commands.local.signals import Interrupted, Signals
from commands.local.storage import open_storage
from foundation.redis import RedisClient, RedisUnavailable, answer, connect
from recordings.index import RecordingIndex
from recordings.store import RecordingStore, StoreUnavailable
from serve_app import security
from serve_app.account_copies import AccountCopies, Result
from serve_app.accounts import Accounts
from serve_app.deletion import delete_account
from serve_app.friends import AccountError, NoSuchUser
from serve_app.invitations import DAY_S, Invitations
from serve_app.schemas import rfc3339
from serve_app.security import LogUnwritable, operator
from serve_app.settings import USERNAME, Settings

FOLLOW_LIMIT_S = 3.0
"""How long an actor may take to end a stream whose sign-ins have ended."""
END_LIMIT_S = 10.0
"""The same, for one that has lost the lease. Its status expires after 3 s even if it is dead."""

POLL_S = 0.1

REFUSALS = (
    RedisUnavailable, StoreUnavailable, StartFailed, DataDirRefused, LogUnwritable, AccountError,
)  # fmt: skip
"""What is told in a sentence."""


@dataclass(frozen=True)
class Use:
    """What the actions work with; `print` shows their result, as JSON or as text."""

    settings: Settings
    redis: RedisClient
    accounts: Accounts
    index: RecordingIndex
    print: Callable[[dict[str, Any] | list[dict[str, Any]], str], None]

    @property
    def status(self) -> StatusStore:
        """Who streams."""
        return StatusStore(self.redis)


def run(options: argparse.Namespace, settings: Settings, signals: Signals) -> int:
    """Do one thing with accounts; returns the exit code.

    1 with a sentence if it is refused or the servers cannot be reached, 2 for an impossible name.
    """
    name = getattr(options, "name", None)
    if name is not None and not re.fullmatch(USERNAME, name):
        _refuse("A username has 3 to 32 of the characters a-z, 0-9, _ and -.", options)
        return 2
    try:
        if settings.redis_url is not None:
            signals.run(answer(settings.redis_url))
        objects = options.action in ("delete", "restore")
        with open_storage(settings, signals, objects=objects) as complete:
            with operator(complete.logs):
                signals.run(_act(options, complete))
    except Interrupted:
        return signals.exit_code
    except REFUSALS as error:
        _refuse(str(error), options)
        return 1
    return 0


def _refuse(sentence: str, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps({"detail": sentence}, indent=2))
    else:
        print(sentence, file=sys.stderr)


async def _act(options: argparse.Namespace, settings: Settings) -> None:
    assert settings.redis_url is not None
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect(settings.redis_url))

        def show(told: dict[str, Any] | list[dict[str, Any]], text: str) -> None:
            print(json.dumps(told, indent=2) if options.json else text)

        accounts, index = Accounts(redis, settings.secret_key), RecordingIndex(redis)
        await ACTIONS[options.action](Use(settings, redis, accounts, index, show), options)


async def list_all(use: Use, options: argparse.Namespace) -> None:
    """Print every account."""
    told = []
    for each in await use.accounts.all():
        used_bytes = await use.index.used_bytes(each.username)
        about = {"admin": each.username in use.settings.admins, "used_bytes": used_bytes}
        told.append(asdict(each) | about)
    for row in told:
        for moment in ("created_at", "last_used_at"):
            row[moment] = None if row[moment] is None else rfc3339(row[moment])
    use.print(told, "\n".join(_table(told)))


def _table(told: list[dict[str, Any]]) -> list[str]:
    lines = [f"{'name':32}  {'created':10}  {'last here':10}  {'GB':>6}"]
    for row in told:
        days = [(row[moment] or "-")[:10] for moment in ("created_at", "last_used_at")]
        marks = [mark for mark in ("admin", "disabled") if row[mark]]
        size = f"{row['used_bytes'] / 1e9:6.2f}"
        lines.append("  ".join([f"{row['username']:32}", *(f"{d:10}" for d in days), size, *marks]))
    return lines


async def create(use: Use, options: argparse.Namespace) -> None:
    """Create an account with a password that is printed, whoever may sign up otherwise."""
    password = secrets.token_urlsafe(12)
    await use.accounts.create(options.name, password)
    use.print({"username": options.name, "password": password}, password)


async def invite(use: Use, options: argparse.Namespace) -> None:
    """Print a code with which people sign up, and the address that holds it if it is known."""
    code = await Invitations(use.redis).create(uses=options.uses, days=options.days)
    site = use.settings.public_url
    url = f"{site}/#invite={code}" if site else None
    told = {"code": code, "url": url, "uses": options.uses}
    told["expires_at"] = rfc3339(time.time() + options.days * DAY_S)
    use.print(told, "\n".join(filter(None, (code, url))))


async def reset_password(use: Use, options: argparse.Namespace) -> None:
    """Give an account another password, which is printed; all its sign-ins end."""
    password = secrets.token_urlsafe(12)
    await use.accounts.set_password(options.name, password)
    use.print({"username": options.name, "password": password}, password)


async def disable(use: Use, options: argparse.Namespace) -> None:
    """Let an account sign in no more; its sign-ins and its stream end."""
    await use.accounts.disable(options.name, True)
    await _end_stream(options.name, use, "This account was disabled.")
    use.print({"username": options.name, "disabled": True}, f"{options.name} is disabled.")


async def enable(use: Use, options: argparse.Namespace) -> None:
    """Let a disabled account sign in again."""
    await use.accounts.disable(options.name, False)
    use.print({"username": options.name, "disabled": False}, f"{options.name} is enabled.")


async def delete(use: Use, options: argparse.Namespace) -> None:
    """Delete an account with its recordings."""
    if not await use.accounts.exists(options.name):
        raise NoSuchUser(options.name)
    store = RecordingStore(use.settings.store_config)
    try:
        await delete_account(
            options.name,
            end_stream=lambda: _end_stream(options.name, use, "This account was deleted."),
            accounts=use.accounts,
            index=use.index,
            store=store,
        )
    finally:
        store.close()
    use.print({"username": options.name}, f"{options.name} is deleted.")


async def restore(use: Use, options: argparse.Namespace) -> None:
    """Make the accounts again whose copies are in the bucket; their recordings are theirs again."""
    settings = use.settings
    kept = settings.data_dir / "secret-key"
    secret_key = settings.secret_key or (kept_secret(kept) if kept.exists() else "")
    store = RecordingStore(settings.store_config)
    try:
        copies = AccountCopies(use.redis, store, secret_key)
        found = await copies.restore(without_passwords=options.without_passwords)
    finally:
        store.close()
    told: list[dict[str, Any]] = []
    for copy, result in sorted(found, key=lambda each: each[0].username):
        told.append({"username": copy.username, "id": copy.account, "result": result.value})
        if result in (Result.RESTORED, Result.WITHOUT_PASSWORD):
            security.note("account restored", copy.username)
    lines = [f"{each['username'] or each['id']:32}  {each['result']}" for each in told]
    use.print(told, "\n".join(lines) or "There are no copies of accounts.")


async def _end_stream(username: str, use: Use, why: str) -> None:
    """End a user's stream without asking its actor, which hears that its sign-ins have ended.

    An actor that does not hear it ends the stream when it has lost the lease.
    """
    await use.accounts.end_sign_ins(username, why)
    grant = await use.status.void(username)
    if grant is None or await _ended(username, use.status, FOLLOW_LIMIT_S):
        return
    await use.status.revoke(username, grant)
    await _ended(username, use.status, END_LIMIT_S)


async def _ended(username: str, status: StatusStore, limit_s: float) -> bool:
    for _ in range(round(limit_s / POLL_S)):
        if await status.host_of(username) is None and await status.read(username) is None:
            return True
        await asyncio.sleep(POLL_S)
    return False


ACTIONS: dict[str, Callable[[Use, argparse.Namespace], Awaitable[None]]] = {
    "list": list_all,
    "create": create,
    "invite": invite,
    "reset-password": reset_password,
    "disable": disable,
    "enable": enable,
    "delete": delete,
    "restore": restore,
}
