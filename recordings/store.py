"""Recordings in any S3: put, verify, presign, read, delete. Synchronous, for threads."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig

from recordings.errors import ObjectMissing, RangeNotSatisfiable, StoreUnavailable
from recordings.index import Recording
from recordings.multipart import AUDIO, PartStore
from recordings.names import KEY_PREFIX, peaks_key, recording_key
from recordings.s3 import connect, translated

__all__ = [
    "ObjectMissing",
    "RangeNotSatisfiable",
    "RecordingStore",
    "StoreConfig",
    "StoreUnavailable",
    "StoredBody",
]

CHUNK_BYTES = 16 * 1024 * 1024
"""`put` sends files longer than this, 3 minutes of sound, in parts of this size, one by one."""
READ_BYTES = 256 * 1024

_ONE_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}")


@dataclass(frozen=True)
class StoreConfig:
    """Where recordings are kept. If the keys are None, boto3 looks for its own credentials.

    `endpoint` None means Amazon's. `public_endpoint` is the one that browsers reach, if different.
    """

    bucket: str
    endpoint: str | None = None
    region: str = "us-east-1"
    public_endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = None


class StoredBody:
    """An object's bytes as they arrive: iterate, then call `close`, even if nothing was read."""

    def __init__(self, status: int, headers: dict[str, str], body: Any) -> None:
        self.status = status
        """200, or 206 with a Content-Range header."""
        self.headers = headers
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        with translated():
            yield from self._body.iter_chunks(READ_BYTES)

    def close(self) -> None:
        """Return the connection to its pool."""
        self._body.close()


class RecordingStore:
    """One bucket. Methods may run on many threads at once; the owner calls `close`.

    All raise StoreUnavailable if the store does not answer within its timeouts.
    """

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        # A separate session: boto3's default one is not safe to share between threads.
        session = boto3.session.Session(
            config.access_key, config.secret_key, region_name=config.region
        )
        public_endpoint = config.public_endpoint or config.endpoint
        self._client = connect(session, config.endpoint, read_timeout_s=30, attempts=2)
        self._quick_client = connect(session, config.endpoint, read_timeout_s=2, attempts=1)
        self._signing_client = connect(session, public_endpoint, read_timeout_s=30, attempts=1)
        self.parts = PartStore(self._client, config.bucket)

    def close(self) -> None:
        """Close all connections."""
        for client in (self._client, self._quick_client, self._signing_client):
            client.close()

    @property
    def browsers_reach_it(self) -> bool:
        """Whether browsers can use a presigned URL: Amazon's S3, or a `public_endpoint`."""
        return self.config.endpoint is None or self.config.public_endpoint is not None

    def key_for(self, recording: Recording) -> str:
        """Make a recording's key. Raises ValueError if a name would be unsafe in it."""
        return recording_key(recording.username, recording.started_at, recording.id)

    def put(self, path: Path, key: str) -> None:
        """Store a file: one PUT, or parts if it is long. The server checks the CRC32 of each."""
        with translated(key):
            self._client.upload_file(
                str(path),
                self.config.bucket,
                key,
                ExtraArgs={"ContentType": AUDIO, "ChecksumAlgorithm": "CRC32"},
                Config=TransferConfig(
                    multipart_threshold=CHUNK_BYTES,
                    multipart_chunksize=CHUNK_BYTES,
                    use_threads=False,
                ),
            )

    def verify(self, path: Path, key: str) -> bool:
        """Tell whether the stored object equals this file, comparing size and then every byte.

        Reads the object back, because the ETag and checksums in a HEAD only repeat what the server
        noted on writing, and every S3 means something different by them.
        """
        try:
            if self.size(key) != path.stat().st_size:
                return False
            stored = self.open(key)
        except ObjectMissing:
            return False
        try:
            with path.open("rb") as file:
                return all(chunk == file.read(len(chunk)) for chunk in stored) and not file.read(1)
        finally:
            stored.close()

    def put_peaks(self, key: str, peaks: Iterable[float]) -> None:
        """Store `{"peaks": [...]}` beside a recording."""
        with translated(key):
            self._client.put_object(
                Bucket=self.config.bucket,
                Key=peaks_key(key),
                Body=json.dumps({"peaks": list(peaks)}).encode(),
                ContentType="application/json",
            )

    def get_peaks(self, key: str) -> tuple[float, ...]:
        """Get the peaks of a recording. Raises ObjectMissing."""
        stored = self.open(peaks_key(key))
        try:
            return tuple(json.loads(b"".join(stored))["peaks"])
        finally:
            stored.close()

    def presign(self, key: str, *, download_name: str | None = None, expires_s: int = 3600) -> str:
        """Make a URL that a browser can play, with ranges, or download under a name, for a time."""
        disposition = "inline"
        if download_name is not None:
            if not _SAFE_NAME.fullmatch(download_name):
                raise ValueError(f"not a plain file name: {download_name!r}")
            disposition = f'attachment; filename="{download_name}"'
        return self._signing_client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.config.bucket,
                "Key": key,
                "ResponseContentType": AUDIO,
                "ResponseContentDisposition": disposition,
            },
            ExpiresIn=expires_s,
        )

    def open(self, key: str, byte_range: str | None = None) -> StoredBody:
        """Start reading an object, or one range of it; ignores a header with several ranges.

        `byte_range` is a Range header. Raises ObjectMissing or RangeNotSatisfiable. The caller
        closes the body.
        """
        one_range = byte_range if byte_range and _ONE_RANGE.fullmatch(byte_range) else None
        wanted = {"Range": one_range} if one_range else {}
        with translated(key):
            got: Any = self._client.get_object(Bucket=self.config.bucket, Key=key, **wanted)  # type: ignore[arg-type]
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(got["ContentLength"])}
        headers |= {"Content-Type": got["ContentType"], "ETag": got["ETag"]}
        if "ContentRange" in got:
            headers["Content-Range"] = got["ContentRange"]
        return StoredBody(206 if "ContentRange" in got else 200, headers, got["Body"])

    def exists(self, key: str) -> bool:
        """Tell whether an object exists under this key."""
        try:
            self.size(key)
        except ObjectMissing:
            return False
        return True

    def delete(self, key: str) -> None:
        """Delete a recording and its peaks, if they exist."""
        with translated(key):
            for each in (key, peaks_key(key)):
                self._client.delete_object(Bucket=self.config.bucket, Key=each)

    def list_keys(self) -> Iterator[str]:
        """Iterate over the keys of all recordings, without their peaks."""
        with translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.config.bucket, Prefix=KEY_PREFIX
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    if entry["Key"].endswith(".wav"):
                        yield entry["Key"]

    def check(self) -> None:
        """Check that the bucket exists. Otherwise raises StoreUnavailable within seconds."""
        try:
            self._head_bucket()
        except ObjectMissing as error:
            raise StoreUnavailable(f"S3: there is no bucket {self.config.bucket}") from error

    def clock(self) -> float:
        """Get the store's time, in whole seconds since 1970."""
        with translated(self.config.bucket):
            answer = self._quick_client.head_bucket(Bucket=self.config.bucket)
        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if told is None:
            raise StoreUnavailable("S3: its answers have no Date header")
        return parsedate_to_datetime(told).timestamp()

    def ensure_bucket(self) -> None:
        """Create the bucket if it does not exist."""
        try:
            self._head_bucket()
        except ObjectMissing:
            with translated():
                self._client.create_bucket(Bucket=self.config.bucket)

    def _head_bucket(self) -> None:
        with translated(self.config.bucket):
            self._quick_client.head_bucket(Bucket=self.config.bucket)

    def size(self, key: str) -> int:
        """Get an object's size in bytes. Raises ObjectMissing."""
        with translated(key):
            return self._client.head_object(Bucket=self.config.bucket, Key=key)["ContentLength"]
