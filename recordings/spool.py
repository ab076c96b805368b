"""Spools that nobody writes any more: claim one, repair it, measure it, remove it."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from recordings.peaks import peaks_of
from recordings.wav import (
    HEADER_BYTES,
    SAMPLE_BYTES,
    SAMPLE_RATE,
    HeaderError,
    SpoolMeta,
    pack_header,
    samples_in,
    unpack_header,
)

READ_BYTES = 1024 * 1024


class SpoolDamaged(Exception):
    """The file has sound but its header cannot be read; it is left for a person."""


@dataclass(frozen=True)
class ClaimedSpool:
    """A repaired spool under its lock. The claimant closes it."""

    path: Path
    meta: SpoolMeta | None
    """None only for a spool without sound whose header was never completed."""
    samples: int
    fd: int

    @property
    def duration_s(self) -> float:
        """How much sound the spool has."""
        return self.samples / SAMPLE_RATE

    @property
    def size_bytes(self) -> int:
        """The size of the WAV."""
        return HEADER_BYTES + self.samples * SAMPLE_BYTES

    def peaks(self) -> tuple[float, ...]:
        """Compute the peaks, 0..1, of up to 1,000 equal stretches, without reading it whole."""
        with self.path.open("rb") as file:
            return peaks_of(iter(lambda: file.read(READ_BYTES), b""), self.size_bytes)

    def remove(self) -> None:
        """Delete the file; the lock stays until `close`, so nobody claims a removed spool."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the lock."""
        os.close(self.fd)


def any_abandoned(folder: Path) -> bool:
    """Tell whether a folder has a spool that no process is writing or finishing."""
    return any(map(_is_unlocked, folder.glob("*.wav")))


def _is_unlocked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # locked, or gone
        return False
    return True


def claim_spool(path: Path) -> ClaimedSpool | None:
    """Lock a spool, repair its header from its real length and cut off any half sample.

    Returns None if it is gone, or another process is writing or finishing it. Raises SpoolDamaged.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    spool = None
    try:
        spool = _claim(path, fd)
    finally:
        if spool is None:
            os.close(fd)
    return spool


def _claim(path: Path, fd: int) -> ClaimedSpool | None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    if not os.fstat(fd).st_nlink:  # finished between our open and our lock
        return None
    samples = samples_in(os.fstat(fd).st_size)
    try:
        meta = unpack_header(os.pread(fd, HEADER_BYTES, 0))
    except HeaderError as error:
        if samples:
            raise SpoolDamaged(f"{path}: {error}") from error
        return ClaimedSpool(path, None, 0, fd)
    if f"{meta.recording_id}.wav" != path.name:
        raise SpoolDamaged(f"{path}: its header names recording {meta.recording_id}")
    os.ftruncate(fd, HEADER_BYTES + samples * SAMPLE_BYTES)
    os.pwrite(fd, pack_header(meta, samples), 0)
    return ClaimedSpool(path, meta, samples, fd)
