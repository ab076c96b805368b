"""Run in its own network namespace: everything hostile at once, while people stream and listen.

usage: python -m tests.security.hostile SECONDS ADDRESSES. Prints figures as JSON.
"""

import asyncio
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from websockets.asyncio.client import connect

from actors.ice import gather_on
from commands.load.peers import PacketListener
from tests.app.client import SDP, Person, sign_up
from tests.peers import Peer, PublisherPeer, encode
from tests.running import App, running_app
from tests.sounds import speech_like
from tests.waiting import until

SERVER = "10.9.9.1"
SINK = ("10.9.9.2", 40_000)
"""Who is named in offers, and should get nothing."""
PACKETS = encode(speech_like(2.0))
LISTENERS = 3
SETTLE_S = 35.0
"""Longer than any half-open session, slow request or unread socket is kept."""
WARM_S = 60.0
MB = 2**20


def make_network(addresses: int) -> list[str]:
    """Give the namespace the server's address, the sink's and the attackers'."""
    attackers = [f"10.9.8.{n + 1}" for n in range(addresses)]
    lines = ["ip link set lo up", "ip link add lan type veth peer name nobody"]
    for address in (SERVER, SINK[0], *attackers):
        lines.append(f"ip address add {address}/16 dev lan")
    lines += ["ip link set nobody up", "ip link set lan up"]
    subprocess.run(["sh", "-ec", "\n".join(lines)], check=True)
    return attackers


# -- the attack, in a process of its own


@dataclass
class Attack:
    """Somebody with one account, a friend of the publisher, and some addresses."""

    url: str
    victim: str
    token: str
    offers: dict[str, str]
    addresses: list[str]
    told: Counter[str] = field(default_factory=Counter)
    ports: set[int] = field(default_factory=set)

    async def run(self, seconds: float) -> None:
        """Attack in every way at once, each at a rate that leaves a core for the rest."""
        ways: list[tuple[Callable[[], Awaitable[None]], float]] = [
            (self.spray, 8),
            (self.bomb, 2),
            (self.reflect, 2),
            (self.garbage, 40),
            (self.crawl, 10),
            (self.flood_sockets, 8),
        ]
        async with asyncio.TaskGroup() as tasks:
            for way, per_second in ways:
                tasks.create_task(self._repeat(way, per_second, time.monotonic() + seconds))

    async def _repeat(
        self, way: Callable[[], Awaitable[None]], per_second: float, until_s: float
    ) -> None:
        running: set[asyncio.Task[None]] = set()
        while time.monotonic() < until_s:
            if len(running) < 200:
                task = asyncio.create_task(self._try(way))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(1 / per_second)
        for task in running:
            task.cancel()

    async def _try(self, way: Callable[[], Awaitable[None]]) -> None:
        name = way.__name__
        try:
            await way()
            self.told[name] += 1
        except (OSError, httpx.HTTPError, TimeoutError, Exception) as error:  # noqa: BLE001
            self.told[f"{name}: {type(error).__name__}"] += 1

    def client(self) -> httpx.AsyncClient:
        """Come from any of the addresses."""
        local = random.choice(self.addresses)
        transport = httpx.AsyncHTTPTransport(local_address=local, verify=False)  # it is HTTP
        return httpx.AsyncClient(base_url=self.url, transport=transport, timeout=20)

    async def post(self, name: str, path: str, body: str) -> httpx.Response:
        """Post an offer as the account."""
        headers = {**SDP, "authorization": f"Bearer {self.token}"}
        async with self.client() as http:
            answer = await http.post(path, content=body, headers=headers)
        self.told[f"{name} {answer.status_code}"] += 1
        self.ports |= {int(port) for port in re.findall(r" udp \d+ \S+ (\d+) typ", answer.text)}
        return answer

    async def spray(self) -> None:
        """Guess a password of somebody else each time."""
        guess = {"username": f"name{random.randrange(10**6)}", "password": "correct horse"}
        async with self.client() as http:
            answer = await http.post("/api/session", json=guess)
        self.told[f"spray {answer.status_code}"] += 1

    async def bomb(self) -> None:
        """Listen with 390 sections."""
        lines = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=recvonly\r\n" * 390
        await self.post("bomb", f"/whep/{self.victim}", self.offers["listen"] + lines)
        await self.post("bomb", f"/whep/{self.victim}", self.offers["listen"] + "a=x:y\r\n" * 1900)

    async def reflect(self) -> None:
        """Name the sink 32 times, with a long user fragment, then again by trickling."""
        named = "".join(
            f"a=candidate:{n} 1 udp {9999 - n} {SINK[0]} {SINK[1] + n % 2} typ host\r\n"
            for n in range(32)
        )
        way = random.choice(("listen", "publish"))
        offer = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:" + "x" * 256, self.offers[way]) + named
        path = "/whip" if way == "publish" else f"/whep/{self.victim}"
        answer = await self.post("reflect", path, offer)
        if answer.status_code == 201:
            headers = {"content-type": "application/trickle-ice-sdpfrag"}
            headers["authorization"] = f"Bearer {self.token}"
            async with self.client() as http:
                await http.patch(answer.headers["location"], content=named, headers=headers)

    async def garbage(self) -> None:
        """Send datagrams to every port that was ever answered."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((random.choice(self.addresses), 0))
            for port in random.sample(sorted(self.ports), min(20, len(self.ports))):
                udp.sendto(random.randbytes(random.choice((1, 20, 200, 1400))), (SERVER, port))

    async def crawl(self) -> None:
        """Send half a request, or a body without its end, and wait."""
        head = b"POST /api/session HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n"
        port = int(self.url.rsplit(":", 1)[1])
        local = (random.choice(self.addresses), 0)
        reader, writer = await asyncio.open_connection(SERVER, port, local_addr=local)
        try:
            writer.write(head if random.random() < 0.5 else head + b"\r\n{")
            await asyncio.wait_for(reader.read(1), 60)
        finally:
            writer.close()

    async def flood_sockets(self) -> None:
        """Open presence sockets, with garbage and large messages."""
        url = self.url.replace("http", "ws") + f"/api/presence?token={self.token}"
        local = (random.choice(self.addresses), 0)
        async with connect(url, local_addr=local, open_timeout=20) as ws:
            await ws.send(random.choice(("{}", "x" * 1_000_000, '{"type": "publishing"}')))
            await asyncio.sleep(random.uniform(0, 10))


# -- the people, and what is measured


def memory_of(processes: list[psutil.Process]) -> dict[str, float]:
    """Get what each process of the instance holds for itself, MiB, by id and title."""
    found = {}
    for process in processes:
        try:
            title = " ".join(process.cmdline())[-60:]
            found[f"{process.pid} {title}"] = process.memory_full_info().uss / MB
        except psutil.Error:
            continue
    return found


def memory_mb(processes: list[psutil.Process]) -> float:
    """Add up what processes of the instance hold for themselves."""
    return sum(memory_of(processes).values())


def grown(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Find the processes that hold more than before, most first, MiB."""
    grew = {name: after.get(name, 0.0) - held for name, held in before.items()}
    return dict(sorted(((n, mb) for n, mb in grew.items() if mb > 1), key=lambda each: -each[1]))


def disk_mb(app: App, name: str) -> float:
    """Add up a folder of the data directory."""
    files = (path for path in (app.data_dir / name).rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files) / MB


def levels(app: App, processes: list[psutil.Process]) -> dict[str, float]:
    """Get what must not grow, in MiB."""
    return {
        "memory": memory_mb(processes),
        "logs": disk_mb(app, "logs"),
        "valkey": disk_mb(app, "valkey"),
    }


def sink() -> list[socket.socket]:
    """Bind the ports that offers name."""
    found = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for n, each in enumerate(found):
        each.bind((SINK[0], SINK[1] + n))
        each.setblocking(False)
    return found


def received(sockets: list[socket.socket]) -> int:
    """Count the bytes that came to them."""
    total = 0
    for each in sockets:
        while True:
            try:
                total += len(each.recv(65536))
            except BlockingIOError:
                break
    return total


async def newcomer(person: Person, publisher: str) -> float:
    """Listen for a moment; returns the seconds from the request to the first packet."""
    peer = PacketListener(keep_sound=False)
    offer = await peer.offer()
    began = time.monotonic()
    answer = await person.http.post(f"/whep/{publisher}", content=offer, headers=SDP)
    assert answer.status_code == 201, answer.text
    await peer.accept(answer.text)
    await until(lambda: peer.arrivals.first_at is not None)
    took_s = time.monotonic() - began
    await person.http.delete(answer.headers["location"])
    await peer.close()
    return took_s


async def attacked(
    orders: dict[str, Any], seconds: float, visit: Callable[[], Awaitable[None]]
) -> dict[str, int]:
    """Attack from another process, while somebody comes every two seconds; get what it was told."""
    attack = await asyncio.create_subprocess_exec(
        "nice", sys.executable, "-m", "tests.security.hostile", "attack", str(seconds),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    talk = asyncio.create_task(attack.communicate(json.dumps(orders).encode() + b"\n"))
    while not talk.done():
        await visit()
        await asyncio.sleep(2)  # 60 offers a minute are allowed
    told: dict[str, int] = json.loads((await talk)[0])
    return told


async def measure(app: App, seconds: float, addresses: list[str]) -> dict[str, Any]:
    """Let people stream while they are attacked."""
    ada, bob, eve = [await sign_up(app.url) for _ in range(3)]
    await ada.befriend(bob)
    await ada.befriend(eve)
    publisher, _ = await ada.publish(PACKETS)
    await until(lambda: _live(ada))
    listeners = [PacketListener(keep_sound=False) for _ in range(LISTENERS)]
    for each in listeners:
        answer = await bob.http.post(f"/whep/{ada.username}", content=await each.offer(),
                                     headers=SDP)  # fmt: skip
        await each.accept(answer.text)
    await until(lambda: all(each.arrivals.first_at for each in listeners))
    await asyncio.sleep(5)
    processes = psutil.Process(app.process.pid).children(recursive=True)
    before = levels(app, processes)
    offers = {}
    clients: dict[str, Peer] = {
        "listen": PacketListener(keep_sound=False),
        "publish": PublisherPeer(PACKETS),
    }
    for way, peer in clients.items():
        offers[way] = await peer.offer()
        await peer.close()
    watched = sink()
    orders = {"url": app.url, "victim": ada.username,
              "token": eve.token, "offers": offers, "addresses": addresses}  # fmt: skip
    starts: list[float] = []
    settle_s = SETTLE_S if seconds > WARM_S else 1.0  # of a short attack nobody judges the memory

    async def visit() -> None:
        starts.append(await newcomer(bob, ada.username))

    await attacked(orders, min(WARM_S, seconds / 5), visit)  # what is used once stays in memory
    await asyncio.sleep(settle_s)
    warm, held = memory_mb(processes), memory_of(processes)
    starts.clear()
    told = await attacked(orders, seconds, visit)
    peak = memory_mb(processes)
    await asyncio.sleep(settle_s)
    ended = time.monotonic()
    counts = [each.arrivals.counts(ended) for each in listeners]
    after = levels(app, processes)
    for each in listeners:
        await each.close()
    await publisher.close()
    for person in (ada, bob, eve):
        await person.close()
    return {
        "attack": told,
        "frames": sum(each.expected for each in counts),
        "lost": sum(each.lost + each.unsent for each in counts),
        "late": sum(each.late for each in counts),
        "newcomers": len(starts),
        "start_p50_s": float(np.percentile(starts, 50)),
        "start_p95_s": float(np.percentile(starts, 95)),
        "bytes_to_the_sink": received(watched),
        "memory_mb": {
            "cold": before["memory"],
            "warm": warm,
            "at the end": peak,
            "after": after["memory"],
        },
        "grown_mb": grown(held, memory_of(processes)),
        "logs_mb": after["logs"] - before["logs"],
        "valkey_mb": after["valkey"] - before["valkey"],
    }


async def _live(person: Person) -> bool:
    stream = await person.stream()
    return stream is not None and stream["state"] == "live"


def main() -> None:
    """Attack, or start an instance and measure how it bears being attacked."""
    if sys.argv[1] == "attack":
        attack = Attack(**json.loads(sys.stdin.readline()))
        asyncio.run(attack.run(float(sys.argv[2])))
        print(json.dumps(dict(sorted(attack.told.items()))))
        return
    addresses = make_network(int(sys.argv[2]))
    gather_on([SERVER])
    with tempfile.TemporaryDirectory(prefix="hushcast-hostile-") as folder:
        with running_app(
            Path(folder) / "data", "--host", SERVER,
            HUSHCAST_ICE_ADDRESSES=SERVER, HUSHCAST_SIGN_UP="open", HUSHCAST_WARM_ACTORS="1",
        ) as app:  # fmt: skip
            print(json.dumps(asyncio.run(measure(app, float(sys.argv[1]), addresses)), indent=1))


if __name__ == "__main__":
    main()
