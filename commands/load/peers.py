"""Publishers and listeners of `hushcast load`, the tests and the benchmarks: real WebRTC peers.

They cost their process little: a publisher plays packets encoded beforehand, and a listener decodes
nothing.
"""

from __future__ import annotations  # Packet is generic to type checkers only

import asyncio
import json
import time
from fractions import Fraction
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av.packet import Packet

from actors.aiortc_internals import tap_packets
from actors.opus import FRAME_SAMPLES, SAMPLE_RATE, OpusEncoder, Sound
from actors.receive import Packet as RtpPacket
from commands.load.arrivals import Arrivals

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE


def encode(sound: Sound, *, bitrate: int = 96_000) -> list[bytes]:
    """Encode sound [T] to packets of 20 ms; a last piece shorter than that is left out."""
    encoder = OpusEncoder(bitrate=bitrate)
    whole = len(sound) // FRAME_SAMPLES * FRAME_SAMPLES
    return [encoder.encode(frame) for frame in sound[:whole].reshape(-1, FRAME_SAMPLES)]


class Microphone(MediaStreamTrack):
    """Plays encoded packets in real time, in a loop.

    Attributes:
        begun: set once the first packet is due; `began` is that moment on time.monotonic.
        played: packets so far.
        worst_lateness_s: how late a packet was at worst.
    """

    kind = "audio"

    def __init__(self, packets: list[bytes]) -> None:
        super().__init__()
        self.began = 0.0
        self.played = 0
        self.worst_lateness_s = 0.0
        self.begun = asyncio.Event()
        self._packets = packets

    async def recv(self) -> Packet[Any]:
        """Wait until the next packet is due. Raises MediaStreamError once it is stopped."""
        if not self.begun.is_set():
            self.began = time.monotonic()
            self.begun.set()
        due = self.began + self.played * FRAME_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if self.readyState != "live":
            raise MediaStreamError
        self.worst_lateness_s = max(self.worst_lateness_s, time.monotonic() - due)
        packet: Packet[Any] = Packet(self._packets[self.played % len(self._packets)])
        packet.pts = self.played * FRAME_SAMPLES
        packet.time_base = Fraction(1, SAMPLE_RATE)
        self.played += 1
        return packet


class Peer:
    """A client's side of one peer connection; the caller closes it. `gather_on` says where.

    Attributes:
        connected: set once the connection is established.
    """

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connected = asyncio.Event()
        self.connection.on("connectionstatechange", self._follow)

    async def offer(self) -> str:
        """Make an offer with all candidates in it."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, answer_sdp: str) -> None:
        """Take the server's answer."""
        answer = RTCSessionDescription(sdp=answer_sdp, type="answer")
        await self.connection.setRemoteDescription(answer)

    async def close(self) -> None:
        """Close the connection."""
        await self.connection.close()

    def _follow(self) -> None:
        if self.connection.connectionState == "connected":
            self.connected.set()


class PublisherPeer(Peer):
    """Publishes packets, and keeps the newest levels that the server sent.

    Attributes:
        stats: what came over the data channel last; empty before, or without `stats`.
        spectra: the binary messages that came over it, if `protocol` asks for them.
    """

    def __init__(self, packets: list[bytes], *, stats: bool = True, protocol: str = "") -> None:
        super().__init__()
        self.microphone = Microphone(packets)
        self.stats: dict[str, float] = {}
        self.spectra: list[bytes] = []
        self.connection.addTransceiver(self.microphone, direction="sendonly")
        if stats:
            channel: RTCDataChannel = self.connection.createDataChannel("stats", protocol=protocol)
            channel.on("message", self._keep_stats)

    def _keep_stats(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.spectra.append(message)
        else:
            self.stats = json.loads(message)


class PacketListener(Peer):
    """Listens without decoding: notes when each packet came, and keeps the sound if asked to."""

    def __init__(self, *, keep_sound: bool) -> None:
        super().__init__()
        self.arrivals = Arrivals(keep_sound=keep_sound)
        transceiver = self.connection.addTransceiver("audio", direction="recvonly")
        tap_packets(transceiver.receiver, self._take)

    def _take(self, packet: RtpPacket) -> None:
        self.arrivals.add(
            time.monotonic(), packet.sequence_number, packet.timestamp, packet.payload
        )
