"""Publishes the ends of streams whose actors died. Every ingress replica does so; one suffices."""

import asyncio
import logging

from actors.status import StatusStore
from foundation.logs import fields
from foundation.redis import RedisUnavailable

log = logging.getLogger(__name__)

SWEEP_INTERVAL_S = 0.5


class Ends:
    """Publishes ends and asks pages to come back. `run` is its whole life."""

    def __init__(self, store: StatusStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self._sweep()
            except RedisUnavailable as error:
                log.warning("cannot publish the ends of streams: %s", error)
            await asyncio.sleep(SWEEP_INTERVAL_S)

    async def _sweep(self) -> None:
        for end in await self._store.publish_expired():
            told = fields(change=end.change_id, stream=end.stream_id)
            log.info("published the end, the actor died", extra=told)
            await self._store.tell_pages(end.username, "republish", end.stream_id, "")
