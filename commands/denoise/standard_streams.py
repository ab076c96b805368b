"""Standard input and output as files that can be interrupted."""

import fcntl
import os
import select
import stat
from functools import cached_property
from io import RawIOBase, UnsupportedOperation

from commands.local.signals import Interrupted, Signals

STANDARD_INPUT, STANDARD_OUTPUT = 0, 1
_SLICE_S = 0.1
_PIECE_BYTES = 4096
"""PIPE_BUF: a pipe that has room has room for this."""


class StandardStream(RawIOBase):
    """A descriptor, which stays open; reads what there is, writes all.

    Both raise Interrupted once there was a signal. An output that is a file can seek;
    its position 0 is where it was at first.
    """

    def __init__(self, descriptor: int, signals: Signals) -> None:
        self._descriptor = descriptor
        self._signals = signals

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._wait([self._descriptor], [])
        return os.readv(self._descriptor, [buffer])

    def seekable(self) -> bool:
        return self._start is not None

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if self._start is None:
            raise UnsupportedOperation("seek")
        start = self._start if whence == os.SEEK_SET else 0
        return os.lseek(self._descriptor, start + offset, whence) - self._start

    def writable(self) -> bool:
        return True

    def write(self, coded: bytes) -> int:  # type: ignore[override]
        written = 0
        while written < len(coded):
            self._wait([], [self._descriptor])
            written += os.write(self._descriptor, coded[written : written + _PIECE_BYTES])
        return written

    @cached_property
    def _start(self) -> int | None:
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        written = flags & (os.O_ACCMODE | os.O_APPEND) == os.O_WRONLY
        if written and stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            return os.lseek(self._descriptor, 0, os.SEEK_CUR)
        return None

    def _wait(self, reading: list[int], writing: list[int]) -> None:
        while True:
            if self._signals.count:
                raise Interrupted
            if any(select.select(reading, writing, [], _SLICE_S)):
                return
