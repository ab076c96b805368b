"""One peer connection each, from offer to close: a publisher's or a listener's."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import NoReturn

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)

from actors.aiortc_internals import note_datagrams, tap_packets
from actors.errors import FragmentRefused, NoCapacity, OfferRefused
from actors.offers import (
    MAX_CANDIDATES,
    agree_on_opus,
    check_offer,
    reachable_only,
    read_fragment,
    ufrags,
)
from actors.receive import Packet
from actors.rtp_sender import RtpSender

log = logging.getLogger(__name__)

LISTENER_TIMEOUT_S = 8.0
"""A listener of whom nothing has come for so long is gone."""
MAX_UNSENT_STATS_BYTES = 4096


class SessionState(StrEnum):
    """Where a session is in its life."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class Session:
    """The server's side of one peer connection. `run` owns it from offer to close."""

    def __init__(self, session_id: str, *, connect_timeout_s: float) -> None:
        self.session_id = session_id
        self.state = SessionState.CONNECTING
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connect_timeout_s = connect_timeout_s
        self._connected = asyncio.Event()
        self._closing = asyncio.Event()
        self._ufrag = ""
        self._candidates = 0
        self._connection: RTCPeerConnection | None = None

    async def run(self, offer_sdp: str) -> None:
        """Answer the offer and serve until the connection is gone or `close` is called.

        The answer, or OfferRefused or NoCapacity, arrives in `answer`. Cancelling is safe.
        """
        try:
            async with AsyncExitStack() as stack:
                connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
                stack.push_async_callback(_close, connection)
                connection.on("connectionstatechange", lambda: self._follow(connection))
                self._connection = connection
                answer = await self._negotiate(connection, offer_sdp)
                self.answer.set_result(answer)
                await self._wait_connected()
                await self._serve()
        except (OfferRefused, NoCapacity) as refusal:
            self.answer.set_exception(refusal)
        finally:
            self.answer.cancel()
            self._connection = None
            self._set_state(SessionState.CLOSED)

    def close(self) -> None:
        """Let `run` end; again is fine."""
        self._closing.set()

    async def trickle(self, fragment: str) -> None:
        """Add the candidates of a trickle fragment (RFC 8840).

        Raises FragmentRefused when it cannot be read, IceRestartRefused when it is for
        another ICE session than the offer's.
        """
        candidates = read_fragment(fragment, self._ufrag)
        self._candidates += len(candidates)
        if self._candidates > MAX_CANDIDATES:
            raise FragmentRefused(f"More than {MAX_CANDIDATES} candidates; send fewer.")
        for candidate in candidates:
            if self._connection is not None:
                await self._connection.addIceCandidate(candidate)

    def _attach(self, connection: RTCPeerConnection) -> None:
        """Prepare a connection before the offer is applied."""

    def _opened(self, connection: RTCPeerConnection) -> None:
        """Use the connection's media after the offer was applied."""

    def _begin(self, connection: RTCPeerConnection) -> None:
        """Use the connection now that it stands."""

    async def _serve(self) -> None:
        """Wait until the session has to end."""
        await self._closing.wait()

    async def _negotiate(self, connection: RTCPeerConnection, offer_sdp: str) -> str:
        check_offer(offer_sdp)
        self._ufrag = ufrags(offer_sdp)[0]
        self._attach(connection)
        try:
            await connection.setRemoteDescription(
                RTCSessionDescription(sdp=reachable_only(offer_sdp), type="offer")
            )
            for transceiver in connection.getTransceivers():
                if transceiver.kind == "video":
                    transceiver.direction = "inactive"
            self._opened(connection)
            await connection.setLocalDescription(await connection.createAnswer())
        except NoCapacity:
            raise
        except Exception as error:  # aiortc has no one error for an offer that it cannot answer
            raise OfferRefused(f"This offer cannot be answered: {error}") from error
        return agree_on_opus(connection.localDescription.sdp)

    async def _wait_connected(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._connected, self._closing)]
        try:
            _, pending = await asyncio.wait(
                waits, timeout=self._connect_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if len(pending) == len(waits):
                log.info("session %s: no connection in time", self.session_id)
                self._closing.set()
        finally:
            for wait in waits:
                wait.cancel()

    def _follow(self, connection: RTCPeerConnection) -> None:
        if connection.connectionState == "connected":
            self._set_state(SessionState.CONNECTED)
            self._begin(connection)
            self._connected.set()
        elif connection.connectionState in ("failed", "closed"):
            self._closing.set()

    def _set_state(self, state: SessionState) -> None:
        if state is not self.state:
            log.info("session %s: %s -> %s", self.session_id, self.state, state)
            self.state = state


class PublisherSession(Session):
    """Receives a publisher's RTP packets and tells its page the levels."""

    def __init__(
        self,
        session_id: str,
        *,
        connect_timeout_s: float,
        deliver: Callable[["PublisherSession", Packet], None],
    ) -> None:
        super().__init__(session_id, connect_timeout_s=connect_timeout_s)
        self._deliver = deliver
        self._stats: RTCDataChannel | None = None

    def send_stats(self, stats: dict[str, float]) -> None:
        """Tell the page, if it opened the data channel; a page that does not read is spared."""
        channel = self._stats
        if channel is None or channel.readyState != "open":
            return
        if channel.bufferedAmount < MAX_UNSENT_STATS_BYTES:
            channel.send(json.dumps(stats))

    def _attach(self, connection: RTCPeerConnection) -> None:
        connection.on("datachannel", self._open_stats)

    def _open_stats(self, channel: RTCDataChannel) -> None:
        if channel.label == "stats":
            self._stats = channel

    def _opened(self, connection: RTCPeerConnection) -> None:
        for transceiver in connection.getTransceivers():
            if transceiver.kind == "audio":
                tap_packets(transceiver.receiver, self._take)

    def _take(self, packet: Packet) -> None:
        if not self._closing.is_set():
            self._deliver(self, packet)


class Unheard(MediaStreamTrack):
    """Gives aiortc's sender nothing to send, so that we can."""

    kind = "audio"

    async def recv(self) -> NoReturn:
        """Wait until the sender is stopped."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody resolves this future")


class ListenerSession(Session):
    """Sends one listener the stream's packets."""

    def __init__(
        self,
        session_id: str,
        *,
        connect_timeout_s: float,
        listener: str,
        original: bool,
        listener_timeout_s: float = LISTENER_TIMEOUT_S,
    ) -> None:
        super().__init__(session_id, connect_timeout_s=connect_timeout_s)
        self.listener = listener
        self.original = original
        self._listener_timeout_s = listener_timeout_s
        self._sender: RtpSender | None = None
        self._heard_at = time.monotonic()

    def send(self, payload: bytes, position: int) -> None:
        """Send 20 ms of Opus; before the connection stands they are left out."""
        if self._sender is not None and not self._closing.is_set():
            self._sender.send(payload, position)

    def _attach(self, connection: RTCPeerConnection) -> None:
        connection.addTrack(Unheard())

    def _begin(self, connection: RTCPeerConnection) -> None:
        (transceiver,) = (t for t in connection.getTransceivers() if t.kind == "audio")
        self._sender = self._sender or RtpSender(transceiver)
        self._heard_at = time.monotonic()
        note_datagrams(transceiver, self._note_arrival)

    def _note_arrival(self) -> None:
        self._heard_at = time.monotonic()

    async def _serve(self) -> None:
        """Wait until it has to end, or nothing of the listener has come for too long."""
        while not self._closing.is_set():
            left_s = self._heard_at + self._listener_timeout_s - time.monotonic()
            if left_s <= 0:
                log.info("session %s: the listener is gone", self.session_id)
                return
            try:
                async with asyncio.timeout(left_s):
                    await self._closing.wait()
            except TimeoutError:
                continue


async def _close(connection: RTCPeerConnection) -> None:
    """Close a connection and every socket of it, also when an offer left it half made.

    aiortc's own `close` ends at the first part that was never connected with the others.
    """
    users = [user for each in connection.getTransceivers() for user in (each.sender, each.receiver)]
    transports = {user.transport for user in (*users, connection.sctp) if user and user.transport}
    try:
        await connection.close()
    except Exception:
        log.info("a half made connection was closed piece by piece", exc_info=True)
        for transport in transports:
            with contextlib.suppress(Exception):
                await transport.stop()
            await transport.transport.stop()
        connection.remove_all_listeners()
