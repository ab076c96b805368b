"""Where sessions gather, and what their answers say about it."""

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from actors.errors import NoCapacity
from actors.ice import IceConnection, Ports, gather_on
from actors.sessions import ListenerSession, SessionState
from tests.peers import ListenerPeer
from tests.waiting import until

LOCAL = "127.0.0.1"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Restore the tests' usual gathering afterwards."""
    yield
    gather_on([LOCAL])


def _free_ports(count: int) -> Ports:
    """Find a range of free ports."""
    for low in range(42000, 60000, count):
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        try:
            for port, each in enumerate(sockets, low):
                each.bind((LOCAL, port))
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
        return low, low + count - 1
    raise AssertionError("the machine has no free range")


class Listening:
    """A listener's session and its client."""

    def __init__(self) -> None:
        self.peer = ListenerPeer()
        self.session = ListenerSession("l", connect_timeout_s=10, listener="l", original=False)
        self.answer = ""
        self._task: asyncio.Task[None] | None = None

    async def begin(self, *, ports: Ports | None = None, public_ip: str | None = None) -> None:
        """Make an offer as any client does, then answer it as configured."""
        gather_on([LOCAL])
        offer = await self.peer.offer()
        gather_on([LOCAL], ports=ports, public_ip=public_ip)
        self._task = asyncio.create_task(self.session.run(offer))
        self.answer = await self.session.answer
        await self.peer.accept(self.answer)
        await until(lambda: self.session.state is SessionState.CONNECTED)

    @property
    def candidates(self) -> list[tuple[str, int]]:
        """The addresses in the answer."""
        found = re.findall(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", self.answer, re.M)
        return [(host, int(port)) for host, port in found]

    async def close(self) -> None:
        """End both sides."""
        self.session.close()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self.peer.close()


async def test_sessions_stay_in_the_range_until_it_is_used_up() -> None:
    """Each session has a port in the range; one session too many is refused; ports come back."""
    low, high = ports = _free_ports(2)
    listening = [Listening() for _ in range(4)]
    for each in listening[:2]:
        await each.begin(ports=ports)
    used = [each.candidates for each in listening[:2]]
    assert sorted(port for ((_, port),) in used) == [low, high]
    with pytest.raises(NoCapacity, match="no free UDP port") as refused:
        await listening[2].begin(ports=ports)
    assert refused.value.retry_after_s > 0
    await listening[0].close()
    await listening[3].begin(ports=ports)
    assert listening[3].candidates == used[0]
    for each in listening[1:]:
        await each.close()
    for port in (low, high):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((LOCAL, port))


async def test_a_public_address_is_offered_with_the_same_port() -> None:
    """Behind a 1:1 NAT clients are told its address too; those inside still connect directly."""
    listening = Listening()
    await listening.begin(public_ip="192.0.2.7")
    (local, port), public = listening.candidates
    assert local == LOCAL and public == ("192.0.2.7", port)
    await listening.close()


async def test_nobody_is_asked_for_our_address() -> None:
    """Gathering sends nothing: there is no STUN server, not even aiortc's usual one."""
    connections: list[IceConnection] = []
    make = IceConnection.__init__

    def note(self: IceConnection, *args: object, **kwargs: object) -> None:
        make(self, *args, **kwargs)  # type: ignore[arg-type]
        connections.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IceConnection, "__init__", note)
        listening = Listening()
        await listening.begin()
    assert connections
    assert all(each.stun_server is None and each.turn_server is None for each in connections)
    await listening.close()


@pytest.mark.timeout(60)
def test_local_names_are_neither_waited_for_nor_asked_for() -> None:
    """With only loopback configured, a `.local` candidate sends nothing and costs no time."""
    unshare = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs network namespaces")
    command = [*unshare, sys.executable, "-m", "tests.media.local_names"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    print(f"\n.local: {figures}")
    assert figures["control"] and not figures["sent"]
    assert figures["answered_s"] < 0.5 and figures["connected_s"] < 1.0
