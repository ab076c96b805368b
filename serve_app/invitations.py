"""Invitations: codes with which new people create accounts.

`hushcast:invitation:SHA256` holds how many accounts a code still makes; it expires with the code,
which is stored nowhere. `Accounts.create` uses it up together with creating the account.
"""

import hashlib
import secrets

from foundation.redis import RedisClient
from serve_app import security

DAY_S = 86_400
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without those that look alike."""
_GROUPS, _GROUP = 4, 4


class InvitationRefused(Exception):
    """The invitation is missing, used up or expired."""


class Invitations:
    """Makes invitations. Every method raises RedisUnavailable."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def create(self, *, uses: int = 1, days: int = 7) -> str:
        """Make an invitation for this many accounts; returns its code, 79 random bits."""
        code = "-".join(
            "".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS)
        )
        await self._redis.set(invitation_key(code), uses, ex=days * DAY_S)
        security.note("invitation made", "", uses=uses, days=days)
        return code

    async def check(self, code: str | None) -> None:
        """Raise InvitationRefused, with a sentence, unless the code makes another account."""
        if not code:
            raise InvitationRefused(
                "You need an invitation to sign up here. Ask whoever runs this hushcast for one."
            )
        if not await self._redis.exists(invitation_key(code)):
            raise InvitationRefused(REFUSED)


REFUSED = "This invitation was used or has expired. Ask for another one."


def invitation_key(code: str) -> str:
    """Name the key of a code, however a person typed it."""
    letters = "".join(filter(str.isalnum, code.lower()))
    return f"hushcast:invitation:{hashlib.sha256(letters.encode()).hexdigest()}"
