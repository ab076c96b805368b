"""Proves that an S3 does what recordings need, with an object of a few bytes."""

import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from recordings.names import KEY_PREFIX, peaks_key
from recordings.store import ObjectMissing, RecordingStore, StoreUnavailable

PROBE = b"hushcast looks whether this store works\n"


class Probe:
    """A context that keeps an object in the bucket.

    Entering it stores two objects, one of them as a part, and compares what it reads back byte for
    byte. Leaving it deletes them and looks whether they are gone. Raises StoreUnavailable, whose
    `reason` says at what.
    """

    def __init__(self, store: RecordingStore) -> None:
        self.ahead_s = 0.0
        """How far the store's clock is ahead of ours, to within a second."""
        self._store = store
        # Among the recordings, so that keys for these suffice, but under no user's name.
        self._key = f"{KEY_PREFIX}.probe/{secrets.token_hex(8)}"
        self._in_parts = peaks_key(self._key)  # goes when the other is deleted

    def __enter__(self) -> Self:
        self.ahead_s = self._store.clock() + 0.5 - time.time()
        try:
            with _doing("to store an object"):
                self._put()
            self._compare(self._key, PROBE)
            with _doing("to store an object in parts"):
                self._store.parts.put_all(self._in_parts, [PROBE[::-1]])
            self._compare(self._in_parts, PROBE[::-1])
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _doing("to delete an object"):
            self._store.delete(self._key)
        if self._store.exists(self._key) or self._store.exists(self._in_parts):
            raise _wrong("keeps objects that were deleted")

    @property
    def url(self) -> str:
        """A presigned URL of the object, for browsers."""
        return self._store.presign(self._key)

    def _put(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "probe")
            path.write_bytes(PROBE)
            self._store.put(path, self._key)

    def _compare(self, key: str, expected: bytes) -> None:
        with _doing("to read an object"):
            whole, some = self._read(key, None), self._read(key, "bytes=9-13")
        if whole != (200, expected):
            raise _wrong("gives objects back changed")
        if some != (206, expected[9:14]):
            raise _wrong("does not give a range of an object")

    def _read(self, key: str, byte_range: str | None) -> tuple[int, bytes]:
        stored = self._store.open(key, byte_range)
        try:
            return stored.status, b"".join(stored)
        finally:
            stored.close()

    def _clean_up(self) -> None:
        try:
            self._store.delete(self._key)
        except (StoreUnavailable, ObjectMissing):
            return  # it refused already, and that is what the caller gets to know


@contextmanager
def _doing(what: str) -> Iterator[None]:
    """Add to an error what the store was asked to do."""
    try:
        yield
    except ObjectMissing as error:
        raise _wrong(f"has lost what it stored, when asked {what}") from error
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"{error} (when asked {what})",
            reason=f"{error.reason} when asked {what}",
            code=error.code,
            refused=error.refused,
        ) from error


def _wrong(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"S3: it {reason}", reason=reason, refused=True)
