"""A process full of peers, and what it reports to the process that started it."""

import asyncio
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from actors.ice import gather_on
from actors.opus import Sound
from commands.load.api import PATIENCE_S, Api, ApiError
from commands.load.arrivals import FrameCounts
from commands.load.client import Client, PeerFailed
from commands.load.marker import Ruler
from commands.load.peers import PacketListener, Peer, PublisherPeer
from commands.load.wire import Faults, Tally, inject

LAG_INTERVAL_S = 0.05
LEFT_PATIENCE_S = 2.0
"""How long others wait for the server once one has waited in vain: those that stream should not
have to for long."""
LOWEST_PRIORITY = 19


@dataclass(frozen=True)
class Publishing:
    """A publisher to start."""

    token: str


@dataclass(frozen=True)
class Listening:
    """A listener to start."""

    token: str
    publisher: str
    began: float
    """When the publisher's first frame was sent, on time.monotonic."""
    measure_latency: bool


@dataclass(frozen=True)
class Job:
    """What a process does: publish packets or listen."""

    url: str
    faults: Faults
    peers: tuple[Publishing, ...] | tuple[Listening, ...]
    packets: tuple[bytes, ...]
    sound: Sound
    """What the packets hold; listeners look for it in what they hear."""


@dataclass(frozen=True)
class Started:
    """A peer connected or failed; sent in the order of the job's peers."""

    failure: str | None
    answered_s: float = 0.0
    connected_s: float = 0.0
    tries: int = 1
    began: float = 0.0


@dataclass(frozen=True)
class PublisherResult:
    """What one publisher did, and the last levels that the server sent it."""

    sent: int
    worst_lateness_s: float
    stats: dict[str, float]


@dataclass(frozen=True)
class ListenerResult:
    """What one listener received."""

    first_sound_s: float | None
    frames: FrameCounts
    mouth_to_ear_s: NDArray[np.float64]
    measured: bool


@dataclass(frozen=True)
class CrewResult:
    """What a process measured."""

    publishers: list[PublisherResult] = field(default_factory=list)
    listeners: list[ListenerResult] = field(default_factory=list)
    datagrams: Tally = field(default_factory=Tally)
    worst_lag_s: float = 0.0
    """How late the process's event loop was at worst: its own slowness, not the server's."""


def crew_main(pipe: Connection) -> None:
    """Run a process of peers: receive a Job, send `Started` for each peer and, after the next
    message, the CrewResult. Ends when the other end of the pipe is closed.
    """
    try:
        job: Job = pipe.recv()
        _gather_near(job.url)
        asyncio.run(_Crew(job, pipe).run())
    except (BrokenPipeError, EOFError):
        return  # the process that started this one is gone


class _Crew:
    def __init__(self, job: Job, pipe: Connection) -> None:
        self._job = job
        self._pipe = pipe
        self._publishers: list[PublisherPeer] = []
        self._listeners: list[tuple[PacketListener, Client, Listening]] = []
        self._clients: list[Client] = []
        self._worst_lag_s = 0.0
        self._patience_s = PATIENCE_S

    async def run(self) -> None:
        """Start all peers, wait for the message to stop, close them, send the result."""
        publishing = isinstance(self._job.peers[0], Publishing)
        tally = inject(self._job.faults, outgoing=publishing)
        told = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), told.set)
        lag = asyncio.create_task(self._watch_lag())
        work = asyncio.create_task(self._start_all())
        stop = asyncio.create_task(told.wait())
        try:
            await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            await stop
            ended_at = time.monotonic()
        finally:
            for task in (work, stop, lag):
                task.cancel()
            await asyncio.gather(work, stop, lag, return_exceptions=True)
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            await self._close_all()
        self._pipe.recv()  # raises EOFError when nobody waits for the result
        _give_way()
        result = CrewResult(
            [_published(peer) for peer in self._publishers],
            [self._heard(*listener, ended_at) for listener in self._listeners],
            tally,
            self._worst_lag_s,
        )
        self._pipe.send(result)

    async def _start_all(self) -> None:
        """Start one after another, so that no start waits for another's computation."""
        for wish in self._job.peers:
            try:
                if isinstance(wish, Publishing):
                    started = await self._publish(wish)
                else:
                    started = await self._listen(wish)
            except (ApiError, PeerFailed) as failure:
                started = Started(str(failure))
                self._patience_s = LEFT_PATIENCE_S
            self._pipe.send(started)

    async def _publish(self, wish: Publishing) -> Started:
        peer = PublisherPeer(list(self._job.packets))
        client = await self._connect(peer, wish.token, "/whip")
        await peer.microphone.begun.wait()
        self._publishers.append(peer)
        return _started(client, peer.microphone.began)

    async def _listen(self, wish: Listening) -> Started:
        peer = PacketListener(keep_sound=wish.measure_latency)
        client = await self._connect(peer, wish.token, f"/whep/{wish.publisher}")
        self._listeners.append((peer, client, wish))
        return _started(client)

    async def _connect(self, peer: Peer, token: str, path: str) -> Client:
        client = Client(Api(self._job.url, token), peer)
        self._clients.append(client)
        await client.connect(path, patience_s=self._patience_s)
        return client

    async def _close_all(self) -> None:
        closes = [client.close() for client in self._clients]
        # The session or the server may already have ended, which no longer matters.
        await asyncio.gather(*closes, return_exceptions=True)

    def _heard(
        self, peer: PacketListener, client: Client, wish: Listening, ended_at: float
    ) -> ListenerResult:
        arrivals = peer.arrivals
        latencies: NDArray[np.float64] = np.empty(0)
        if wish.measure_latency:
            latencies = arrivals.mouth_to_ear_s(Ruler(self._job.sound), wish.began)
        first_s = None if arrivals.first_at is None else arrivals.first_at - client.asked_at
        return ListenerResult(first_s, arrivals.counts(ended_at), latencies, wish.measure_latency)

    async def _watch_lag(self) -> None:
        while True:
            due = time.monotonic() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self._worst_lag_s = max(self._worst_lag_s, time.monotonic() - due)


def _give_way() -> None:
    """Run after everything else from now on: what is measured elsewhere may go on."""
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(LOWEST_PRIORITY)


def _started(client: Client, began: float = 0.0) -> Started:
    return Started(None, client.answered_s, client.connected_s, client.tries, began)


def _published(peer: PublisherPeer) -> PublisherResult:
    microphone = peer.microphone
    return PublisherResult(microphone.played, microphone.worst_lateness_s, peer.stats)


def _gather_near(url: str) -> None:
    """Use loopback for an instance on loopback; by default aioice has no candidate there."""
    host = urlsplit(url).hostname or ""
    addresses = {each[4][0] for each in socket.getaddrinfo(host, None)}
    near = [a for a in addresses if isinstance(a, str) and (a == "::1" or a.startswith("127."))]
    gather_on(near)
