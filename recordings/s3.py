"""The S3 client, and the translation of its errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from recordings.errors import ObjectMissing, RangeNotSatisfiable, StoreUnavailable
from recordings.names import KEY_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def connect(
    session: boto3.session.Session, endpoint: str | None, *, read_timeout_s: int, attempts: int
) -> "S3Client":
    """Make a client; `endpoint` None means Amazon's."""
    return session.client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=2,
            read_timeout=read_timeout_s,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=32,
        ),
    )


@contextmanager
def translated(what: str = "") -> Iterator[None]:
    """Turn boto3's errors into ours."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {})
        if status.get("HTTPStatusCode") == 416:
            content_range = status["HTTPHeaders"].get("content-range", "bytes */0")
            raise RangeNotSatisfiable(int(content_range.rsplit("/", 1)[1])) from error
        if status.get("HTTPStatusCode") == 404:
            raise ObjectMissing(what) from error
        raise StoreUnavailable(_told(error)) from error
    except (BotoCoreError, Boto3Error) as error:
        raise StoreUnavailable(_told(error)) from error


def _told(error: Exception) -> str:
    """Tell an error without the keys in its URLs: they name people."""
    return "S3: " + re.sub(rf"/{KEY_PREFIX}[^\s\"']*", f"/{KEY_PREFIX}...", str(error))
