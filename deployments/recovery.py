"""A small actor on media nodes of a cluster: it finishes what dead actors left in the spool there.

Stream actors do this too, but nobody puts one on a node that has just come back, so what a lost
node had recorded would wait for the next stream there. It leaves a node without stream actors once
the spool is empty: Ray's autoscaler takes away no node on which anything runs. This module loads no
media path.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import ray
import ray.actor
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.names import NAMESPACE, STREAM_PREFIX
from deployments.environment import RUNTIME_ENV
from deployments.gcs import Gcs
from foundation import logs
from foundation.logs import LogConfig, fields
from foundation.redis import connect
from foundation.tasks import TaskSet
from recordings.index import RecordingIndex
from recordings.recorder import Recorder
from recordings.spool import any_abandoned
from recordings.store import RecordingStore, StoreConfig

log = logging.getLogger(__name__)

T = TypeVar("T")

NAME_PREFIX = "hushcast-recovery-"
LOOK_INTERVAL_S = 5.0
CALL_TIMEOUT_S = 10.0
EMPTY_S = 30.0
"""It leaves a node whose spool was empty for this long, and that hosts nobody."""
ORPHAN_TIMEOUT_S = 300.0
"""A recovery actor that no directory has asked for this long exits, as after an update."""


@dataclass(frozen=True)
class RecoveryConfig:
    """What a recovery actor needs to know, and which nodes need one: those with room for media."""

    redis_url: str = field(repr=False)
    store: StoreConfig
    spool_dir: str
    version: str
    num_cpus: float
    num_gpus: float = 0.0
    """What a stream actor takes."""
    logs: LogConfig = LogConfig()


class NodeRecovery:
    """Finishes spools on its node from the first call of `watch` on."""

    def __init__(self, config: RecoveryConfig) -> None:
        logs.configure("recovery", config.logs)
        self._spool = Path(config.spool_dir)
        self._recorder = Recorder(
            RecordingIndex(connect(config.redis_url)),
            RecordingStore(config.store),
            self._spool,
        )
        self._tasks = TaskSet()
        self._asked_at = time.monotonic()

    async def watch(self) -> bool:
        """Go on, and tell whether the spool has anything that nobody writes or finishes.

        An actor that nobody asks to exits after a while.
        """
        self._asked_at = time.monotonic()
        if not self._tasks:
            self._tasks.start(self._recorder.recover(), name="recovery")
            self._tasks.start(self._leave_when_orphaned(), name="orphan watch")
        return await asyncio.to_thread(any_abandoned, self._spool)

    async def leave(self) -> None:
        """End this process. A spool that is being stored is left to the next one."""
        ray.actor.exit_actor()  # type: ignore[no-untyped-call]  # ray leaves it untyped

    async def _leave_when_orphaned(self) -> None:
        while True:
            await asyncio.sleep(ORPHAN_TIMEOUT_S / 4)
            if time.monotonic() - self._asked_at > ORPHAN_TIMEOUT_S:
                ray.get_runtime_context().current_actor.leave.remote()


class RecoveryKeeper:
    """Keeps a recovery actor on media nodes that host streams, have just come, or have any left.

    Several keepers side by side do no harm.
    """

    def __init__(self, config: RecoveryConfig) -> None:
        self._config = config
        self._actors: dict[str, Any] = {}
        self._empty_since: dict[str, float] = {}
        """Since when nodes that host nobody have nothing in their spool."""
        self._done: set[str] = set()
        """Those of which the recovery actor was let go."""
        self._gcs = Gcs()
        # To start an actor waits for Ray's GCS; only these threads do.
        self._threads = ThreadPoolExecutor(2, "ray recovery")

    async def run(self) -> None:
        """Start actors where there is none, and keep those there are, until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def _look(self) -> None:
        try:
            nodes, hosts = await asyncio.gather(
                self._gcs.nodes(), self._gcs.nodes_of_actors(NAMESPACE, STREAM_PREFIX)
            )
        except (RayError, TimeoutError) as error:
            log.warning("recovery: cannot list the nodes: %r", error)
            return
        actor = self._config.num_cpus, self._config.num_gpus
        media = {node.node_id for node in nodes if node.holds(*actor)}
        self._actors = {node: actor for node, actor in self._actors.items() if node in media}
        self._empty_since = {node: at for node, at in self._empty_since.items() if node in media}
        self._done = (self._done & media) - hosts
        await asyncio.gather(*(self._keep(node, node in hosts) for node in media - self._done))

    async def _keep(self, node: str, hosts: bool) -> None:
        """Ask the actor of a node to go on, after starting it if there is none, or let it go."""
        try:
            if node not in self._actors:
                self._actors[node] = await self._blocking(lambda: self._start(node))
                log.info("node has a recovery actor", extra=fields(node=node))
            async with asyncio.timeout(CALL_TIMEOUT_S):
                left = await self._actors[node].watch.remote()
            if hosts or left:
                self._empty_since.pop(node, None)
            elif time.monotonic() - self._empty_since.setdefault(node, time.monotonic()) > EMPTY_S:
                del self._empty_since[node]
                self._done.add(node)
                self._actors.pop(node).leave.remote()
                log.info("node needs no recovery actor any more", extra=fields(node=node))
        except RayActorError:
            self._actors.pop(node, None)
            log.warning("recovery actor is gone", extra=fields(node=node))
        except (RayError, TimeoutError) as error:
            log.warning("recovery actor does not answer: %r", error, extra=fields(node=node))

    def _start(self, node: str) -> Any:
        """Start a node's actor, or get the one that another keeper has started."""
        return RecoveryActor.options(
            name=f"{NAME_PREFIX}{self._config.version}-{node}",
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            runtime_env=RUNTIME_ENV,
        ).remote(self._config)

    async def _blocking(self, call: Callable[[], T]) -> T:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)


RecoveryActor = ray.remote(NodeRecovery)
