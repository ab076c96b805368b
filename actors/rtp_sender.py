"""RTP out to one listener: a header, SRTP, one datagram. Nothing is encoded, nothing waits.

aiortc sends from a task per track that packs every packet anew, three times the work. Here its
sender keeps what is done once a second: the RTCP reports, from counts that are kept right.
"""

import random
import struct
from typing import Any

from aiortc import RTCRtpSender, RTCRtpTransceiver, clock
from aiortc.rtp import RtpPacket

MAX_UNSENT_BYTES = 4096
"""About 200 ms in the socket's buffer: a listener further behind misses frames, not the others."""
_MARKER = 0x80


class RtpSender:
    """Sends packets over a connected transceiver. A send hook in aiortc would remove this.

    Attributes:
        sent: how many packets were sent.
        dropped: how many were not, because the socket did not take them.
    """

    def __init__(self, transceiver: RTCRtpTransceiver) -> None:
        self.sent = 0
        self.dropped = 0
        self._sender: Any = transceiver.sender
        self._dtls: Any = transceiver.sender.transport
        assert hasattr(self._sender, _private("packet_count"))
        self._header = self._make_header(transceiver)
        self._sequence = random.randrange(1 << 15)  # below half: SRTP's roll-over is far away
        self._origin = random.randrange(1 << 32)

    def send(self, payload: bytes, position: int) -> None:
        """Send 20 ms of Opus that begin `position` samples after the stream's start."""
        pair = self._dtls.transport._connection._nominated.get(1)
        if pair is None:  # ICE is closing
            return
        transport = pair.protocol.transport
        if _unsent(transport) > MAX_UNSENT_BYTES:
            self.dropped += 1
            return
        timestamp = (self._origin + position) & 0xFFFFFFFF
        struct.pack_into("!HL", self._header, 2, self._sequence, timestamp)
        packet = self._dtls._tx_srtp.protect(bytes(self._header) + payload)
        transport.sendto(packet, pair.remote_addr)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._header[1] &= ~_MARKER
        self._count(len(payload), timestamp)

    def _count(self, octets: int, timestamp: int) -> None:
        """Keep what goes into aiortc's sender reports (RFC 3550, section 6.4.1)."""
        self.sent += 1
        counts = self._sender.__dict__
        counts[_private("packet_count")] += 1
        counts[_private("octet_count")] += octets
        counts[_private("rtp_timestamp")] = timestamp
        counts[_private("ntp_timestamp")] = clock.current_ntp_time()

    def _make_header(self, transceiver: RTCRtpTransceiver) -> bytearray:
        """Make the header that all packets share: payload type, SSRC, MID, and a first marker."""
        sender = self._sender
        opus = next(c for c in transceiver._codecs if c.mimeType.lower() == "audio/opus")
        assert opus.payloadType is not None
        packet = RtpPacket(payload_type=opus.payloadType, marker=1)
        packet.ssrc = sender._ssrc
        packet.extensions.mid = getattr(sender, _private("mid"))
        extensions = getattr(sender, _private("rtp_header_extensions_map"))
        return bytearray(packet.serialize(extensions))


def _private(name: str) -> str:
    return f"_{RTCRtpSender.__name__}__{name}"


def _unsent(transport: Any) -> int:
    """Tell how many bytes wait in a socket's buffer; a relay's transport does not say."""
    buffered = getattr(transport, "get_write_buffer_size", None)
    return int(buffered()) if buffered else 0
