"""S3 multipart uploads, which upload a recording part by part while it is being made.

Methods are synchronous, for threads. They raise StoreUnavailable, or ObjectMissing if the upload
has been completed or aborted.
"""

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recordings.names import KEY_PREFIX
from recordings.s3 import translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AUDIO = "audio/wav"
PART_BYTES = 5 * 1024 * 1024
"""S3's minimum for every part but the last: 54.6 s of sound."""
MAX_PARTS = 10_000
"""S3's maximum: 6 days of sound."""
COPY_BYTES = 256 * 1024 * 1024
"""How much one copy request copies inside the store."""


@dataclass(frozen=True)
class Part:
    """A part that the store has acknowledged. `crc32` is in base64, as in S3's headers."""

    number: int
    etag: str
    crc32: str
    size_bytes: int


@dataclass(frozen=True)
class OpenUpload:
    """An upload that is neither completed nor aborted. `started_at`: epoch seconds."""

    key: str
    upload_id: str
    started_at: float


class PartStore:
    """The multipart uploads of one bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def begin(self, key: str) -> str:
        """Open an upload; returns its id."""
        with translated(key):
            return self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=AUDIO
            )["UploadId"]

    def put(self, key: str, upload_id: str, number: int, data: bytes) -> Part:
        """Store or replace a part, numbered from 1. The server checks its CRC32."""
        crc32 = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
        with translated(key):
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=data,
                ChecksumCRC32=crc32,
            )
        return Part(number, answer["ETag"], crc32, len(data))

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make the object out of exactly these parts."""
        listed: Any = [{"PartNumber": each.number, "ETag": each.etag} for each in parts]
        with translated(key):
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": listed},
            )

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts."""
        with translated(key):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)

    def open_uploads(self) -> Iterator[OpenUpload]:
        """Iterate over all recordings' uploads that are in progress or were abandoned."""
        with translated():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=KEY_PREFIX
            )
            for page in pages:
                for each in page.get("Uploads", []):
                    yield OpenUpload(each["Key"], each["UploadId"], _epoch(each.get("Initiated")))

    def parts_of(self, key: str, upload_id: str) -> tuple[list[Part], float]:
        """Get the parts that the store holds, and when it got the newest (0 if there is none)."""
        parts, newest = [], 0.0
        with translated(key):
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket, Key=key, UploadId=upload_id
            )
            for page in pages:
                for each in page.get("Parts", []):
                    crc32 = each.get("ChecksumCRC32", "")
                    parts.append(Part(each["PartNumber"], each["ETag"], crc32, each["Size"]))
                    newest = max(newest, _epoch(each.get("LastModified")))
        return sorted(parts, key=lambda each: each.number), newest

    def replace_head(self, key: str, head: bytes) -> None:
        """Replace an object's first bytes; the rest is copied inside the store."""
        with translated(key):
            got = self._client.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes=0-{PART_BYTES - 1}"
            )
            size_bytes = int(got["ContentRange"].rsplit("/", 1)[1])
            first = head + got["Body"].read()[len(head) :]
        upload_id = self.begin(key)
        try:
            parts = [self.put(key, upload_id, 1, first)]
            for start in range(PART_BYTES, size_bytes, COPY_BYTES):
                end = min(start + COPY_BYTES, size_bytes)
                parts.append(self._copy(key, upload_id, len(parts) + 1, start, end))
            self.complete(key, upload_id, parts)
        except BaseException:
            self.abort(key, upload_id)
            raise

    def _copy(self, key: str, upload_id: str, number: int, start: int, end: int) -> Part:
        with translated(key):
            answer = self._client.upload_part_copy(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                CopySource={"Bucket": self._bucket, "Key": key},
                CopySourceRange=f"bytes={start}-{end - 1}",
            )
        result = answer["CopyPartResult"]
        return Part(number, result["ETag"], result.get("ChecksumCRC32", ""), end - start)


def _epoch(when: datetime | None) -> float:
    return 0.0 if when is None else when.timestamp()
