"""Accounts: what a person has here, and how they prove that it is theirs.

`hushcast:account:NAME` is JSON with the password's argon2 hash and an id that a later account of
the same name does not share.
"""

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from actors.access import AccessEnded, tell
from foundation.redis import RedisClient
from recordings.index import account_key
from serve_app import passwords, security
from serve_app.account_copies import UNCOPIED
from serve_app.friend_scripts import LEAVE
from serve_app.friends import AccountError, Friends, NoSuchUser
from serve_app.invitations import REFUSED, InvitationRefused, invitation_key
from serve_app.links import END_ALL, Links, links_key
from serve_app.passwords import Hasher
from serve_app.sign_ins import (
    LAST_USED,
    TTL_S,
    InvalidToken,
    SignIn,
    SignIns,
    index_key,
)

READ_AT_ONCE = 500


class UsernameTaken(AccountError):
    """The username is taken."""


class WrongCredentials(AccountError):
    """The username and password do not match, or the token is not valid."""


class WrongPassword(AccountError):
    """Somebody who is signed in does not know the password."""

    def __init__(self) -> None:
        super().__init__("Wrong password.")


class AccountDisabled(AccountError):
    """An administrator has disabled the account."""

    def __init__(self) -> None:
        super().__init__("This account is disabled. Please ask whoever runs this site.")


class NoSuchSignIn(AccountError):
    """The user has no such sign-in."""

    def __init__(self) -> None:
        super().__init__("There is no such sign-in.")


@dataclass(frozen=True)
class Token:
    """A verified sign-in. It expires at `expires_at` (seconds since the epoch) if unused."""

    username: str
    token_id: str
    expires_at: int


@dataclass(frozen=True)
class AccountInfo:
    """What operators see of an account. Times are seconds since the epoch, None: before 0.3."""

    username: str
    created_at: float | None
    disabled: bool
    last_used_at: float | None


Document = dict[str, Any]
"""An account as it is kept: `password`, `id`, `created_at`, and `disabled` where that is so."""

# KEYS: account, the uncopied (see account_copies.py), and the invitation if one is needed. ARGV:
# document, id, name. In one script, so that neither a taken name uses an invitation up nor two
# people use the same one.
_CREATE = """
if KEYS[3] and redis.call('EXISTS', KEYS[3]) == 0 then return 'refused' end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX') then return 'taken' end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
if KEYS[3] and redis.call('DECR', KEYS[3]) == 0 then redis.call('DEL', KEYS[3]) end
return 'created'
"""

# KEYS: account, the uncopied. ARGV: the document as it was, as it is, name.
_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], cjson.decode(ARGV[2]).id, ARGV[3])
return 1
"""

# KEYS: account, index of sign-ins, last-used, index of links, the uncopied. ARGV[1]: the name.
# Returns whose lists changed, and the links that ended.
_DELETE = (
    LEAVE
    + END_ALL
    + """
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  redis.call('DEL', 'hushcast:sign-in:' .. id)
end
local account = redis.call('GET', KEYS[1])
local id = account and cjson.decode(account).id
if id then redis.call('HSET', KEYS[5], id, ARGV[1]) end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HDEL', KEYS[3], ARGV[1])
return {leave(ARGV[1]), end_links(KEYS[4])}
"""
)


class Accounts(Friends):
    """Stores accounts, sign-ins and friendships. Raises AccountError or RedisUnavailable.

    Whatever takes access back is told to everybody (see `actors/access.py`).
    """

    def __init__(self, redis: RedisClient, secret_key: str) -> None:
        super().__init__(redis)
        self._hasher = Hasher()
        self._sign_ins = SignIns(redis, secret_key)
        self.links = Links(redis)
        self._create = redis.register_script(_CREATE)
        self._replace = redis.register_script(_REPLACE)
        self._delete = redis.register_script(_DELETE)

    async def create(self, username: str, password: str, *, invitation: str | None = None) -> None:
        """Create an account, with an invitation if one is needed, which is used up only then.

        Raises UsernameTaken, InvitationRefused, UnfitPassword or TooManyPasswords.
        """
        passwords.check_new(username, password)
        document = {
            "password": await self._hasher.hash(password),
            "id": secrets.token_hex(8),
            "created_at": time.time(),
        }
        keys = [account_key(username), UNCOPIED]
        keys += [invitation_key(invitation)] if invitation else []
        args = [json.dumps(document), str(document["id"]), username]
        result = str(await self._create(keys=keys, args=args))
        if result == "refused":
            raise InvitationRefused(REFUSED)
        if result == "taken":
            raise UsernameTaken(f"The name {username} is taken. Please choose another.")
        security.note("account created", username)

    async def exists(self, username: str) -> bool:
        """Tell whether a user has this name."""
        return bool(await self._redis.exists(account_key(username)))

    async def all(self) -> list[AccountInfo]:
        """List every account, sorted by name."""
        prefix = account_key("")
        keys = sorted({key async for key in self._redis.scan_iter(f"{prefix}*", READ_AT_ONCE)})
        used = await self._redis.hgetall(LAST_USED)
        found = []
        for first in range(0, len(keys), READ_AT_ONCE):
            some = keys[first : first + READ_AT_ONCE]
            for key, text in zip(some, await self._redis.mget(some), strict=True):
                name = key.removeprefix(prefix)
                last = float(used[name]) if name in used else None
                if text is not None:
                    account = json.loads(text)
                    disabled = bool(account.get("disabled"))
                    found.append(AccountInfo(name, account.get("created_at"), disabled, last))
        return found

    async def sign_in(
        self, username: str, password: str, *, address: str = "", user_agent: str = ""
    ) -> tuple[str, Token]:
        """Check a password and issue a token.

        Raises WrongCredentials, AccountDisabled or TooManyPasswords; for an unknown name that takes
        as long as for a wrong password.
        """
        document = await self._redis.get(account_key(username))
        account: Document = {} if document is None else json.loads(document)
        if not await self._hasher.verify(password, account.get("password")):
            if account:  # otherwise it may be a password, in the wrong field
                security.note("sign-in failed", username)
            raise WrongCredentials("Wrong name or password.")
        if account.get("disabled"):
            security.note("sign-in refused, the account is disabled", username)
            raise AccountDisabled
        opened = await self._sign_ins.open(
            username, str(document), account["id"], address, user_agent
        )
        if opened is None:  # the account changed while we looked at the password
            raise WrongCredentials("Wrong name or password.")
        text, made, ended = opened
        security.note("signed in", username, sign_in=made.id)
        for id in ended:
            reason = "You signed in at too many places. This was the longest unused one."
            await self._tell_end(username, id, reason)
        return text, _token(made)

    async def verify(self, text: str) -> Token:
        """Check that a token is ours, that its sign-in has not ended, and its account exists.

        Raises WrongCredentials.
        """
        try:
            sign_in, document = await self._sign_ins.read(text)
        except InvalidToken as error:
            raise WrongCredentials("Please sign in again.") from error
        account: Document = {} if document is None else json.loads(document)
        if account.get("id") != sign_in.account or account.get("disabled"):
            raise WrongCredentials("Please sign in again.")
        return _token(sign_in)

    async def sign_ins(self, username: str) -> list[SignIn]:
        """List a user's sign-ins, the last used first."""
        return await self._sign_ins.of_user(username)

    async def end_sign_in(self, username: str, id: str, reason: str) -> None:
        """End a sign-in at once, and what rests on it; `reason` is for the user. NoSuchSignIn."""
        if not await self._sign_ins.end(username, id):
            raise NoSuchSignIn
        await self._tell_end(username, id, reason)

    async def end_sign_ins(self, username: str, reason: str, *, kept: str | None = None) -> None:
        """End all sign-ins of a user but `kept`, and what rests on them."""
        count = await self._sign_ins.end_all(username, kept)
        security.note("sign-ins ended", username, count=count, kept=kept)
        await tell(self._redis, AccessEnded(username, reason, kept=kept))

    async def check_password(self, username: str, password: str) -> str:
        """Raise WrongPassword unless it is this user's password; or TooManyPasswords.

        Returns the account's document, for `set_password`.
        """
        text = await self._redis.get(account_key(username))
        hashed = None if text is None else json.loads(text)["password"]
        if text is None or not await self._hasher.verify(password, hashed):
            raise _wrong(username)
        return str(text)

    async def set_password(
        self, username: str, new: str, *, checked: str | None = None, kept: str | None = None
    ) -> None:
        """Change a user's password and end all sign-ins but `kept`.

        `checked` is the document in which the present password was checked: if it has changed, so
        may the password have. Raises WrongPassword then; NoSuchUser, UnfitPassword or
        TooManyPasswords.
        """
        passwords.check_new(username, new)
        hashed = await self._hasher.hash(new)
        if checked is None:
            await self._change(username, password=hashed)
        elif not await self._replaced(username, checked, {"password": hashed}):
            raise _wrong(username)
        security.note("password changed", username)
        await self.end_sign_ins(username, "Your password was changed.", kept=kept)

    async def disable(self, username: str, disabled: bool) -> None:
        """Let an account sign in no more, and end its sign-ins; or let it again. NoSuchUser."""
        await self._change(username, disabled=disabled)
        security.note("account disabled" if disabled else "account enabled", username)
        if disabled:
            await self.links.end_all(username)
            await self.end_sign_ins(username, "This account was disabled.")

    async def block(self, username: str, other: str) -> bool:
        """Block somebody; the user's links end too, for the other may have one."""
        new = await super().block(username, other)
        if new:
            await self.links.end_all(username)
        return new

    async def delete(self, username: str) -> None:
        """Delete an account, with all that it has here; its tokens stop working at once."""
        keys = [account_key(username), index_key(username), LAST_USED, links_key(username)]
        keys.append(UNCOPIED)
        others, links = await self._delete(keys=keys, args=[username])
        security.note("account deleted", username)
        await self.links.tell_ended(username, map(str, links))
        await tell(self._redis, AccessEnded(username, "This account was deleted."))
        if others:
            await self._publish(*map(str, others))

    async def _tell_end(self, username: str, id: str, reason: str) -> None:
        security.note("sign-in ended", username, sign_in=id)
        await tell(self._redis, AccessEnded(username, reason, sign_in=id))

    async def _change(self, username: str, **fields: object) -> None:
        """Change an account's document, whatever else changes it at the same time."""
        while True:
            text = await self._redis.get(account_key(username))
            if text is None:
                raise NoSuchUser(username)
            if await self._replaced(username, str(text), fields):
                return

    async def _replaced(self, username: str, document: str, fields: Document) -> bool:
        """Change an account's document; False if it is no longer as in `document`."""
        changed = json.dumps(json.loads(document) | fields)
        keys = [account_key(username), UNCOPIED]
        return bool(await self._replace(keys=keys, args=[document, changed, username]))


def _wrong(username: str) -> WrongPassword:
    security.note("password wrong", username)
    return WrongPassword()


def _token(sign_in: SignIn) -> Token:
    return Token(sign_in.username, sign_in.id, int(time.time()) + TTL_S)
