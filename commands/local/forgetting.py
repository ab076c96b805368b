"""Removes what was deleted from the files of the servers that hushcast starts itself.

A server only marks what is deleted, and removes it when there is much of it: Valkey once its file
has doubled, SeaweedFS once a third of a volume is deleted.
"""

import time
from contextlib import suppress

from commands.local.child import Child
from commands.local.guardian import Guardian
from commands.local.storage import Storage

FIRST_S = 600.0
"""After the start: somebody may start hushcast for an hour a day."""
INTERVAL_S = 6 * 3600.0
SCRIPT = b"""lock
fs.log.purge -daysAgo 0
volume.vacuum -garbageThreshold=0.00001
unlock
exit
"""
"""For SeaweedFS: its log of changes has names until the end of the day; any volume with something
deleted in it is written anew."""


class Forgetting:
    """Starts a removal now and then."""

    def __init__(self, storage: Storage, guardian: Guardian) -> None:
        self._storage = storage
        self._guardian = guardian
        self._due = time.monotonic() + FIRST_S
        self._shell: Child | None = None

    def when_due(self) -> None:
        """Begin if it is time."""
        if time.monotonic() > self._due:
            self._due = time.monotonic() + INTERVAL_S
            self.begin()

    def begin(self) -> None:
        """Begin in both servers. Neither is waited for."""
        if self._storage.valkey is not None:
            self._storage.valkey.part.rewrite()
        if self._storage.seaweed is not None:
            self.close()
            self._shell = Child(
                "SeaweedFS's shell", self._storage.seaweed.part.shell(), self._guardian
            )
            self._shell.start(pipe=True)
            with suppress(BrokenPipeError):  # it has ended, and said why in the log
                self._shell.stdin.write(SCRIPT)
                self._shell.stdin.close()

    @property
    def busy(self) -> bool:
        """Whether SeaweedFS is at work."""
        return self._shell is not None and self._shell.ended is None

    def close(self) -> None:
        """End what was begun. Idempotent."""
        if self._shell is not None:
            self._shell.stop()
