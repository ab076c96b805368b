"""The log of uploads in progress, kept in Redis so that it survives the loss of a node.

`hushcast:recording:ID:upload` holds what is needed to finish a recording from its parts.
"""

import json
from dataclasses import asdict, dataclass

from foundation.redis import RedisClient
from recordings.multipart import Part

UPLOAD_TTL_S = 30 * 86_400


@dataclass(frozen=True)
class Upload:
    """One recording's upload: its key in the bucket, S3's upload id, the parts stored so far."""

    recording_id: str
    key: str
    upload_id: str
    parts: tuple[Part, ...] = ()


class UploadLog:
    """Reads and writes those keys. Every method raises RedisUnavailable."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def write(self, upload: Upload) -> None:
        """Write or replace an upload's entry."""
        await self._redis.set(
            _upload_key(upload.recording_id), json.dumps(asdict(upload)), ex=UPLOAD_TTL_S
        )

    async def read(self, recording_id: str) -> Upload | None:
        """Get an upload's entry, or None."""
        text = await self._redis.get(_upload_key(recording_id))
        if text is None:
            return None
        fields = json.loads(text)
        parts = tuple(Part(**part) for part in fields.pop("parts"))
        return Upload(**fields, parts=parts)

    async def forget(self, recording_id: str) -> None:
        """Delete an upload's entry, once the recording is stored or gone."""
        await self._redis.delete(_upload_key(recording_id))


def _upload_key(recording_id: str) -> str:
    return f"hushcast:recording:{recording_id}:upload"
