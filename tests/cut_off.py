"""Run in namespaces of its own: what hushcast sends that nobody asked for.

`unshare --net --mount --map-root-user python -m tests.cut_off FOLDER denoise|up` does the work on a
network that leads nowhere and prints, as JSON, what was sent there, what a proxy was asked for and
what was written to the home folder.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from tests.app.client import sign_up
from tests.peers import encode
from tests.proxy import recording_proxy
from tests.running import running_app
from tests.sounds import speech_like
from tests.waiting import until

NETWORK = """
sysctl -qw net.ipv6.conf.all.disable_ipv6=1
ip link set lo up
ip link add lan type veth peer name nobody
ip address add 192.0.2.2/24 dev lan
ip link set nobody up
ip link set lan arp off up
ip route add default via 192.0.2.1 dev lan
"""
RESOLVER = "nameserver 198.51.100.53\noptions timeout:1 attempts:1\n"
IMPORTS = "import serve_app.main, actors.stream, actors.denoiser as d; d.load_model('dfn2')"


def cut_off(folder: Path) -> None:
    """Lead every packet to an interface that nobody listens on, names included."""
    for command in NETWORK.strip().splitlines():
        subprocess.run(command.split(), check=True)
    (folder / "resolv.conf").write_text(RESOLVER)
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    for name in ("resolv.conf", "hosts"):
        mount = ["mount", "--bind", str(folder / name), os.path.realpath(f"/etc/{name}")]
        subprocess.run(mount, check=True)


def sent(lan: socket.socket) -> list[str]:
    """Describe the TCP and UDP packets sent since the last call."""
    packets: list[str] = []
    while True:
        try:
            frame = lan.recv(2048)
        except BlockingIOError:
            return packets
        packet, protocol = frame[14:], {6: "tcp", 17: "udp"}.get(frame[23])
        if frame[12:14] == b"\x08\x00" and protocol:
            after = packet[(packet[0] & 15) * 4 :]
            port = int.from_bytes(after[2:4], "big")
            packets.append(f"{protocol} {socket.inet_ntoa(packet[16:20])}:{port} {after[8:]!r}")


def ask_somebody() -> None:
    """Ask for a name, and connect to an address."""
    for host in ("control.test", "203.0.113.1"):
        with contextlib.suppress(OSError):
            socket.create_connection((host, 80), timeout=0.1).close()


def denoise(folder: Path, environment: dict[str, str]) -> None:
    """Denoise a file, and load what an actor and an ingress load."""
    soundfile.write(folder / "in.wav", np.zeros(48000, np.float32), 48000)
    command = [sys.executable, "-m", "commands.cli", "denoise"]
    for words in ([*command, *(str(folder / n) for n in ("in.wav", "out.wav"))],
                  [sys.executable, "-c", IMPORTS]):  # fmt: skip
        subprocess.run(words, env=os.environ | environment, check=True)


def up(folder: Path, environment: dict[str, str]) -> None:
    """Run everything, on a data directory with any name; a stream, a listener, a recording."""
    data_dir = folder / 'data, "it\'s" 100% = #1 \u00fc\n'
    with running_app(data_dir, **environment) as app:
        asyncio.run(_stream(app.url))


async def _stream(url: str) -> None:
    ada, bob = await sign_up(url), await sign_up(url)
    await ada.befriend(bob)
    _, session = await ada.publish(encode(speech_like(5.0)))

    async def live() -> bool:
        stream = await ada.stream()
        return stream is not None and stream["state"] == "live"

    async def kept() -> bool:
        recordings = await ada.recordings()
        return bool(recordings) and recordings[0]["state"] == "ready"

    await until(live)
    listener, _ = await bob.listen(ada.username)
    await asyncio.wait_for(listener.first_sound.wait(), 30)
    assert (await ada.http.delete(session)).status_code == 200
    await until(kept)
    for person in (ada, bob):
        await person.close()


def main(folder: Path, work: str) -> None:
    """Do the work and report."""
    cut_off(folder)
    home = folder / "home"
    home.mkdir()
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as lan,
        recording_proxy() as proxy,
    ):
        lan.bind(("lan", 0))
        lan.setblocking(False)
        ask_somebody()
        control = sent(lan)
        {"denoise": denoise, "up": up}[work](folder, proxy.environment | {"HOME": str(home)})
        told = {"control": control, "sent": sent(lan), "asked": proxy.asked}
    print(json.dumps(told | {"home": [str(path) for path in home.rglob("*")]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
