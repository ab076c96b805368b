"""Sign-ins, in Redis: where an account is used. A token is only worth what its record says.

`hushcast:sign-in:ID` expires when it was not used for `TTL_S`; `hushcast:sign-ins:NAME` is a sorted
set of a user's, by last use.
"""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import jwt

from actors.access import sign_in_key
from foundation.redis import RedisClient
from recordings.index import account_key

TTL_S = 30 * 24 * 3600
RENEWAL_S = 300
"""A use this soon after the one before is not written down."""
MAX_SIGN_INS = 50
"""The most of one user; a further one ends that which was not used for longest."""
MAX_USER_AGENT_CHARS = 200
LAST_USED = "hushcast:last-used"
"""A hash: when each user's account was last used."""
ALGORITHM = "HS256"


class InvalidToken(Exception):
    """The token is not ours, or is no longer valid."""


@dataclass(frozen=True)
class SignIn:
    """A sign-in that is valid; times are seconds since the epoch."""

    id: str
    username: str
    account: str
    """The id of the account, which a later account of the same name does not share."""
    created_at: float
    last_used_at: float
    address: str
    user_agent: str


# KEYS: account, index, last-used. ARGV: the account as it was when the password was checked, the
# record, its id, its user, now, TTL, MAX. Returns nil if the account has changed, such as its
# password; otherwise the ids of sign-ins that ended in favour of this one.
_OPEN = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[5] - ARGV[6])
local ended = {}
while redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[7]) do
  local id = redis.call('ZPOPMIN', KEYS[2])[1]
  redis.call('DEL', 'hushcast:sign-in:' .. id)
  table.insert(ended, id)
end
redis.call('SET', 'hushcast:sign-in:' .. ARGV[3], ARGV[2], 'EX', ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
return ended
"""

# KEYS: record, index, last-used. ARGV: the record as it was, as it is, its id, its user, now, TTL.
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
"""

# KEYS: index. ARGV: the id to end, or '' for all but the one in ARGV[2].
_END = """
local ids = {ARGV[1]}
if ARGV[1] == '' then ids = redis.call('ZRANGE', KEYS[1], 0, -1) end
local ended = 0
for _, id in ipairs(ids) do
  if id ~= ARGV[2] and redis.call('ZREM', KEYS[1], id) == 1 then
    ended = ended + redis.call('DEL', 'hushcast:sign-in:' .. id)
  end
end
return ended
"""


class SignIns:
    """Stores sign-ins and makes their tokens. Raises RedisUnavailable."""

    def __init__(self, redis: RedisClient, secret_key: str) -> None:
        self._redis = redis
        self._secret_key = secret_key
        self._open = redis.register_script(_OPEN)
        self._renew = redis.register_script(_RENEW)
        self._end = redis.register_script(_END)

    async def open(
        self, username: str, document: str, account: str, address: str, user_agent: str
    ) -> tuple[str, SignIn, list[str]] | None:
        """Make a sign-in; returns its token, itself, and the ids of those that it ends.

        None if the account is no longer as in `document`.
        """
        now = time.time()
        made = SignIn(
            secrets.token_hex(16),
            username,
            account,
            now,
            now,
            address,
            user_agent[:MAX_USER_AGENT_CHARS],
        )
        ended = await self._open(
            keys=[account_key(username), index_key(username), LAST_USED],
            args=[document, _write(made), made.id, username, int(now), TTL_S, MAX_SIGN_INS],
        )
        if ended is None:
            return None
        claims = {"sub": username, "jti": made.id, "account": account}
        return jwt.encode(claims, self._secret_key, ALGORITHM), made, [str(id) for id in ended]

    async def read(self, token: str) -> tuple[SignIn, str | None]:
        """Read a token's sign-in, and the document of its account. Raises InvalidToken."""
        claims = self._claims(token)
        username, id = str(claims["sub"]), str(claims["jti"])
        text, document = await self._redis.mget(sign_in_key(id), account_key(username))
        found = _read(id, text)
        if (
            found is None
            or text is None
            or (found.username, found.account) != (username, claims["account"])
        ):
            raise InvalidToken
        now = time.time()
        if now - found.last_used_at >= RENEWAL_S:
            await self._renew(
                keys=[sign_in_key(id), index_key(username), LAST_USED],
                args=[
                    text,
                    _write(replace(found, last_used_at=now)),
                    id,
                    username,
                    int(now),
                    TTL_S,
                ],
            )
        return found, None if document is None else str(document)

    async def of_user(self, username: str) -> list[SignIn]:
        """List a user's sign-ins, the last used first."""
        ids = [str(id) for id in await self._redis.zrange(index_key(username), 0, -1, desc=True)]
        if not ids:
            return []
        texts = await self._redis.mget([sign_in_key(id) for id in ids])
        return [found for id, text in zip(ids, texts, strict=True) if (found := _read(id, text))]

    async def end(self, username: str, id: str) -> bool:
        """End a sign-in of a user; False if there is none with this id."""
        return bool(await self._end(keys=[index_key(username)], args=[id, ""])) if id else False

    async def end_all(self, username: str, kept: str | None) -> int:
        """End a user's sign-ins but one; returns how many."""
        return int(await self._end(keys=[index_key(username)], args=["", kept or ""]))

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret_key,
                [ALGORITHM],
                options={"require": ["sub", "jti", "account"]},
            )
        except jwt.PyJWTError as error:
            raise InvalidToken from error
        return claims


def index_key(username: str) -> str:
    """Name the sorted set of a user's sign-ins."""
    return f"hushcast:sign-ins:{username}"


def _write(sign_in: SignIn) -> str:
    values = asdict(sign_in)
    del values["id"]
    return json.dumps(values)


def _read(id: str, text: str | bytes | None) -> SignIn | None:
    if text is None:
        return None
    values: Mapping[str, Any] = json.loads(text)
    return SignIn(id, **values)
