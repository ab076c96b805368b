"""Copies of accounts in the bucket, from which an operator restores them after a loss of Redis.

Without them recordings would be left that belong to accounts which are no more. A copy has the name
and the id, and all of the account, its password's hash too, encrypted under HUSHCAST_SECRET_KEY.
So nobody who reads the bucket alone can try passwords, and a restored account belongs to the person
who knows its password. If that key is lost too, accounts come back without a password at most, and
`hushcast accounts reset-password` makes another.

`hushcast:accounts:uncopied` is a hash, id -> name, of accounts that have changed or gone. Only what
stands there is copied or deleted, so an empty Redis takes nothing from the bucket.
"""

import asyncio
import base64
import hashlib
import json
import logging
from dataclasses import dataclass
from enum import StrEnum

from cryptography.fernet import Fernet, InvalidToken

from foundation.lease import Lease, this_process
from foundation.redis import RedisClient, RedisUnavailable
from recordings.index import account_key
from recordings.names import check_username
from recordings.store import RecordingStore, StoreUnavailable

log = logging.getLogger(__name__)

UNCOPIED = "hushcast:accounts:uncopied"
INTERVAL_S = 2.0
RETRY_S = 30.0
AT_ONCE = 100
LEASE_KEY = "hushcast:lease:turn:account-copies"
LEASE_TTL_S = 30

# KEYS: account, the uncopied. ARGV: the account as it was copied, its id.
_DONE = """
if (redis.call('GET', KEYS[1]) or '') == ARGV[1] then redis.call('HDEL', KEYS[2], ARGV[2]) end
"""


class Result(StrEnum):
    """What became of a copy when accounts were restored."""

    RESTORED = "restored"
    WITHOUT_PASSWORD = "restored without its password"
    OTHER_KEY = "not restored: HUSHCAST_SECRET_KEY is another one now"
    HERE = "is here"
    TAKEN = "not restored: another account has its name"
    UNREADABLE = "not restored: its copy is damaged"


@dataclass(frozen=True)
class Copy:
    """A copy as it was read: `username` is empty if it is damaged.

    `document` is the account as Redis keeps it, None if another key has encrypted it.
    """

    account: str
    username: str
    created_at: float
    document: str | None


class AccountCopies:
    """Keeps the copies true, and restores from them. Raises RedisUnavailable, StoreUnavailable."""

    def __init__(self, redis: RedisClient, store: RecordingStore, secret_key: str) -> None:
        self._redis = redis
        self._objects = store.accounts
        digest = hashlib.sha256(f"hushcast account copies\n{secret_key}".encode()).digest()
        self._cipher = Fernet(base64.urlsafe_b64encode(digest))
        self._done = redis.register_script(_DONE)

    async def run(self) -> None:
        """Copy what changes, until cancelled; at first, what was never copied.

        Every ingress replica does this, in turns.
        """
        complete, pause_s = False, INTERVAL_S
        while True:
            try:
                if not complete or await self._redis.hlen(UNCOPIED):
                    complete = await self._take_turn(complete)
                pause_s = INTERVAL_S
            except (RedisUnavailable, StoreUnavailable) as error:
                log.warning("accounts are not copied, retrying: %s", error)
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def _take_turn(self, complete: bool) -> bool:
        """Copy what is to be copied, if it is our turn; returns whether nothing is missing."""
        lease = Lease(self._redis, LEASE_KEY, holder=this_process(), ttl_s=LEASE_TTL_S)
        if not await lease.hold():
            return complete
        async with lease.kept():
            if not complete:
                await self.note_missing()
            while await self.copy_some():
                pass
        return True

    async def note_missing(self) -> None:
        """Have all accounts copied that the bucket does not have."""
        there = set(await asyncio.to_thread(lambda: list(self._objects.ids())))
        prefix = account_key("")
        async for key in self._redis.scan_iter(f"{prefix}*", 500):
            account = json.loads(await self._redis.get(key) or "{}").get("id")
            if account is not None and account not in there:
                await self._redis.hset(UNCOPIED, account, str(key).removeprefix(prefix))

    async def copy_some(self) -> bool:
        """Copy some accounts that have changed; returns whether there may be more."""
        changed = await self._redis.hgetall(UNCOPIED)
        for account, username in list(changed.items())[:AT_ONCE]:
            key = account_key(str(username))
            text = await self._redis.get(key)
            if text is not None and json.loads(text).get("id") == account:
                body = self._seal(str(username), str(text))
                await asyncio.to_thread(self._objects.put, str(account), body)
            else:
                await asyncio.to_thread(self._objects.delete, str(account))
            await self._done(keys=[key, UNCOPIED], args=[text or "", account])
        return len(changed) > AT_ONCE

    async def restore(self, *, without_passwords: bool = False) -> list[tuple[Copy, Result]]:
        """Make the accounts again that are in the bucket but not here, of each name the newest.

        Those whose copy another key has encrypted only `without_passwords`.
        """
        ids = await asyncio.to_thread(lambda: list(self._objects.ids()))
        copies = [copy for each in ids if (copy := await self._read(each))]
        copies.sort(key=lambda copy: copy.created_at, reverse=True)
        return [(copy, await self._restore(copy, without_passwords)) for copy in copies]

    async def _restore(self, copy: Copy, without_passwords: bool) -> Result:
        if not copy.username:
            return Result.UNREADABLE
        known = await self._redis.get(account_key(copy.username))
        if known is not None:
            same = json.loads(known).get("id") == copy.account
            return Result.HERE if same else Result.TAKEN
        if copy.document is None and not without_passwords:
            return Result.OTHER_KEY
        bare = {"id": copy.account, "created_at": copy.created_at, "password": None}
        text = copy.document or json.dumps(bare)
        if not await self._redis.set(account_key(copy.username), text, nx=True):
            return Result.TAKEN
        return Result.RESTORED if copy.document else Result.WITHOUT_PASSWORD

    async def _read(self, account: str) -> Copy | None:
        body = await asyncio.to_thread(self._objects.get, account)
        return None if body is None else self._open(account, body)

    def _seal(self, username: str, document: str) -> bytes:
        account = json.loads(document)
        told = {"username": username, "created_at": account.get("created_at") or 0.0}
        sealed = self._cipher.encrypt(json.dumps([username, document]).encode())
        return json.dumps(told | {"sealed": sealed.decode()}).encode()

    def _open(self, account: str, body: bytes) -> Copy:
        try:
            told = json.loads(body)
            name, created_at = check_username(told["username"]), float(told["created_at"])
            sealed = str(told["sealed"])
        except (ValueError, KeyError, TypeError):
            return Copy(account, "", 0.0, None)
        try:
            username, document = json.loads(self._cipher.decrypt(sealed))
        except InvalidToken:
            return Copy(account, name, created_at, None)
        if (username, json.loads(document)["id"]) != (name, account):  # a copy under another name
            return Copy(account, "", 0.0, None)
        return Copy(account, name, created_at, document)
