"""WebRTC clients of the tests: those of `hushcast load`, and a listener that decodes."""

import asyncio
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from commands.load.peers import Peer, PublisherPeer, encode
from tests.sounds import Sound

__all__ = ["ListenerPeer", "Peer", "PublisherPeer", "encode"]


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
        """All sound heard so far, [T] at 48 kHz."""
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
