"""The private parts of aiortc and aioice that we use. No release promises to keep these names.

No other file touches their private attributes (tests/test_house.py checks this), and
`check_aiortc` makes sure at startup that the installed versions still have them.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from importlib.metadata import version
from typing import Any

import pylibsrtp
from aioice import Connection
from aioice.ice import StunProtocol
from aiortc import (
    RTCCertificate,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    rtcdtlstransport,
    rtcicetransport,
)
from aiortc.rtp import RtpPacket
from OpenSSL import SSL

from actors.receive import Packet

CERTIFICATES = "_RTCPeerConnection__certificates"
JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
PACKET_COUNT = "_RTCRtpSender__packet_count"
OCTET_COUNT = "_RTCRtpSender__octet_count"
RTP_TIMESTAMP = "_RTCRtpSender__rtp_timestamp"
NTP_TIMESTAMP = "_RTCRtpSender__ntp_timestamp"
NTP_EPOCH_S = 2_208_988_800
"""The Unix epoch in NTP's seconds (RFC 5905)."""


class AiortcChanged(Exception):
    """The installed aiortc or aioice lacks a name we rely on."""


async def check_aiortc() -> None:
    """Raise AiortcChanged unless the installed aiortc and aioice have every name used here.

    Inspects a new peer connection: opens no socket and leaves nothing to close. Needs an event
    loop because aiortc's constructors do.
    """
    make: Any = rtcicetransport.Connection  # type: ignore[attr-defined]
    made: list[Connection] = []

    def noted(*args: Any, **kwargs: Any) -> Connection:
        made.append(make(*args, **kwargs))
        return made[-1]

    make_ice_connections_with(noted)
    try:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        transceiver = peer.addTransceiver("audio")
    finally:
        make_ice_connections_with(make)
    _require(peer, CERTIFICATES)
    _require(RTCCertificate, "_create_ssl_context")
    _require(transceiver, "_codecs")
    _require(transceiver.receiver, JITTER_BUFFER)
    for name in ("_ssrc", PACKET_COUNT, OCTET_COUNT, RTP_TIMESTAMP, NTP_TIMESTAMP):
        _require(transceiver.sender, name)
    dtls: Any = transceiver.receiver.transport
    for name in ("_tx_srtp", "_rx_srtp", "_ssl", "_do_handshake", "_write_ssl", "_set_state"):
        _require(dtls, name)
    _require(dtls.transport, "_recv")
    _require(dtls.transport, "_connection")
    connection = dtls.transport._connection
    for name in ("_protocols", "get_component_candidates"):
        _require(connection, name)
    _require(rtcicetransport, "Connection")
    if connection not in made:
        raise _changed("an ICE connection made from rtcicetransport.Connection")


def _require(owner: object, name: str) -> None:
    if not hasattr(owner, name):
        raise _changed(f"{getattr(owner, '__name__', type(owner).__name__)}.{name}")


def _changed(missing: str) -> AiortcChanged:
    return AiortcChanged(
        f"aiortc {version('aiortc')} with aioice {version('aioice')} lacks {missing}, which "
        "hushcast relies on."
    )


# -- the payload type


def renumber_codec(transceiver: RTCRtpTransceiver, payload_type: int) -> None:
    """Set the payload type of a transceiver's only codec, before its answer is created.

    aiortc takes over the client's numbers only from 96 on; if it took all, this would go.
    """
    codecs: Any = transceiver._codecs
    (codec,) = codecs
    codec.payloadType = payload_type


# -- DTLS


class SharedCertificate(RTCCertificate):
    """A certificate for many connections. Its TLS context, and its fingerprints, are made once.

    aiortc makes all three for each connection, which is a fifth of what a listener's join costs.
    """

    @classmethod
    def make(cls) -> "SharedCertificate":
        """Make one. Valid for 30 days."""
        made = cls.generateCertificate()
        profiles = rtcdtlstransport.SRTP_PROFILES
        made.context = RTCCertificate._create_ssl_context(made, profiles)
        made.context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # WebRTC resumes no session
        made.fingerprints = RTCCertificate.getFingerprints(made)
        return made

    context: SSL.Context
    fingerprints: list[Any]

    def _create_ssl_context(self, srtp_profiles: list[Any]) -> SSL.Context:
        return self.context

    def getFingerprints(self) -> list[Any]:
        """Get the fingerprints."""
        return self.fingerprints


def use_certificate(connection: RTCPeerConnection, certificate: RTCCertificate) -> None:
    """Give a new connection this certificate. RTCConfiguration has no `certificates` yet."""
    assert hasattr(connection, CERTIFICATES)
    setattr(connection, CERTIFICATES, [certificate])


def shake_hands_in(threads: Executor, transceiver: RTCRtpTransceiver) -> None:
    """Compute a connection's DTLS handshake in other threads; before it begins.

    The signatures and keys take milliseconds, in which the event loop would stand still. OpenSSL's
    objects belong to one thread at a time: whoever closes the connection waits for this. A
    handshake of aiortc's that leaves the loop would remove this.
    """
    dtls: Any = transceiver.receiver.transport
    stop, computing = dtls.stop, asyncio.Lock()

    async def advance() -> bool:
        """Compute what can be; tells whether the handshake is complete. Raises SSL.Error."""
        async with computing:
            try:
                await asyncio.get_running_loop().run_in_executor(threads, dtls._ssl.do_handshake)
            except SSL.WantReadError:
                return False
        return True

    async def receive() -> None:
        """Take the next datagram, or repeat what was sent when none comes."""
        try:
            data = await asyncio.wait_for(dtls.transport._recv(), dtls._ssl.DTLSv1_get_timeout())
        except TimeoutError:
            dtls._ssl.DTLSv1_handle_timeout()
            return
        if 19 < data[0] < 64:  # DTLS (RFC 7983)
            dtls._ssl.bio_write(data)

    async def shake_hands() -> None:
        try:
            while not dtls.encrypted:
                dtls.encrypted = await advance()
                await dtls._write_ssl()
                if not dtls.encrypted:
                    await receive()
        except (SSL.Error, ConnectionError):
            dtls._set_state(rtcdtlstransport.State.FAILED)

    async def stop_later() -> None:
        async with computing:
            await stop()

    dtls._do_handshake, dtls.stop = shake_hands, stop_later


# -- receiving


class PacketTap:
    """Stands in for aiortc's jitter buffer and passes each packet on."""

    def __init__(self, take: Callable[[Packet], None]) -> None:
        self._take = take

    def add(self, packet: Packet) -> tuple[bool, None]:
        """Take a packet; tell aiortc to request no key frame and decode nothing."""
        self._take(packet)
        return False, None


def tap_packets(receiver: RTCRtpReceiver, take: Callable[[Packet], None]) -> None:
    """Pass packets to `take` instead of aiortc's jitter buffer (receive.py says why).

    aiortc still does SRTP, checks the payload type and sends receiver reports. Nothing reaches
    its decoder thread. A packet hook in aiortc would remove this.
    """
    assert hasattr(receiver, JITTER_BUFFER)
    setattr(receiver, JITTER_BUFFER, PacketTap(take))


def as_received(packet: RtpPacket) -> RtpPacket:
    """Add what aiortc's receiver adds before its jitter buffer; Opus needs no depacketizing.

    Only the benchmark that compares the two buffers uses this.
    """
    packet._data = packet.payload  # type: ignore[attr-defined]
    return packet


MIN_REPORTING = 8
"""How many SSRCs may send reports, however few may send sound."""


class Bucket:
    """A token bucket: `per_second` packets, of which ten seconds' worth may come at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._tokens, self._since = 10 * per_second, time.monotonic()

    @property
    def empty(self) -> bool:
        """Whether no packet is allowed now."""
        now = time.monotonic()
        tokens = self._tokens + (now - self._since) * self._per_second
        self._tokens, self._since = min(10 * self._per_second, tokens), now
        return self._tokens < 1

    def take(self) -> None:
        """Count a packet."""
        self._tokens -= 1


class TooMuch(pylibsrtp.Error):
    """Beyond the bounds of a connection: aiortc drops the packet."""


class BoundedSrtp:
    """Stands in for what decrypts a peer's RTP and RTCP (RFC 3711), and looks at it first."""

    def __init__(
        self, session: Any, *, sources: int, reports_per_second: float, heard: Callable[[], None]
    ) -> None:
        self._session = session
        self._sources = sources
        self._reports = Bucket(reports_per_second)
        self._heard = heard
        self._known: set[bytes] = set()
        self._reporting: set[bytes] = set()

    def unprotect(self, data: bytes) -> bytes:
        """Decrypt RTP. Raises pylibsrtp.Error."""
        source = data[8:12]
        if source not in self._known and len(self._known) >= self._sources:
            raise TooMuch
        packet: bytes = self._session.unprotect(data)
        self._known.add(source)
        self._heard()
        return packet

    def unprotect_rtcp(self, data: bytes) -> bytes:
        """Decrypt RTCP. Raises pylibsrtp.Error."""
        source, most = data[4:8], max(MIN_REPORTING, self._sources)
        new = source not in self._reporting
        if self._reports.empty or (new and len(self._reporting) >= most):
            raise TooMuch
        packet: bytes = self._session.unprotect_rtcp(data)
        self._reports.take()  # only now: a forged packet must not use up the peer's
        self._reporting.add(source)
        self._heard()
        return packet


def bound_srtp(
    transceiver: RTCRtpTransceiver,
    *,
    sources: int,
    reports_per_second: float,
    heard: Callable[[], None],
) -> None:
    """Bound what a connected peer may send, and call `heard` for each packet that is authentic.

    libsrtp walks through a list of all SSRCs that it has seen, and aiortc keeps an entry for each
    in several tables; a report may name thousands of lost packets. Limits there would remove this.
    """
    dtls: Any = transceiver.receiver.transport
    dtls._rx_srtp = BoundedSrtp(
        dtls._rx_srtp, sources=sources, reports_per_second=reports_per_second, heard=heard
    )


def bound_messages(
    connection: RTCPeerConnection,
    *,
    per_second: float,
    unfinished: int,
    give_up: Callable[[], None],
) -> None:
    """Bound what a connection's data channels may receive; before the connection is established.

    Drops SCTP packets beyond `per_second`, of which ten seconds' worth may come at once, and calls
    `give_up` if more chunks than `unfinished` wait for the rest of their message: for each chunk
    aiortc looks at all of them. Limits of its own would remove this.
    """
    sctp: Any = connection.sctp
    if sctp is None:
        return
    handle = sctp._handle_data
    packets = Bucket(per_second)

    async def bounded(data: bytes) -> None:
        if packets.empty:
            return
        packets.take()
        await handle(data)
        streams = sctp._inbound_streams
        waiting = sum(len(each.reassembly) for each in streams.values())
        if waiting + len(sctp._sack_misordered) > unfinished or len(streams) > unfinished:
            give_up()

    sctp._handle_data = bounded


# -- sending


class DirectSender:
    """The SRTP session, the socket and the counters under a connected transceiver's sender.

    A way to send ready-made packets through aiortc would remove this.

    Attributes:
        ssrc: the source announced in the answer.
        payload_type: the payload type agreed for Opus.
        protect: encrypts an RTP packet (RFC 3711).
    """

    __slots__ = "_counts", "_ice", "payload_type", "protect", "ssrc"

    protect: Callable[[bytes], bytes]

    def __init__(self, transceiver: RTCRtpTransceiver) -> None:
        sender: Any = transceiver.sender
        self._counts: dict[str, Any] = sender.__dict__
        self._ice: Any = ice_connection(transceiver)
        self.protect = sender.transport._tx_srtp.protect
        self.ssrc: int = sender._ssrc
        codecs: Any = transceiver._codecs
        (opus,) = codecs
        self.payload_type: int = opus.payloadType

    @property
    def path(self) -> tuple[asyncio.DatagramTransport, tuple[str, int]] | None:
        """The socket and the peer's address; None while ICE is closing."""
        peer = self._ice.selected
        return peer and (peer.protocol.transport, peer.address)

    def count(self, packets: int, octets: int, timestamp: int) -> None:
        """Update what aiortc's sender reports say (RFC 3550, section 6.4.1), right after a packet.

        `packets` and `octets` have been sent so far, the last with this RTP timestamp.
        """
        counts = self._counts
        counts[PACKET_COUNT] = packets
        counts[OCTET_COUNT] = octets
        counts[RTP_TIMESTAMP] = timestamp
        counts[NTP_TIMESTAMP] = int((time.time() + NTP_EPOCH_S) * 2**32)


# -- ICE


def make_ice_connections_with(make: Callable[..., Connection]) -> None:
    """Let every later peer connection in this process get its ICE connection from `make`.

    aiortc offers no other way; an option in RTCConfiguration would remove this.
    """
    rtcicetransport.Connection = make  # type: ignore[attr-defined, assignment]


def add_socket(connection: Connection, protocol: StunProtocol) -> None:
    """Hand a socket to a connection: aioice runs its checks on it and closes it."""
    connection._protocols.append(protocol)


def sockets(transceiver: RTCRtpTransceiver) -> list[asyncio.DatagramTransport]:
    """Get a transceiver's sockets, so that a test can cut the network."""
    connection: Any = ice_connection(transceiver)
    return [each.transport for each in connection._protocols]


def ice_connection(transceiver: RTCRtpTransceiver) -> Connection:
    """Get the ICE connection under a transceiver."""
    return transceiver.receiver.transport.transport._connection
