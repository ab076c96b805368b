"""The copies of accounts in the bucket, by account id; what is in them is the caller's to say.

They are below `recordings/`, where hushcast's keys may write, under a name that no user can have.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recordings.errors import ObjectMissing
from recordings.names import KEY_PREFIX, check_account
from recordings.s3 import content_md5, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = f"{KEY_PREFIX}.accounts/"
_KEY = re.compile(rf"{re.escape(PREFIX)}([0-9a-f]+)\.json")


class AccountObjects:
    """Those of one bucket. Methods are synchronous, for threads; raise StoreUnavailable."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, account: str, body: bytes) -> None:
        """Store or replace the copy of an account."""
        with translated():
            self._client.put_object(
                Bucket=self._bucket,
                Key=_key(account),
                Body=body,
                ContentType="application/json",
                ContentMD5=content_md5(body),
            )

    def get(self, account: str) -> bytes | None:
        """Get the copy of an account, or None."""
        try:
            with translated():
                got = self._client.get_object(Bucket=self._bucket, Key=_key(account))
                return got["Body"].read()
        except ObjectMissing:
            return None

    def delete(self, account: str) -> None:
        """Delete the copy of an account, if there is one."""
        with translated():
            self._client.delete_object(Bucket=self._bucket, Key=_key(account))

    def ids(self) -> Iterator[str]:
        """Iterate over the ids of all accounts that have a copy."""
        with translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=PREFIX
            )
            for page in pages:
                found = (_KEY.fullmatch(entry["Key"]) for entry in page.get("Contents", []))
                yield from (match[1] for match in found if match)


def _key(account: str) -> str:
    return f"{PREFIX}{check_account(account)}.json"
