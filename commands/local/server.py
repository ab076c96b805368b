"""A part that comes with hushcast, and the process it currently runs in."""

import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from commands.local.child import Child, NeedsRestart, Part, StartFailed
from commands.local.guardian import Guardian
from commands.local.signals import Signals

P = TypeVar("P", bound=Part)

ATTEMPTS = 3
"""Another program may take a port after we chose it and before we use it; then we choose again."""


class Server(Generic[P]):
    """Keeps a part running; `make` prepares the part, on free ports."""

    def __init__(self, make: Callable[[], P], guardian: Guardian, signals: Signals) -> None:
        self._make = make
        self._guardian = guardian
        self._signals = signals
        self.part = make()
        self.child = Child(self.part.name, self.part.command(), guardian)

    def start(self) -> None:
        """Start a process for the part as it is: same ports, same data. Does not wait.

        Kills an earlier process first: two must not write to the same data.
        """
        self.child.stop(limit_s=0)
        self.child = Child(self.part.name, self.part.command(), self._guardian)
        self.child.start()

    def wait(self) -> None:
        """Wait until it serves. Raises StartFailed if it does not, even on other ports.

        Restarts one that needs it.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._wait_once()
                return
            except NeedsRestart:
                if attempt == ATTEMPTS:
                    raise
                self.start()
            except StartFailed:
                if attempt == ATTEMPTS or self.child.ended is None:
                    raise
                self.part = self._make()
                self.start()

    def revive(self) -> None:
        """Restart it on the same ports, and wait. Raises StartFailed."""
        self.start()
        self._wait_once()

    def _wait_once(self) -> None:
        self.child.wait_until(self.part.answers, self._signals.pause)


def stop_together(children: Iterable[Child], signals: Signals, limit_s: float) -> None:
    """Ask processes to end and wait; kill what is left after `limit_s` or a second signal."""
    started = [child for child in children if child.started]
    for child in started:
        child.terminate()
    deadline = time.monotonic() + limit_s
    while any(child.ended is None for child in started):
        if signals.hurry or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    for child in started:
        child.stop(limit_s=0)
