"""Run in its own network namespace: what `.local` candidates cost, and what they send.

Browsers hide their addresses behind such names; to resolve one, a peer asks the whole network by
multicast. Prints what was sent on a network where nobody answers.
"""

import asyncio
import json
import re
import socket
import subprocess
import time

from aioice import mdns

from actors.ice import gather_on
from actors.sessions import PublisherSession
from tests.peers import PublisherPeer, encode
from tests.sounds import speech_like
from tests.waiting import until

NETWORK = """
sysctl -qw net.ipv6.conf.all.disable_ipv6=1
ip link set lo up
ip link add lan type veth peer name nobody
ip address add 10.9.9.1/24 dev lan
ip link set nobody up
ip link set lan up
ip route add 224.0.0.0/4 dev lan
"""
NAME = "6b1c2d3e-0000-4000-8000-000000000000.local"


def sent(lan: socket.socket) -> list[str]:
    """Get the UDP packets sent since the last call, as hexadecimal digits.

    Not the kernel's reports of multicast memberships (IGMP), which come at any time.
    """
    packets: list[str] = []
    while True:
        try:
            frame = lan.recv(2048)
        except BlockingIOError:
            return packets
        if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP:
            packets.append(frame.hex())


async def main() -> None:
    """Resolve a name as a control, then serve a publisher who hides behind one."""
    for command in NETWORK.strip().splitlines():
        subprocess.run(command.split(), check=True)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as lan:
        lan.bind(("lan", 0))
        lan.setblocking(False)
        resolver = await mdns.create_mdns_protocol()
        await resolver.resolve(NAME, timeout=0.2)
        await resolver.close()
        control = sent(lan)

        gather_on(["127.0.0.1"])
        peer = PublisherPeer(encode(speech_like(1.0)))
        candidate = r"(a=candidate:\S+ \d \w+ \d+) \S+"
        offer = re.sub(candidate, rf"\1 {NAME}", await peer.offer())
        heard = 0

        def count(*_: object) -> None:
            nonlocal heard
            heard += 1

        session = PublisherSession("p", connect_timeout_s=10, deliver=count)
        began = time.monotonic()
        task = asyncio.create_task(session.run(offer))
        answer = await session.answer
        answered_s = time.monotonic() - began
        lines = re.findall(r"a=candidate:\S.*\S", offer)
        [ufrag, *_] = re.findall(r"a=ice-ufrag:\S+", offer)
        assert lines and all(NAME in line for line in lines)
        await session.trickle(f"{ufrag}\r\na=mid:0\r\n{lines[0]}\r\n")
        await peer.accept(answer)
        await until(lambda: heard > 0)
        connected_s = time.monotonic() - began
        session.close()
        await task
        await peer.close()
        figures = {"control": control, "sent": sent(lan)}
    print(json.dumps(figures | {"answered_s": answered_s, "connected_s": connected_s}))


if __name__ == "__main__":
    asyncio.run(main())
