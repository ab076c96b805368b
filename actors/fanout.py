"""One encode, many listeners; none can hold up another, nor all of them the event loop."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class EncodedFrame:
    """20 ms of a stream. `position` counts samples since the stream's first sound."""

    position: int
    denoised: bytes | None
    original: bytes | None


class Listener(Protocol):
    """Something that hears a stream."""

    @property
    def original(self) -> bool:
        """Whether it hears the original sound, or else the denoised one."""

    def send(self, payload: bytes, position: int) -> None:
        """Send 20 ms of Opus, or drop it; never wait."""


BATCH = 64
"""How many listeners are sent to in one turn of the event loop: about 2 ms."""
MAX_WAITING_FRAMES = 25
"""Half a second. Beyond it the oldest frame is dropped."""


class Fanout:
    """Hands each encoded frame to every listener. Lives on the event loop.

    A large audience is served in batches, so that the publisher's packets are taken in between.

    Attributes:
        dropped: how many frames some listeners missed because the loop could not keep up.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._denoised: set[Listener] = set()
        self._original: set[Listener] = set()
        self._waiting: deque[Iterator[None]] = deque()
        """Frames that are being sent, batch by batch, the oldest first."""
        self._goes_on = False

    @property
    def wants_denoised(self) -> bool:
        """Whether anybody listens to the denoised sound, so that it must be encoded."""
        return bool(self._denoised)

    @property
    def wants_original(self) -> bool:
        """Whether anybody listens to the original sound."""
        return bool(self._original)

    def add(self, listener: Listener) -> None:
        """Send a listener every frame from now on."""
        (self._original if listener.original else self._denoised).add(listener)

    def remove(self, listener: Listener) -> None:
        """Stop sending to a listener; unknown ones are ignored."""
        self._denoised.discard(listener)
        self._original.discard(listener)

    def push(self, frame: EncodedFrame) -> None:
        """Send a frame to all listeners."""
        if len(self._waiting) >= MAX_WAITING_FRAMES:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(self._batches(frame))
        if not self._goes_on:
            self._send_batch()

    def _send_batch(self) -> None:
        """Send to the next listeners; the others are sent to after what else the loop has to do."""
        self._goes_on = False
        if next(self._waiting[0], True):
            self._waiting.popleft()
        if self._waiting:
            self._goes_on = True
            asyncio.get_running_loop().call_soon(self._send_batch)

    def _batches(self, frame: EncodedFrame) -> Iterator[None]:
        """Send a frame, with a pause between two batches."""
        sent = 0
        for payload, heard_by in (
            (frame.denoised, self._denoised),
            (frame.original, self._original),
        ):
            if payload is None:
                continue
            for listener in list(heard_by):
                if sent and sent % BATCH == 0:
                    yield
                if listener in heard_by:  # still: others come and go in the pause
                    listener.send(payload, frame.position)
                    sent += 1
