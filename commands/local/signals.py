"""The two ways to be told to stop: once, please; twice, now."""

import asyncio
import os
import select
import signal
import time
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

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
        self._woken: int | None = None  # readable once there was a signal

    def listen(self) -> None:
        """Handle the signals for the rest of this process's life."""
        self._woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
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
            if self._woken is None:
                time.sleep(min(left, _SLICE_S))
            else:
                select.select([self._woken], [], [], left)
        raise Interrupted

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end. A signal cancels it, and raises Interrupted once it is."""
        return asyncio.run(self._watched(work))

    async def _watched(self, work: Coroutine[Any, Any, Result]) -> Result:
        task = asyncio.create_task(work, name="command")
        while not task.done():
            await asyncio.wait([task], timeout=_SLICE_S)
            if self.count:
                task.cancel()
                await asyncio.wait([task])
                raise Interrupted
        return task.result()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.number = number
