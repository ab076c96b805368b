"""StreamDirectory: the pool of stream actors as a Serve deployment, and its client."""

import asyncio
from typing import Any

from ray import serve
from ray.exceptions import RayTaskError

from deployments.pool import Pool, PoolConfig
from deployments.stream_actors import RayStreamActors, foreseen
from foundation import logs
from foundation.logs import request_id

DIRECTORY_TIMEOUT_S = 15.0


@serve.deployment(
    num_replicas=1,
    ray_actor_options={"num_cpus": 0.1},
    max_ongoing_requests=1000,
    logging_config={"enable_access_log": False},
)
class StreamDirectory:
    """The pool, plain data in and out. Serve starts a new replica before the old one is gone."""

    def __init__(self, config: PoolConfig) -> None:
        logs.configure("directory", config.actor.config.logs)
        self._pool = Pool(config, RayStreamActors())
        self._rounds = asyncio.create_task(self._pool.run(), name="pool")

    def check_health(self) -> None:
        """Raise if the pool has ended, so that Serve replaces this replica."""
        if self._rounds.done():
            raise RuntimeError(f"the pool has ended: {self._rounds}")

    async def assign(self, username: str, request: str) -> str:
        """Reserve a place for a user's stream, on behalf of a request. Raises NoCapacity."""
        logs.request_id.set(request)  # by its module: Serve pickles this class, not that
        return await self._pool.assign(username)

    async def count_warm(self) -> int:
        """Count the places that are ready for a new stream."""
        return self._pool.count_warm()

    async def name_warm(self) -> list[str]:
        """Name the actors that have their model, those with the fewest streams first."""
        return self._pool.name_warm()


class DirectoryClient:
    """The directory as the ingress sees it, behind a Serve handle.

    Every method raises RayError or TimeoutError when the directory does not answer.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def assign(self, username: str) -> str:
        """Get the name of the actor that hosts a user's stream.

        Raises NoCapacity or RedisUnavailable.
        """
        try:
            async with asyncio.timeout(DIRECTORY_TIMEOUT_S):
                return str(await self._handle.assign.remote(username, request_id.get()))
        except RayTaskError as error:
            raise foreseen(error) or error from None

    async def count_warm(self) -> int:
        """Count the places that are ready for a new stream."""
        async with asyncio.timeout(DIRECTORY_TIMEOUT_S):
            return int(await self._handle.count_warm.remote())

    async def name_warm(self) -> list[str]:
        """Name the actors that have their model, those with the fewest streams first."""
        async with asyncio.timeout(DIRECTORY_TIMEOUT_S):
            return list(await self._handle.name_warm.remote())
