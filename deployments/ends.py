"""The ends of streams whose actors died, and their pages' way back.

Every ingress replica publishes ends and calls pages back; one suffices, and none is told twice.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from actors.status import Expired, StatusStore
from actors.stream import StreamHost
from deployments.stream_actors import ActorGone, StreamActors
from foundation.logs import fields
from foundation.redis import RedisUnavailable
from foundation.tasks import TaskSet

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

SWEEP_INTERVAL_S = 0.5


class Ends:
    """Publishes ends and calls pages back. `run` is its whole life.

    `places` counts the places that are ready for a stream; None when that cannot be told.
    """

    def __init__(
        self, store: StatusStore, places: Callable[[], Coroutine[Any, Any, int | None]]
    ) -> None:
        self._store = store
        self._places = places
        self._waiting = asyncio.Event()
        """Set when somebody was told to wait."""

    async def run(self) -> None:
        """Publish ends and call pages back until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish(), name="ends")
            tasks.create_task(self._call_back(), name="calls back")

    async def _publish(self) -> None:
        while True:
            began = time.time()
            try:
                if _noted(await self._store.publish_expired(), began):
                    self._waiting.set()
            except RedisUnavailable as error:
                log.warning("cannot publish the ends of streams: %s", error)
            await asyncio.sleep(SWEEP_INTERVAL_S)

    async def _call_back(self) -> None:
        """Call pages back while there are some that wait, whichever replica told them to."""
        while True:
            self._waiting.clear()
            try:
                if await self._store.count_returning():
                    for _, stream_id in await self._store.call_back(await self._places() or 0):
                        log.info("asked a page to publish again", extra=fields(stream=stream_id))
            except RedisUnavailable as error:
                log.warning("cannot call pages back: %s", error)
            try:
                async with asyncio.timeout(SWEEP_INTERVAL_S):
                    await self._waiting.wait()
            except TimeoutError:
                pass


def witnessed(actors: StreamActors, store: StatusStore) -> StreamActors:
    """Publish the ends of an actor's streams as soon as a call shows that it is dead."""
    return cast(StreamActors, _Witness(actors, store))


class _Witness:
    """`StreamActors` that notes who is dead; all but `ask` is as it was."""

    def __init__(self, actors: StreamActors, store: StatusStore) -> None:
        self._actors = actors
        self._store = store
        self._tasks = TaskSet()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actors, name)

    async def ask(
        self,
        name: str,
        limit_s: float,
        method: Callable[Concatenate[StreamHost, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a method of an actor."""
        try:
            return await self._actors.ask(name, limit_s, method, *args, **kwargs)
        except ActorGone:
            self._tasks.start(self._publish_death(name), name=f"death of {name}")
            raise

    async def _publish_death(self, name: str) -> None:
        began = time.time()
        try:
            _noted(await self._store.publish_death(name), began)
        except RedisUnavailable as error:
            log.warning("cannot publish the death of %s: %s", name, error)  # it will expire


def _noted(ended: list[Expired], began: float) -> bool:
    """Log the ends that were published since then; returns whether there are any."""
    delay_ms = round((time.time() - began) * 1000)
    for end in ended:
        told = fields(change=end.change_id, stream=end.stream_id, delay_ms=delay_ms)
        log.info("published the end, the actor died", extra=told)
    return bool(ended)
