"""The thread that writes one recording, so that a slow disk costs no listener a frame."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.writer import RecordingWriter

log = logging.getLogger(__name__)

MAX_UNWRITTEN_BLOCKS = 1500
"""Half a minute of sound between the denoiser and the disk."""

Block = NDArray[np.float32] | int
"""Sound [T], or a number of silent samples."""


class SpoolThread:
    """Writes what is pushed to a spool, which it opens at the first block.

    `push` never blocks. A full queue drops its oldest block, and silence of the same length takes
    its place. A disk error ends the recording but not the stream; what was written stays.
    """

    def __init__(self, open_writer: Callable[[], RecordingWriter], *, name: str) -> None:
        self.spool: Path | None = None
        """The spool, once there is one."""
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
            if len(self._queue) >= MAX_UNWRITTEN_BLOCKS:
                self._dropped_samples += _samples(self._queue.popleft())
            self._queue.append(block)
            self._changed.notify()

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
                self._write(writer, block)
        except Exception:  # a disk error, or a bug: sound goes on without a recording
            log.exception("%s: the recording is cut short", self._thread.name)
        if writer is not None:
            try:
                writer.close()
            except OSError:
                log.exception("%s: the spool could not be completed", self._thread.name)

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
