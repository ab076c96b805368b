"""One encode, many listeners; none can hold up another."""

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


class Fanout:
    """Hands each encoded frame to every listener. Lives on the event loop."""

    def __init__(self) -> None:
        self._denoised: set[Listener] = set()
        self._original: set[Listener] = set()

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
        for payload, heard_by in (
            (frame.denoised, self._denoised),
            (frame.original, self._original),
        ):
            if payload is not None:
                for listener in heard_by:
                    listener.send(payload, frame.position)
