"""Passwords: which may be chosen, and argon2 within bounds of memory and time."""

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

Result = TypeVar("Result")

MIN_CHARS, MAX_CHARS = 8, 128
MEMORY_KIB, ROUNDS, LANES = 19_456, 2, 1
"""Of argon2id, as OWASP and ASVS 5.0 (appendix C) have it: 19 MiB and 0.04 s of one core.

Anybody may make a server spend that; argon2's usual parameters cost 64 MiB and 0.27 s.
"""
AT_ONCE = 2
"""How many hashes a replica computes at a time."""
MAX_WAITING = 50
"""How many more may wait for that; the last of them waits for a second or two."""
NICENESS = 10
"""Streams that are live on the same machine go first."""


class UnfitPassword(Exception):
    """This password cannot be chosen."""


class TooManyPasswords(Exception):
    """More passwords wait to be checked than the replica can check soon."""


def check_new(username: str, password: str) -> None:
    """Refuse a password that is too short, too long, commonly used, or the name.

    There are no rules about its characters (NIST SP 800-63B, section 3.1.1.2; ASVS 5.0, 6.2).
    Raises UnfitPassword.
    """
    if not MIN_CHARS <= len(password) <= MAX_CHARS:
        raise UnfitPassword(f"A password has {MIN_CHARS} to {MAX_CHARS} characters.")
    plain = password.casefold()
    if plain in _common():
        raise UnfitPassword("Many people use this password. Please choose another.")
    if plain.strip("0123456789!.") in (username, username[::-1]):
        raise UnfitPassword("The password is too much like the username. Please choose another.")


class Hasher:
    """Hashes and checks passwords, few at a time."""

    def __init__(self) -> None:
        argon2 = Argon2Hasher(time_cost=ROUNDS, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._argon2 = PasswordHash((argon2,))
        self._nobody = self._argon2.hash(secrets.token_hex(8))
        self._threads = ThreadPoolExecutor(AT_ONCE, "password", initializer=_yield_to_others)
        self._pending = 0

    async def hash(self, password: str) -> str:
        """Make a hash to keep. Raises TooManyPasswords."""
        return await self._in_turn(lambda: self._argon2.hash(password))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Compare a password with its hash; None is as slow, and never right.

        Raises TooManyPasswords.
        """
        right = await self._in_turn(lambda: self._argon2.verify(password, hashed or self._nobody))
        return right and hashed is not None

    async def _in_turn(self, work: Callable[[], Result]) -> Result:
        if self._pending >= AT_ONCE + MAX_WAITING:
            raise TooManyPasswords("Too many people are signing in right now. Please try again.")
        self._pending += 1
        future = self._threads.submit(work)
        # It counts until it is done, even if nobody waits for it any more.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _tell(loop, self._finished))
        return await asyncio.wrap_future(future)

    def _finished(self) -> None:
        self._pending -= 1


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody counts any more
        loop.call_soon_threadsafe(what)


def _yield_to_others() -> None:
    with contextlib.suppress(OSError):  # not every system has a priority for each thread
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


@cache
def _common() -> frozenset[str]:
    """Read the 3,000 commonest passwords of 8 characters or more, in lower case (see NOTICE)."""
    text = (Path(__file__).parent / "common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(text.split())
