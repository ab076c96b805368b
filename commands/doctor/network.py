"""The network: UDP on every address for media, TURN, the certificate."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from aioice.ice import get_host_addresses
from aioice.stun import TransactionError
from aioice.turn import create_turn_endpoint
from aiortc.rtcicetransport import parse_stun_turn_uri
from cryptography import x509

from commands.doctor.findings import Finding
from serve_app.routes.media import turn_credentials
from serve_app.settings import Settings

UDP_TIMEOUT_S = 1.0
TURN_TIMEOUT_S = 5.0
SOON_DAYS = 14


def check_udp(settings: Settings) -> Iterator[Finding]:
    """Bind a socket on each address offered to browsers, and send it a packet."""
    addresses = settings.ice_addresses or tuple(get_host_addresses(True, True))
    if not addresses:
        to_do = "Connect to a network, or set HUSHCAST_ICE_ADDRESSES=127.0.0.1 to try it here only."
        yield Finding("UDP", "this machine has only a loopback address", to_do)
    for address in addresses:
        what = f"UDP on {address}"
        try:
            port = _loop(address, settings.udp_ports)
        except OSError as error:
            ports = settings.udp_ports
            told = f"no packet came through: {error.strerror or error}"
            yield Finding(what, told, _to_do_for_udp(ports))
        else:
            yield Finding(what, f"a packet came through port {port}")


def _to_do_for_udp(ports: tuple[int, int] | None) -> str:
    if ports is None:
        return "Is it this machine's address? If not, correct HUSHCAST_ICE_ADDRESSES."
    low, high = ports
    return f"Is it this machine's address, with a free port from {low} to {high}, and no firewall?"


def _loop(address: str, ports: tuple[int, int] | None) -> int:
    """Send a packet to oneself; get the port. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        _bind(udp, address, ports)
        udp.settimeout(UDP_TIMEOUT_S)
        udp.sendto(b"hushcast", udp.getsockname())
        udp.recv(64)
        port: int = udp.getsockname()[1]
        return port


def _bind(udp: socket.socket, address: str, ports: tuple[int, int] | None) -> None:
    if ports is None:
        udp.bind((address, 0))
        return
    low, high = ports
    for port in range(low, high):
        with contextlib.suppress(OSError):
            udp.bind((address, port))
            return
    udp.bind((address, high))


def check_turn(settings: Settings) -> Iterator[Finding]:
    """Get an allocation from each TURN server, with the credentials that browsers get."""
    if not settings.turn_urls:
        yield Finding("TURN", "none configured; networks that block UDP cannot connect")
    for url in settings.turn_urls:
        what = f"TURN {url}"
        try:
            relayed = asyncio.run(_allocate(url, settings.turn_secret or ""))
        except TimeoutError:
            to_do = "Is it running, and does a firewall let it through?"
            yield Finding(what, f"no answer in {TURN_TIMEOUT_S:g} s", to_do)
        except (TransactionError, OSError) as error:
            to_do = "Does it have `use-auth-secret`, HUSHCAST_TURN_SECRET as secret, and a realm?"
            yield Finding(what, f"refused: {error}", to_do)
        except ValueError as error:
            yield Finding(what, f"{error}", "Write it as turn:HOST:PORT?transport=udp.")
        else:
            yield Finding(what, f"relays from {relayed}")


async def _allocate(url: str, secret: str) -> str:
    """Get the relayed address of an allocation, and release it at once."""
    server = parse_stun_turn_uri(url)
    name, credential = turn_credentials(secret, "doctor")
    async with asyncio.timeout(TURN_TIMEOUT_S):
        ended = asyncio.get_running_loop().create_future()
        transport, _ = await create_turn_endpoint(
            lambda: _Ended(ended),
            (server["host"], server["port"]),
            name,
            credential,
            ssl=server["scheme"] == "turns" or None,
            transport=server["transport"],
        )
        address, port = transport.get_extra_info("sockname")[:2]
        transport.close()
        await ended
    return f"{address}:{port}"


class _Ended(asyncio.DatagramProtocol):
    """Tells when an allocation has been released."""

    def __init__(self, ended: "asyncio.Future[None]") -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def check_tls(settings: Settings) -> Iterator[Finding]:
    """Check the certificate, if there is one."""
    if settings.tls_cert and settings.tls_key:
        host = urlsplit(settings.public_url).hostname if settings.public_url else None
        yield check_certificate(settings.tls_cert, settings.tls_key, host)


def check_certificate(certificate: Path, key: Path, host: str | None = None) -> Finding:
    """Judge whether browsers will accept a certificate, for a host if one is given."""
    what = f"certificate {certificate}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError) as error:  # ssl's errors are OSErrors
        to_do = "Provide a PEM file with the chain, the server's certificate first, and its key."
        return Finding(what, f"cannot be used: {error}", to_do)
    days = (leaf.not_valid_after_utc - datetime.now(UTC)).days
    if leaf.not_valid_before_utc > datetime.now(UTC):
        return Finding(what, "is not valid yet", "Is this machine's clock right?")
    if days < SOON_DAYS:
        ends = "has expired" if days < 0 else f"expires in {days} days"
        return Finding(what, ends, "Renew it.")
    names = _names(leaf)
    if host and not any(_covers(name, host) for name in names):
        told = f"is for {', '.join(names) or 'nobody'}, not for {host}"
        return Finding(what, told, f"Get one for {host}.")
    return Finding(what, f"is for {', '.join(names) or 'nobody'}, and valid for {days} days")


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return names.get_values_for_type(x509.DNSName) + addresses


def _covers(name: str, host: str) -> bool:
    if name.startswith("*."):
        return host.partition(".")[2] == name[2:]
    return name.lower() == host.lower()
