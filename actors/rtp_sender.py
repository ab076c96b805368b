"""RTP out to one listener: a header, SRTP, one datagram. Encodes nothing, never waits.

aiortc sends from a task per track that packs every packet anew, which costs three times as much.
Its sender still sends the RTCP reports, once a second, from the counters we update.
"""

import asyncio
import random
import struct

from aiortc import RTCRtpTransceiver

from actors.aiortc_internals import DirectSender

MAX_UNSENT_BYTES = 4096
"""About 200 ms in the socket's buffer. A listener further behind misses frames; others do not."""
_COUNTED = 10
"""The counters are renewed every so many packets: with hundreds of listeners no cache has them."""
_VERSION_2 = 0x80
_MARKER = 0x80


class RtpSender:
    """Sends packets over a connected transceiver.

    Attributes:
        sent: packets sent.
        dropped: packets dropped because the socket was full.
    """

    __slots__ = "_direct", "_header", "_octets", "_origin", "_sequence", "dropped", "sent"

    def __init__(self, transceiver: RTCRtpTransceiver) -> None:
        self.sent = 0
        self.dropped = 0
        self._octets = 0
        self._direct = DirectSender(transceiver)
        # Common to all packets (RFC 3550, section 5.1), except for the marker on the first one.
        self._header = bytearray(12)
        self._header[:2] = _VERSION_2, _MARKER | self._direct.payload_type
        struct.pack_into("!L", self._header, 8, self._direct.ssrc)
        self._sequence = random.randrange(1 << 15)  # lower half: SRTP's rollover is far away
        self._origin = random.randrange(1 << 32)

    def send(self, payload: bytes, position: int) -> None:
        """Send 20 ms of Opus that start `position` samples into the stream, or drop them."""
        path = self._direct.path
        if path is None:
            return
        socket, address = path
        if _unsent(socket) > MAX_UNSENT_BYTES:
            self.dropped += 1
            return
        timestamp = (self._origin + position) & 0xFFFFFFFF
        struct.pack_into("!HL", self._header, 2, self._sequence, timestamp)
        socket.sendto(self._direct.protect(bytes(self._header) + payload), address)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._header[1] &= ~_MARKER
        self._octets += len(payload)
        if self.sent % _COUNTED == 0:
            self._direct.count(self.sent + 1, self._octets, timestamp)
        self.sent += 1


def _unsent(socket: asyncio.DatagramTransport) -> int:
    """Get how many bytes wait in a socket's buffer; 0 for a relay's transport, which cannot say."""
    buffered = getattr(socket, "get_write_buffer_size", None)
    return int(buffered()) if buffered else 0
