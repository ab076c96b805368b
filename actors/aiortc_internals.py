"""What we take from inside aiortc and aioice. No release of theirs promises these names.

No other file touches a private attribute of theirs (tests/test_house.py checks that), and
`check_aiortc` tells at start whether the installed versions still have them.
"""

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from aioice import Connection
from aioice.ice import StunProtocol
from aiortc import (
    RTCConfiguration,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    clock,
    rtcicetransport,
)
from aiortc.rtp import RtpPacket

from actors.receive import Packet

JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
PACKET_COUNT = "_RTCRtpSender__packet_count"
OCTET_COUNT = "_RTCRtpSender__octet_count"
RTP_TIMESTAMP = "_RTCRtpSender__rtp_timestamp"
NTP_TIMESTAMP = "_RTCRtpSender__ntp_timestamp"


class AiortcChanged(Exception):
    """The installed aiortc or aioice lacks a name that we rely on."""


async def check_aiortc() -> None:
    """Raise AiortcChanged unless the installed aiortc and aioice have every name used here.

    Looks at a new peer connection: no socket is opened, nothing is left to close. It needs an
    event loop because aiortc's constructors do.
    """
    transceiver = RTCPeerConnection(RTCConfiguration(iceServers=[])).addTransceiver("audio")
    _require(transceiver, "_codecs")
    _require(transceiver.receiver, JITTER_BUFFER)
    for name in ("_ssrc", PACKET_COUNT, OCTET_COUNT, RTP_TIMESTAMP, NTP_TIMESTAMP):
        _require(transceiver.sender, name)
    dtls: Any = transceiver.receiver.transport
    _require(dtls, "_tx_srtp")
    _require(dtls.transport, "_connection")
    connection = dtls.transport._connection
    for name in ("_protocols", "_nominated", "get_component_candidates"):
        _require(connection, name)
    _require(rtcicetransport, "Connection")
    if type(connection) is not rtcicetransport.Connection:  # type: ignore[attr-defined]
        raise _changed("an ICE connection made from rtcicetransport.Connection")


def _require(owner: object, name: str) -> None:
    if not hasattr(owner, name):
        raise _changed(f"{getattr(owner, '__name__', type(owner).__name__)}.{name}")


def _changed(missing: str) -> AiortcChanged:
    return AiortcChanged(
        f"aiortc {version('aiortc')} with aioice {version('aioice')} lacks {missing}, which "
        "hushcast relies on."
    )


# -- receiving


class PacketTap:
    """Stands in for aiortc's jitter buffer and passes each packet on."""

    def __init__(self, take: Callable[[Packet], None]) -> None:
        self._take = take

    def add(self, packet: Packet) -> tuple[bool, None]:
        """Take a packet; tells aiortc that no key frame is needed and nothing is to decode."""
        self._take(packet)
        return False, None


def tap_packets(receiver: RTCRtpReceiver, take: Callable[[Packet], None]) -> None:
    """Pass packets to `take` instead of aiortc's jitter buffer (receive.py says why).

    SRTP, the check of the payload type and the receiver reports stay aiortc's. Nothing reaches
    its decoder thread. A hook for packets in aiortc would remove this.
    """
    assert hasattr(receiver, JITTER_BUFFER)
    setattr(receiver, JITTER_BUFFER, PacketTap(take))


def as_received(packet: RtpPacket) -> RtpPacket:
    """Add what aiortc's receiver adds before its jitter buffer; Opus needs no unpacking.

    For the benchmark that compares the two.
    """
    packet._data = packet.payload  # type: ignore[attr-defined]
    return packet


def note_datagrams(transceiver: RTCRtpTransceiver, note: Callable[[], None]) -> None:
    """Call `note` for every datagram of a connected peer: STUN, RTCP, anything.

    aioice reports no arrivals; an event for them would remove this.
    """
    for protocol in _ice(transceiver.receiver.transport)._protocols:
        protocol.datagram_received = _noting(protocol.datagram_received, note)


def _noting(received: Callable[..., None], note: Callable[[], None]) -> Callable[..., None]:
    def noted(data: bytes, address: tuple[Any, ...]) -> None:
        note()
        received(data, address)

    return noted


# -- sending


class DirectSender:
    """The SRTP session, the socket and the counts under a connected transceiver's sender.

    A way to send finished packets in aiortc would remove this.

    Attributes:
        ssrc: the source that the answer announced.
        payload_type: what was agreed for Opus.
    """

    def __init__(self, transceiver: RTCRtpTransceiver) -> None:
        self._sender: Any = transceiver.sender
        self._dtls: Any = transceiver.sender.transport
        self._ice = _ice(transceiver.sender.transport)
        self.ssrc: int = self._sender._ssrc
        codecs: Any = transceiver._codecs
        opus = next(codec for codec in codecs if codec.mimeType.lower() == "audio/opus")
        self.payload_type: int = opus.payloadType

    @property
    def path(self) -> tuple[asyncio.DatagramTransport, tuple[str, int]] | None:
        """The socket and the peer's address; None while ICE is closing."""
        pair = self._ice._nominated.get(1)
        return pair and (pair.protocol.transport, pair.remote_addr)

    def protect(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet (RFC 3711)."""
        protected: bytes = self._dtls._tx_srtp.protect(packet)
        return protected

    def count(self, octets: int, timestamp: int) -> None:
        """Keep what goes into aiortc's sender reports (RFC 3550, section 6.4.1)."""
        counts = self._sender.__dict__
        counts[PACKET_COUNT] += 1
        counts[OCTET_COUNT] += octets
        counts[RTP_TIMESTAMP] = timestamp
        counts[NTP_TIMESTAMP] = clock.current_ntp_time()


# -- ICE


def make_ice_connections_with(kind: type[Connection]) -> None:
    """Let every later peer connection of this process use this class for ICE.

    aiortc has no other way in; an option of RTCConfiguration would remove this.
    """
    rtcicetransport.Connection = kind  # type: ignore[attr-defined]


def add_socket(connection: Connection, protocol: StunProtocol) -> None:
    """Let a connection that gathers itself own a socket: aioice checks on it and closes it."""
    connection._protocols.append(protocol)


def sockets(transceiver: RTCRtpTransceiver) -> list[asyncio.DatagramTransport]:
    """Get the sockets of a transceiver, so that a test can take the network away."""
    return [each.transport for each in _ice(transceiver.receiver.transport)._protocols]


def _ice(dtls: RTCDtlsTransport) -> Any:
    return dtls.transport._connection
