"""What a publisher costs: CPU of one core for each, from its datagrams to one encode for listeners.

    python -m bench.publishers [--publishers 1 4 8 16] [--seconds 15] [--rounds 2]

The publishers are real peers in a process of their own. This process has what an actor has: WebRTC
sessions, RTP order, one sound thread, recordings to disk; only Ray, Redis and S3 are left out.
Beside it, for 8 of them, hushcast without its model, and aiortc as it comes: its receiver and one
of its encoders, no model, no recording. Most of the cost is told thread by thread. The lag of the
event loop is how much later than asked for a sleep of 5 ms ends.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs.opus import OpusEncoder as StockEncoder
from aiortc.mediastreams import MediaStreamError

from actors.denoiser import Engine, Model, load_model
from actors.denoiser.executor import Batch, Result
from actors.ice import gather_on
from actors.opus import FRAME_SAMPLES, SAMPLE_RATE, OpusDecoder
from actors.pipeline import Heard, Pipeline
from actors.receive import Packet, RtpOrder
from actors.sessions import PublisherSession
from actors.sound_thread import SoundThread
from bench.sounds import noisy_streams
from commands.load.peers import PublisherPeer, encode
from foundation.ids import new_id
from recordings.spool_thread import SpoolThread
from recordings.writer import RecordingWriter, SpoolMeta

BESIDE = 8
"""How many publishers what stands beside has."""
KINDS = {
    "MainThread": "event loop",
    "sound": "sound thread",
    "spool": "spools",
    "asyncio": "executor",
}
"""What threads are for, by a part of their names."""


class Through:
    """An `Executor` without a model, to tell what the model costs."""

    def __init__(self, model: Model, capacity: int) -> None:
        self.capacity = self.max_batch = capacity
        self.max_hops = 2

    def reset(self, slot: int) -> None:
        """Have nothing to forget."""

    def move(self, source: int, target: int) -> None:
        """Have nothing to move."""

    def run(self, batch: Batch) -> Result:
        """Give back what came."""
        return Result(batch.hops.copy(), np.zeros(len(batch.slots), np.float32))


class Actor:
    """One sound thread and its publishers."""

    def __init__(self, publishers: int, folder: Path, *, with_model: bool) -> None:
        model = load_model(normalise_level=True)
        self.thread = SoundThread(model, publishers)
        if not with_model:
            self.thread._engines = {model.name: Engine(model, publishers, executor=Through)}
        self.thread.start()
        self.frames = 0
        self.spools: list[SpoolThread] = []
        self.pipelines = [self._pipeline(folder) for _ in range(publishers)]
        self.sessions: list[PublisherSession] = []
        self.tasks: list[asyncio.Task[None]] = []

    def _pipeline(self, folder: Path) -> Pipeline:
        meta = SpoolMeta(new_id(), "bench", "stream", time.time())
        path = folder / f"{meta.recording_id}.wav"

        def emit(frame: object) -> None:
            self.frames += 1

        def fail(error: BaseException) -> None:
            raise error

        spool = SpoolThread(
            lambda: RecordingWriter(path, meta, reserve_bytes=0), name="bench spool"
        )
        spool.start()
        self.spools.append(spool)
        pipeline = Pipeline(
            self.thread,
            name="bench",
            recording=spool,
            emit=emit,
            failed=fail,
        )
        pipeline.encode_denoised = True
        pipeline.start()
        return pipeline

    async def answer(self, offer: str) -> str:
        """Take a publisher in."""
        pipeline, order, decoder = self.pipelines[len(self.sessions)], RtpOrder(), OpusDecoder()

        def deliver(session: PublisherSession, packet: Packet) -> None:
            for segment in order.push(packet, time.monotonic()):
                pipeline.push(Heard(decoder, segment))

        session = PublisherSession("bench", connect_timeout_s=30, deliver=deliver)
        self.sessions.append(session)
        self.tasks.append(asyncio.create_task(session.run(offer)))
        return await session.answer

    async def close(self) -> None:
        """End everything."""
        for session in self.sessions:
            session.close()
        await asyncio.gather(*self.tasks)
        for pipeline in self.pipelines:
            await asyncio.to_thread(pipeline.close)
        for spool in self.spools:
            await asyncio.to_thread(spool.close)
        await asyncio.to_thread(self.thread.close)

    @property
    def late_hops(self) -> int:
        """How many hops were dropped, as the pages are told."""
        return sum(pipeline.levels.late_hops for pipeline in self.pipelines)


class Stock:
    """What aiortc brings: a jitter buffer and a decoder thread each, and an encoder."""

    late_hops = 0

    def __init__(self) -> None:
        self.frames = 0
        self.connections: list[RTCPeerConnection] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def answer(self, offer: str) -> str:
        """Take a publisher in."""
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connections.append(connection)
        connection.on(
            "track", lambda track: self.tasks.append(asyncio.create_task(self._hear(track)))
        )
        await connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp

    async def _hear(self, track: MediaStreamTrack) -> None:
        encoder = StockEncoder()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: Any = await track.recv()
                await loop.run_in_executor(None, encoder.encode, frame)
                self.frames += 1

    async def close(self) -> None:
        """End everything."""
        for connection in self.connections:
            await connection.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@dataclass(frozen=True)
class Cost:
    """What a publisher costs: the share of a core, and the event loop's lag meanwhile."""

    share: float
    lag_ms: tuple[float, float]
    """p50, p99."""
    threads: dict[str, float]
    """The same share by what threads are for, as far as Python has started them."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--publishers", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    ways: dict[str, tuple[int, bool | None]] = {
        f"{BESIDE} in a process, stock aiortc": (BESIDE, None),
        f"{BESIDE} in a process, without model": (BESIDE, False),
        **{f"{many} in a process": (many, True) for many in options.publishers},
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (publishers, with_model) in ways.items():
            cost = asyncio.run(_measure(publishers, options.seconds, with_model=with_model))
            costs[name].append(cost)
    for name, found in costs.items():
        each = ", ".join(f"{100 * cost.share:.2f}" for cost in found)
        share = 100 * float(np.median([cost.share for cost in found]))
        p50, p99 = np.median([cost.lag_ms for cost in found], axis=0)
        print(
            f"{name:36} {share:6.2f} % of a core each ({each}); "
            f"event loop's lag {p50:.2f} / {p99:.2f} ms; {_by_thread(found)}"
        )


def _by_thread(found: list[Cost]) -> str:
    shares = {name: np.median([cost.threads.get(name, 0.0) for cost in found])
              for name in found[0].threads}  # fmt: skip
    return ", ".join(f"{name} {100 * share:.2f}" for name, share in shares.items())


def _cpu_by_thread() -> dict[str, float]:
    """Get the CPU time of this process's threads, s, by what they are for."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    spent: defaultdict[str, float] = defaultdict(float)
    for thread in psutil.Process().threads():
        name = names.get(thread.id, "other libraries")
        kind = next((kind for part, kind in KINDS.items() if part in name), name)
        spent[kind] += thread.user_time + thread.system_time
    return spent


async def _measure(publishers: int, seconds: float, *, with_model: bool | None) -> Cost:
    """Get what each publisher costs this process; None: stock aiortc."""
    gather_on(["127.0.0.1"])
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    peers = context.Process(target=_publish, args=(theirs, publishers), daemon=True)
    peers.start()
    with tempfile.TemporaryDirectory() as folder:
        actor = (
            Stock()
            if with_model is None
            else Actor(publishers, Path(folder), with_model=with_model)
        )
        ours.send([await actor.answer(offer) for offer in await asyncio.to_thread(ours.recv)])
        await _until(lambda: actor.frames > 50 * publishers)
        frames, began, cpu = actor.frames, time.monotonic(), time.process_time()
        threads = _cpu_by_thread()
        lags = []
        while time.monotonic() - began < seconds:
            asked = time.monotonic()
            await asyncio.sleep(0.005)
            lags.append(time.monotonic() - asked - 0.005)
        used = time.process_time() - cpu
        took = time.monotonic() - began
        spent = {name: at - threads.get(name, 0.0) for name, at in _cpu_by_thread().items()}
        expected = took * SAMPLE_RATE / FRAME_SAMPLES * publishers
        assert actor.frames - frames > 0.97 * expected, "not everything arrived"
        assert not actor.late_hops, f"{actor.late_hops} hops were late"
        ours.send("end")
        await actor.close()
    peers.join()
    p50, p99 = np.percentile(lags, (50, 99)) * 1000
    by_thread = {name: cpu_s / took / publishers for name, cpu_s in spent.items() if cpu_s > 0}
    return Cost(used / took / publishers, (float(p50), float(p99)), by_thread)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # counted on another thread
        await asyncio.sleep(0.1)


def _publish(pipe: Connection, publishers: int) -> None:
    asyncio.run(_publish_all(pipe, publishers))


async def _publish_all(pipe: Connection, publishers: int) -> None:
    """Be the publishers."""
    gather_on(["127.0.0.1"])
    clips = noisy_streams(publishers)
    peers = [PublisherPeer(encode(clips[:400, n].reshape(-1))) for n in range(publishers)]
    pipe.send([await peer.offer() for peer in peers])
    for peer, answer in zip(peers, await asyncio.to_thread(pipe.recv), strict=True):
        await peer.accept(answer)
    await asyncio.to_thread(pipe.recv)
    for peer in peers:
        await peer.close()


if __name__ == "__main__":
    main()
