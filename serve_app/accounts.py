"""Accounts, sign-ins and friends, in Redis.

`hushcast:account:NAME` is JSON with the password's argon2 hash and an id that a later account
of the same name does not share: tokens carry it, so a deleted account's tokens stop working.
Friends, and requests in either direction, are sets of names; one Lua script changes both sides.
"""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass

import jwt
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from foundation.redis import RedisClient
from serve_app.invitations import REFUSED, InvitationRefused, invitation_key

CHANNEL = "hushcast:friends"
"""Whose lists changed, as JSON `{usernames: [...]}`."""
ENDED_CHANNEL = "hushcast:sign-ins-ended"
"""Sign-ins that ended, as JSON `{username, token_id}`; null: all of that user's."""
MAX_FRIENDS = 1000
"""The most friends and pending requests, incoming and outgoing together, that a user may have."""
TOKEN_TTL_S = 7 * 24 * 3600
ALGORITHM = "HS256"


class AccountError(Exception):
    """Base of this module's errors; `str(error)` is a sentence a person can act on."""


class UsernameTaken(AccountError):
    """The username is taken."""


class NoSuchUser(AccountError):
    """No user has this name."""


class WrongCredentials(AccountError):
    """The username and password do not match, or the token is not valid."""


class NoSuchFriend(AccountError):
    """There is no friendship or request to end."""


class TooManyFriends(AccountError):
    """One of the two users is at the limit of friends and pending requests."""


class NotWithOneself(AccountError):
    """Users cannot befriend themselves."""


@dataclass(frozen=True)
class Token:
    """A verified sign-in. `expires_at` is seconds since the epoch."""

    username: str
    token_id: str
    expires_at: int


@dataclass(frozen=True)
class FriendLists:
    """A user's friends, and their pending requests in both directions."""

    friends: list[str]
    incoming: list[str]
    outgoing: list[str]


# KEYS: account, and the invitation if one is needed. ARGV: document. In one script, so that neither
# a taken name uses an invitation up nor two people use the same one.
_CREATE = """
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 0 then return 'refused' end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX') then return 'taken' end
if KEYS[2] and redis.call('DECR', KEYS[2]) == 0 then redis.call('DEL', KEYS[2]) end
return 'created'
"""

# KEYS: friends, incoming, outgoing of ARGV[1] (who asks), then of ARGV[2], then both accounts.
# Checks the accounts in the same script, so that a deleted account leaves no new request behind.
_REQUEST = """
if redis.call('EXISTS', KEYS[7], KEYS[8]) < 2 then return 'unknown' end
if redis.call('SISMEMBER', KEYS[1], ARGV[2]) == 1 then return 'unchanged' end
local accepts = redis.call('SISMEMBER', KEYS[2], ARGV[2]) == 1
for first = 1, 4, 3 do
  local known = 0
  for i = first, first + 2 do known = known + redis.call('SCARD', KEYS[i]) end
  if known >= tonumber(ARGV[3]) and not accepts then return 'full' end
end
if redis.call('SREM', KEYS[2], ARGV[2]) == 1 then
  redis.call('SREM', KEYS[6], ARGV[1])
  redis.call('SADD', KEYS[1], ARGV[2])
  redis.call('SADD', KEYS[4], ARGV[1])
  return 'friends'
end
redis.call('SADD', KEYS[3], ARGV[2])
redis.call('SADD', KEYS[5], ARGV[1])
return 'requested'
"""

_END = """
local changed = 0
for i = 1, 3 do changed = changed + redis.call('SREM', KEYS[i], ARGV[2]) end
for i = 4, 6 do changed = changed + redis.call('SREM', KEYS[i], ARGV[1]) end
return changed
"""

# KEYS: account, friends, incoming, outgoing of ARGV[1]. Leaves nothing for a later account of the
# same name to inherit; returns the other users affected. It builds the keys of their sets itself,
# so like every script that touches two users it does not work on Redis Cluster.
_DELETE = """
local others = redis.call('SUNION', KEYS[2], KEYS[3], KEYS[4])
for _, other in ipairs(others) do
  for _, kind in ipairs({'friends', 'incoming', 'outgoing'}) do
    redis.call('SREM', 'hushcast:' .. kind .. ':' .. other, ARGV[1])
  end
end
redis.call('DEL', unpack(KEYS))
return others
"""


class Accounts:
    """Stores accounts, sign-ins and friendships. Raises AccountError or RedisUnavailable."""

    def __init__(self, redis: RedisClient, secret_key: str) -> None:
        self._redis = redis
        self._secret_key = secret_key
        self._hasher = PasswordHash((Argon2Hasher(),))
        self._nobody = self._hasher.hash(secrets.token_hex(8))
        self._create = redis.register_script(_CREATE)
        self._request = redis.register_script(_REQUEST)
        self._end = redis.register_script(_END)
        self._delete = redis.register_script(_DELETE)

    async def create(self, username: str, password: str, *, invitation: str | None = None) -> None:
        """Create an account, with an invitation if one is needed, which is used up only then.

        Raises UsernameTaken or InvitationRefused.
        """
        hashed = await asyncio.to_thread(self._hasher.hash, password)
        document = json.dumps({"password": hashed, "id": secrets.token_hex(8)})
        keys = [_account(username), *([invitation_key(invitation)] if invitation else [])]
        result = str(await self._create(keys=keys, args=[document]))
        if result == "refused":
            raise InvitationRefused(REFUSED)
        if result == "taken":
            raise UsernameTaken(f"The username {username} is taken. Please choose another.")

    async def exists(self, username: str) -> bool:
        """Tell whether a user has this name."""
        return bool(await self._redis.exists(_account(username)))

    async def sign_in(self, username: str, password: str) -> tuple[str, Token]:
        """Check a password and issue a token.

        Raises WrongCredentials; for an unknown name that takes as long as for a wrong password.
        """
        account = await self._account(username)
        hashed = account["password"] if account else self._nobody
        right = await asyncio.to_thread(self._hasher.verify, password, hashed)
        if account is None or not right:
            raise WrongCredentials("Wrong username or password.")
        token = Token(username, secrets.token_hex(16), int(time.time()) + TOKEN_TTL_S)
        claims = {
            "sub": username,
            "jti": token.token_id,
            "exp": token.expires_at,
            "account": account["id"],
        }
        return jwt.encode(claims, self._secret_key, ALGORITHM), token

    async def verify(self, text: str) -> Token:
        """Check that a token is ours, not expired, not revoked, and its account still exists.

        Raises WrongCredentials.
        """
        try:
            claims = jwt.decode(
                text,
                self._secret_key,
                [ALGORITHM],
                options={"require": ["sub", "jti", "exp", "account"]},
            )
        except jwt.PyJWTError as error:
            raise WrongCredentials("Please sign in again.") from error
        account = await self._account(str(claims["sub"]))
        revoked = await self._redis.exists(_revoked(claims["jti"]))
        if account is None or account["id"] != claims["account"] or revoked:
            raise WrongCredentials("Please sign in again.")
        return Token(claims["sub"], claims["jti"], int(claims["exp"]))

    async def revoke(self, token: Token) -> None:
        """Revoke a token at once, and close the sockets opened with it."""
        left = max(1, token.expires_at - int(time.time()))
        await self._redis.set(_revoked(token.token_id), "1", ex=left)
        await self._publish_end(token.username, token.token_id)

    async def delete(self, username: str) -> None:
        """Delete an account, its friendships and its requests; its tokens stop working at once."""
        keys = [_account(username), *_lists(username)]
        others = await self._delete(keys=keys, args=[username])
        await self._publish_end(username, None)
        if others:
            await self._publish(*map(str, others))

    async def lists(self, username: str) -> FriendLists:
        """Get a user's friends and requests, sorted by name."""
        pipeline = self._redis.pipeline()
        for key in _lists(username):
            pipeline.smembers(key)
        friends, incoming, outgoing = (
            sorted(map(str, names)) for names in await pipeline.execute()
        )
        return FriendLists(friends, incoming, outgoing)

    async def friends_of(self, username: str) -> set[str]:
        """Get the names of a user's friends."""
        return {str(name) for name in await self._redis.smembers(_lists(username)[0])}

    async def are_friends(self, one: str, other: str) -> bool:
        """Tell whether two people are friends."""
        return bool(await self._redis.sismember(_lists(one)[0], other))

    async def befriend(self, username: str, other: str) -> str:
        """Send a friend request, or accept one; returns `requested` or `friends`.

        Raises NoSuchUser, NotWithOneself or TooManyFriends.
        """
        if username == other:
            raise NotWithOneself("You cannot add yourself as a friend.")
        keys = [*_pair(username, other), _account(username), _account(other)]
        result = await self._request(keys=keys, args=[username, other, MAX_FRIENDS])
        if str(result) == "full":
            raise TooManyFriends(f"You or {other} already have {MAX_FRIENDS} friends and requests.")
        if str(result) == "unknown":
            raise NoSuchUser(f"There is no user called {other}.")
        if str(result) == "unchanged":
            return "friends"
        await self._publish(username, other)
        return str(result)

    async def unfriend(self, username: str, other: str) -> None:
        """End a friendship, decline a request or withdraw one. Raises NoSuchFriend."""
        if not await self._end(keys=_pair(username, other), args=[username, other]):
            raise NoSuchFriend(f"{other} is not in your friends or requests.")
        await self._publish(username, other)

    async def _account(self, username: str) -> dict[str, str] | None:
        text = await self._redis.get(_account(username))
        if text is None:
            return None
        account: dict[str, str] = json.loads(text)
        return account

    async def _publish_end(self, username: str, token_id: str | None) -> None:
        message = {"username": username, "token_id": token_id}
        await self._redis.publish(self._redis.channel(ENDED_CHANNEL), json.dumps(message))

    async def _publish(self, *usernames: str) -> None:
        await self._redis.publish(
            self._redis.channel(CHANNEL), json.dumps({"usernames": usernames})
        )


def _account(username: str) -> str:
    return f"hushcast:account:{username}"


def _revoked(token_id: str) -> str:
    return f"hushcast:revoked:{token_id}"


def _lists(username: str) -> list[str]:
    return [f"hushcast:{kind}:{username}" for kind in ("friends", "incoming", "outgoing")]


def _pair(one: str, other: str) -> list[str]:
    return [*_lists(one), *_lists(other)]
