"""The two ways to be told to stop: once, please; twice, now."""

import signal
import time
from types import FrameType

_SLICE_S = 0.05


class Interrupted(Exception):
    """We were asked to stop."""


class Signals:
    """Counts SIGINT, SIGTERM and SIGHUP from `listen` on; raises only where somebody waits.

    An exception out of a signal handler could break a clean-up anywhere in its middle.
    """

    def __init__(self) -> None:
        self.count = 0
        self.number = 0  # the newest one's

    def listen(self) -> None:
        """Take the signals over for the rest of this process's life."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    @property
    def hurry(self) -> bool:
        """Whether there was a second signal."""
        return self.count > 1

    @property
    def exit_code(self) -> int:
        """What a shell expects of a command that a signal ended: 130 after Ctrl-C."""
        return 128 + self.number

    def pause(self, seconds: float) -> None:
        """Sleep. Raises Interrupted as soon as there was a signal, also one from before."""
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
