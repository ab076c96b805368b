"""One encode, many listeners: every listener has its own bounded queue and hurts nobody else."""

from __future__ import annotations  # Packet is generic to type checkers only

import asyncio
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.packet import Packet

from actors.opus import SAMPLE_RATE

MAX_QUEUED_FRAMES = 10
"""200 ms: a listener further behind than this hears the newest sound, not all of it."""
TIME_BASE = Fraction(1, SAMPLE_RATE)


@dataclass(frozen=True)
class EncodedFrame:
    """20 ms of a stream. `position` counts samples since the stream's first sound."""

    position: int
    denoised: bytes | None
    original: bytes | None


class ListenerTrack(MediaStreamTrack):
    """What one listener is sent: packets that are encoded already, which aiortc passes on."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0
        self._queue: deque[Packet[Any]] = deque()
        self._filled = asyncio.Event()

    def push(self, packet: Packet[Any]) -> None:
        """Queue a packet; never waits. The oldest is dropped and counted when it is full."""
        if len(self._queue) >= MAX_QUEUED_FRAMES:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(packet)
        self._filled.set()

    async def recv(self) -> Packet[Any]:
        """Wait for the next packet. Raises MediaStreamError once the track is stopped."""
        while not self._queue and self.readyState == "live":
            self._filled.clear()
            await self._filled.wait()
        if not self._queue:
            raise MediaStreamError
        return self._queue.popleft()

    def stop(self) -> None:
        """End the track; a waiting `recv` is released."""
        super().stop()
        self._queue.clear()
        self._filled.set()


class Fanout:
    """Hands each encoded frame to every listener. Lives on the event loop."""

    def __init__(self) -> None:
        self._denoised: set[ListenerTrack] = set()
        self._original: set[ListenerTrack] = set()

    @property
    def wants_denoised(self) -> bool:
        """Whether anybody listens to the denoised sound, so that encoding it is worth it."""
        return bool(self._denoised)

    @property
    def wants_original(self) -> bool:
        """Whether anybody listens to the undenoised sound."""
        return bool(self._original)

    def add(self, track: ListenerTrack, *, original: bool) -> None:
        """Let a listener's track have everything from now on."""
        (self._original if original else self._denoised).add(track)

    def remove(self, track: ListenerTrack) -> None:
        """Let a track have nothing more; unknown tracks are ignored."""
        self._denoised.discard(track)
        self._original.discard(track)

    def push(self, frame: EncodedFrame) -> None:
        """Send a frame to everybody. One packet object serves all: aiortc only reads it."""
        for payload, tracks in ((frame.denoised, self._denoised), (frame.original, self._original)):
            if payload is None or not tracks:
                continue
            packet = Packet(payload)
            packet.pts = frame.position
            packet.time_base = TIME_BASE
            for track in tracks:
                track.push(packet)
