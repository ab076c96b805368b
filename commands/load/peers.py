"""The publishers and listeners themselves: peer connections that cost the generator little."""

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

from actors.opus import FRAME_SAMPLES, SAMPLE_RATE
from actors.receive import Packet as RtpPacket
from actors.sessions import PacketTap
from commands.load.api import Api
from commands.load.arrivals import Arrivals

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
CONNECT_LIMIT_S = 30.0


class PeerFailed(Exception):
    """A peer did not come up; the message says how far it came."""


class Microphone(MediaStreamTrack):
    """Plays encoded packets in real time, round and round."""

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
    """One peer connection, and when it got how far. Whoever starts it closes it."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connected = asyncio.Event()
        self.connection.on("connectionstatechange", self._follow)
        self.asked_at = 0.0
        self.answered_s = 0.0
        self.connected_s = 0.0
        self.tries = 0
        self._session: str | None = None

    async def start(self, api: Api, path: str) -> None:
        """Post the offer and wait for the connection. Raises ApiError, PeerFailed."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = self.connection.localDescription.sdp
        answer = await asyncio.to_thread(api.call, "POST", path, offer)
        self.asked_at, self.answered_s = answer.asked_at, answer.took_s
        self.tries = answer.tries
        self._session = answer.headers["Location"]
        await self.connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await self.connected.wait()
        except TimeoutError as error:
            state = self.connection.iceConnectionState
            raise PeerFailed(f"answered, but not connected: ICE is {state}") from error
        self.connected_s = time.monotonic() - self.asked_at

    async def close(self, api: Api) -> None:
        """End the session at the server, then here."""
        try:
            if self._session:
                await asyncio.to_thread(api.call, "DELETE", self._session, patience_s=5)
        finally:
            await self.connection.close()

    def _follow(self) -> None:
        if self.connection.connectionState == "connected":
            self.connected.set()


class PublisherPeer(Peer):
    """Publishes, and keeps the newest of what the server tells of it."""

    def __init__(self, packets: list[bytes]) -> None:
        super().__init__()
        self.microphone = Microphone(packets)
        self.stats: dict[str, float] = {}
        self.connection.addTransceiver(self.microphone, direction="sendonly")
        channel: RTCDataChannel = self.connection.createDataChannel("stats")
        channel.on("message", self._told)

    def _told(self, message: str) -> None:
        self.stats = json.loads(message)


class ListenerPeer(Peer):
    """Listens without decoding: notes when which packet came, and keeps them if asked to."""

    def __init__(self, *, keep_sound: bool) -> None:
        super().__init__()
        self.arrivals = Arrivals(keep_sound=keep_sound)
        self.connection.addTransceiver("audio", direction="recvonly")
        self.connection.on("track", self._tap)

    def _tap(self, track: MediaStreamTrack) -> None:
        """Take packets before aiortc's jitter buffer and decoder; see PacketTap."""
        for transceiver in self.connection.getTransceivers():
            receiver: Any = transceiver.receiver
            assert hasattr(receiver, "_RTCRtpReceiver__jitter_buffer")
            receiver._RTCRtpReceiver__jitter_buffer = PacketTap(self._take)

    def _take(self, packet: RtpPacket) -> None:
        self.arrivals.add(
            time.monotonic(), packet.sequence_number, packet.timestamp, packet.payload
        )
