"""The tail of a recording in progress: what is not yet a part, as one small object in the store.

Parts have 5 MiB, 55 s of sound. Where a lost node must not cost as much, the uploader stores the
rest every few seconds, in place of the tail before. Only recovery reads it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recordings.errors import ObjectMissing
from recordings.names import tail_key
from recordings.s3 import content_md5, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_START = "start"


@dataclass(frozen=True)
class Tail:
    """Bytes of a WAV from byte `start` on, as they were at `stored_at` (the store's time)."""

    start: int
    data: bytes
    stored_at: float

    def after(self, size_bytes: int) -> bytes:
        """Get what continues the WAV's first `size_bytes`; nothing if bytes between are missing."""
        return self.data[size_bytes - self.start :] if size_bytes >= self.start else b""


class TailStore:
    """The tails of one bucket. Methods are synchronous, for threads; raise StoreUnavailable."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, start: int, data: bytes) -> None:
        """Store or replace the tail of the recording under `key`."""
        with translated(key):
            self._client.put_object(
                Bucket=self._bucket,
                Key=tail_key(key),
                Body=data,
                ContentMD5=content_md5(data),
                Metadata={_START: str(start)},
            )

    def get(self, key: str) -> Tail | None:
        """Get the tail of a recording, or None."""
        try:
            with translated(key):
                got = self._client.get_object(Bucket=self._bucket, Key=tail_key(key))
                start, stored_at = int(got["Metadata"][_START]), got["LastModified"].timestamp()
                return Tail(start, got["Body"].read(), stored_at)
        except ObjectMissing:
            return None

    def delete(self, key: str) -> None:
        """Delete the tail of a recording, if there is one."""
        with translated(key):
            self._client.delete_object(Bucket=self._bucket, Key=tail_key(key))
