"""RTP out to one listener: a header, SRTP, one datagram. Nothing is encoded, nothing waits.

aiortc sends from a task per track that packs every packet anew, three times the work. Here its
sender keeps what is done once a second: the RTCP reports, from counts that are kept right.
"""

import asyncio
import random
import struct

from aiortc import RTCRtpTransceiver

from actors.aiortc_internals import DirectSender

MAX_UNSENT_BYTES = 4096
"""About 200 ms in the socket's buffer: a listener further behind misses frames, not the others."""
_VERSION_2 = 0x80
_MARKER = 0x80


class RtpSender:
    """Sends packets over a connected transceiver.

    Attributes:
        sent: packets that were sent.
        dropped: packets that the socket did not take.
    """

    def __init__(self, transceiver: RTCRtpTransceiver) -> None:
        self.sent = 0
        self.dropped = 0
        self._direct = DirectSender(transceiver)
        # What all packets share (RFC 3550, section 5.1); the marker is for the first one.
        self._header = bytearray(12)
        self._header[:2] = _VERSION_2, _MARKER | self._direct.payload_type
        struct.pack_into("!L", self._header, 8, self._direct.ssrc)
        self._sequence = random.randrange(1 << 15)  # below half: SRTP's roll-over is far away
        self._origin = random.randrange(1 << 32)

    def send(self, payload: bytes, position: int) -> None:
        """Send 20 ms of Opus that begin `position` samples after the stream's start."""
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
        self.sent += 1
        self._direct.count(len(payload), timestamp)


def _unsent(socket: asyncio.DatagramTransport) -> int:
    """Tell how many bytes wait in a socket's buffer; a relay's transport does not say."""
    buffered = getattr(socket, "get_write_buffer_size", None)
    return int(buffered()) if buffered else 0
