"""Addresses and origins as proxies and browsers write them, in one form that can be compared."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:  # settings.py reads origins, and loads no web framework
    from starlette.requests import HTTPConnection

Address = IPv4Address | IPv6Address

SIGNS_OF_A_PROXY = ("x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-proto")

DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_AND_PORT = re.compile(r"\[([^]]*)\](?::\d*)?|([^:]*)(?::\d*)?", re.ASCII)
"""Does not match an IPv6 address without brackets."""


def address_of(text: str) -> Address | None:
    """Read an address with or without a port, brackets, quotes or a zone; None: it is none.

    An IPv4 address in IPv6 form (`::ffff:192.0.2.1`) is that IPv4 address.
    """
    text = text.strip(' \t"')
    with_port = _HOST_AND_PORT.fullmatch(text)
    host = with_port[1] or with_port[2] if with_port else text
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def forwarded_for(connection: "HTTPConnection") -> list[Address | None]:
    """Read `X-Forwarded-For`, all lines of it: the client first, the nearest proxy's word last."""
    lines = connection.headers.getlist("x-forwarded-for")
    return [address_of(part) for part in ",".join(lines).split(",") if part.strip()]


@dataclass(frozen=True)
class Client:
    """Where a request came from: its address, and what limits per address count."""

    address: str
    counted: str
    """An IPv4 address, or the /64 network of one IPv6 customer."""
    local: bool
    """It is a program on this machine that no proxy stands before: such as `hushcast load`."""


class Proxies:
    """The proxies whose `X-Forwarded-For` counts, as addresses and networks."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = [ip_network(text, strict=False) for text in trusted]

    def client_of(self, connection: "HTTPConnection") -> Client:
        """Find who sent a request: the last address that no trusted proxy has.

        A trusted peer appended the address that it saw to `X-Forwarded-For`, after anything that
        the client wrote there itself; if that one is trusted, the address before counts, and so on.
        Where there is none, or a word that is not an address, the proxy's own counts.
        """
        peer = connection.client.host if connection.client else ""
        found = address_of(peer)
        if found is None:
            return Client(peer, peer, local=False)
        proxied = any(name in connection.headers for name in SIGNS_OF_A_PROXY)
        for told in reversed(forwarded_for(connection)):
            if told is None or not self._trusts(found):
                break
            found = told
        local = found.is_loopback and not proxied
        return Client(str(found), _counted(found), local)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _counted(address: Address) -> str:
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address)


def origin_of(url: str) -> str | None:
    """Get a URL's origin as browsers write it: lower case, without a default port (RFC 6454).

    None if it has none, such as `null`.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.scheme not in DEFAULT_PORTS or not host.isascii():
        return None
    if ":" in host:
        host = f"[{address_of(host) or host}]"
    usual = port in (None, DEFAULT_PORTS[parts.scheme])
    return f"{parts.scheme}://{host}" + ("" if usual else f":{port}")
