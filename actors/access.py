"""What a session or socket rests on, and how everybody hears that it was taken back.

Every presence replica and stream actor follows `CHANNEL`. A message may be lost while Redis is
away, so what holds a session also asks again now and then.
"""

import json
from dataclasses import asdict, dataclass

from foundation.redis import RedisClient

CHANNEL = "hushcast:access"
"""Access that ended, as an `AccessEnded`."""


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


def sign_in_key(sign_in: str) -> str:
    """Name the key that exists while a sign-in is valid."""
    return f"hushcast:sign-in:{sign_in}"


def friends_key(username: str) -> str:
    """Name the set of a user's friends."""
    return f"hushcast:friends:{username}"
