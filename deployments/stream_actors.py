"""The one client for the cluster's stream actors: typed, with a time limit on every call."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.errors import ActorSilent, StreamError
from actors.names import NAMESPACE, STREAM_PREFIX
from actors.stream import (
    ActorDescription,
    StreamActor,
    StreamActorConfig,
    StreamHost,
)
from deployments.environment import RUNTIME_ENV
from deployments.gcs import Gcs
from deployments.nodes import ClusterNode
from deployments.supply import Start
from foundation.logs import request_id
from foundation.redis import RedisUnavailable

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

CLUSTER_TIMEOUT_S = 5.0
"""How long Ray's control service (GCS) may take to name or find actors."""
START_TIMEOUT_S = 600.0
"""How long an actor may wait for resources (which alerts Ray's autoscaler) and load its model."""
DRAIN_TIMEOUT_S = 60.0
MAX_HANDLES = 1000
OUTDATED = "This stream began before an update. Please start it again."


@dataclass(frozen=True)
class StreamActorOptions:
    """A stream actor's configuration, and the resources that it takes on a node."""

    config: StreamActorConfig
    num_cpus: float = 0.2
    num_gpus: float = 0.0
    has_environment: bool = False
    """Whether the node's Ray was started with our environment."""


class ActorGone(StreamError):
    """The actor no longer exists."""


class ActorOutdated(StreamError):
    """The actor is of an earlier release, which does not know the method."""


class ActorFailed(Exception):
    """An actor's method raised an unexpected error; the cause has the trace."""


class StreamActors(Protocol):
    """The stream actors of a cluster, by name. A name is never used twice."""

    async def names(self) -> set[str]:
        """Name the actors that run. Raises ActorSilent."""

    async def nodes(self) -> list[ClusterNode]:
        """List the nodes that are alive. Raises ActorSilent."""

    async def start(self, name: str, options: StreamActorOptions, where: Start) -> ActorDescription:
        """Start an actor; returns when its model is loaded.

        Raises NodeUnfit, ActorGone, ActorSilent or ActorFailed, and then, or when it is cancelled,
        leaves no actor behind.
        """

    async def meet(self, names: Iterable[str]) -> None:
        """Get to know actors, so that a later call to one of them needs nobody else."""

    async def ask(
        self,
        name: str,
        limit_s: float,
        method: Callable[Concatenate[StreamHost, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a method of an actor and get what it returns.

        Raises the StreamError or RedisUnavailable that the method raised, ActorFailed for any
        other error, ActorGone when the actor is dead, and ActorSilent when neither it nor
        the cluster answers in time.
        """


class RayStreamActors:
    """`StreamActors` in Ray.

    Handles are kept, so that later calls to an actor do not need Ray's GCS. Only threads ever wait
    for the GCS.
    """

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}
        self._finding: dict[str, asyncio.Future[Any]] = {}
        self._threads = ThreadPoolExecutor(8, "ray gcs")
        self._gcs = Gcs()

    async def names(self) -> set[str]:
        """Name the actors that run."""
        with _translated("the cluster"):
            names = await self._gcs.actor_names(NAMESPACE)
        return {name for name in names if name.startswith(STREAM_PREFIX)}

    async def nodes(self) -> list[ClusterNode]:
        """List the nodes that Ray counts as alive."""
        with _translated("the cluster"):
            return await self._gcs.nodes()

    async def start(self, name: str, options: StreamActorOptions, where: Start) -> ActorDescription:
        """Start an actor. Without free resources it stays pending."""
        actor = StreamActor.options(
            **placing(where),
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            num_cpus=options.num_cpus,
            num_gpus=options.num_gpus,
            max_restarts=0,
            max_concurrency=1000,
            runtime_env=None if options.has_environment else RUNTIME_ENV,
        )
        with _translated(name):
            handle: Any = await self._blocking(lambda: actor.remote(name, options.config))
        self._keep(name, handle)
        try:
            return await self.ask(name, START_TIMEOUT_S, StreamHost.ready)
        except BaseException:  # cancelled, too
            self._handles.pop(name, None)
            self._threads.submit(ray.kill, handle)
            raise

    async def meet(self, names: Iterable[str]) -> None:
        """Call each new actor once: only then does this process know where it is."""
        new = [name for name in names if name not in self._handles]
        calls = (self.ask(name, CLUSTER_TIMEOUT_S, StreamHost.describe) for name in new)
        await asyncio.gather(*calls, return_exceptions=True)

    async def ask(
        self,
        name: str,
        limit_s: float,
        method: Callable[Concatenate[StreamHost, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a method of an actor, found by its name."""
        try:
            with _translated(f"{method.__name__} of {name}"):
                async with asyncio.timeout(limit_s):
                    handle = self._handles.get(name) or await self._find(name)
                    if not hasattr(handle, StreamHost.remove.__name__):  # of a release before 0.3
                        for newer in ("sign_in", "settings", "both"):
                            kwargs.pop(newer, None)
                        if kwargs.pop("guest", None):
                            raise ActorOutdated(OUTDATED)
                    if not hasattr(handle, method.__name__):
                        raise ActorOutdated(OUTDATED)
                    if not hasattr(handle, "answer"):  # of a release before 0.2
                        old: R = await getattr(handle, method.__name__).remote(*args, **kwargs)
                        return old
                    result: R = await handle.answer.remote(
                        request_id.get(), method.__name__, *args, **kwargs
                    )
                    return result
        except ActorGone:
            self._handles.pop(name, None)
            raise

    async def _find(self, name: str) -> Any:
        """Find an actor; whoever asks meanwhile waits for the same thread."""
        if (finding := self._finding.get(name)) is None:
            finding = asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: ray.get_actor(name, namespace=NAMESPACE)
            )
            self._finding[name] = finding
            finding.add_done_callback(lambda found: self._note_found(name, found))
        try:
            async with asyncio.timeout(CLUSTER_TIMEOUT_S):
                return await asyncio.shield(finding)
        except ValueError as error:
            raise ActorGone("The server that ran this stream is gone. Please try again.") from error

    def _note_found(self, name: str, found: asyncio.Future[Any]) -> None:
        del self._finding[name]
        if not found.cancelled() and found.exception() is None:
            self._keep(name, found.result())

    def _keep(self, name: str, handle: Any) -> None:
        if len(self._handles) >= MAX_HANDLES:
            del self._handles[next(iter(self._handles))]
        self._handles[name] = handle

    async def _blocking(self, call: Callable[[], T]) -> T:
        """Run a call that waits for the GCS."""
        async with asyncio.timeout(CLUSTER_TIMEOUT_S):
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)


async def drain_all(actors: StreamActors, reason: str) -> None:
    """End every stream of the cluster and wait until the recordings are stored.

    Asks the actors themselves, so it works whether or not a directory is alive. Raises ActorSilent
    when the cluster cannot name them.
    """
    calls = (
        actors.ask(name, DRAIN_TIMEOUT_S, StreamHost.drain, reason) for name in await actors.names()
    )
    await asyncio.gather(*calls, return_exceptions=True)


def placing(where: Start) -> dict[str, Any]:
    """Get the options of an actor that say on which node it starts."""
    if where.node_id is not None:
        # Elsewhere if that node is gone or full by then.
        strategy = NodeAffinitySchedulingStrategy(
            where.node_id, soft=True, _spill_on_unavailable=True
        )
        return {"scheduling_strategy": strategy}
    avoid = ",".join(sorted(where.avoid))
    return {
        "scheduling_strategy": "SPREAD",
        **({"label_selector": {"ray.io/node-id": f"!in({avoid})"}} if avoid else {}),
    }


@contextmanager
def _translated(asked: str) -> Iterator[None]:
    """Turn Ray's errors into ours."""
    try:
        yield
    except RayTaskError as error:
        if (cause := foreseen(error)) is not None:
            raise cause from None
        raise ActorFailed(f"{asked} failed") from error
    except ActorUnavailableError as error:  # it may well be alive, and hold its leases
        raise ActorSilent("The stream cannot be reached right now. Please try again.") from error
    except RayActorError as error:
        raise ActorGone("The server that ran this stream is gone. Please try again.") from error
    except RayError as error:
        raise ActorSilent(
            "The streaming service is unavailable right now. Please try again."
        ) from error
    except TimeoutError as error:
        raise ActorSilent("The stream is not responding right now. Please try again.") from error


def foreseen(error: RayTaskError) -> StreamError | RedisUnavailable | None:
    """Get the refusal that a method of another process raised; None for any other error."""
    return error.cause if isinstance(error.cause, StreamError | RedisUnavailable) else None
