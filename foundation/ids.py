"""The one maker of ids: streams, sessions, recordings, actors, leases."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: texts sort like the numbers they stand for."""


def new_id() -> str:
    """Make an id of 26 characters that nobody can guess and that sorts by time (ULID).

    48 bits of milliseconds since 1970, then 80 random bits.
    """
    number = int(time.time() * 1000) << 80 | secrets.randbits(80)
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
