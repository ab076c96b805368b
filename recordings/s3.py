"""The S3 client, and the translation of its errors.

What AWS's own tools read is obeyed where nothing else is set: `AWS_REGION`, `AWS_CA_BUNDLE`,
`AWS_ENDPOINT_URL`, the checksum settings, the AWS config file, the chain of credentials. Only the
defaults differ: no checksum headers or trailers and no `aws-chunked` bodies, which many stores
refuse or, worse, keep as part of the object. Bodies go with a Content-MD5, which every store knows
and Amazon's wants for buckets with Object Lock.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NotConnected
from botocore.parsers import ResponseParserError

from recordings.errors import ObjectMissing, RangeNotSatisfiable, StoreUnavailable
from recordings.names import KEY_PREFIX
from recordings.watch import watch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Addressing = Literal["path", "virtual"]
"""`https://host/bucket/key` or `https://bucket.host/key`."""

DEFAULT_REGION = "us-east-1"
CONNECT_TIMEOUT_S = 2
_NOT_S3 = "is not an S3 store, or a proxy is in the way"

# Name: its key in the AWS config file, environment variables, default, conversion; the form is that
# of botocore's `SESSION_VARIABLES`, with two other defaults and one more variable.
_VARIABLES: dict[str, Any] = {
    "region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None),
    "request_checksum_calculation": (
        "request_checksum_calculation",
        "AWS_REQUEST_CHECKSUM_CALCULATION",
        "when_required",
        None,
    ),
    "response_checksum_validation": (
        "response_checksum_validation",
        "AWS_RESPONSE_CHECKSUM_VALIDATION",
        "when_required",
        None,
    ),
}
_NO_PROFILE: dict[str, Any] = {"profile": (None, None, None, None)}


def new_session(
    access_key: str | None, secret_key: str | None, region: str | None
) -> boto3.session.Session:
    """Make a session of our own: boto3's default one is not safe to share between threads."""
    found = botocore.session.Session(_VARIABLES)
    if access_key is not None:
        try:
            found.get_scoped_config()
        except ProfileNotFound:  # an AWS_PROFILE meant for other programs; we have the keys
            found = botocore.session.Session(_VARIABLES | _NO_PROFILE)
    region = region or found.get_config_variable("region") or DEFAULT_REGION
    return boto3.session.Session(access_key, secret_key, region_name=region, botocore_session=found)


def connect(
    session: boto3.session.Session,
    endpoint: str | None,
    *,
    addressing: Addressing | None,
    authority: Path | None,
    read_timeout_s: float,
    attempts: int,
    signed: bool = True,
) -> "S3Client":
    """Make a client. What is None is as AWS's variables and config file say.

    Without these: Amazon's endpoint, path addressing, the authorities that come with botocore.
    """
    client = session.client(
        "s3",
        endpoint_url=endpoint,
        verify=None if authority is None else str(authority),
        config=Config(
            signature_version="s3v4" if signed else UNSIGNED,
            s3={"addressing_style": addressing or _addressing(session)},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=32,
        ),
    )
    watch(client, read_timeout_s)
    client.meta.events.register_first("needs-retry.s3", _refuse_pages)
    client.meta.events.register_first("needs-retry.s3", _refuse_redirects)
    return client


def _refuse_pages(
    response: tuple[Any, dict[str, Any]] | None, operation: Any, **others: Any
) -> None:
    """Raise StoreUnavailable for a web page that comes with a good status, as an answer or object.

    An empty answer may well say that it is HTML: OpenStack Swift's do.
    """
    if response is None or response[0].raw.status >= 300:  # botocore may have made a 500 of it
        return
    http, _ = response
    if http.headers.get("content-type", "").startswith("text/html") and (
        operation.has_streaming_output or http.content
    ):
        reason = f"{_NOT_S3}: it answers with a web page"
        raise StoreUnavailable(f"S3: it {reason}", reason=reason)


def _refuse_redirects(response: tuple[Any, dict[str, Any]] | None, **others: Any) -> None:
    """Raise StoreUnavailable for a redirect that names no region.

    botocore would then ask for the bucket's, be redirected again, and so on without end.
    """
    if response is None or response[0].status_code not in (301, 302, 303, 307, 308):
        return
    http, parsed = response
    if "x-amz-bucket-region" in http.headers or parsed.get("Error", {}).get("Region"):
        return
    place = re.match(r"https?://([\w.:-]+)", http.headers.get("location", ""))
    raise StoreUnavailable(
        f"S3: it {_NOT_S3}: it redirects to {place[1] if place else 'another place'}",
        reason=f"{_NOT_S3}: it redirects elsewhere",
        code=_code(parsed),
    )


def _addressing(session: boto3.session.Session) -> Any:
    configured: dict[str, Any] = session._session.get_config_variable("s3") or {}
    return configured.get("addressing_style") or "path"


def content_md5(body: bytes) -> str:
    """Make a Content-MD5 header (RFC 1864)."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


@contextmanager
def translated(what: str = "") -> Iterator[None]:
    """Turn boto3's errors into ours."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {})
        code = _code(error.response)
        if status.get("HTTPStatusCode") == 416:
            content_range = status["HTTPHeaders"].get("content-range", "bytes */0")
            raise RangeNotSatisfiable(int(content_range.rsplit("/", 1)[1])) from error
        if status.get("HTTPStatusCode") == 404 and code != "NoSuchBucket":
            raise ObjectMissing(what) from error
        answer = f"{status.get('HTTPStatusCode', '')} {code}".strip()
        raise StoreUnavailable(
            _told(error), reason=f"refuses requests ({answer})", code=code, refused=True
        ) from error
    except BotoCoreError as error:
        raise StoreUnavailable(_told(error), reason=_reason(error)) from error
    except (ResponseParserError, KeyError) as error:
        reason = f"{_NOT_S3}: its answer is not one of S3's"
        raise StoreUnavailable(f"S3: it {reason}", reason=reason) from error


def _code(answer: Any) -> str:
    """Get S3's code; botocore repeats the status where an answer has no body."""
    code = str(answer.get("Error", {}).get("Code", ""))
    return code if re.fullmatch("[A-Za-z]{1,64}", code) else ""


_REASONS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((ReadTimeoutError, ConnectTimeoutError), "does not answer in time"),
    ((SSLError,), "cannot be trusted: its TLS certificate is refused"),
    ((NotConnected, HTTPClientError), "cannot be reached"),
    (
        (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound),
        "cannot be used: there are no credentials for it",
    ),
)


def _reason(error: Exception) -> str:
    found = (reason for kinds, reason in _REASONS if isinstance(error, kinds))
    return next(found, "cannot be used")


def _told(error: Exception) -> str:
    """Tell an error without the keys in its URLs: they name people."""
    return "S3: " + re.sub(
        rf"(?<=[/=]){KEY_PREFIX[:-1]}(/|%2F)[^\s\"']*", f"{KEY_PREFIX}...", str(error)
    )
