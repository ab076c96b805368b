"""Writes a recording on a thread of its own: a slow disk costs no listener a frame."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from actors.opus import Sound
from actors.worker import WorkerThread
from recordings.writer import RecordingWriter

log = logging.getLogger(__name__)

MAX_UNWRITTEN_BLOCKS = 1500
"""Half a minute between the denoiser and the disk."""


class Spool:
    """Writes a recording on a thread of its own, opened at the first sound."""

    def __init__(
        self,
        open_recording: Callable[[], RecordingWriter],
        *,
        name: str,
    ) -> None:
        self._open_recording = open_recording
        self._writer: RecordingWriter | None = None
        self._dropped = DroppedSamples()
        self._worker = WorkerThread[Sound | int](
            name,
            self._write,
            capacity=MAX_UNWRITTEN_BLOCKS,
            dropped=lambda item: self._dropped.add(item if isinstance(item, int) else len(item)),
            failed=lambda error: log.error("%s: the recording is cut short: %s", name, error),
        )

    def start(self) -> None:
        """Begin to write; whoever starts it finishes it."""
        self._worker.start()

    def push(self, item: Sound | int) -> None:
        """Queue sound [T], or a number of silent samples; never blocks."""
        self._worker.push(item)

    def finish(self) -> Path | None:
        """Write what is queued and close the file; None when there was nothing to write."""
        self._worker.close()
        if self._writer is None:
            return None
        self._writer.close()
        return self._writer.path

    def _write(self, item: Sound | int) -> None:
        if self._writer is None:
            self._writer = self._open_recording()
        if dropped := self._dropped.take():
            self._writer.write_silence(dropped)
        if isinstance(item, int):
            self._writer.write_silence(item)
        else:
            self._writer.write(item)


class DroppedSamples:
    """A count that one thread adds to and another one takes."""

    def __init__(self) -> None:
        self._samples = 0
        self._lock = threading.Lock()

    def add(self, samples: int) -> None:
        """Count samples that a full queue dropped."""
        with self._lock:
            self._samples += samples

    def take(self) -> int:
        """Get the count and begin at 0 again."""
        with self._lock:
            samples, self._samples = self._samples, 0
        return samples
