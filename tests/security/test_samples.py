"""The sample configurations keep what they promise."""

import asyncio
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aioice import stun, turn

from commands.local.ports import is_free
from serve_app.routes.media import turn_credentials
from tests.running import free_port
from tests.waiting import until

DOCS = Path(__file__).parents[2] / "docs"
CLOSED = (
    ("10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "127.0.0.1")
    + ("0.0.0.0", "192.0.0.192", "198.18.0.1", "255.255.255.255", "224.0.0.1")
)  # fmt: skip
OPEN = ("8.8.8.8", "9.255.255.255", "100.128.0.1", "172.32.0.1", "193.0.0.1")


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[turn.TurnClientUdpProtocol]:
    """A relay that somebody made on Debian's coturn, configured as documented, on loopback."""
    if (program := shutil.which("turnserver")) is None:
        pytest.skip("needs Debian's coturn")
    port, secret = free_port(), secrets.token_hex(16)
    kept = [
        line.replace("A-LONG-RANDOM-WORD", secret).replace("=3478", f"={port}")
        for line in (DOCS / "turnserver.conf").read_text().splitlines()
        if not line.startswith(("tls-listening-port", "cert=", "pkey="))
    ]
    own = ["listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "no-tls", "no-dtls", "log-file=stdout"]
    configuration = tmp_path / "turnserver.conf"
    configuration.write_text("\n".join([*kept, *own, f"pidfile={tmp_path}/pid", ""]))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log)
    try:
        await until(lambda: not is_free(port))
        name, password = turn_credentials(secret, "ada")
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: turn.TurnClientUdpProtocol(
                ("127.0.0.1", port),
                username=name,
                password=password,
                lifetime=600,
                channel_refresh_time=500,
            ),
            remote_addr=("127.0.0.1", port),
        )
        await protocol.connect()
        yield protocol
        await protocol.delete()
        transport.close()
    finally:
        process.kill()
        process.wait()


async def test_the_relay_reaches_no_private_network(relay: turn.TurnClientUdpProtocol) -> None:
    """Nor loopback, link-local, carriers' NAT or the metadata services of clouds."""

    async def permits(address: str) -> bool:
        asked = stun.Message(
            message_method=stun.Method.CREATE_PERMISSION, message_class=stun.Class.REQUEST
        )
        asked.attributes["XOR-PEER-ADDRESS"] = (address, 9)
        try:
            await relay.request_with_retry(asked)
        except stun.TransactionFailed as refused:
            assert refused.response.attributes["ERROR-CODE"][0] == 403
            return False
        return True

    assert [address for address in CLOSED if await permits(address)] == []
    assert [address for address in OPEN if not await permits(address)] == []


def test_the_unit_is_valid_and_has_few_rights(tmp_path: Path) -> None:
    """By systemd's own checks: 9.5 is a unit without any such line, 0 one that can do nothing."""
    if (program := shutil.which("systemd-analyze")) is None:
        pytest.skip("needs systemd")
    text = (DOCS / "hushcast.service").read_text()
    text = text.replace("/opt/hushcast/.venv/bin/hushcast up", "/bin/true")
    unit = tmp_path / "hushcast.service"
    unit.write_text(text.replace("User=hushcast", "User=daemon"))
    verified = subprocess.run(
        [program, "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0 and "hushcast.service:" not in verified.stderr, verified.stderr
    measured = subprocess.run(
        [program, "security", "--offline=true", "--threshold=25", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert measured.returncode == 0, measured.stdout[-300:]
