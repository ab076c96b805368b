"""The thread that writes one recording, so that a slow disk costs no listener a frame."""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.wav import SAMPLE_BYTES
from recordings.writer import RecordingWriter, SpoolFull

log = logging.getLogger(__name__)

MAX_UNWRITTEN_BLOCKS = 1500
"""Half a minute of sound between the denoiser and the disk."""

Block = NDArray[np.float32] | int
"""Sound [T], or a number of silent samples."""


class SpoolThread:
    """Writes what is pushed to a spool, which it opens at the first block.

    `push` never blocks. A full queue drops its oldest block, and silence of the same length takes
    its place. A disk error or the limit ends the recording but not the stream; what was written
    stays, and what comes after that is dropped.
    """

    def __init__(self, open_writer: Callable[[], RecordingWriter], *, name: str) -> None:
        self.spool: Path | None = None
        """The spool, once there is one."""
        self.limit_bytes: float = math.inf
        """How large the spool may become. May be changed at any time, from any thread."""
        self.written_bytes = 0
        """How large the spool is."""
        self.full = False
        """Whether the limit ended it."""
        self.failed: Exception | None = None
        """What else ended it before `close`."""
        self.ended = False
        """Whether the spool is closed, or there is none and never will be."""
        self._open_writer = open_writer
        self._queue: deque[Block] = deque()
        self._dropped_samples = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start working. The caller must call `close`."""
        self._thread.start()

    def push(self, block: Block) -> None:
        """Queue a block, from any thread."""
        with self._changed:
            if self.ended:
                return
            if len(self._queue) >= MAX_UNWRITTEN_BLOCKS:
                self._dropped_samples += _samples(self._queue.popleft())
            self._queue.append(block)
            self._changed.notify()

    def refuse(self) -> None:
        """Drop everything from now on, if nothing has been pushed yet."""
        self.limit_bytes, self.ended = 0, True

    def close(self) -> None:
        """Write what is queued, close the spool and end the thread. Call off the event loop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        writer: RecordingWriter | None = None
        try:
            while (block := self._next()) is not None:
                if writer is None:
                    writer = self._open_writer()
                    self.spool = writer.path
                if writer.size_bytes + SAMPLE_BYTES * _samples(block) > self.limit_bytes:
                    self.full = True
                    break
                self._write(writer, block)
                self.written_bytes = writer.size_bytes
        except SpoolFull as error:
            log.error("%s: the recording is cut short: %s", self._thread.name, error)
            self.failed = error
        except Exception as error:  # a disk error, or a bug: sound goes on without a recording
            log.exception("%s: the recording is cut short", self._thread.name)
            self.failed = error
        if writer is not None:
            try:
                writer.close()
            except OSError:
                log.exception("%s: the spool could not be completed", self._thread.name)
        with self._changed:
            self.ended = True
            self._queue.clear()

    def _next(self) -> Block | None:
        """Wait for a block; returns None once `close` was called and nothing is left."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            return self._queue.popleft() if self._queue else None

    def _write(self, writer: RecordingWriter, block: Block) -> None:
        with self._changed:
            dropped, self._dropped_samples = self._dropped_samples, 0
        if dropped:
            writer.write_silence(dropped)
        if isinstance(block, int):
            writer.write_silence(block)
        else:
            writer.write(block)


def _samples(block: Block) -> int:
    return block if isinstance(block, int) else len(block)
