"""Writes PCM to a spool on the local disk that a crash cannot spoil.

The file is a playable WAV at any moment, and locked while a process writes it. A spool whose lock
is free was abandoned; `spool.py` claims it.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recordings.quota import RESERVE_BYTES
from recordings.wav import HEADER_BYTES, SAMPLE_BYTES, SAMPLE_RATE, SpoolMeta, pack_header

__all__ = ["RecordingWriter", "SpoolFull", "SpoolMeta"]

HEADER_INTERVAL = SAMPLE_RATE
"""The header lags the sound by at most this many samples, one second."""


class SpoolFull(OSError):
    """A disk has less free space than the reserve. What was written so far is intact."""


class RecordingWriter:
    """Writes one recording's spool. Creates the file and holds its lock; the owner closes it.

    Each `write` goes to the kernel, so if the process dies, nothing written is lost. Once a second
    the header is updated and everything is synced to disk, so a power cut loses at most a second.
    That may block for a while, so run this on its own thread.

    Raises SpoolFull if the disk is full, FileExistsError if the spool already exists, ValueError
    if the file is not named after the recording: `RECORDINGID.wav`.
    """

    def __init__(
        self,
        path: Path,
        meta: SpoolMeta,
        *,
        reserve_bytes: int = RESERVE_BYTES,
        other_disks: Sequence[Path] = (),
    ) -> None:
        """`other_disks`: folders whose disks need the reserve too, besides the spool's own."""
        if path.name != f"{meta.recording_id}.wav":
            raise ValueError(f"expected a spool named {meta.recording_id}.wav, got {path.name}")
        self.path = path
        self.meta = meta
        self._reserve_bytes = reserve_bytes
        self._disks = (path.parent, *other_disks)
        self._samples = 0
        self._samples_in_header = 0
        self._closed = False
        self._check_space()
        self._fd = _create_locked(path)
        try:
            self._write_header()
        except BaseException:
            try:
                path.unlink()
            finally:
                os.close(self._fd)
            raise

    @property
    def duration_s(self) -> float:
        """How much sound is in the spool."""
        return self._samples / SAMPLE_RATE

    @property
    def size_bytes(self) -> int:
        """The size of the WAV."""
        return self._end

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append sound [T] of any length in -1..1; clips what is outside, writes NaN as silence.

        Raises SpoolFull; the spool stays intact and can be closed and finished.
        """
        if samples.ndim != 1:
            raise ValueError(f"expected samples [T], got shape {samples.shape}")
        sound = np.nan_to_num(samples).clip(-1, 1) * np.float32(32768)
        self._append(np.rint(sound).clip(max=32767).astype("<i2").tobytes())

    def write_silence(self, n_samples: int) -> None:
        """Append silence, as a hole in the file: it takes no time and no disk, however long."""
        self._check_open()
        os.ftruncate(self._fd, self._end + n_samples * SAMPLE_BYTES)
        self._advance(n_samples)

    def close(self) -> None:
        """Complete the header and release the lock. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            os.ftruncate(self._fd, self._end)
            self._write_header()
        finally:
            os.close(self._fd)

    @property
    def _end(self) -> int:
        return HEADER_BYTES + self._samples * SAMPLE_BYTES

    def _append(self, data: bytes) -> None:
        self._check_open()
        written = 0
        while written < len(data):
            try:
                written += os.pwrite(self._fd, data[written:], self._end + written)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise SpoolFull(error.errno, f"no space left for {self.path}") from error
        self._advance(len(data) // SAMPLE_BYTES)

    def _advance(self, n_samples: int) -> None:
        self._samples += n_samples
        if self._samples - self._samples_in_header >= HEADER_INTERVAL:
            self._write_header()
            os.fdatasync(self._fd)
            self._check_space()

    def _write_header(self) -> None:
        os.pwrite(self._fd, pack_header(self.meta, self._samples), 0)
        self._samples_in_header = self._samples

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"the spool {self.path} is closed")

    def _check_space(self) -> None:
        for disk in self._disks:
            free = shutil.disk_usage(disk).free
            if free < self._reserve_bytes:
                raise SpoolFull(
                    errno.ENOSPC,
                    f"no space left for {self.path}: {free >> 20} MiB free in {disk}, "
                    f"{self._reserve_bytes >> 20} MiB needed",
                )


def _create_locked(path: Path) -> int:
    """Create a file and lock it. Raises FileExistsError if it already exists.

    Recovery may lock the new, empty file first and remove it; then this tries again.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        locked = False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            locked = os.fstat(fd).st_nlink > 0
        finally:
            if not locked:
                os.close(fd)
        if locked:
            return fd
