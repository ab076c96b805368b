"""What a session or socket rests on, and how everybody hears that it was taken back.

Every presence replica and stream actor follows `CHANNEL`. A message may be lost while Redis is
away, so what holds a session also asks again now and then.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass

from foundation.redis import RedisClient

CHANNEL = "hushcast:access"
"""Access that ended, as an `AccessEnded`."""
SIGNED_OUT = "You were signed out. Please sign in again."
NO_FRIEND = "You are no longer friends."
LINK_ENDED = "This link is no longer valid. Ask whoever sent it for another one."
GUESTS = "link:"
"""What the name of a link's guests begins with. No username has a colon."""
KEPT_S = 24 * 3600
"""While a media session rests on a sign-in, that one does not expire within this time."""

# KEYS: sign-ins. ARGV[1]: the time in ms to which a shorter rest of life is extended. Returns the
# places (from 1) of those that are gone.
_GONE = """
local gone = {}
for place, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left == -2 then table.insert(gone, place) end
  if left >= 0 and left < tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
end
return gone
"""


@dataclass(frozen=True)
class Guest:
    """Who listens by an invite link, without an account; `expires_at`: seconds since the epoch."""

    link: str
    label: str | None
    expires_at: float

    @property
    def name(self) -> str:
        """What stands for all guests of the link where others have a username."""
        return guest_name(self.link)


@dataclass(frozen=True)
class Grounds:
    """What a session rests on: a user's sign-in, and friendship when it hears somebody else.

    A guest's rests on the link alone, which `username` names. `sign_in` is None then, and when an
    ingress of an earlier release did not tell it.
    """

    username: str
    sign_in: str | None


@dataclass(frozen=True)
class AccessEnded:
    """Access of a user that was taken back; `reason` is a sentence for that user's pages.

    It ends what rests on sign-in `sign_in` (None: on any but `kept`). With `stream` it ends only
    listening to that user's stream; sign-ins and sockets stay.
    """

    username: str
    reason: str
    sign_in: str | None = None
    kept: str | None = None
    stream: str | None = None

    @staticmethod
    def from_json(text: str | bytes) -> "AccessEnded":
        """Read a message from `CHANNEL`. Raises ValueError or TypeError on others."""
        return AccessEnded(**json.loads(text))

    def to_json(self) -> str:
        """Write every field."""
        return json.dumps(asdict(self))

    def covers(self, sign_in: str | None) -> bool:
        """Tell whether what rests on this sign-in of the user has ended."""
        if self.sign_in is not None:
            return sign_in == self.sign_in
        return self.kept is None or sign_in != self.kept


async def tell(redis: RedisClient, ended: AccessEnded) -> None:
    """Tell everybody. Raises RedisUnavailable."""
    await redis.publish(redis.channel(CHANNEL), ended.to_json())


async def gone(redis: RedisClient, grounds: Collection[str]) -> set[str]:
    """Tell which sign-ins, and links by their guests' name, are no longer valid.

    Raises RedisUnavailable.
    """
    asked = list(grounds)
    places = await redis.eval(_GONE, len(asked), *map(_key, asked), "0") if asked else []
    return {asked[place - 1] for place in places}


async def lapsed(
    redis: RedisClient, streamer: str, grounds: Collection[Grounds]
) -> list[AccessEnded]:
    """Ask in one round trip which grounds of a user's stream no longer hold.

    Keeps the sign-ins that do from expiring. Raises RedisUnavailable.
    """
    signed = [each for each in grounds if each.sign_in is not None]
    guests = sorted({each.username for each in grounds if is_guest(each.username)})
    others = sorted({each.username for each in grounds} - {streamer, *guests})
    keys = [sign_in_key(each.sign_in or "") for each in signed]
    pipeline = redis.pipeline(transaction=False)
    pipeline.eval(_GONE, len(keys), *keys, str(KEPT_S * 1000))
    pipeline.eval(_GONE, len(guests), *map(_key, guests), "0")
    if others:
        pipeline.smismember(friends_key(streamer), others)
    places, links, *friends = await pipeline.execute()
    ended = [AccessEnded(signed[n - 1].username, SIGNED_OUT, signed[n - 1].sign_in) for n in places]
    ended += [AccessEnded(guests[n - 1], LINK_ENDED) for n in links]
    for name, befriended in zip(others, friends[0] if friends else [], strict=True):
        if not befriended:
            ended.append(AccessEnded(name, NO_FRIEND, stream=streamer))
    return ended


def sign_in_key(sign_in: str) -> str:
    """Name the key that exists while a sign-in is valid."""
    return f"hushcast:sign-in:{sign_in}"


def link_key(link: str) -> str:
    """Name the key that exists while an invite link is valid."""
    return f"hushcast:link:{link}"


def guest_name(link: str) -> str:
    """Name the guests of a link."""
    return f"{GUESTS}{link}"


def is_guest(name: str) -> bool:
    """Tell whether this is the name of a link's guests."""
    return name.startswith(GUESTS)


def friends_key(username: str) -> str:
    """Name the set of a user's friends."""
    return f"hushcast:friends:{username}"


def _key(ground: str) -> str:
    return link_key(ground.removeprefix(GUESTS)) if is_guest(ground) else sign_in_key(ground)
