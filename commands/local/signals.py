"""The two ways to be told to stop: once, please; twice, now."""

import signal
import time
from types import FrameType

_SLICE_S = 0.05


class Interrupted(Exception):
    """We were asked to stop."""


class Signals:
    """Counts SIGINT, SIGTERM and SIGHUP from `listen` on; raises only in `pause`.

    An exception from a signal handler could interrupt a clean-up at any point.
    """

    def __init__(self) -> None:
        self.count = 0
        self.number = 0  # of the latest

    def listen(self) -> None:
        """Handle the signals for the rest of this process's life."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    @property
    def hurry(self) -> bool:
        """Whether there was a second signal."""
        return self.count > 1

    @property
    def exit_code(self) -> int:
        """The code that shells use for a command ended by a signal: 130 after Ctrl-C."""
        return 128 + self.number

    def pause(self, seconds: float) -> None:
        """Sleep. Raises Interrupted as soon as there is a signal, or if there has been one."""
        end = time.monotonic() + seconds
        while not self.count:
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _SLICE_S))
        raise Interrupted

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.number = number
