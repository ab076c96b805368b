"""StreamDirectory: keeps warm stream actors and says which one hosts a new stream.

It holds no truth of its own. Which actors there are, it learns from Ray; whom they host, from
the actors; who hosts a user, from one `SET NX` in Redis. So it can die and come back, and two
of them side by side (Serve starts a new replica before the old one is gone) do no harm.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.util import list_named_actors

from actors.errors import NoCapacity
from actors.status import StatusStore
from actors.stream import (
    NAME_PREFIX,
    NAMESPACE,
    ActorDescription,
    StreamActor,
    StreamActorConfig,
)
from foundation.ids import new_id
from foundation.redis import RedisUnavailable, connect

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # An actor has 36 threads: with an arena for each of them glibc gives little back. The parts of
    # recordings, 5 MiB each, are mapped and unmapped instead of making holes in the heap.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
}
"""Of stream actors."""
SWEEP_INTERVAL_S = 0.5
ASK_INTERVAL_S = 2.0
SURPLUS_IDLE_S = 300.0
"""An idle actor exits after this long when `warm_actors` others are free."""
ASK_TIMEOUT_S = 5.0
CLAIM_WAIT_S = 4.0
"""How long a new stream waits for an actor that is just being started."""


@dataclass(frozen=True)
class PoolConfig:
    """How many stream actors stand ready, and what each of them takes of a node."""

    actor: StreamActorConfig
    warm_actors: int = 1
    num_cpus: float = 0.2
    num_gpus: float = 0.0


class Pool:
    """The stream actors of the cluster, as far as this process knows them."""

    def __init__(self, config: PoolConfig, store: StatusStore) -> None:
        self._config = config
        self._store = store
        self._known: dict[str, ActorDescription] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._assigning = asyncio.Lock()
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Keep the pool filled and the ends of dead actors' streams published, for ever."""
        asked_at = 0.0
        while True:
            try:
                expired = await self._store.publish_expired(
                    change_id=new_id(), changed_at=time.time()
                )
                for username, stream_id in expired:
                    log.info("stream %s: its actor died; its page is asked to go on", stream_id)
                    await self._store.tell_pages(username, "republish", stream_id, "")
                if time.monotonic() - asked_at > ASK_INTERVAL_S:
                    await self._ask_all()
                    asked_at = time.monotonic()
                self._fill()
            except (RedisUnavailable, RayError) as error:
                log.warning("the directory's round failed, the next one follows: %r", error)
            await asyncio.sleep(SWEEP_INTERVAL_S)

    async def assign(self, username: str) -> str:
        """Reserve a place for a user's stream; returns the actor's name.

        Waits a moment for an actor that is starting. Raises NoCapacity after that.
        """
        deadline = time.monotonic() + CLAIM_WAIT_S
        while True:
            async with self._assigning:
                name = await self._claim_one(username)
            if name is not None:
                return name
            await self._ask_all()  # somebody may have stopped since the last round
            if any(map(_free, self._known.values())):
                continue
            self._fill()
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoCapacity("All stream actors are busy. Please try again in a moment.")
            try:
                async with asyncio.timeout(left), self._changed:
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def count_warm(self) -> int:
        """Count the places that are ready for a new stream."""
        return sum(_free(description) for description in self._known.values())

    async def _claim_one(self, username: str) -> str | None:
        for name, description in list(self._known.items()):
            if not _free(description):
                continue
            try:
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    host: str | None = await _handle(name).reserve.remote(username)
                    if host is None:
                        self._known[name] = await _handle(name).describe.remote()
                        continue
            except (RayError, ValueError):
                self._forget(name)
                continue
            except TimeoutError:
                log.warning("actor %s does not answer", name)
                continue
            if host != name:
                return host
            self._known[name] = replace(description, users=(*description.users, username))
            self._fill()
            return name
        return None

    async def _ask_all(self) -> None:
        """Learn from Ray which actors there are, and from them whom they host."""
        names = _names()
        for name in set(self._known) - names:
            self._forget(name)
        await asyncio.gather(*(self._ask(name) for name in names - set(self._starting)))

    async def _ask(self, name: str) -> None:
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                description: ActorDescription = await _handle(name).describe.remote()
        except (RayError, ValueError):
            self._forget(name)
            return
        except TimeoutError:
            log.warning("actor %s does not answer", name)
            return
        if self._leaves(description):
            self._forget(name)
            _handle(name).leave.remote()
        elif description.version == self._config.actor.version:
            await self._learn(description)

    def _leaves(self, description: ActorDescription) -> bool:
        """Tell whether an actor ends now: it is of another release, or superfluous."""
        if description.users:
            return False
        others = sum(_free(d) for n, d in self._known.items() if n != description.name)
        surplus = others >= self._config.warm_actors and description.idle_s > SURPLUS_IDLE_S
        return surplus or description.version != self._config.actor.version

    async def _learn(self, description: ActorDescription) -> None:
        self._known[description.name] = description
        async with self._changed:
            self._changed.notify_all()

    def _forget(self, name: str) -> None:
        if self._known.pop(name, None) is not None:
            log.info("actor %s is gone", name)

    def _fill(self) -> None:
        """Start actors until enough places are warm or warming."""
        per_actor = self._config.actor.streams_per_actor
        warm = sum(_free(description) for description in self._known.values())
        missing = self._config.warm_actors - warm - len(self._starting) * per_actor
        for _ in range(-(-missing // per_actor)):
            name = NAME_PREFIX + new_id()
            self._starting[name] = asyncio.create_task(self._start(name), name=f"start {name}")

    async def _start(self, name: str) -> None:
        """Start one actor and wait until its model is loaded.

        Without free resources it stays pending: that is what tells Ray's autoscaler.
        """
        started = time.monotonic()
        try:
            handle: Any = StreamActor.options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                num_cpus=self._config.num_cpus,
                num_gpus=self._config.num_gpus,
                max_restarts=0,
                max_concurrency=1000,
                runtime_env={"env_vars": ENVIRONMENT},
            ).remote(name, self._config.actor)
            description: ActorDescription = await handle.ready.remote()
            log.info("actor %s is warm after %.1f s", name, time.monotonic() - started)
            await self._learn(description)
        except RayError as error:
            log.error("actor %s did not start: %s", name, error)
            await asyncio.sleep(SWEEP_INTERVAL_S)
        finally:
            del self._starting[name]


@serve.deployment(
    num_replicas=1,
    ray_actor_options={"num_cpus": 0.1},
    max_ongoing_requests=1000,
)
class StreamDirectory:
    """The pool as a Serve deployment. Plain data in and out."""

    def __init__(self, config: PoolConfig) -> None:
        logging.getLogger("deployments").setLevel(logging.INFO)
        self._pool = Pool(config, StatusStore(connect(config.actor.redis_url)))
        self._round = asyncio.get_running_loop().create_task(self._pool.run())

    def check_health(self) -> None:
        """Let Serve replace this replica when its round has died."""
        if self._round.done():
            raise RuntimeError(f"the directory's round has ended: {self._round}")

    async def assign(self, username: str) -> str:
        """Reserve a place for a user's stream. Raises NoCapacity."""
        return await self._pool.assign(username)

    async def count_warm(self) -> int:
        """Count the places that are ready for a new stream."""
        return await self._pool.count_warm()


class DirectoryClient:
    """The directory as the ingress sees it, behind a Serve handle."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def assign(self, username: str) -> str:
        """Get the name of the actor that hosts a user's stream. Raises NoCapacity."""
        try:
            return str(await self._handle.assign.remote(username))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, NoCapacity):
                raise error.cause from None
            raise

    async def count_warm(self) -> int:
        """Count the actors that are ready for a new stream."""
        return int(await self._handle.count_warm.remote())


async def drain_all(reason: str) -> None:
    """End every stream of the cluster and wait until the recordings are stored.

    Asks the actors themselves, so it works whether or not a directory is alive.
    """
    calls = [_handle(name).drain.remote(reason) for name in _names()]
    await asyncio.gather(*calls, return_exceptions=True)


def _names() -> set[str]:
    """Name the stream actors that Ray knows."""
    return {
        actor["name"]
        for actor in list_named_actors(all_namespaces=True)
        if actor["namespace"] == NAMESPACE and actor["name"].startswith(NAME_PREFIX)
    }


def _handle(name: str) -> Any:
    """Find an actor by name. Raises ValueError when it is gone."""
    return ray.get_actor(name, namespace=NAMESPACE)


def _free(description: ActorDescription) -> int:
    return max(0, description.capacity - len(description.users))
