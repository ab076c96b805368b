"""Puts, reads and deletes a small object to check that an S3 does what recordings need."""

import secrets
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from recordings.store import ObjectMissing, RecordingStore

PROBE = b"hushcast looks whether this store works\n"


class Probe:
    """A context that keeps an object in the bucket. Raises StoreUnavailable.

    `left_behind` says afterwards whether the object still existed after it was deleted.
    """

    def __init__(self, store: RecordingStore) -> None:
        self.left_behind = False
        self.ahead_s = 0.0
        """How far the store's clock is ahead of ours, to within a second."""
        self._store = store
        # Not among the recordings, where `reconcile` would report it.
        self._key = f"doctor/{secrets.token_hex(8)}.probe"

    def __enter__(self) -> Self:
        self.ahead_s = self._store.clock() + 0.5 - time.time()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "probe")
            path.write_bytes(PROBE)
            self._store.put(path, self._key)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._store.delete(self._key)
        self.left_behind = self._store.exists(self._key)

    @property
    def url(self) -> str:
        """A presigned URL of the object, for browsers."""
        return self._store.presign(self._key)

    def wrong(self) -> str | None:
        """Read the object whole and in part; returns what is wrong, or None."""
        try:
            if self._read(None) != (200, PROBE):
                return "an object reads back changed"
            if self._read("bytes=9-13") != (206, PROBE[9:14]):
                return "a range of an object cannot be read"
        except ObjectMissing:
            return "an object cannot be found right after it was stored"
        return None

    def _read(self, byte_range: str | None) -> tuple[int, bytes]:
        stored = self._store.open(self._key, byte_range)
        try:
            return stored.status, b"".join(stored)
        finally:
            stored.close()
