"""A cluster of stream actors without Ray, whose actors freeze, die and fail when told to."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from actors.errors import ActorSilent, NodeUnfit, NoPlace, StreamError
from actors.stream import ActorDescription, StreamHost
from deployments.nodes import ClusterNode
from deployments.stream_actors import ActorFailed, ActorGone, StreamActorOptions
from deployments.supply import Start
from foundation.redis import RedisUnavailable

P = ParamSpec("P")
R = TypeVar("R")

Hold = Callable[[str, str], Awaitable[str]]
"""Takes the lease on a user's stream for an actor, if nobody has it; returns who has."""


@dataclass
class FakeActor:
    """What of a `StreamHost` the cluster needs; it notes what it is asked."""

    name: str
    capacity: int
    hold: Hold
    version: str = "1"
    idle_s: float = 0.0
    users: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    sign_ins: list[str | None] = field(default_factory=list)
    ended: list[tuple[str, ...]] = field(default_factory=list)
    node_id: str = "node-0"
    load: float = 0.0
    num_cpus: float = 1.0
    frozen: bool = False
    cut_off: bool = False
    """Whether it cannot reach Redis."""
    leaving: bool = False
    fails: Exception | None = None
    """What `publish` or `preview` raises, once."""

    async def describe(self) -> ActorDescription:
        """Describe it."""
        idle_s = 0.0 if self.users else self.idle_s
        return ActorDescription(
            self.name,
            self.version,
            tuple(self.users),
            self.capacity,
            idle_s,
            node_id=self.node_id,
            load=self.load,
            leaving=self.leaving,
        )

    async def reserve(self, username: str) -> str | None:
        """Keep a place, if there is one and the lease is free."""
        await asyncio.sleep(0.01)
        if self.cut_off:
            raise RedisUnavailable("Redis: no answer")
        if self.leaving or (username not in self.users and len(self.users) >= self.capacity):
            return None
        self.users.add(username)
        host = await self.hold(username, self.name)
        if host != self.name:
            self.users.discard(username)
        return host

    async def publish(
        self,
        username: str,
        session_id: str,
        offer_sdp: str,
        *,
        sign_in: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """Answer."""
        self.sign_ins.append(sign_in)
        if self.fails is not None:
            failure, self.fails = self.fails, None
            raise failure
        if username not in self.users:
            raise NoPlace("This actor has no place for the stream.")
        return f"answer of {self.name}"

    async def preview(
        self,
        wav: bytes,
        attenuation_limit_db: float | None,
        model: str | None = None,
        post_filter: bool = False,
    ) -> bytes:
        """Say who made it."""
        if self.fails is not None:
            failure, self.fails = self.fails, None
            raise failure
        filtered = " filtered" if post_filter else ""
        return wav + f" by {self.name} and {model}, {attenuation_limit_db} dB{filtered}".encode()

    async def remove(self, *arguments: str) -> None:
        """Note who is removed."""
        self.ended.append(("removed", *arguments))

    async def end_session(self, *arguments: str) -> None:
        """Note what ends."""
        self.ended.append(("ended", *arguments))

    async def vacate(self, reason: str, ends_at: float | None) -> None:
        """Move whoever is here."""
        self.leaving, self.idle_s = True, 1.0
        self.users.clear()

    async def leave(self) -> None:
        """Exit, unless somebody is here."""
        if not self.users:
            raise ActorGone("The actor has ended.")


class FakeCluster:
    """`StreamActors` in memory: nodes with room for some actors each. Starting takes `start_s`."""

    def __init__(
        self,
        hold: Hold | None = None,
        *,
        capacity: int = 1,
        start_s: float = 1,
        nodes: int = 1,
        room: int = 100,
    ) -> None:
        self.actors: dict[str, FakeActor] = {}
        self.started: list[str] = []
        self.waiting: list[Start] = []
        """Starts for which no node has room."""
        self.start_s = start_s
        self.startable = True
        self.reachable = True
        self.cpus = {f"node-{n}": float(room) for n in range(nodes)}
        """How many actors fit on a node, each taking one CPU."""
        self.leaving: dict[str, float] = {}
        self.unfit: set[str] = set()
        self._coming: list[tuple[str, float]] = []
        self._capacity = capacity
        self._leases: dict[str, str] = {}
        self._hold = hold or self._hold_in_memory

    def add(self, name: str, **fields: Any) -> FakeActor:
        """Put a warm actor into it."""
        self.actors[name] = FakeActor(
            name, **{"capacity": self._capacity, "hold": self._hold, **fields}
        )
        return self.actors[name]

    def kill(self, name: str) -> None:
        """End an actor as SIGKILL does; its leases stay."""
        del self.actors[name]

    def lose(self, node: str) -> None:
        """Lose a node with everything on it."""
        del self.cpus[node]
        for name in [n for n, actor in self.actors.items() if actor.node_id == node]:
            self.kill(name)

    def users_by_node(self) -> dict[str, int]:
        """Count the streams on each node."""
        counts = dict.fromkeys(self.cpus, 0)
        for actor in self.actors.values():
            counts[actor.node_id] += len(actor.users)
        return counts

    async def names(self) -> set[str]:
        """Name the actors."""
        if not self.reachable:
            raise ActorSilent("The streaming service is unavailable right now. Please try again.")
        return set(self.actors)

    async def nodes(self) -> list[ClusterNode]:
        """List the nodes."""
        if not self.reachable:
            raise ActorSilent("The streaming service is unavailable right now. Please try again.")
        return [
            ClusterNode(node, node, cpus, self._free(node), leaves_at=self.leaving.get(node))
            for node, cpus in self.cpus.items()
        ]

    async def start(self, name: str, options: StreamActorOptions, where: Start) -> ActorDescription:
        """Start one, in a while, once a node has room."""
        self.started.append(name)
        free = where.node_id and (self._free(where.node_id) > 0 or not options.num_cpus)
        node = where.node_id if free else None
        self.waiting.append(where)
        try:
            while node is None:
                fit = (n for n in self.cpus if n not in where.avoid and self._free(n) > 0)
                if (node := next(fit, None)) is None:
                    await asyncio.sleep(0.1)
        finally:
            self.waiting.remove(where)
        self._coming.append((node, options.num_cpus))
        try:
            await asyncio.sleep(self.start_s)
        finally:
            self._coming.remove((node, options.num_cpus))
        if not self.startable:
            raise ActorFailed("the model has another checksum")
        if node in self.unfit:
            raise NodeUnfit(f"The spool on {node} cannot be written.", node)
        return await self.add(name, node_id=node, num_cpus=options.num_cpus).describe()

    def _free(self, node: str) -> float:
        here = sum(a.num_cpus for a in self.actors.values() if a.node_id == node)
        coming = sum(cpus for where, cpus in self._coming if where == node)
        return self.cpus.get(node, 0) - here - coming

    async def meet(self, names: Iterable[str]) -> None:
        """Know everybody already."""

    async def ask(
        self,
        name: str,
        limit_s: float,
        method: Callable[Concatenate[StreamHost, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a method of the actor of this name."""
        actor = self.actors.get(name)
        if actor is None:
            raise ActorGone("The server that ran this stream is gone. Please try again.")
        actor.calls.append(method.__name__)
        if actor.frozen:
            await asyncio.sleep(limit_s)
            raise ActorSilent("The stream is not responding right now. Please try again.")
        try:
            result: R = await getattr(actor, method.__name__)(*args, **kwargs)
        except ActorGone:
            self.kill(name)
            raise
        except (StreamError, RedisUnavailable):
            raise
        except Exception as error:
            raise ActorFailed(f"{method.__name__} of {name} failed") from error
        return result

    async def _hold_in_memory(self, username: str, actor: str) -> str:
        return self._leases.setdefault(username, actor)
