"""Hears what is told when access is taken back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.access import CHANNEL, AccessEnded
from foundation.redis import connect_subscriber
from tests.edge.conftest import Edge


@pytest.fixture
async def ended(edge: Edge, redis_url: str) -> AsyncIterator[list[AccessEnded]]:
    """What is told to sockets and streams."""
    heard: list[AccessEnded] = []
    async with connect_subscriber(redis_url) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(edge.redis.channel(CHANNEL))

        async def read() -> None:
            async for message in pubsub.listen():
                if message["type"] == "message":
                    heard.append(AccessEnded.from_json(message["data"]))

        reading = asyncio.create_task(read())
        yield heard
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
