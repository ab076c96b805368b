"""Standard input and output as files that can be interrupted."""

import os
import select
from io import RawIOBase

from commands.local.signals import Interrupted, Signals

STANDARD_INPUT, STANDARD_OUTPUT = 0, 1
_SLICE_S = 0.1
_PIECE_BYTES = 4096
"""PIPE_BUF: a pipe that has room has room for this."""


class StandardStream(RawIOBase):
    """A descriptor, which stays open; reads what there is, writes all.

    Both raise Interrupted once there was a signal.
    """

    def __init__(self, descriptor: int, signals: Signals) -> None:
        self._descriptor = descriptor
        self._signals = signals

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._wait([self._descriptor], [])
        return os.readv(self._descriptor, [buffer])

    def writable(self) -> bool:
        return True

    def write(self, coded: bytes) -> int:  # type: ignore[override]
        written = 0
        while written < len(coded):
            self._wait([], [self._descriptor])
            written += os.write(self._descriptor, coded[written : written + _PIECE_BYTES])
        return written

    def _wait(self, reading: list[int], writing: list[int]) -> None:
        while True:
            if self._signals.count:
                raise Interrupted
            if any(select.select(reading, writing, [], _SLICE_S)):
                return
