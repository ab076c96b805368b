"""A peer and its session at the server, opened and ended over HTTP, with the times it took."""

import asyncio
import time
from functools import partial

from commands.load.api import PATIENCE_S, Api
from commands.load.peers import Peer

CONNECT_LIMIT_S = 30.0


class PeerFailed(Exception):
    """A peer did not connect; the message says how far it got."""


class Client:
    """Connects a peer through the API. The caller closes it, also after a failure.

    Attributes:
        asked_at: when the offer was posted, on time.monotonic.
        answered_s: from there to the answer.
        connected_s: from there to the connection.
        tries: how many times the offer was posted.
    """

    def __init__(self, api: Api, peer: Peer) -> None:
        self.asked_at = 0.0
        self.answered_s = 0.0
        self.connected_s = 0.0
        self.tries = 0
        self._api = api
        self._peer = peer
        self._session: str | None = None

    async def connect(self, path: str, *, patience_s: float = PATIENCE_S) -> None:
        """Post the offer and wait for the connection. Raises ApiError, PeerFailed.

        While the server asks to come back later, the offer is posted again for `patience_s`.
        """
        offer = await self._peer.offer()
        post = partial(self._api.call, "POST", path, offer, patience_s=patience_s)
        answer = await asyncio.to_thread(post)
        self.asked_at, self.answered_s = answer.asked_at, answer.took_s
        self.tries = answer.tries
        self._session = answer.headers["Location"]
        await self._peer.accept(answer.text)
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await self._peer.connected.wait()
        except TimeoutError as error:
            state = self._peer.connection.iceConnectionState
            raise PeerFailed(f"answered, but not connected: ICE is {state}") from error
        self.connected_s = time.monotonic() - self.asked_at

    async def close(self) -> None:
        """End the session at the server, then close the peer."""
        try:
            if self._session:
                await asyncio.to_thread(self._api.call, "DELETE", self._session, patience_s=5)
        finally:
            await self._peer.close()
