"""Invite links, in Redis: whoever has one hears a user, without an account.

`hushcast:link:ID` is JSON and expires with its link; `hushcast:links:NAME` is a sorted set of a
user's links by when they expire. An id is the beginning of the SHA-256 of its token, which is
stored nowhere.
"""

import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from actors.access import LINK_ENDED, AccessEnded, Guest, guest_name, link_key, tell
from foundation.redis import RedisClient
from recordings.index import account_key
from serve_app import security

TOKEN = re.compile(r"[0-9a-f]{32}")
"""128 random bits. A sign-in's token has dots."""
MAX_LINKS = 50
"""The most of one user at a time."""
SHORTEST_S, LONGEST_S = 300, 365 * 24 * 3600
USUAL_S = 7 * 24 * 3600


class LinkError(Exception):
    """Base of refusals of links; `str(error)` is a sentence that people can act on."""


class LinkRefused(LinkError):
    """The token is no link's, or no longer."""

    def __init__(self) -> None:
        super().__init__(LINK_ENDED)


class AnotherOwner(LinkError):
    """The link lets nobody hear this user."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"This link only lets you listen to {owner}.")


class NoSuchLink(LinkError):
    """The user has no such link."""

    def __init__(self) -> None:
        super().__init__("There is no such link.")


class TooManyLinks(LinkError):
    """The user has as many links as one may."""

    def __init__(self) -> None:
        super().__init__(f"You already have {MAX_LINKS} links. Revoke one first.")


class OwnerChanged(LinkError):
    """The account changed, or is no more, since the owner was verified."""

    def __init__(self) -> None:
        super().__init__("Please sign in again.")


@dataclass(frozen=True)
class Link:
    """An invite link that is valid; `expires_at` is in seconds since the epoch."""

    id: str
    owner: str
    label: str | None
    expires_at: float
    recordings: bool
    """Whether the owner's recordings can be heard too."""

    @property
    def guest(self) -> Guest:
        """Who listens by it, as stream actors are told."""
        return Guest(self.id, self.label, self.expires_at)

    def check(self, username: str) -> None:
        """Raise AnotherOwner unless it is this user's."""
        if username != self.owner:
            raise AnotherOwner(self.owner)


# KEYS: account, index. ARGV: the account as it was, the link's document, its id, when it expires,
# now, TTL, MAX. In one script, so that no link outlives its owner.
_MAKE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'changed' end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[5])
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[7]) then return 'full' end
redis.call('SET', 'hushcast:link:' .. ARGV[3], ARGV[2], 'EX', ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
redis.call('EXPIREAT', KEYS[2], math.ceil(last[2]))
return 'made'
"""

# KEYS: index. ARGV: the link's id. Returns how many of the user's links ended.
_END = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
return redis.call('DEL', 'hushcast:link:' .. ARGV[1])
"""

END_ALL = """
local function end_links(index)
  local ids = redis.call('ZRANGE', index, 0, -1)
  for _, id in ipairs(ids) do redis.call('DEL', 'hushcast:link:' .. id) end
  redis.call('DEL', index)
  return ids
end
"""
"""Lua that ends all links of an index; returns their ids."""


class Links:
    """Stores links. Raises LinkError or RedisUnavailable."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._make = redis.register_script(_MAKE)
        self._end = redis.register_script(_END)
        self._end_all = redis.register_script(END_ALL + "return end_links(KEYS[1])")

    async def make(
        self, owner: str, *, label: str | None, expires_in_s: int, recordings: bool
    ) -> tuple[str, Link]:
        """Make a link; returns its token too. Raises TooManyLinks or OwnerChanged."""
        account = await self._redis.get(account_key(owner))
        if account is None or json.loads(account).get("disabled"):
            raise OwnerChanged
        token, now = secrets.token_hex(16), time.time()
        link = Link(_id_of(token), owner, label, now + expires_in_s, recordings)
        subject = [str(account), _write(link), link.id]
        made = await self._make(
            keys=[account_key(owner), links_key(owner)],
            args=[*subject, link.expires_at, now, expires_in_s, MAX_LINKS],
        )
        if str(made) == "full":
            raise TooManyLinks
        if str(made) == "changed":
            raise OwnerChanged
        security.note("link made", owner, link=link.id, recordings=recordings)
        return token, link

    async def verify(self, token: str) -> Link:
        """Get the link of a token. Raises LinkRefused."""
        id = _id_of(token)
        text = await self._redis.get(link_key(id))
        if text is None:
            raise LinkRefused
        return _read(id, text)

    async def of_user(self, owner: str) -> list[Link]:
        """List a user's links, the one that expires next first."""
        ids = [str(id) for id in await self._redis.zrange(links_key(owner), 0, -1)]
        texts = await self._redis.mget(map(link_key, ids)) if ids else []
        return [_read(id, text) for id, text in zip(ids, texts, strict=True) if text is not None]

    async def end(self, owner: str, id: str) -> None:
        """End a link at once, and what rests on it. Raises NoSuchLink."""
        if not await self._end(keys=[links_key(owner)], args=[id]):
            raise NoSuchLink
        await self.tell_ended(owner, [id])

    async def end_all(self, owner: str) -> None:
        """End all links of a user, and what rests on them."""
        ids = await self._end_all(keys=[links_key(owner)])
        await self.tell_ended(owner, map(str, ids))

    async def tell_ended(self, owner: str, ids: Iterable[str]) -> None:
        """Tell everybody that links have ended."""
        for id in ids:
            security.note("link ended", owner, link=id)
            await tell(self._redis, AccessEnded(guest_name(id), LINK_ENDED))


def links_key(owner: str) -> str:
    """Name the sorted set of a user's links."""
    return f"hushcast:links:{owner}"


def _id_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def _write(link: Link) -> str:
    values = asdict(link)
    del values["id"]
    return json.dumps(values)


def _read(id: str, text: str | bytes) -> Link:
    return Link(id, **json.loads(text))
