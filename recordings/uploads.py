"""What is known off the node about recordings under way: who holds them, and their parts.

`hushcast:recording:ID:held` exists while somebody writes or finishes a recording, and
`hushcast:recording:ID:upload` holds what is needed to finish it from the parts in the store.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from recordings.errors import IndexUnavailable
from recordings.multipart import Part

HELD_TTL_S = 30
HELD_RENEWAL_S = 8.0
UPLOAD_TTL_S = 30 * 86_400


@dataclass(frozen=True)
class Upload:
    """The upload of one recording: its key in the bucket, S3's id, the parts that are there."""

    recording_id: str
    key: str
    upload_id: str
    parts: tuple[Part, ...] = ()


class UploadLog:
    """Reads and writes those keys. Every method raises IndexUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def write(self, upload: Upload) -> None:
        """Note an upload, or a part more of it."""
        with translated():
            await self._redis.set(
                _upload_key(upload.recording_id), json.dumps(asdict(upload)), ex=UPLOAD_TTL_S
            )

    async def read(self, recording_id: str) -> Upload | None:
        """Get what is noted."""
        with translated():
            text = await self._redis.get(_upload_key(recording_id))
        if text is None:
            return None
        fields = json.loads(text)
        parts = tuple(Part(**part) for part in fields.pop("parts"))
        return Upload(**fields, parts=parts)

    async def forget(self, recording_id: str) -> None:
        """Drop what is noted: the recording is stored, or gone."""
        with translated():
            await self._redis.delete(_upload_key(recording_id))

    async def held(self, recording_id: str) -> bool:
        """Tell whether somebody writes or finishes this recording."""
        with translated():
            return bool(await self._redis.exists(_held_key(recording_id)))

    async def try_hold(self, recording_id: str) -> bool:
        """Become the only one to finish a recording that was left; `hold` keeps it held."""
        with translated():
            return bool(await self._redis.set(_held_key(recording_id), "1", nx=True, ex=HELD_TTL_S))

    @asynccontextmanager
    async def hold(self, recording_id: str) -> AsyncIterator[None]:
        """Show everybody that this recording is being worked on; Redis may be away meanwhile."""
        renewal = asyncio.create_task(self._renew(recording_id), name=f"hold {recording_id}")
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            try:
                with translated():
                    await self._redis.delete(_held_key(recording_id))
            except IndexUnavailable:
                pass  # it expires by itself

    async def _renew(self, recording_id: str) -> None:
        while True:
            try:
                with translated():
                    await self._redis.set(_held_key(recording_id), "1", ex=HELD_TTL_S)
            except IndexUnavailable:
                pass
            await asyncio.sleep(HELD_RENEWAL_S)

    async def take_turn(self, what: str, every_s: int) -> bool:
        """Tell whether it is this process's turn to do something that one does for all."""
        with translated():
            return bool(await self._redis.set(f"hushcast:turn:{what}", "1", nx=True, ex=every_s))


def _upload_key(recording_id: str) -> str:
    return f"hushcast:recording:{recording_id}:upload"


def _held_key(recording_id: str) -> str:
    return f"hushcast:recording:{recording_id}:held"


@contextmanager
def translated() -> Iterator[None]:
    """Turn Redis' errors into ours."""
    try:
        yield
    except RedisError as error:
        raise IndexUnavailable(f"Redis: {error}") from error
