"""What a publisher costs: CPU of one core for each, from its datagrams to one encode for listeners.

    python -m bench.publishers [--publishers 8] [--seconds 15] [--rounds 2]

The publishers are real peers in a process of their own. This process has what an actor has: WebRTC
sessions, RTP order, one sound thread, recordings to disk; only Ray, Redis and S3 are left out.
"""

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from actors.denoiser import Engine, Model, load_model
from actors.denoiser.executor import Batch, Result
from actors.ice import gather_on
from actors.opus import FRAME_SAMPLES, SAMPLE_RATE, OpusDecoder
from actors.pipeline import Heard, Pipeline
from actors.receive import Packet, RtpOrder
from actors.sessions import PublisherSession
from actors.sound_thread import SoundThread
from bench.sounds import noisy_streams
from recordings.names import new_recording_id
from recordings.writer import RecordingWriter, SpoolMeta
from tests.peers import PublisherPeer, encode


class Through:
    """An `Executor` without a model, to tell what the model costs."""

    def __init__(self, model: Model, capacity: int) -> None:
        self.capacity = self.max_batch = capacity

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
            self.thread._engine = Engine(model, publishers, executor=Through)
        self.thread.start()
        self.frames = 0
        self.pipelines = [self._pipeline(folder) for _ in range(publishers)]
        self.sessions: list[PublisherSession] = []
        self.tasks: list[asyncio.Task[None]] = []

    def _pipeline(self, folder: Path) -> Pipeline:
        meta = SpoolMeta(new_recording_id(), "bench", "stream", time.time())
        path = folder / f"{meta.recording_id}.wav"

        def emit(frame: object) -> None:
            self.frames += 1

        def fail(error: BaseException) -> None:
            raise error

        pipeline = Pipeline(
            self.thread,
            name="bench",
            open_recording=lambda: RecordingWriter(path, meta, reserve_bytes=0),
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
            await asyncio.to_thread(pipeline.finish)
        await asyncio.to_thread(self.thread.close)

    @property
    def late_hops(self) -> int:
        """How many hops were dropped, as the pages are told."""
        return sum(pipeline.levels.late_hops for pipeline in self.pipelines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--publishers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    many = options.publishers
    ways = {
        f"{many} in one process, without model": (many, False),
        "one, with model": (1, True),
        f"{many} in one process, with model": (many, True),
    }
    shares: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (publishers, with_model) in ways.items():
            share = asyncio.run(_measure(publishers, options.seconds, with_model=with_model))
            shares[name].append(share)
    for name, values in shares.items():
        each = ", ".join(f"{100 * value:.2f}" for value in values)
        print(f"{name:36} {100 * float(np.median(values)):6.2f} % of a core each ({each})")


async def _measure(publishers: int, seconds: float, *, with_model: bool) -> float:
    """Get the share of a core that each publisher costs this process."""
    gather_on(["127.0.0.1"])
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    peers = context.Process(target=_publish, args=(theirs, publishers), daemon=True)
    peers.start()
    with tempfile.TemporaryDirectory() as folder:
        actor = Actor(publishers, Path(folder), with_model=with_model)
        ours.send([await actor.answer(offer) for offer in await asyncio.to_thread(ours.recv)])
        await _until(lambda: actor.frames > 50 * publishers)
        frames, began, cpu = actor.frames, time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        used = time.process_time() - cpu
        took = time.monotonic() - began
        expected = took * SAMPLE_RATE / FRAME_SAMPLES * publishers
        assert actor.frames - frames > 0.97 * expected, "not everything arrived"
        assert not actor.late_hops, f"{actor.late_hops} hops were late"
        ours.send("end")
        await actor.close()
    peers.join()
    return used / took / publishers


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # counted on another thread
        await asyncio.sleep(0.1)


def _publish(pipe: Connection, publishers: int) -> None:
    asyncio.run(_publish_all(pipe, publishers))


async def _publish_all(pipe: Connection, publishers: int) -> None:
    """Be the publishers."""
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
