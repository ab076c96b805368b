"""S3 multipart uploads, which upload a recording part by part while it is being made.

Methods are synchronous, for threads. They raise StoreUnavailable, or ObjectMissing if the upload
has been completed or aborted.
"""

import base64
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recordings.errors import StoreUnavailable
from recordings.names import KEY_PREFIX
from recordings.s3 import content_md5, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AUDIO = "audio/wav"
PART_BYTES = 5 * 1024 * 1024
"""S3's minimum for every part but the last: 54.6 s of sound."""
MAX_PARTS = 10_000
"""S3's maximum: 6 days of sound."""
COPY_BYTES = 16 * 1024 * 1024
"""The size of parts that are copied inside the store, and of the one that we put before them:
Cloudflare R2 wants all parts but the last to have one size."""


@dataclass(frozen=True)
class Part:
    """A part that the store has acknowledged. `crc32`, in base64: ours, or what the store told."""

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


@dataclass
class _Draft:
    """An upload that is being made, and its parts so far."""

    upload_id: str
    parts: list[Part] = field(default_factory=list)


class PartStore:
    """The multipart uploads of one bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def begin(self, key: str, media_type: str = AUDIO) -> str:
        """Open an upload; returns its id."""
        with translated(key):
            return self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=media_type
            )["UploadId"]

    def put(self, key: str, upload_id: str, number: int, data: bytes) -> Part:
        """Store or replace a part, numbered from 1. The server checks its MD5."""
        with translated(key):
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=data,
                ContentMD5=content_md5(data),
            )
            crc32 = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
            return Part(number, answer["ETag"], crc32, len(data))

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make the object out of exactly these parts."""
        listed: Any = [{"PartNumber": each.number, "ETag": each.etag} for each in parts]
        config: Any = self._client.meta.config  # its stubs do not know the option
        if config.request_checksum_calculation == "when_supported":
            # Amazon's S3 then has a CRC32 of each part, and wants to see them again.
            for entry, each in zip(listed, parts, strict=True):
                entry |= {"ChecksumCRC32": each.crc32} if each.crc32 else {}
        with translated(key):
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": listed},
            )

    def put_all(self, key: str, chunks: Iterable[bytes], media_type: str = AUDIO) -> None:
        """Store an object whose parts are these chunks."""
        with self._making(key, media_type) as upload:
            for data in chunks:
                upload.parts.append(self.put(key, upload.upload_id, len(upload.parts) + 1, data))

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts."""
        with translated(key):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)

    def abort_all(self, key: str) -> None:
        """Drop whatever was begun under a key."""
        for upload in list(self.open_uploads(key)):
            self.abort(key, upload.upload_id)

    def open_uploads(self, prefix: str = KEY_PREFIX) -> Iterator[OpenUpload]:
        """Iterate over all recordings' uploads that are in progress or were abandoned."""
        with translated():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=prefix
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
        first, size_bytes = self._read(key, 0, COPY_BYTES)
        with self._making(key) as upload:
            data = head + first[len(head) :]
            upload.parts.append(self.put(key, upload.upload_id, 1, data))
            for start in range(COPY_BYTES, size_bytes, COPY_BYTES):
                end = min(start + COPY_BYTES, size_bytes)
                number = len(upload.parts) + 1
                upload.parts.append(self._copy(key, upload.upload_id, number, start, end))

    @contextmanager
    def _making(self, key: str, media_type: str = AUDIO) -> Iterator[_Draft]:
        """Begin an upload, for the caller to add parts; then complete it, or abort it."""
        upload = _Draft(self.begin(key, media_type))
        try:
            yield upload
            self.complete(key, upload.upload_id, upload.parts)
        except BaseException:
            self.abort(key, upload.upload_id)
            raise

    def _read(self, key: str, start: int, end: int) -> tuple[bytes, int]:
        """Read a range of an object, or what there is of it; get its size too."""
        with translated(key):
            got = self._client.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes={start}-{end - 1}"
            )
            return got["Body"].read(), int(got["ContentRange"].rsplit("/", 1)[1])

    def _copy(self, key: str, upload_id: str, number: int, start: int, end: int) -> Part:
        """Copy a range of an object into a part, through us if the store cannot do it."""
        try:
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
                crc32 = result.get("ChecksumCRC32", "")
                return Part(number, result["ETag"], crc32, end - start)
        except StoreUnavailable as error:
            if not error.refused:
                raise
            return self.put(key, upload_id, number, self._read(key, start, end)[0])


def _epoch(when: datetime | None) -> float:
    return 0.0 if when is None else when.timestamp()
