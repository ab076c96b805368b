"""Friends, requests and blocks, in Redis.

All are sets of names, kept on both sides; each Lua script changes both sides at once. Whoever is
blocked sees their own request as pending, as it would be if it were never answered.
"""

import json
import time
from dataclasses import dataclass

from actors.access import AccessEnded, tell
from foundation.redis import RedisClient
from serve_app import security
from serve_app.friend_scripts import BLOCK, END, REQUEST, UNBLOCK

CHANNEL = "hushcast:friends"
"""Whose lists changed, as JSON `{usernames: [...]}`."""
MAX_FRIENDS = 1000
"""The most friends and pending requests, incoming and outgoing together, that a user may have."""
MAX_BLOCKS = 1000
MAX_DECLINES = 2
DECLINED_TTL_S = 7 * 24 * 3600
"""A request declined this often is not asked again until so long after the last time."""


class AccountError(Exception):
    """Base of what people may not do; `str(error)` is a sentence that they can act on."""


class NoSuchUser(AccountError):
    """No user has this name."""

    def __init__(self, username: str) -> None:
        super().__init__(f"There is no user called {username}.")


class NoSuchFriend(AccountError):
    """There is no friendship or request to end."""


class TooManyFriends(AccountError):
    """One of the two users is at the limit of friends and pending requests."""


class NotWithOneself(AccountError):
    """Users can neither befriend nor block themselves."""


class BlockedByYou(AccountError):
    """The caller has blocked this user."""


class TooManyBlocks(AccountError):
    """The caller has blocked as many users as one may."""


class Declined(AccountError):
    """The other has declined too often; `retry_after_s` says when to ask again."""

    def __init__(self, username: str, retry_after_s: int) -> None:
        days = -(-retry_after_s // 86_400)
        tomorrow = f"{username} has declined. You can ask again tomorrow."
        later = f"{username} has declined. You can ask again in {days} days."
        super().__init__(tomorrow if days <= 1 else later)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class FriendLists:
    """A user's friends, and their pending requests in both directions."""

    friends: list[str]
    incoming: list[str]
    outgoing: list[str]


class Friends:
    """Stores friendships, requests and blocks. Raises AccountError or RedisUnavailable."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._request = redis.register_script(REQUEST)
        self._end = redis.register_script(END)
        self._block = redis.register_script(BLOCK)
        self._unblock = redis.register_script(UNBLOCK)

    async def lists(self, username: str) -> FriendLists:
        """Get a user's friends and requests, sorted by name."""
        pipeline = self._redis.pipeline()
        for kind in ("friends", "incoming", "outgoing"):
            pipeline.smembers(_key(kind, username))
        friends, incoming, outgoing = (
            sorted(map(str, names)) for names in await pipeline.execute()
        )
        return FriendLists(friends, incoming, outgoing)

    async def friends_of(self, username: str) -> set[str]:
        """Get the names of a user's friends."""
        return {str(name) for name in await self._redis.smembers(_key("friends", username))}

    async def are_friends(self, one: str, other: str) -> bool:
        """Tell whether two people are friends."""
        return bool(await self._redis.sismember(_key("friends", one), other))

    async def befriend(self, username: str, other: str) -> str:
        """Send a friend request, or accept one; returns `requested` or `friends`.

        Raises NoSuchUser, NotWithOneself, BlockedByYou, TooManyFriends or Declined.
        """
        if username == other:
            raise NotWithOneself("You cannot add yourself as a friend.")
        now = int(time.time())
        arguments: list[str | int] = [
            username,
            other,
            now,
            MAX_FRIENDS,
            MAX_DECLINES,
            DECLINED_TTL_S,
        ]
        match str(await self._request(args=arguments)):
            case "unknown":
                raise NoSuchUser(other)
            case "blocked":
                raise BlockedByYou(f"You have blocked {other}. Unblock them first.")
            case "full":
                raise TooManyFriends(
                    f"You or {other} already have {MAX_FRIENDS} friends and requests."
                )
            case "unchanged":
                return "friends"
            case "unheard":
                await self._publish(username)
                return "requested"
            case "requested" | "friends" as state:
                await self._publish(username, other)
                return state
            case left_s:
                raise Declined(other, int(left_s))

    async def unfriend(self, username: str, other: str) -> None:
        """End a friendship, decline a request or withdraw one. Raises NoSuchFriend."""
        if not await self._end(args=[username, other, int(time.time()), DECLINED_TTL_S]):
            raise NoSuchFriend(f"{other} is not in your friends or requests.")
        await self._part(username, other)

    async def block(self, username: str, other: str) -> bool:
        """End what two people have with each other, and let `other` ask no more.

        Returns whether that is new. Raises NoSuchUser, NotWithOneself or TooManyBlocks.
        """
        if username == other:
            raise NotWithOneself("You cannot block yourself.")
        arguments: list[str | int] = [username, other, int(time.time()), DECLINED_TTL_S, MAX_BLOCKS]
        result = str(await self._block(args=arguments))
        match result:
            case "unknown":
                raise NoSuchUser(other)
            case "full":
                raise TooManyBlocks(f"You have already blocked {MAX_BLOCKS} people.")
            case "changed":
                await self._part(username, other)
        security.note("blocked", username, other=other)
        return result != "blocked"

    async def unblock(self, username: str, other: str) -> None:
        """Let a user ask again; what they asked meanwhile is gone, as if it had been declined."""
        if await self._unblock(args=[username, other]):
            await self._publish(other)
        security.note("unblocked", username, other=other)

    async def blocks(self, username: str) -> list[str]:
        """Get the names of those whom a user has blocked, sorted."""
        return sorted(map(str, await self._redis.smembers(_key("blocks", username))))

    async def _part(self, one: str, other: str) -> None:
        """Tell that two people may no longer hear each other."""
        for listener, publisher in ((one, other), (other, one)):
            reason = f"You can no longer listen to {publisher}."
            await tell(self._redis, AccessEnded(listener, reason, stream=publisher))
        await self._publish(one, other)

    async def _publish(self, *usernames: str) -> None:
        await self._redis.publish(
            self._redis.channel(CHANNEL), json.dumps({"usernames": usernames})
        )


def _key(kind: str, username: str) -> str:
    return f"hushcast:{kind}:{username}"
