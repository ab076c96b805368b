"""A bad network for the peers of a process: datagrams are lost or late."""

import asyncio
import random
from dataclasses import dataclass
from typing import Any, cast

from aioice.ice import StunProtocol

from actors.ice import IceConnection


@dataclass(frozen=True)
class Faults:
    """What happens to datagrams: a share `loss` (0..1) is lost, `burst` in a row; the others are
    delayed by up to `jitter_s`, uniformly distributed, so they may overtake each other."""

    loss: float = 0.0
    burst: int = 1
    jitter_s: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.loss or self.jitter_s)


@dataclass
class Tally:
    """What happened to the datagrams of a process."""

    passed: int = 0
    lost: int = 0


class Line:
    """Decides what happens to each datagram of one socket."""

    def __init__(self, faults: Faults, tally: Tally) -> None:
        self._faults = faults
        self._tally = tally
        self._left_of_burst = 0
        # Bursts that begin with this probability lose the share `loss` of all datagrams.
        self._begins = faults.loss / (faults.burst * (1 - faults.loss) + faults.loss)

    def delay_s(self) -> float | None:
        """Get the delay of the next datagram; None when it is lost."""
        if not self._left_of_burst and random.random() < self._begins:
            self._left_of_burst = self._faults.burst
        if self._left_of_burst:
            self._left_of_burst -= 1
            self._tally.lost += 1
            return None
        self._tally.passed += 1
        return random.uniform(0, self._faults.jitter_s)


class FaultyTransport:
    """Wraps the socket that aioice sends through."""

    def __init__(self, transport: asyncio.DatagramTransport, line: Line) -> None:
        self._transport = transport
        self._line = line

    def sendto(self, data: bytes, address: Any = None) -> None:
        """Send a datagram now, later or never."""
        delay_s = self._line.delay_s()
        if delay_s is not None:
            _after(delay_s, self._send, data, address)

    def _send(self, data: bytes, address: Any) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, address)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def inject(faults: Faults, *, outgoing: bool) -> Tally:
    """Put every later peer connection of this process on a bad network, outgoing or incoming.

    STUN and DTLS suffer like sound, as they do on a real network.
    """
    tally = Tally()

    class FaultyProtocol(StunProtocol):
        """An ICE socket on a bad network."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._line = Line(faults, tally)
            if outgoing:
                real = cast(asyncio.DatagramTransport, transport)
                transport = cast(asyncio.BaseTransport, FaultyTransport(real, self._line))
            super().connection_made(transport)

        def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
            delay_s = 0.0 if outgoing else self._line.delay_s()
            if delay_s is not None:
                _after(delay_s, super().datagram_received, data, addr)

    if faults:
        IceConnection.socket_protocol = FaultyProtocol
    return tally


def _after(delay_s: float, call: Any, *arguments: Any) -> None:
    if delay_s:
        asyncio.get_running_loop().call_later(delay_s, call, *arguments)
    else:
        call(*arguments)
