"""The node that an actor runs on: what it is called, and whether streams can run there."""

import asyncio
import errno
import ipaddress
import os
import socket
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aioice.ice import get_host_addresses

from actors.errors import NodeUnfit

PUBLIC_IP = "HUSHCAST_PUBLIC_IP"
"""In the environment of a node's `ray start`, it is that node's own address."""
EVERY_NODE = ""
"""The node of a public address that stands for all of them: one machine behind a 1:1 NAT."""


@dataclass(frozen=True)
class Problem:
    """What keeps streams from a node, and what to do."""

    what: str
    to_do: str

    def __str__(self) -> str:
        return f"{self.what}. {self.to_do}."


@dataclass(frozen=True)
class Node:
    """A machine, as Ray knows it; empty without Ray."""

    node_id: str = ""
    node_ip: str = ""

    def public_ip(self, public_ips: Mapping[str, str]) -> str | None:
        """Get its public address: its own variable's, or else that of its address in a map."""
        own = os.environ.get(PUBLIC_IP, "")
        if own and "=" not in own:
            return own
        return public_ips.get(self.node_ip) or public_ips.get(EVERY_NODE)

    async def check(
        self,
        spool: Path,
        addresses: tuple[str, ...],
        ports: tuple[int, int] | None,
        public_ips: Mapping[str, str],
    ) -> None:
        """Raise NodeUnfit, with a sentence that says what to do, if no stream can run here."""
        problem = (
            await asyncio.to_thread(spool_problem, spool)
            or udp_problem(addresses, ports)
            or self._address_problem(addresses, public_ips)
        )
        if problem is not None:
            raise NodeUnfit(f"Node {self.node_ip}: {problem}", self.node_id)

    def _address_problem(
        self, addresses: tuple[str, ...], public_ips: Mapping[str, str]
    ) -> Problem | None:
        """Say if other nodes have a public address and this one is reached at none."""
        if (public := self.public_ip(public_ips)) is not None:
            what = f"its {PUBLIC_IP} is not an IP address"
            return None if _is_address(public) else Problem(what, "Correct it")
        own = addresses or tuple(get_host_addresses(True, True))
        if not public_ips or any(ipaddress.ip_address(each).is_global for each in own):
            return None
        return Problem(f"{PUBLIC_IP} does not name it", f"Add {self.node_ip}=ITS_PUBLIC_ADDRESS")


WITHOUT_RAY = Node()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def spool_problem(folder: Path) -> Problem | None:
    """Say why recordings cannot be spooled to a folder; None if they can, or the disk is full.

    A full disk is not for ever: streams go on without a recording, and their people are told.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"hushcast")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return None
        return Problem(
            f"the spool folder {folder} cannot be written: {error.strerror}",
            "Make it writable for hushcast's user, or set HUSHCAST_SPOOL_DIR",
        )
    return None


def udp_problem(addresses: tuple[str, ...], ports: tuple[int, int] | None) -> Problem | None:
    """Say why sound cannot come in at any of these addresses; None if it can.

    Without addresses, the machine's own count, which may come later. A range of ports that is used
    up is no problem of the node: sessions end.
    """
    errors = [error for address in addresses if (error := _bound(address, ports)) is not None]
    if not addresses or len(errors) < len(addresses):
        return None
    return Problem(
        f"sound cannot come in at {', '.join(addresses)}: {errors[0].strerror}",
        "HUSHCAST_ICE_ADDRESSES must name addresses of this node",
    )


def here(addresses: Iterable[str]) -> tuple[str, ...]:
    """Get those addresses that this node has; all nodes of a cluster may be listed."""
    return tuple(each for each in addresses if _bound(each, None) is None)


def _bound(address: str, ports: tuple[int, int] | None) -> OSError | None:
    """Try to bind a socket on an address; get the error, unless it is that ports are taken."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        try:
            udp.bind((address, ports[0] if ports else 0))
        except OSError as error:
            return None if error.errno == errno.EADDRINUSE else error
    return None
