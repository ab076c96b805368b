"""How much of recordings disks and each user may keep, and what to tell users about it."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from recordings.wav import SAMPLE_BYTES, SAMPLE_RATE

RESERVE_BYTES = 256 * 1024 * 1024
"""How much space a spool leaves free on every disk: 45 minutes of sound, and room for others."""
NEAR = 0.9
"""The share of the limit from which on the user is warned."""
SHORTEST_S = 10
"""With less room than this nothing is recorded: a recording ends just below the limit."""
SHORTEST_SHARE = 0.01
"""For small limits: with less than this share left nothing is recorded."""


@dataclass(frozen=True)
class Quota:
    """The limit for each user; None for none. A stream beyond it goes on, but is not recorded."""

    max_user_bytes: int | None = None

    def left(self, used_bytes: int) -> float:
        """Tell how much more a user may record."""
        return math.inf if self.max_user_bytes is None else self.max_user_bytes - used_bytes

    def near(self, used_bytes: int) -> bool:
        """Tell whether little is left."""
        return self.max_user_bytes is not None and used_bytes >= NEAR * self.max_user_bytes

    def reached(self, used_bytes: int) -> bool:
        """Tell whether too little is left for another recording."""
        if self.max_user_bytes is None:
            return False
        shortest = SHORTEST_S * SAMPLE_RATE * SAMPLE_BYTES
        return self.left(used_bytes) <= min(shortest, SHORTEST_SHARE * self.max_user_bytes)

    @property
    def almost_full(self) -> str:
        """What to tell a user who is near the limit."""
        return (
            f"Your recordings take up over {NEAR:.0%} of your {self._size}. Once it is full, your "
            "streams go on but are no longer recorded."
        )

    @property
    def full(self) -> str:
        """What to tell a user who has nothing left."""
        return (
            f"Your {self._size} for recordings is full. Your stream goes on, but it is not "
            "recorded. Delete recordings to have the next one recorded."
        )

    @property
    def _size(self) -> str:
        size = self.max_user_bytes or 0
        return f"{size / 1e9:g} GB" if size >= 1e9 else f"{size / 1e6:g} MB"


UNLIMITED = Quota()
DISK_FULL = "The server has no space left. Your stream goes on, but it is not recorded."
DISK_FAILED = "The server cannot record your stream any more. The stream itself goes on."


def little_space(folder: Path) -> str | None:
    """Say that a folder's disk has no room for recordings; None if it has."""
    free = shutil.disk_usage(folder).free
    if free >= RESERVE_BYTES:
        return None
    return f"{folder} has {free >> 20} MiB left; below {RESERVE_BYTES >> 20} nothing is recorded"
