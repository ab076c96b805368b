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
    """Listens through aiortc's own receiver, and keeps what it heard in each of its sections."""

    def __init__(self, *, sections: int = 1) -> None:
        super().__init__()
        self.first_sound = asyncio.Event()
        self._frames: list[list[Sound]] = []
        self._tasks: list[asyncio.Task[None]] = []
        for _ in range(sections):
            self.connection.addTransceiver("audio", direction="recvonly")
        self.connection.on("track", self._listen)

    @property
    def sound(self) -> Sound:
        """All sound heard so far in the first section, [T] at 48 kHz."""
        return self.sounds[0] if self._frames else np.empty(0, np.float32)

    @property
    def sounds(self) -> list[Sound]:
        """All sound heard so far, by section."""
        return [np.concatenate([np.empty(0, np.float32), *frames]) for frames in self._frames]

    def _listen(self, track: MediaStreamTrack) -> None:
        self._frames.append([])
        self._tasks.append(asyncio.create_task(self._collect(track, self._frames[-1])))

    async def _collect(self, track: MediaStreamTrack, frames: list[Sound]) -> None:
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            left = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            frames.append(left.astype(np.float32) / 32768)
            if np.max(np.abs(left)) > 300:
                self.first_sound.set()

    async def close(self) -> None:
        """Close the connection and stop collecting."""
        await super().close()
        for task in self._tasks:
            # Not merely awaited: aiortc ends no track whose connection was never established.
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
