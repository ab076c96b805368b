"""Real WebRTC clients for the tests: an aiortc publisher and an aiortc listener."""

from __future__ import annotations  # Packet is generic to type checkers only

import asyncio
from fractions import Fraction
from typing import Any

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av.packet import Packet

from actors.ice import gather_on
from actors.opus import FRAME_SAMPLES, SAMPLE_RATE, OpusEncoder
from tests.sounds import Sound


def encode(sound: Sound) -> list[bytes]:
    """Encode sound [T] to 20 ms packets, ahead of time, so that playing them costs little."""
    encoder = OpusEncoder(bitrate=96000)
    whole = len(sound) // FRAME_SAMPLES * FRAME_SAMPLES
    return [encoder.encode(frame) for frame in sound[:whole].reshape(-1, FRAME_SAMPLES)]


class Microphone(MediaStreamTrack):
    """Plays encoded packets in real time, again from the start when they are used up."""

    kind = "audio"

    def __init__(self, packets: list[bytes]) -> None:
        super().__init__()
        self.played = 0
        self._packets = packets
        self._began: float | None = None

    async def recv(self) -> Packet[Any]:
        """Wait until the next packet is due."""
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        due = self._began + self.played * FRAME_SAMPLES / SAMPLE_RATE
        await asyncio.sleep(max(0.0, due - loop.time()))
        if self.readyState != "live":
            raise MediaStreamError
        packet: Packet[Any] = Packet(self._packets[self.played % len(self._packets)])
        packet.pts = self.played * FRAME_SAMPLES
        packet.time_base = Fraction(1, SAMPLE_RATE)
        self.played += 1
        return packet


class Peer:
    """One peer connection of a client, on loopback only."""

    def __init__(self) -> None:
        gather_on(["127.0.0.1"])
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.states: list[str] = []
        self.connection.on(
            "connectionstatechange", lambda: self.states.append(self.connection.connectionState)
        )

    async def offer(self) -> str:
        """Make an offer with all candidates in it."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, answer_sdp: str) -> None:
        """Take the server's answer."""
        await self.connection.setRemoteDescription(
            RTCSessionDescription(sdp=answer_sdp, type="answer")
        )

    async def close(self) -> None:
        """Close the connection."""
        await self.connection.close()


class PublisherPeer(Peer):
    """Publishes packets and keeps the levels it is told."""

    def __init__(self, packets: list[bytes], *, stats: bool = True) -> None:
        super().__init__()
        self.microphone = Microphone(packets)
        self.stats: list[str] = []
        self.connection.addTransceiver(self.microphone, direction="sendonly")
        if stats:
            channel: RTCDataChannel = self.connection.createDataChannel("stats")
            channel.on("message", self.stats.append)


class ListenerPeer(Peer):
    """Listens through aiortc's own receiver, and keeps what it heard."""

    def __init__(self) -> None:
        super().__init__()
        self.first_sound = asyncio.Event()
        self._frames: list[Sound] = []
        self._task: asyncio.Task[None] | None = None
        self.connection.addTransceiver("audio", direction="recvonly")
        self.connection.on("track", self._listen)

    @property
    def sound(self) -> Sound:
        """All that was heard so far, [T] at 48 kHz."""
        return np.concatenate(self._frames) if self._frames else np.empty(0, np.float32)

    def _listen(self, track: MediaStreamTrack) -> None:
        self._task = asyncio.create_task(self._collect(track))

    async def _collect(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            left = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            self._frames.append(left.astype(np.float32) / 32768)
            if np.max(np.abs(left)) > 300:
                self.first_sound.set()

    async def close(self) -> None:
        """Close the connection and stop collecting."""
        await super().close()
        if self._task is not None:
            # Not merely awaited: aiortc ends no track whose connection was never established.
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
