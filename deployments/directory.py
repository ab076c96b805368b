"""StreamDirectory: the pool of stream actors as a Serve deployment, and its client.

Several replicas run side by side, on nodes of their own where a cluster has several: all of them
find places, and the one that holds a lease keeps the supply.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError

from actors.errors import ActorSilent, NoCapacity
from actors.status import StatusStore
from deployments.drain import Drains, Left
from deployments.ends import witnessed
from deployments.pool import Pool, PoolConfig, StillStarting
from deployments.recovery import RecoveryConfig, RecoveryKeeper
from deployments.stream_actors import RayStreamActors, foreseen
from foundation import logs
from foundation.lease import Lease, this_process
from foundation.logs import request_id
from foundation.redis import RedisClient, RedisUnavailable, connect

log = logging.getLogger(__name__)

DIRECTORY_TIMEOUT_S = 4.0
"""How long one replica may take; longer than it lets somebody wait for a place."""
ASSIGN_LIMIT_S = 10.0
"""How long somebody waits for a place in all, whichever replicas are asked."""
KEEPER_KEY = "hushcast:lease:supply"
RELEASE_KEY = "hushcast:supply:release"
"""The release that keeps the supply: of two that run, the one that came last."""
KEEPER_TTL_S = 6.0
DRAIN_INTERVAL_S = 1.0
REACHED_S = 2.0
"""Redis is within reach for so long after it has answered."""


class Supplier:
    """This replica's side of the lease on the supply, and what Redis holds for the pool.

    While Redis is away nobody keeps the supply: no stream can start anyway.
    """

    def __init__(self, redis: RedisClient, version: str) -> None:
        self._redis = redis
        self._version = version
        self._drains = Drains(redis)
        self._lease = self._bid()
        self._held_until = 0.0
        self._reached_at = 0.0
        self._announced = False

    @property
    def reaches_redis(self) -> bool:
        """Whether Redis has answered lately."""
        return time.monotonic() - self._reached_at < REACHED_S

    @property
    def keeps(self) -> bool:
        """Whether this replica keeps the supply."""
        return time.monotonic() < self._held_until

    async def run(self, pool: Callable[[], Pool]) -> None:
        """Compete for the lease, and say what is left on draining nodes, until cancelled."""
        while True:
            try:
                began = time.monotonic()
                if self._lease.lost:
                    self._lease = self._bid()
                if not await self._is_latest():
                    self._held_until = 0.0
                elif await self._lease.hold():
                    is_new = not self.keeps
                    self._held_until = began + KEEPER_TTL_S
                    if is_new:
                        pool().look_again()
                    for node in await self._drains.read(time.time()):
                        actors, streams = pool().left_on(node) or (None, 0)
                        await self._drains.tell(node, Left(actors, streams, time.time()))
                self._reached_at = time.monotonic()
            except RedisUnavailable as error:
                log.warning("the lease on the supply is not renewed: %s", error)
            await asyncio.sleep(DRAIN_INTERVAL_S)

    async def drains(self) -> Mapping[str, float]:
        """Get the nodes that people want to be drained; none while Redis is away."""
        try:
            return await self._drains.read(time.time())
        except RedisUnavailable:
            return {}

    async def _is_latest(self) -> bool:
        """Tell whether no later release runs.

        If two kept the supply during an update, each would let the other's actors exit.
        """
        ttl_ms = round(1000 * KEEPER_TTL_S)
        latest = await self._redis.set(
            RELEASE_KEY, self._version, px=ttl_ms, nx=self._announced, get=True
        )
        if self._announced and latest not in (None, self._version):
            return False
        self._announced = True
        await self._redis.pexpire(RELEASE_KEY, ttl_ms)
        return True

    def _bid(self) -> Lease:
        # By release: a new one does not wait until the old one's has run out.
        key = f"{KEEPER_KEY}:{self._version}"
        return Lease(self._redis, key, holder=this_process(), ttl_s=KEEPER_TTL_S)


@serve.deployment(
    num_replicas=1,
    ray_actor_options={"num_cpus": 0.1},
    max_ongoing_requests=1000,
    logging_config={"enable_access_log": False},
)
class StreamDirectory:
    """The pool, plain data in and out. Serve starts a new replica before the old one is gone."""

    def __init__(self, config: PoolConfig, recovery: RecoveryConfig | None = None) -> None:
        logs.configure("directory", config.actor.config.logs)
        redis = connect(config.actor.config.redis_url)
        supplier = Supplier(redis, config.actor.config.version)
        self._supplier = supplier
        self._pool = Pool(
            config,
            witnessed(RayStreamActors(), StatusStore(redis)),
            drains=supplier.drains,
            keeps=lambda: supplier.keeps,
            here=ray.get_runtime_context().get_node_id(),
        )
        keepers = [RecoveryKeeper(recovery).run()] if recovery else []
        self._rounds = asyncio.gather(self._pool.run(), supplier.run(lambda: self._pool), *keepers)

    def check_health(self) -> None:
        """Raise if a background task has ended, so that Serve replaces this replica."""
        if self._rounds.done():
            raise RuntimeError(f"a background task of the directory has ended: {self._rounds}")

    async def assign(self, username: str, request: str) -> str | NoCapacity | RedisUnavailable:
        """Reserve a place for a user's stream, on behalf of a request.

        A refusal is returned: Serve logs what is raised as an error, with a traceback.
        """
        logs.request_id.set(request)  # by its module: Serve pickles this class, not that
        try:
            return await self._pool.assign(username)
        except (NoCapacity, RedisUnavailable) as refusal:
            return refusal

    async def count_warm(self) -> int:
        """Count the places that are ready for a new stream."""
        return self._pool.count_warm()

    async def name_warm(self) -> list[str]:
        """Name the actors that have their model, those with the least to do first."""
        return self._pool.name_warm()

    async def problems(self) -> list[str]:
        """Say why nodes of the cluster have no actors, a sentence each."""
        return self._pool.problems()

    async def reaches_redis(self) -> bool:
        """Tell whether this replica reaches Redis."""
        return self._supplier.reaches_redis


class DirectoryClient:
    """The directory as the ingress sees it, behind a Serve handle.

    Every method raises ActorSilent when the directory does not answer.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def assign(self, username: str) -> str:
        """Get the name of the actor that hosts a user's stream.

        A replica that does not answer is left for another one: whoever asks again gets the same
        place. Raises NoCapacity or RedisUnavailable.
        """
        deadline = time.monotonic() + ASSIGN_LIMIT_S - DIRECTORY_TIMEOUT_S
        while True:
            try:
                answer = await self._ask(self._handle.assign, username, request_id.get())
                if isinstance(answer, Exception):
                    raise answer
                return str(answer)
            except (StillStarting, ActorSilent) as error:
                if time.monotonic() > deadline:
                    raise
                log.info("no place yet: %r", error)

    async def count_warm(self) -> int:
        """Count the places that are ready for a new stream."""
        return int(await self._ask(self._handle.count_warm))

    async def name_warm(self) -> list[str]:
        """Name the actors that have their model, those with the least to do first."""
        return list(await self._ask(self._handle.name_warm))

    async def problems(self) -> list[str]:
        """Say why nodes of the cluster have no actors, a sentence each."""
        return list(await self._ask(self._handle.problems))

    async def reaches_redis(self) -> bool:
        """Tell whether one of the replicas, any of them, reaches Redis."""
        return bool(await self._ask(self._handle.reaches_redis))

    async def _ask(self, method: Any, *arguments: str) -> Any:
        try:
            async with asyncio.timeout(DIRECTORY_TIMEOUT_S):
                return await method.remote(*arguments)
        except RayTaskError as error:
            raise foreseen(error) or error from None
        except (RayError, TimeoutError) as error:
            raise ActorSilent("The stream directory does not answer.") from error
