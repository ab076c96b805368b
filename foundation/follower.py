"""Follows channels of Redis through outages."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from foundation.redis import RedisUnavailable, connect_subscriber, translated

log = logging.getLogger(__name__)

Receiver = Callable[[str], Awaitable[None]]
"""Takes what is published on one channel."""

RETRY_S = 0.5
SILENCE_S = 5.0
"""Redis gets a PING after this much silence, and is given up after as much again."""


class Follower:
    """Passes what is published on some channels to their receivers. `run` is its whole life.

    Messages that were published during an outage are lost: `joined` is awaited whenever a
    subscription has begun, before its first message, to make up for them. If it or a receiver
    raises RedisUnavailable, the subscription begins anew. A message that its receiver cannot read
    (ValueError, TypeError, AttributeError or LookupError), such as another release's, is logged and
    skipped.

    Attributes:
        connected: set while there is a subscription.
    """

    def __init__(
        self,
        redis_url: str,
        receivers: Mapping[str, Receiver],
        *,
        joined: Callable[[], Awaitable[None]],
        name: str,
    ) -> None:
        self.connected = asyncio.Event()
        self._redis_url = redis_url
        self._receivers = receivers
        self._joined = joined
        self._name = name

    async def run(self) -> None:
        """Follow Redis until cancelled."""
        try:
            while True:
                try:
                    with translated():
                        await self._follow()
                except RedisUnavailable as error:
                    log.warning("%s: Redis is away, trying again: %r", self._name, error)
                self.connected.clear()
                await asyncio.sleep(RETRY_S)
        finally:
            self.connected.clear()

    async def _follow(self) -> None:
        async with connect_subscriber(self._redis_url) as redis, redis.pubsub() as pubsub:
            receivers = {redis.channel(name): each for name, each in self._receivers.items()}
            await pubsub.subscribe(*receivers)
            self.connected.set()
            await self._joined()
            asked = False
            while True:
                message = await pubsub.get_message(timeout=SILENCE_S)
                if message is not None:
                    asked = False
                    if message["type"] == "message":
                        channel = message["channel"]
                        await self._take(channel, message["data"], receivers[channel])
                elif asked:
                    raise ConnectionError("Redis has fallen silent")
                else:
                    await pubsub.ping()
                    asked = True

    async def _take(self, channel: str, text: str, receiver: Receiver) -> None:
        try:
            await receiver(text)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            log.error("%s: unrecognised message on %s: %r", self._name, channel, error)
