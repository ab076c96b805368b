"""Recordings in any S3: put, verify, presign, read, delete. Synchronous, for threads."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from recordings.account_objects import AccountObjects
from recordings.errors import ObjectMissing, RangeNotSatisfiable, StoreUnavailable
from recordings.index import Recording
from recordings.multipart import AUDIO, PartStore
from recordings.names import (
    KEY_PREFIX,
    MEDIA_TYPES,
    TAIL_EXTENSION,
    Copy,
    attachment,
    copy_key,
    peaks_key,
    recording_key,
    tail_key,
)
from recordings.s3 import Addressing, connect, content_md5, new_session, translated
from recordings.tail import TailStore

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "Beside",
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
BACKGROUND_WAIT_S = 30.0
PEOPLE_WAIT_S = 4.0
"""How long one attempt of two may wait for an answer: in the background; while a person waits."""

_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
_ONE_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")
_TOO_LARGE = re.compile(r"\d{19,}")
"""Numbers that stores may not read; an object ends far before them."""


@dataclass(frozen=True)
class StoreConfig:
    """Where recordings are kept. What is None is as AWS's variables and config file say.

    Without these, `endpoint` is Amazon's. `public_endpoint` is the one that browsers reach, if
    different. `authority` is a PEM file with the authorities to trust, instead of the usual ones.
    """

    bucket: str
    endpoint: str | None = None
    region: str | None = None
    public_endpoint: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    addressing: Addressing | None = None
    authority: Path | None = None


@dataclass(frozen=True)
class Beside:
    """What is stored beside a recording. `account`: the id of the one that it belongs to."""

    peaks: tuple[float, ...]
    title: str | None = None
    account: str | None = None


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

    def __init__(self, config: StoreConfig, *, wait_s: float = BACKGROUND_WAIT_S) -> None:
        """Make the clients; sends nothing, except perhaps for credentials.

        `wait_s` bounds each wait for an answer; a request that gets none is tried once more.
        """
        self.config = config
        self._public_endpoint = config.public_endpoint or config.endpoint
        with translated():
            self._session = new_session(config.access_key, config.secret_key, config.region)
            self._client = self._connect(config.endpoint, wait_s, attempts=2)
            self._quick_client = self._connect(config.endpoint, 2, attempts=1)
            self._signing_client = self._connect(self._public_endpoint, wait_s, attempts=1)
        self.parts = PartStore(self._client, config.bucket)
        self.tails = TailStore(self._client, config.bucket)
        self.accounts = AccountObjects(self._client, config.bucket)

    def _connect(
        self, endpoint: str | None, wait_s: float, *, attempts: int, signed: bool = True
    ) -> "S3Client":
        return connect(
            self._session,
            endpoint,
            addressing=self.config.addressing,
            authority=self.config.authority,
            read_timeout_s=wait_s,
            attempts=attempts,
            signed=signed,
        )

    def close(self) -> None:
        """Close all connections."""
        for client in (self._client, self._quick_client, self._signing_client):
            client.close()

    @property
    def browsers_reach_it(self) -> bool:
        """Whether browsers can use a presigned URL: Amazon's S3, or a `public_endpoint`."""
        host = urlsplit(self._client.meta.endpoint_url).hostname or ""
        return self.config.public_endpoint is not None or host.endswith(_AMAZON)

    @property
    def browser_origin(self) -> str | None:
        """The origin of presigned URLs; None if browsers cannot reach the store."""
        if not self.browsers_reach_it:
            return None
        # The client that signs would have to find credentials first.
        client = self._connect(self._public_endpoint, 1, attempts=1, signed=False)
        try:
            place = {"Bucket": self.config.bucket, "Key": KEY_PREFIX}
            url = urlsplit(client.generate_presigned_url("get_object", Params=place))
        finally:
            client.close()
        return f"{url.scheme}://{url.netloc}"

    def key_for(self, recording: Recording) -> str:
        """Make a recording's key. Raises ValueError if a name would be unsafe in it."""
        return recording_key(recording.username, recording.started_at, recording.id)

    def put_bytes(self, data: bytes, key: str) -> None:
        """Store a short recording, or what there is of it, in one PUT."""
        self._put(key, data, AUDIO)

    def put(self, path: Path, key: str) -> None:
        """Store a file: one PUT, or parts if it is long. The server checks the MD5 of each."""
        with path.open("rb") as file:
            self._put_file(file, key, AUDIO)

    def put_copy(self, file: IO[bytes], key: str, copy: Copy) -> None:
        """Store a copy beside a recording."""
        self._put_file(file, copy_key(key, copy), MEDIA_TYPES[copy])

    def _put_file(self, file: IO[bytes], key: str, media_type: str) -> None:
        file.seek(0)
        if os.fstat(file.fileno()).st_size <= CHUNK_BYTES:
            self._put(key, file.read(), media_type)
        else:
            self.parts.put_all(key, iter(lambda: file.read(CHUNK_BYTES), b""), media_type)

    def _put(self, key: str, body: bytes, media_type: str) -> None:
        with translated(key):
            self._client.put_object(
                Bucket=self.config.bucket,
                Key=key,
                Body=body,
                ContentType=media_type,
                ContentMD5=content_md5(body),
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

    def put_peaks(
        self,
        key: str,
        peaks: Iterable[float],
        title: str | None = None,
        account: str | None = None,
    ) -> None:
        """Store `{"peaks": [...], "title": ..., "account": ...}` beside a recording."""
        told: dict[str, Any] = {"peaks": list(peaks)}
        told |= {"title": title} if title else {}
        told |= {"account": account} if account else {}
        self._put(peaks_key(key), json.dumps(told).encode(), "application/json")

    def get_peaks(self, key: str) -> tuple[float, ...]:
        """Get the peaks of a recording. Raises ObjectMissing."""
        return self.get_beside(key).peaks

    def get_beside(self, key: str) -> Beside:
        """Get what is stored beside a recording. Raises ObjectMissing."""
        stored = self.open(peaks_key(key))
        try:
            told = json.loads(b"".join(stored))
        finally:
            stored.close()
        return Beside(tuple(told["peaks"]), told.get("title"), told.get("account"))

    def presign(
        self,
        key: str,
        *,
        download_name: str | None = None,
        expires_s: int = 3600,
        media_type: str = AUDIO,
    ) -> str:
        """Make a URL that a browser can play, with ranges, or download under a name, for a time."""
        disposition = attachment(download_name) if download_name else "inline"
        return self._signing_client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.config.bucket,
                "Key": key,
                "ResponseContentType": media_type,
                "ResponseContentDisposition": disposition,
            },
            ExpiresIn=expires_s,
        )

    def open(
        self, key: str, byte_range: str | None = None, if_range: str | None = None
    ) -> StoredBody:
        """Start reading an object, or one range of it; ignores a header with several ranges.

        `byte_range` is a Range header, `if_range` an If-Range header: a range of anything else than
        the object with that ETag is ignored too (RFC 9110, section 13.1.5). Raises ObjectMissing or
        RangeNotSatisfiable. The caller closes the body.
        """
        one_range = byte_range if byte_range and _ONE_RANGE.fullmatch(byte_range) else None
        wanted = {"Range": _TOO_LARGE.sub("9" * 18, one_range)} if one_range else {}
        with translated(key):
            if wanted and if_range and if_range != self._etag(key):
                wanted = {}
            got: Any = self._client.get_object(Bucket=self.config.bucket, Key=key, **wanted)  # type: ignore[arg-type]
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(got["ContentLength"])}
        headers["Content-Type"] = got.get("ContentType", AUDIO)
        for name, field_name in (("ETag", "ETag"), ("Content-Range", "ContentRange")):
            if field_name in got:
                headers[name] = got[field_name]
        return StoredBody(206 if "ContentRange" in got else 200, headers, got["Body"])

    def _etag(self, key: str) -> str:
        return self._client.head_object(Bucket=self.config.bucket, Key=key)["ETag"]

    def exists(self, key: str) -> bool:
        """Tell whether an object exists under this key."""
        try:
            self.size(key)
        except ObjectMissing:
            return False
        return True

    def delete(self, key: str) -> None:
        """Delete a recording and all that is beside it, if they exist."""
        beside = (tail_key(key), peaks_key(key), *(copy_key(key, copy) for copy in Copy))
        with translated(key):
            for each in (key, *beside):
                self._client.delete_object(Bucket=self.config.bucket, Key=each)

    def list_keys(self) -> Iterator[str]:
        """Iterate over the keys of all recordings, without what is beside them."""
        return (key for key in self._all_keys() if key.endswith(".wav"))

    def list_tails(self) -> Iterator[str]:
        """Iterate over the keys of recordings that have a tail."""
        tails = (key for key in self._all_keys() if key.endswith(TAIL_EXTENSION))
        return (f"{key.removesuffix(TAIL_EXTENSION)}.wav" for key in tails)

    def _all_keys(self) -> Iterator[str]:
        with translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.config.bucket, Prefix=KEY_PREFIX
            )
            for page in pages:
                yield from (entry["Key"] for entry in page.get("Contents", []))

    def check(self) -> None:
        """Check that the bucket exists. Otherwise raises StoreUnavailable within seconds."""
        try:
            self._ask_bucket()
        except StoreUnavailable as error:
            if not error.refused or error.code:
                raise
            # Its refusal, unlike that of a HEAD, says why. A wrong region botocore then corrects.
            self._list_one()

    def clock(self) -> float:
        """Get the store's time, in whole seconds since 1970."""
        told = self._ask_bucket()["ResponseMetadata"]["HTTPHeaders"].get("date")
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

    def _ask_bucket(self) -> Any:
        try:
            return self._head_bucket()
        except ObjectMissing as error:
            told = f"S3: there is no bucket {self.config.bucket}"
            reason = "has no such bucket"
            raise StoreUnavailable(
                told, reason=reason, code="NoSuchBucket", refused=True
            ) from error

    def _head_bucket(self) -> Any:
        with translated(self.config.bucket):
            return self._quick_client.head_bucket(Bucket=self.config.bucket)

    def _list_one(self) -> None:
        with translated():
            self._quick_client.list_objects_v2(
                Bucket=self.config.bucket, Prefix=KEY_PREFIX, MaxKeys=1
            )

    def size(self, key: str) -> int:
        """Get an object's size in bytes. Raises ObjectMissing."""
        with translated(key):
            return self._client.head_object(Bucket=self.config.bucket, Key=key)["ContentLength"]
