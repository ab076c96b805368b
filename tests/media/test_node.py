"""What a node needs, so that streams can run on it."""

from pathlib import Path

import pytest

from actors.errors import NodeUnfit
from actors.node import EVERY_NODE, PUBLIC_IP, Node, here

NODE = Node("an-id", "10.0.0.3")
HERE = ("127.0.0.1",)
ELSEWHERE = "192.0.2.1"  # RFC 5737: nobody has it


async def refusal(
    spool: Path, addresses: tuple[str, ...] = HERE, public_ips: dict[str, str] | None = None
) -> str:
    """Check a node; get the sentence with which it is refused."""
    with pytest.raises(NodeUnfit) as refused:
        await NODE.check(spool, addresses, None, public_ips or {})
    assert refused.value.node_id == "an-id"
    return str(refused.value)


async def test_a_node_is_refused_where_recordings_cannot_be_spooled(tmp_path: Path) -> None:
    """The folder is made if it is missing."""
    await NODE.check(tmp_path / "a" / "spool", HERE, None, {})
    (tmp_path / "file").touch()
    told = await refusal(tmp_path / "file")
    assert told.startswith(f"Node 10.0.0.3: the spool folder {tmp_path}/file cannot be written: ")


async def test_a_node_is_refused_that_has_none_of_the_addresses(tmp_path: Path) -> None:
    """All nodes' addresses may be listed: each uses its own."""
    await NODE.check(tmp_path, (ELSEWHERE, *HERE), (40_000, 40_010), {})
    assert here((ELSEWHERE, *HERE)) == HERE
    assert "sound cannot come in at 192.0.2.1" in await refusal(tmp_path, (ELSEWHERE,))


async def test_each_node_has_its_own_public_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own variable's, or that of its address in the map; a node without one is refused."""
    monkeypatch.delenv(PUBLIC_IP, raising=False)
    assert NODE.public_ip({}) is None
    assert NODE.public_ip({EVERY_NODE: "203.0.113.1"}) == "203.0.113.1"
    others = {"10.0.0.2": "203.0.113.2", "10.0.0.3": "203.0.113.3"}
    assert NODE.public_ip(others) == "203.0.113.3"
    del others["10.0.0.3"]
    assert "Add 10.0.0.3=ITS_PUBLIC_ADDRESS" in await refusal(tmp_path, HERE, others)
    monkeypatch.setenv(PUBLIC_IP, "203.0.113.9")
    assert NODE.public_ip(others) == "203.0.113.9"
    await NODE.check(tmp_path, HERE, None, others)
    monkeypatch.setenv(PUBLIC_IP, "nowhere")
    assert "is not an IP address" in await refusal(tmp_path, HERE, others)
