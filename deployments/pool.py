"""The pool of stream actors: which exist, where a new stream goes, when to start or end one.

It holds no state of its own. The cluster knows which actors exist, the actors know whom they host,
and a lease in Redis, which the actor itself takes, says who hosts a user. So the pool can die and
come back, and two pools can run side by side: both find places, one of them keeps the supply.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from actors.errors import ActorSilent, NoCapacity, NodeUnfit
from actors.names import STREAM_PREFIX
from actors.stream import ActorDescription, StreamHost
from deployments.nodes import ClusterNode
from deployments.placement import best, room
from deployments.stream_actors import (
    DRAIN_TIMEOUT_S,
    ActorFailed,
    ActorGone,
    ActorOutdated,
    StreamActorOptions,
    StreamActors,
)
from deployments.supply import ROUNDING, Start, Supply, Target
from foundation.ids import new_id
from foundation.logs import fields
from foundation.redis import RedisUnavailable
from foundation.tasks import TaskSet

log = logging.getLogger(__name__)

ASK_INTERVAL_S = 2.0
RETRY_S = 0.5
"""The pause before an actor that failed to start is replaced; doubles up to `RETRY_MOST_S`."""
RETRY_MOST_S = 4.0
ASK_TIMEOUT_S = 1.5
ASSIGN_WAIT_S = 2.0
"""How long one call waits for an actor that is still starting."""
WANTED_S = 30.0
"""How long somebody who found no place counts as demand."""
MAX_WANTING = 64
"""How many of them count: nobody orders a hundred nodes."""
UNFIT_S = 30.0
"""A node that refused is tried again after this long."""
START_PATIENCE_S = 30.0
"""An actor that waits for a node is given up this long after it is needed no more."""
PLACED_PATIENCE_S = 120.0
"""So is, after this long, one that was to start on a node: another directory may have filled it."""
DISTRUST_S = 15.0
"""An actor that could not reserve a place, and its node, are asked last for so long."""
SILENCE_S = 5.0
"""An actor that is silent for longer gets a replacement, although it keeps its share of a node."""
STARTING_S = 60.0
"""An actor that nobody has made ready for this long exits."""
LAST_MOMENT_S = 30.0
"""So long before its node leaves an actor's streams have to go, wherever to."""
MAKE_ROOM_S = 5.0
"""So long apart, actors of another release exit that those of this one need the room of."""
VACATED = "its node is being drained"


class StillStarting(NoCapacity):
    """There is no room yet, but an actor is starting."""


@dataclass(frozen=True)
class PoolConfig:
    """Which actors the pool starts, and how much it keeps ready."""

    actor: StreamActorOptions
    warm_actors: int = 1

    @property
    def target(self) -> Target:
        """How much is kept ready."""
        actor = self.actor
        places = actor.config.streams_per_actor
        return Target(self.warm_actors, places, actor.num_cpus, actor.num_gpus)


@dataclass
class Starting:
    """An actor that starts, and the task that waits for it."""

    start: Start
    task: "asyncio.Task[None]"
    needed_at: float
    """When there were too few places without it, last."""
    refused: frozenset[str]
    """The nodes that it avoids because they refused; in a while they may do."""


async def _no_drains() -> dict[str, float]:
    return {}


class Pool:
    """The stream actors of the cluster, as far as this process knows them.

    `drains` tells which nodes people want to be drained, by id or address, and until when;
    `keeps` whether this pool is the one that keeps the supply. It is on the node `here`.
    """

    def __init__(
        self,
        config: PoolConfig,
        actors: StreamActors,
        *,
        drains: Callable[[], Awaitable[Mapping[str, float]]] = _no_drains,
        keeps: Callable[[], bool] = lambda: True,
        here: str = "",
    ) -> None:
        self._config = config
        self._actors = actors
        self._drains = drains
        self._keeps = keeps
        self._here = here
        self._known: dict[str, ActorDescription] = {}
        self._silent: dict[str, float] = {}
        """Actors that did not answer when last asked, and since when."""
        self._failed: dict[str, float] = {}
        """When actors, and nodes by their ids, could not reserve a place: cut off, they describe
        themselves well and cannot reach Redis."""
        self._nodes: dict[str, ClusterNode] = {}
        self._reserving: Counter[str] = Counter()
        """How many reservations are in progress, by actor."""
        self._starting: dict[str, Starting] = {}
        self._replacements: set[str] = set()
        """Actors that take nothing of their node in Ray's books: a silent one has it."""
        self._made_room_at = -MAKE_ROOM_S
        self._failures = 0
        """How many actors in a row failed to start."""
        self._unfit: dict[str, tuple[float, str]] = {}
        """Nodes on which no actor can work: until when they are avoided, and why."""
        self._given_up: set[str] = set()
        self._wanting: dict[str, float] = {}
        """Who found no place, and when they last asked."""
        self._asked: set[str] = set()
        """Actors that are being asked for a description."""
        self._news = asyncio.Event()
        """Set, and replaced, when the pool learns something about an actor."""
        self._due = asyncio.Event()
        """Set when the next round is not to be waited for."""
        self._tasks = TaskSet()

    async def run(self) -> None:
        """Keep the pool filled, until cancelled."""
        try:
            while True:
                self._due.clear()
                await self._look()
                self._fill()
                self._retire_one()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_INTERVAL_S):
                        await self._due.wait()
        finally:
            await self._tasks.cancel()

    def look_again(self) -> None:
        """Begin another round now."""
        self._due.set()

    async def assign(self, username: str) -> str:
        """Reserve a place for a user's stream; returns the name of the actor that hosts it.

        Waits a moment for an actor that is starting, then raises StillStarting; NoCapacity where
        none is.
        """
        deadline = asyncio.get_running_loop().time() + ASSIGN_WAIT_S
        look = None
        while True:
            news = self._news
            looked = look is not None and look.done()
            if (host := await self._reserve(username, silent=looked)) is not None:
                return host
            self._wanting[username] = _now()
            if look is None:  # a stream may have ended since the last round
                look = self._tasks.start(self._look(), name="look for a place")
            self._fill()
            if look.done() and not self._starting and not self._reserving.total():
                raise NoCapacity(self.refusal)
            told = asyncio.create_task(news.wait())
            waits = {told} if look.done() else {told, look}
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            except TimeoutError:
                raise StillStarting(self.refusal, 2) from None
            finally:
                told.cancel()

    @property
    def refusal(self) -> str:
        """Say why there is no place."""
        if unfit := self._unfit_now():
            return unfit[0]
        return "There is no room for another stream. Please try again in a moment."

    def count_warm(self) -> int:
        """Count the places that are ready for a new stream."""
        return sum(map(self._room, self._known.values()))

    def name_warm(self) -> list[str]:
        """Name the actors that have their model, those with the least to do first."""
        warm = [each for each in self._known.values() if each.capacity]
        answering = [each for each in warm if each.name not in self._silent]
        return [each.name for each in sorted(answering, key=lambda a: (len(a.users), a.load))]

    def problems(self) -> list[str]:
        """Say why nodes of the cluster have no actors, a sentence each."""
        target, nodes = self._config.target, self._nodes.values()
        if nodes and not any(node.holds(target.num_cpus, target.num_gpus) for node in nodes):
            return [
                f"No node has the {target.num_cpus:g} CPUs and {target.num_gpus:g} GPUs that an "
                "actor takes by HUSHCAST_ACTOR_NUM_CPUS and HUSHCAST_ACTOR_NUM_GPUS."
            ]
        return self._unfit_now()

    def _unfit_now(self) -> list[str]:
        now = _now()
        return [why for until, why in self._unfit.values() if now < until]

    def left_on(self, name: str) -> tuple[int, int] | None:
        """Count the actors, and their streams, on a node, named by id or address.

        None if there is no such node.
        """
        left = [each for each in self._known.values() if name in (each.node_id, each.node_ip)]
        there = any(name in (node.node_id, node.node_ip) for node in self._nodes.values())
        return (len(left), sum(len(each.users) for each in left)) if left or there else None

    def _room(self, actor: ActorDescription, *, silent: bool = False) -> int:
        """Count an actor's free places; a silent one has none until it describes itself again."""
        if actor.leaving or self._leaves_at(actor.node_id) is not None:
            return 0
        if (actor.name in self._silent) is not silent:
            return 0
        return room(actor, self._reserving[actor.name])

    def _leaves_at(self, node_id: str) -> float | None:
        node = self._nodes.get(node_id)
        return node.leaves_at if node else None

    # -- a place for a stream

    async def _reserve(self, username: str, *, silent: bool = False) -> str | None:
        """Ask one actor after another; None if no known actor has a place.

        With `silent`, if there is no other, one that did not answer: it may only be busy. Raises
        RedisUnavailable if no actor could ask Redis.
        """
        asked: set[str] = set()
        away: RedisUnavailable | None = None
        while actor := self._best(asked, silent=silent and not asked):
            name = actor.name
            asked.add(name)
            self._reserving[name] += 1
            self._wanting.pop(username, None)
            try:
                host = await self._actors.ask(name, ASK_TIMEOUT_S, StreamHost.reserve, username)
            except (ActorGone, ActorFailed) as error:
                self._forget(name, error)
                continue
            except ActorSilent:
                self._note_silent(name)
                self._note_failed(actor)
                continue
            except RedisUnavailable as error:
                self._note_failed(actor)
                away = error
                continue
            finally:
                self._reserving -= Counter([name])
            self._silent.pop(name, None)
            away = None
            if host is not None:
                self._host(host, username)
                return host
            if known := self._known.get(name):  # it knows best what it hosts; ask again later
                self._known[name] = replace(known, capacity=0)
        if away is not None:
            raise away
        return None

    def _best(self, asked: Collection[str], *, silent: bool) -> ActorDescription | None:
        everybody = self._known.values()
        others = [each for each in everybody if each.name not in asked]
        cpus = {node.node_id: node.cpus for node in self._nodes.values()}
        candidates = [each for each in others if self._room(each)]
        for preferred in (self._node_is_trusted, self._is_trusted, self._is_ours):
            candidates = list(filter(preferred, candidates)) or candidates
        if not candidates and silent:
            candidates = [each for each in others if self._room(each, silent=True)]
        return best(candidates, everybody, self._reserving, cpus, self._here)

    def _note_failed(self, actor: ActorDescription) -> None:
        now = _now()
        self._failed = {what: at for what, at in self._failed.items() if now - at < DISTRUST_S}
        self._failed |= {actor.name: now, actor.node_id: now}

    def _is_trusted(self, actor: ActorDescription) -> bool:
        return _now() - self._failed.get(actor.name, -DISTRUST_S) >= DISTRUST_S

    def _node_is_trusted(self, actor: ActorDescription) -> bool:
        return _now() - self._failed.get(actor.node_id, -DISTRUST_S) >= DISTRUST_S

    def _host(self, name: str, username: str) -> None:
        if actor := self._known.get(name):
            users = tuple({*actor.users, username})
            self._known[name] = replace(actor, users=users, idle_s=0.0)
            self._given_up.discard(actor.node_id)
        self._fill()

    # -- what there is

    async def _look(self) -> None:
        """Learn from the cluster what there is, and from the actors whom they host."""
        await asyncio.gather(self._look_at_nodes(), self._look_at_actors())

    async def _look_at_nodes(self) -> None:
        """Learn which nodes there are and which leave, because Ray or a person says so."""
        try:
            nodes, drains = await asyncio.gather(self._actors.nodes(), self._drains())
        except ActorSilent as error:
            log.warning("cannot list the nodes: %s", error)
            return
        before, self._nodes = self._nodes, {n.node_id: n.drained(drains) for n in nodes}
        for node in self._nodes.values():
            if (
                node.leaves_at is not None
                and getattr(before.get(node.node_id), "leaves_at", 0) is None
            ):
                log.info("node %s leaves", node.node_id)

    async def _look_at_actors(self) -> None:
        before = set(self._known)
        try:
            names = await self._actors.names()
        except ActorSilent as error:
            log.warning("cannot list the actors: %s", error)
            names = before  # they answer, or do not, without it
        for name in set(self._silent) - names:
            del self._silent[name]
        for name in before - names:
            self._forget(name, "the cluster no longer lists it")
            self._tasks.start(self._ask(name), name=f"last call to {name}")  # proves its death
        await asyncio.gather(*map(self._ask, names - set(self._starting) - self._asked))

    async def _ask(self, name: str) -> None:
        self._asked.add(name)
        try:
            actor = await self._actors.ask(name, ASK_TIMEOUT_S, StreamHost.describe)
        except (ActorGone, ActorFailed) as error:
            self._forget(name, error)
            return
        except ActorSilent:
            self._note_silent(name)
            return
        finally:
            self._asked.discard(name)
        if self._keeps() and not actor.leaving and self._may_leave(actor):
            self._tasks.start(self._vacate(actor), name=f"vacate {name}")
        if self._keeps() and self._is_unwanted(actor):
            self._forget(name, "it is no longer needed")
            self._tasks.start(self._dismiss(name), name=f"dismiss {name}")
        elif not actor.starting:
            self._learn(actor)

    def _is_unwanted(self, actor: ActorDescription) -> bool:
        """Tell whether an actor should exit: it hosts nobody, and never will again."""
        if actor.users:
            return False
        if actor.starting:  # who started it is gone
            return actor.idle_s > STARTING_S
        if not self._is_ours(actor):
            return self._is_superseded()
        return actor.idle_s > 0 if actor.leaving else not actor.capacity

    def _is_ours(self, actor: ActorDescription) -> bool:
        """Tell whether an actor is of this release."""
        return actor.version == self._config.actor.config.version

    def _is_superseded(self) -> bool:
        """Tell whether an actor of another release may exit: ours are warm, or have no room."""
        supply = self._supply()
        if not replace(supply, starting=()).lacking():
            return True
        coming = any(each.start.node_id is not None for each in self._starting.values())
        made_room = _now() - self._made_room_at < MAKE_ROOM_S
        if not self._nodes or supply.has_room() or coming or made_room:
            return False
        self._made_room_at = _now()
        return True

    def _retire_one(self) -> None:
        """Let an actor exit that is surplus."""
        if not self._keeps() or (actor := self._supply().surplus()) is None:
            return
        if not any(a.users for a in self._known.values() if a.node_id == actor.node_id):
            self._given_up.add(actor.node_id)
        self._forget(actor.name, "it is surplus")
        self._tasks.start(self._dismiss(actor.name), name=f"dismiss {actor.name}")

    def _may_leave(self, actor: ActorDescription) -> bool:
        """Tell whether an actor's node leaves, and there are places for its streams elsewhere.

        Without them its streams stay: until the last moment, a place may become free.
        """
        leaves_at = self._leaves_at(actor.node_id)
        if leaves_at is None:
            return False
        late = leaves_at - time.time() < LAST_MOMENT_S
        return late or self.count_warm() >= len(actor.users)

    async def _vacate(self, actor: ActorDescription) -> None:
        """Have an actor move its streams before its node leaves."""
        ends_at = self._leaves_at(actor.node_id)
        try:
            await self._actors.ask(actor.name, ASK_TIMEOUT_S, StreamHost.vacate, VACATED, ends_at)
        except ActorOutdated:
            await self._actors.ask(actor.name, DRAIN_TIMEOUT_S, StreamHost.drain, VACATED)
        except (ActorGone, ActorSilent, ActorFailed) as error:
            log.warning("actor %s was not told that its node leaves: %s", actor.name, error)

    async def _dismiss(self, name: str) -> None:
        """Ask an actor to exit; it stays if it has a stream by then."""
        try:
            await self._actors.ask(name, ASK_TIMEOUT_S, StreamHost.leave)
        except (ActorGone, ActorSilent) as gone:
            log.info("actor exits: %s", gone, extra=fields(actor=name))

    def _learn(self, actor: ActorDescription) -> None:
        self._known[actor.name] = actor
        self._silent.pop(actor.name, None)
        self._unfit.pop(actor.node_id, None)
        self._tell()

    def _tell(self) -> None:
        """Wake those who wait for a place."""
        self._news.set()
        self._news = asyncio.Event()

    def _note_silent(self, name: str) -> None:
        if name not in self._silent:
            log.warning("actor %s does not answer", name)
        self._silent.setdefault(name, _now())

    def _forget(self, name: str, why: object) -> None:
        self._silent.pop(name, None)
        self._replacements.discard(name)
        if self._known.pop(name, None) is not None:
            log.info("actor is gone: %s", why, extra=fields(actor=name))

    # -- starting them

    def _supply(self) -> Supply:
        """Sum up what there is for new streams."""
        target, now = self._config.target, _now()
        known = filter(self._is_ours, self._known.values())
        there = [each for each in known if each.capacity and not each.leaving]
        answering = [each for each in there if each.name not in self._silent]
        return Supply(
            target,
            [each for each in answering if self._leaves_at(each.node_id) is None],
            {each.name: self._room(each) for each in answering},
            [each.start for each in self._starting.values()],
            [
                replace(node, free_cpus=node.free_cpus + self._cpus_of_silent(node.node_id))
                for node in self._nodes.values()
                if node.leaves_at is None
                and node.holds(target.num_cpus, target.num_gpus)
                and node.node_id not in self._avoided
            ],
            min(MAX_WANTING, sum(now - at < WANTED_S for at in self._wanting.values())),
            self._given_up,
        )

    @property
    def _avoided(self) -> frozenset[str]:
        """The nodes that refused lately."""
        now = _now()
        return frozenset(node for node, (until, _) in self._unfit.items() if now < until)

    def _cpus_of_silent(self, node_id: str) -> float:
        """Sum up what silent actors have of a node and do not use, less what replacements use."""
        if self._config.target.num_gpus:  # a frozen actor keeps its memory of a GPU
            return 0.0
        here = {a.name for a in self._known.values() if a.node_id == node_id}
        here |= {name for name, each in self._starting.items() if each.start.node_id == node_id}
        silent = {n for n in here & set(self._silent) if _now() - self._silent[n] > SILENCE_S}
        used = here & self._replacements - silent
        return max(0, len(silent) - len(used)) * self._config.target.num_cpus

    def _fill(self) -> None:
        """Start actors until there are enough places; give up those that nobody needs."""
        supply = self._supply()
        refused = self._avoided
        for start in supply.starts() if supply.wanting or self._keeps() else ():
            name = STREAM_PREFIX + new_id()
            start = replace(start, avoid=start.avoid | refused | self._leaving)
            if node := self._nodes.get(start.node_id or ""):
                cpus = node.free_cpus - supply.target.num_cpus
                if cpus < -ROUNDING:
                    self._replacements.add(name)
                else:  # as Ray will tell in a moment
                    self._nodes[node.node_id] = replace(node, free_cpus=cpus)
            task = self._tasks.start(self._start(name, start), name=f"start {name}")
            self._starting[name] = Starting(start, task, _now(), refused)
        self._give_up_waiting(supply)

    @property
    def _leaving(self) -> frozenset[str]:
        return frozenset(n.node_id for n in self._nodes.values() if n.leaves_at is not None)

    def _give_up_waiting(self, supply: Supply) -> None:
        """End starts that are needed no more, and those for which a node may do again."""
        now = _now()
        # Ray knows nothing of what silent actors do not use.
        silent = supply.has_room() and any(map(self._cpus_of_silent, self._nodes))
        for name, waiting in list(self._starting.items()):
            others = [each.start for other, each in self._starting.items() if other != name]
            if replace(supply, starting=others).lacking():
                waiting.needed_at = now
            placed = waiting.start.node_id is not None
            patience_s = PLACED_PATIENCE_S if placed else START_PATIENCE_S
            again = not placed and (silent or waiting.refused - self._avoided)
            if again or now - waiting.needed_at > patience_s:
                waiting.task.cancel()

    async def _start(self, name: str, start: Start) -> None:
        began, options = time.monotonic(), self._config.actor
        if name in self._replacements:
            options = replace(options, num_cpus=0.0)
        try:
            actor = await self._actors.start(name, options, start)
            told = fields(actor=name, seconds=round(time.monotonic() - began, 1))
            log.info("actor is warm", extra=told)
            self._failures = 0
            self._learn(actor)
        except NodeUnfit as error:
            log.error("no stream can run on node %s: %s", error.node_id, error)
            self._unfit[error.node_id] = _now() + UNFIT_S, str(error)
        except (ActorGone, ActorSilent, ActorFailed) as error:
            log.error("actor %s did not start", name, exc_info=error)
            self._failures += 1
            await asyncio.sleep(min(RETRY_MOST_S, RETRY_S * 2 ** (self._failures - 1)))
        finally:
            self._starting.pop(name, None)
            if name not in self._known:
                self._replacements.discard(name)
            self._tell()


def _now() -> float:
    """Tell the time of the event loop, which never goes back."""
    return asyncio.get_running_loop().time()
