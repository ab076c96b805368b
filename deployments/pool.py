"""The pool of stream actors: which exist, which has a place, when to start or end one.

It holds no state of its own. The cluster knows which actors exist, the actors know whom they host,
and a lease in Redis, which the actor itself takes, says who hosts a user. So the pool can die and
come back, and two pools can run side by side.
"""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, replace

from actors.errors import ActorSilent, NoCapacity
from actors.stream import NAME_PREFIX, ActorDescription, StreamHost
from deployments.stream_actors import ActorFailed, ActorGone, StreamActorOptions, StreamActors
from foundation.ids import new_id
from foundation.logs import fields
from foundation.tasks import TaskSet

log = logging.getLogger(__name__)

ASK_INTERVAL_S = 2.0
RETRY_S = 0.5
"""The pause before an actor that failed to start is replaced."""
SURPLUS_IDLE_S = 300.0
"""An idle actor exits after this long when `warm_actors` other places are free."""
ASK_TIMEOUT_S = 5.0
ASSIGN_WAIT_S = 4.0
"""How long a new stream waits for an actor that is still starting."""


@dataclass(frozen=True)
class PoolConfig:
    """Which actors the pool starts, and how many free places it keeps ready."""

    actor: StreamActorOptions
    warm_actors: int = 1


class Pool:
    """The stream actors of the cluster, as far as this process knows them."""

    def __init__(self, config: PoolConfig, actors: StreamActors) -> None:
        self._config = config
        self._actors = actors
        self._known: dict[str, ActorDescription] = {}
        self._silent: set[str] = set()
        """Actors that did not answer when last asked."""
        self._reserving: Counter[str] = Counter()
        """How many reservations are in progress, by actor."""
        self._starting: set[str] = set()
        self._asked: set[str] = set()
        """Actors that are being asked for a description."""
        self._news = asyncio.Event()
        """Set, and replaced, when the pool learns something about an actor."""
        self._tasks = TaskSet()

    async def run(self) -> None:
        """Keep the pool filled, until cancelled."""
        try:
            while True:
                await self._look()
                self._fill()
                await asyncio.sleep(ASK_INTERVAL_S)
        finally:
            await self._tasks.cancel()

    async def assign(self, username: str) -> str:
        """Reserve a place for a user's stream; returns the name of the actor that hosts it.

        Waits a moment for an actor that is starting, then raises NoCapacity.
        """
        deadline = asyncio.get_running_loop().time() + ASSIGN_WAIT_S
        looked = False
        while True:
            news = self._news
            if (host := await self._reserve(username)) is not None:
                return host
            if not looked:  # a stream may have ended since the last round
                looked = True
                self._tasks.start(self._look(), name="look for a place")
            self._fill()
            try:
                async with asyncio.timeout_at(deadline):
                    await news.wait()
            except TimeoutError:
                raise NoCapacity(
                    "There is no room for another stream. Please try again in a moment."
                ) from None

    def count_warm(self) -> int:
        """Count the places that are ready for a new stream."""
        return sum(map(self._places, self._known))

    def name_warm(self) -> list[str]:
        """Name the actors that have their model, those with the fewest streams first."""
        warm = [each for each in self._known.values() if each.capacity]
        answering = [each for each in warm if each.name not in self._silent]
        return [each.name for each in sorted(answering, key=lambda each: len(each.users))]

    def _places(self, name: str) -> int:
        """Count an actor's free places; a silent one has none until it describes itself again."""
        if name in self._silent:
            return 0
        actor = self._known[name]
        return max(0, actor.capacity - len(actor.users) - self._reserving[name])

    # -- a place for a stream

    async def _reserve(self, username: str) -> str | None:
        """Ask one actor after another; None if no known actor has a place."""
        asked: set[str] = set()
        while name := next((n for n in self._known if n not in asked and self._places(n)), None):
            asked.add(name)
            self._reserving[name] += 1
            try:
                host = await self._actors.ask(name, ASK_TIMEOUT_S, StreamHost.reserve, username)
            except (ActorGone, ActorFailed) as error:
                self._forget(name, error)
                continue
            except ActorSilent:
                self._note_silent(name)
                continue
            finally:
                self._reserving -= Counter([name])
            if host == name:
                self._host(name, username)
            if host is not None:
                return host
            if actor := self._known.get(name):  # it knows best what it hosts; ask again later
                self._known[name] = replace(actor, capacity=0)
        return None

    def _host(self, name: str, username: str) -> None:
        if actor := self._known.get(name):
            users = tuple({*actor.users, username})
            self._known[name] = replace(actor, users=users, idle_s=0.0)
        self._fill()

    # -- which actors there are

    async def _look(self) -> None:
        """Learn from the cluster which actors exist, and from the actors whom they host."""
        try:
            names = await self._actors.names()
        except ActorSilent as error:
            log.warning("cannot list the actors: %s", error)
            return
        self._silent &= names
        for name in set(self._known) - names - self._starting:
            self._forget(name, "the cluster no longer lists it")
        await asyncio.gather(*map(self._ask, names - self._starting - self._asked))

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
        if self._is_unwanted(actor):
            self._forget(name, "it is no longer needed")
            self._tasks.start(self._dismiss(name), name=f"dismiss {name}")
        elif actor.version == self._config.actor.config.version:
            self._learn(actor)

    def _is_unwanted(self, actor: ActorDescription) -> bool:
        """Tell whether an actor should exit: idle, and surplus, outdated or without a model."""
        if actor.users:
            return False
        others = sum(self._places(name) for name in self._known if name != actor.name)
        surplus = others >= self._config.warm_actors and actor.idle_s > SURPLUS_IDLE_S
        return surplus or not actor.capacity or actor.version != self._config.actor.config.version

    async def _dismiss(self, name: str) -> None:
        """Ask an actor to exit; it stays if it has a stream by then."""
        try:
            await self._actors.ask(name, ASK_TIMEOUT_S, StreamHost.leave)
        except (ActorGone, ActorSilent) as gone:
            log.info("actor exits: %s", gone, extra=fields(actor=name))

    def _learn(self, actor: ActorDescription) -> None:
        self._known[actor.name] = actor
        self._silent.discard(actor.name)
        self._news.set()
        self._news = asyncio.Event()

    def _note_silent(self, name: str) -> None:
        if name not in self._silent:
            log.warning("actor %s does not answer", name)
        self._silent.add(name)

    def _forget(self, name: str, why: object) -> None:
        self._silent.discard(name)
        if self._known.pop(name, None) is not None:
            log.info("actor is gone: %s", why, extra=fields(actor=name))

    # -- starting them

    def _fill(self) -> None:
        """Start actors until enough places are warm or warming."""
        per_actor = self._config.actor.config.streams_per_actor
        missing = self._config.warm_actors - self.count_warm() - len(self._starting) * per_actor
        for _ in range(-(-missing // per_actor)):
            name = NAME_PREFIX + new_id()
            self._starting.add(name)
            self._tasks.start(self._start(name), name=f"start {name}")

    async def _start(self, name: str) -> None:
        began = time.monotonic()
        try:
            actor = await self._actors.start(name, self._config.actor)
            told = fields(actor=name, seconds=round(time.monotonic() - began, 1))
            log.info("actor is warm", extra=told)
            self._learn(actor)
        except (ActorGone, ActorSilent, ActorFailed) as error:
            log.error("actor %s did not start", name, exc_info=error)
            await asyncio.sleep(RETRY_S)
        finally:
            self._starting.discard(name)
