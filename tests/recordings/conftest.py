"""An empty bucket and an empty Redis database for each test, on the real servers."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from foundation.redis import RedisClient, connect
from recordings.index import RecordingIndex
from recordings.store import RecordingStore, StoreConfig
from tests.servers import s3 as s3
from tests.servers import valkey as valkey

DATABASE, BUCKET = 9, "test-recordings"
"""Their own logical database and bucket, because these tests empty them."""


@pytest.fixture
def redis_url(valkey: str) -> str:
    return f"{valkey.removesuffix('/0')}/{DATABASE}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    async with connect(redis_url) as client:
        await client.flushdb()
        yield client


@pytest.fixture
def index(redis: RedisClient) -> RecordingIndex:
    return RecordingIndex(redis)


@pytest.fixture
def store_config(s3: StoreConfig) -> StoreConfig:
    return replace(s3, bucket=BUCKET)


@pytest.fixture
def store(store_config: StoreConfig) -> Iterator[RecordingStore]:
    store = RecordingStore(store_config)
    store.ensure_bucket()
    for key in store.list_keys():
        store.delete(key)
    for upload in list(store.parts.open_uploads()):
        store.parts.abort(upload.key, upload.upload_id)
    yield store
    store.close()


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder
