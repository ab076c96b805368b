"""A part that comes with hushcast, and the process it currently runs in."""

import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from commands.local.child import READY_LIMIT_S, Child, NeedsRestart, Part, StartFailed
from commands.local.guardian import Guardian
from commands.local.signals import Signals

P = TypeVar("P", bound=Part)

ATTEMPTS = 3
"""Another program may take a port after we chose it and before we use it; then we choose again.
Ray gives up on a machine that is too busy to start its node within 30 s."""


class Server(Generic[P]):
    """Keeps a part running; `make` prepares the part, on free ports."""

    def __init__(
        self,
        make: Callable[[], P],
        guardian: Guardian,
        signals: Signals,
        ready_limit_s: float = READY_LIMIT_S,
    ) -> None:
        self._make = make
        self._guardian = guardian
        self._signals = signals
        self._ready_limit_s = ready_limit_s
        self.part = make()
        self.child = Child(self.part.name, self.part.command(), guardian)

    def start(self) -> None:
        """Start a process for the part as it is: same ports, same data. Does not wait.

        Kills an earlier process and its children first: two must not write to the same data.
        """
        if self.child.started:
            self.child.stop(limit_s=0)
            self._guardian.end(self.child.pid)
        self.child = Child(self.part.name, self.part.command(), self._guardian)
        self.child.start()

    def wait(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Wait until it serves, and say when it is started again: as it is, or on other ports.

        Raises StartFailed if that does not help.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._wait_once()
                return
            except StartFailed as problem:
                as_it_is = isinstance(problem, NeedsRestart)
                if attempt == ATTEMPTS or not (as_it_is or self.child.ended):
                    raise
                say(f"{problem}\nStarting {self.part.name} again, {attempt + 1} of {ATTEMPTS}")
                if not as_it_is:
                    self.part = self._make()
                self.start()

    def revive(self) -> None:
        """Restart it on the same ports, and wait. Raises StartFailed."""
        self.start()
        self._wait_once()

    def _wait_once(self) -> None:
        self.child.wait_until(self.part.answers, self._signals.pause, self._ready_limit_s)
        self.child.note_started()


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
