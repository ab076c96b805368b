"""Sessions: one peer connection each, a publisher's or a listener's, from offer to close."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from enum import StrEnum
from functools import lru_cache
from typing import NoReturn

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)

from actors.access import Guest
from actors.aiortc_internals import (
    SharedCertificate,
    bound_messages,
    bound_srtp,
    ice_connection,
    renumber_codec,
    shake_hands_in,
    tap_packets,
    use_certificate,
)
from actors.ice_lite import LiteConnection, serving
from actors.offers import (
    Offer,
    for_aiortc,
    read_fragment,
    read_offer,
    write_answer,
)
from actors.receive import Packet
from actors.rtp_sender import RtpSender
from foundation.logs import fields

log = logging.getLogger(__name__)

LISTENER_TIMEOUT_S = 8.0
"""A listener silent for this long is treated as gone."""
MAX_UNSENT_STATS_BYTES = 4096
SPECTRUM_PROTOCOL = "2"
MAX_SOURCES = 64
"""SSRCs of one publisher session. A source that changes with each track stays far below."""
REPORTS_PER_SECOND = 20.0
"""RTCP packets; clients send one to five."""
MESSAGES_PER_SECOND = 50.0
MAX_UNFINISHED_CHUNKS = 64
"""Our page sends no messages of its own, only what opens the channel, and acknowledgements."""
DAY_S = 86_400
_handshakes = ThreadPoolExecutor(1, "DTLS")
"""One at a time: a storm of them must not take the processor from the sound."""


@lru_cache(maxsize=1)
def _certificate_of(day: int) -> SharedCertificate:
    """Get the certificate of all sessions that a process begins on one day."""
    return SharedCertificate.make()


class SessionState(StrEnum):
    """A session's stage of life."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class Session:
    """The server's side of one peer connection, which `run` owns from offer to close."""

    publishes: bool

    def __init__(
        self, session_id: str, *, connect_timeout_s: float, sign_in: str | None = None
    ) -> None:
        self.session_id = session_id
        self.sign_in = sign_in
        """The sign-in that it rests on, if we were told."""
        self.state = SessionState.CONNECTING
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connect_timeout_s = connect_timeout_s
        self._connected = asyncio.Event()
        self._closing = asyncio.Event()
        self._offer: Offer | None = None
        self.ice: LiteConnection | None = None

    async def run(self, offer_sdp: str) -> None:
        """Answer the offer and serve until the connection is gone or `close` is called.

        Sets `answer` to the answer, or to the error that prevented it: OfferRefused, NoCapacity, or
        an unexpected error of ours, unchanged. A later error ends the session and is logged.
        Cancelling is safe.
        """
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(serving())
                connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
                use_certificate(connection, _certificate_of(int(time.monotonic() / DAY_S)))
                stack.push_async_callback(connection.close)
                connection.on("connectionstatechange", lambda: self._follow(connection))
                answer = await self._negotiate(connection, offer_sdp)
                if self.answer.done():  # cancelled: nobody is waiting for it
                    return
                self.answer.set_result(answer)
                if await self._wait_connected():
                    self._bound(connection)
                    self._set_state(SessionState.CONNECTED)
                    self._begin(connection)
                    await self._serve()
        except Exception as error:  # whatever went wrong, it ends this session only
            if self.answer.done():
                log.exception("session %s failed", self.session_id)
            else:
                self.answer.set_exception(error)
        finally:
            self.answer.cancel()
            self._set_state(SessionState.CLOSED)

    def close(self) -> None:
        """Make `run` end. Idempotent."""
        self._closing.set()

    async def trickle(self, fragment: str) -> None:
        """Read a trickle fragment (RFC 8840). Its candidates are ignored: the client reaches us.

        Raises FragmentRefused if it cannot be read, IceRestartRefused if its ICE session is not
        the offer's.
        """
        if self._offer is not None:
            read_fragment(fragment, self._offer)

    def _bound(self, connection: RTCPeerConnection) -> None:
        """Bound what the client may send; a listener sends no sound."""
        assert self.ice is not None
        bound_srtp(
            connection.getTransceivers()[0],
            sources=MAX_SOURCES if self.publishes else 0,
            reports_per_second=REPORTS_PER_SECOND,
            heard=self.ice.note_authentic,
        )

    def _attach(self, connection: RTCPeerConnection) -> None:
        """Prepare the connection before the offer is applied."""

    def _opened(self, connection: RTCPeerConnection, transceiver: RTCRtpTransceiver) -> None:
        """Use the connection's first transceiver once the offer is applied."""

    def _read(self, offer_sdp: str) -> Offer:
        """Read the offer. Raises OfferRefused."""
        return read_offer(offer_sdp, publishes=self.publishes)

    def _begin(self, connection: RTCPeerConnection) -> None:
        """Use the connection once it is established."""

    async def _serve(self) -> None:
        """Wait until the session must end."""
        await self._closing.wait()

    async def _negotiate(self, connection: RTCPeerConnection, offer_sdp: str) -> str:
        """Apply the offer and create the answer. Raises OfferRefused or NoCapacity.

        Any other error is ours: aiortc gets an offer that we wrote.
        """
        offer = self._offer = self._read(offer_sdp)
        self._attach(connection)
        await connection.setRemoteDescription(RTCSessionDescription(for_aiortc(offer), "offer"))
        transceivers = connection.getTransceivers()
        shake_hands_in(_handshakes, transceivers[0])
        for transceiver, audio in zip(transceivers, offer.audio, strict=True):
            renumber_codec(transceiver, audio.payload_type)
        ice = ice_connection(transceivers[0])
        assert isinstance(ice, LiteConnection)
        ice.client_waits = offer.transport.setup == "passive"
        ice.takes_messages = offer.data is not None
        self.ice = ice
        self._opened(connection, transceivers[0])
        await connection.setLocalDescription(await connection.createAnswer())
        return write_answer(offer, connection.localDescription.sdp)

    async def _wait_connected(self) -> bool:
        """Wait for the connection; False if it took too long or the session is closing."""
        waits = [asyncio.create_task(event.wait()) for event in (self._connected, self._closing)]
        try:
            _, pending = await asyncio.wait(
                waits, timeout=self._connect_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if len(pending) == len(waits):
                log.info("session did not connect in time", extra=fields(session=self.session_id))
                self._closing.set()
        finally:
            for wait in waits:
                wait.cancel()
        return self._connected.is_set() and not self._closing.is_set()

    def _follow(self, connection: RTCPeerConnection) -> None:
        if connection.connectionState == "connected":
            self._connected.set()
        elif connection.connectionState in ("failed", "closed"):
            self.close()

    def _set_state(self, state: SessionState) -> None:
        if state is not self.state:
            self.state = state
            log.info("session is %s", state, extra=fields(session=self.session_id))


class PublisherSession(Session):
    """Receives a publisher's RTP packets and sends levels to its page."""

    publishes = True

    def __init__(
        self,
        session_id: str,
        *,
        connect_timeout_s: float,
        deliver: Callable[["PublisherSession", Packet], None],
        sign_in: str | None = None,
    ) -> None:
        super().__init__(session_id, connect_timeout_s=connect_timeout_s, sign_in=sign_in)
        self._deliver = deliver
        self._stats: RTCDataChannel | None = None

    @property
    def wants_spectrum(self) -> bool:
        """Whether the page asked for the second version of the data channel."""
        channel = self._stats
        return channel is not None and channel.protocol == SPECTRUM_PROTOCOL

    def send_stats(self, stats: Mapping[str, float | None]) -> None:
        """Send levels to the page, if it opened the data channel and keeps up."""
        self._tell(json.dumps(stats))

    def send_spectrum(self, columns: bytes) -> None:
        """Send the page a part of its picture, or drop it likewise."""
        self._tell(columns)

    def _tell(self, message: str | bytes) -> None:
        channel = self._stats
        if channel is None or channel.readyState != "open":
            return
        if channel.bufferedAmount < MAX_UNSENT_STATS_BYTES:
            channel.send(message)

    def _attach(self, connection: RTCPeerConnection) -> None:
        connection.on("datachannel", self._open_stats)

    def _open_stats(self, channel: RTCDataChannel) -> None:
        if channel.label == "stats":
            self._stats = channel

    def _opened(self, connection: RTCPeerConnection, transceiver: RTCRtpTransceiver) -> None:
        tap_packets(transceiver.receiver, self._take)
        bound_messages(
            connection,
            per_second=MESSAGES_PER_SECOND,
            unfinished=MAX_UNFINISHED_CHUNKS,
            give_up=self.close,
        )

    def _take(self, packet: Packet) -> None:
        if not self._closing.is_set():
            self._deliver(self, packet)


class Unheard(MediaStreamTrack):
    """A track that gives aiortc's sender nothing to send: RtpSender sends instead."""

    kind = "audio"

    async def recv(self) -> NoReturn:
        """Wait forever; aiortc cancels this when it stops the sender."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody resolves this future")


class Feed:
    """One sound for one listener."""

    __slots__ = "_sender", "original"

    def __init__(self, *, original: bool) -> None:
        self.original = original
        self._sender: RtpSender | None = None

    def begin(self, transceiver: RTCRtpTransceiver) -> None:
        """Send from now on."""
        self._sender = RtpSender(transceiver)

    def end(self) -> None:
        """Send no more."""
        self._sender = None

    def send(self, payload: bytes, position: int) -> None:
        """Send 20 ms of Opus, or drop it while there is no connection."""
        if self._sender is not None:
            self._sender.send(payload, position)


class ListenerSession(Session):
    """Sends the stream's packets to one listener.

    Attributes:
        feeds: what it hears, once its offer is read: one sound, or both.
    """

    publishes = False

    def __init__(
        self,
        session_id: str,
        *,
        connect_timeout_s: float,
        listener: str,
        original: bool,
        both: bool = False,
        sign_in: str | None = None,
        guest: Guest | None = None,
        connected: Callable[["ListenerSession"], None] = lambda session: None,
        listener_timeout_s: float = LISTENER_TIMEOUT_S,
    ) -> None:
        super().__init__(session_id, connect_timeout_s=connect_timeout_s, sign_in=sign_in)
        self.listener = listener
        self.guest = guest
        self.since = time.time()
        self.original = original
        self._tell_connected = connected
        self._listener_timeout_s = listener_timeout_s
        self.feeds = [Feed(original=original)]
        if both:
            self.feeds.append(Feed(original=True))

    def close(self) -> None:
        """Make `run` end; nothing is sent any more."""
        for feed in self.feeds:
            feed.end()
        super().close()

    def _read(self, offer_sdp: str) -> Offer:
        offer = read_offer(offer_sdp, publishes=False, both=len(self.feeds) > 1)
        del self.feeds[len(offer.audio) :]
        return offer

    def _attach(self, connection: RTCPeerConnection) -> None:
        for _ in self.feeds:
            connection.addTrack(Unheard())

    def _begin(self, connection: RTCPeerConnection) -> None:
        for feed, transceiver in zip(self.feeds, connection.getTransceivers(), strict=True):
            feed.begin(transceiver)
        self._tell_connected(self)

    async def _serve(self) -> None:
        """Wait until the session must end or the listener has been silent for too long.

        A browser checks consent every few seconds and reports what it received, so silence means
        that it is gone.
        """
        assert self.ice is not None
        while not self._closing.is_set():
            left_s = self.ice.heard_at + self._listener_timeout_s - time.monotonic()
            if left_s <= 0:
                log.info("listener is gone", extra=fields(session=self.session_id))
                return
            try:
                async with asyncio.timeout(left_s):
                    await self._closing.wait()
            except TimeoutError:
                continue
