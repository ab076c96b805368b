"""Makes all ids: of streams, sessions, recordings, actors and leases."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: strings sort like the numbers they encode."""


def new_id() -> str:
    """Make an unguessable id of 26 characters that sorts by time (ULID).

    48 bits of milliseconds since 1970, then 80 random bits.
    """
    number = int(time.time() * 1000) << 80 | secrets.randbits(80)
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
