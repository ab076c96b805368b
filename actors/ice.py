"""Where sessions gather ICE candidates: addresses, port range, public address."""

import asyncio
import errno
import ipaddress
import logging
import random
import socket
import time
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from aioice import Candidate, Connection, ice
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol

from actors.aiortc_internals import add_socket, make_ice_connections_with
from actors.errors import NoCapacity

log = logging.getLogger(__name__)

RECEIVE_BUFFER_BYTES = 256 * 1024
RETRY_AFTER_S = 10
LOOKED_UP_S = 5.0
"""How long the machine's addresses are taken to be the same."""
_look_up = ice.get_host_addresses

Ports = tuple[int, int]


class IceConnection(Connection):
    """An aioice connection that gathers as `gather_on` set and asks no STUN or TURN server.

    aioice has no options for this (its issue #47); they would remove this class.
    """

    addresses: tuple[str, ...] = ()
    ports: Ports | None = None
    public_ip: str | None = None
    socket_protocol: type[StunProtocol] = StunProtocol
    """Handles each socket; `hushcast load` puts a bad network here."""

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109  # aioice's signature
    ) -> list[Candidate]:
        """Bind a socket on each address. Raises NoCapacity if none can be bound."""
        candidates: list[Candidate] = []
        for address in self.addresses or addresses:
            try:
                protocol = await self._bind(address)
            except OSError as error:
                log.warning("cannot gather on %s: %s", address, error)
                continue
            add_socket(self, protocol)
            host, port = protocol.transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = _host_candidate(component, host, port)
            candidates.append(protocol.local_candidate)
            if self.public_ip and _version(host) == _version(self.public_ip):
                candidates.append(_host_candidate(component, self.public_ip, port))
        if not candidates:
            raise NoCapacity(
                "There is no free UDP port for this session. Please try again in a moment.",
                RETRY_AFTER_S,
            )
        return candidates

    async def _bind(self, address: str) -> StunProtocol:
        """Open a socket on a free port. Raises OSError if there is none."""
        loop = asyncio.get_running_loop()
        for port in self._shuffled_ports():
            try:
                transport, protocol = await loop.create_datagram_endpoint(
                    lambda: self.socket_protocol(self), local_addr=(address, port)
                )
            except OSError as error:
                if error.errno == errno.EADDRINUSE:  # another process uses the same range
                    continue
                raise
            bound: socket.socket = transport.get_extra_info("socket")
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            return protocol
        raise OSError(errno.EADDRINUSE, f"no port is free between {self.ports}")

    def _shuffled_ports(self) -> Iterable[int]:
        if self.ports is None:
            return (0,)  # the system chooses
        low, high = self.ports
        return random.sample(range(low, high + 1), high + 1 - low)


CONNECTION: ContextVar[type[IceConnection]] = ContextVar("connection", default=IceConnection)
"""The ICE connections of this task: a client's, or a server's (see ice_lite.py)."""


def gather_on(
    addresses: Iterable[str], *, ports: Ports | None = None, public_ip: str | None = None
) -> None:
    """Make every later peer connection in this process gather only on these addresses and ports.

    Without addresses it uses the machine's own. `ports` are the first and last of a range.
    `public_ip` is that of a 1:1 NAT, offered alongside the machine's own with the same ports.
    """
    IceConnection.addresses = tuple(addresses)
    IceConnection.ports = ports
    IceConnection.public_ip = public_ip
    make_ice_connections_with(_make_connection)
    ice.get_host_addresses = _host_addresses


def _host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """Get the machine's addresses, if any connection needs them: aioice looks for each one."""
    if IceConnection.addresses:
        return []
    return _addresses_of(use_ipv4, use_ipv6, int(time.monotonic() / LOOKED_UP_S))


@lru_cache(maxsize=4)
def _addresses_of(use_ipv4: bool, use_ipv6: bool, since: int) -> list[str]:
    return _look_up(use_ipv4, use_ipv6)


def _make_connection(*args: Any, **kwargs: Any) -> IceConnection:
    return CONNECTION.get()(*args, **kwargs)


def _host_candidate(component: int, host: str, port: int) -> Candidate:
    return Candidate(
        foundation=candidate_foundation("host", "udp", host),
        component=component,
        transport="udp",
        priority=candidate_priority(component, "host"),
        host=host,
        port=port,
        type="host",
    )


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version
