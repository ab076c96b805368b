"""What an audience does to its stream: a storm of joins, then everybody listens.

    python -m bench.audience [--before 50] [--joins 500] [--over 10] [--seconds 20] [--processes 2]

One publisher and `--before` listeners are there first; then `--joins` listeners come within
`--over` seconds and try again when they are told to. The actor (a `StreamHost`, without Ray) and
its peers have processes of their own. Listeners count frames by their timestamps, sent or not, and
decrypt one in fifty, so that hundreds fit beside the actor on a small machine. A frame is late if
it comes 60 ms after the fastest.
"""

import argparse
import asyncio
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from aioice.ice import StunProtocol

from actors.access import friends_key
from actors.errors import StreamError
from actors.ice import IceConnection, gather_on
from actors.opus import FRAME_SAMPLES
from actors.status import StatusStore
from actors.stream import StreamActorConfig, StreamHost
from bench.sounds import noisy_streams
from commands.load.peers import FRAME_S, PacketListener, PublisherPeer, encode
from commands.local.valkey import Valkey
from foundation.redis import connect
from recordings.store import StoreConfig
from tests.s3_stub import s3_stub
from tests.servers import running
from tests.waiting import until

LATE_S = 0.06
DECRYPTED = 50
"""One frame in so many is passed on, so that the client's reports go on."""
NAME = "hushcast-stream-bench"
_spawn = multiprocessing.get_context("spawn")


@dataclass
class Heard:
    """What one listener heard."""

    frames: int = 0
    missing: int = 0
    late: int = 0
    worst_s: float = 0.0
    _last: int = 0
    _position: int = 0
    _earliest: float = float("inf")

    def add(self, timestamp: int) -> None:
        """Note a frame by its RTP timestamp, which also tells of frames that were never sent."""
        now = time.monotonic()
        ahead = ((timestamp - self._last) & 0xFFFFFFFF) // FRAME_SAMPLES if self.frames else 1
        self._last = timestamp
        self._position += ahead
        self.missing += ahead - 1
        self.frames += 1
        offset = now - self._position * FRAME_S
        self._earliest = min(self._earliest, offset)
        lateness_s = offset - self._earliest
        self.late += lateness_s > LATE_S
        self.worst_s = max(self.worst_s, lateness_s)


class Counting(StunProtocol):
    """A listener's socket."""

    made: "list[Counting]" = []

    def __init__(self, receiver: Any) -> None:
        super().__init__(receiver)
        self.heard = Heard()
        Counting.made.append(self)

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Count RTP by its header; pass on everything else."""
        assert isinstance(data, bytes)
        if 127 < data[0] < 192 and not 63 < data[1] & 0x7F < 96:
            self.heard.add(int.from_bytes(data[4:8]))
            if self.heard.frames % DECRYPTED:
                return
        super().datagram_received(data, addr)


@dataclass
class Crowd:
    """What one process of listeners saw."""

    heard: list[Heard] = field(default_factory=list)
    joined_s: list[float] = field(default_factory=list)
    """From the first try to the connection."""
    refused: list[int] = field(default_factory=list)
    """The `Retry-After` of each refusal."""
    gave_up: int = 0


class Line:
    """Calls over a pipe, several at a time."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._answers: dict[int, asyncio.Future[Any]] = {}
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._read)

    async def ask(self, *question: Any) -> Any:
        """Ask the actor."""
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._pipe.send((number, question))
        return await self._answers[number]

    def _read(self) -> None:
        while self._pipe.poll():
            number, answer = self._pipe.recv()
            if not self._answers[number].done():  # cancelled: the measurement is over
                self._answers[number].set_result(answer)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--before", type=int, default=50)
    parser.add_argument("--joins", type=int, default=500)
    parser.add_argument("--over", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=int, help="HUSHCAST_LISTENERS_PER_ACTOR")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        valkey = Valkey.prepare(folder / "data", folder / "log")
        stack.enter_context(running(valkey))
        store = stack.enter_context(s3_stub(folder)).config
        asyncio.run(_measure(options, valkey.url, store, folder))


def _start(target: Callable[..., None], *arguments: Any) -> Connection:
    ours, theirs = _spawn.Pipe()
    _spawn.Process(target=target, args=(theirs, *arguments), daemon=True).start()
    return ours


async def _measure(options: Any, redis_url: str, store: StoreConfig, folder: Path) -> None:
    limits = {} if options.limit is None else {"listeners_per_actor": options.limit}
    config = StreamActorConfig(redis_url, store, str(folder / "spool"), "1", **limits)
    lines = [_spawn.Pipe() for _ in range(options.processes + 1)]
    actor = _start(_act, config, [ours for ours, _ in lines])
    publisher = _start(_publish, lines[0][1])
    assert await _told(publisher) == "live"
    async with connect(redis_url) as redis:
        await redis.sadd(friends_key("ada"), *map(str, range(options.before + options.joins)))
    crowds = []
    for number, (_, line) in enumerate(lines[1:]):
        share = [
            len(range(number, count, options.processes))
            for count in (options.before, options.joins)
        ]
        crowds.append(_start(_crowd, line, number, options.processes, *share, options.over))
    for crowd in crowds:
        assert await _told(crowd) == "in"
    watch = asyncio.create_task(_watch(redis_url))
    await _phase("before the storm", actor, 5)
    for crowd in crowds:
        crowd.send("storm")
    await _phase("storm", actor, options.over + 10)
    await _phase("afterwards", actor, options.seconds)
    watch.cancel()
    results: list[Crowd] = []
    for crowd in crowds:
        crowd.send("end")
        results.append(await _told(crowd))
    changes = await asyncio.gather(watch, return_exceptions=True)
    print(f"status as friends see it: {changes[0]}")
    _print(results, options)


def _print(results: list[Crowd], options: Any) -> None:
    joined = np.array([each for crowd in results for each in crowd.joined_s])
    waits = [each for crowd in results for each in crowd.refused]
    print(
        f"joins: {len(joined)} of {options.joins}, p50 {np.median(joined):.2f} s, worst "
        f"{joined.max():.2f} s; refused {len(waits)} times (Retry-After "
        f"{min(waits, default=0)} to {max(waits, default=0)} s); gave up "
        f"{sum(crowd.gave_up for crowd in results)}"
    )
    share = options.before // options.processes
    early = [each for crowd in results for each in crowd.heard[:share]]
    for name, heard in (
        ("there before", early),
        ("everybody", [each for crowd in results for each in crowd.heard]),
    ):
        frames = sum(each.frames for each in heard)
        print(
            f"{name}: {len(heard)} listeners, {frames} frames, missing "
            f"{sum(each.missing for each in heard)}, late {sum(each.late for each in heard)}, "
            f"worst {1000 * max(each.worst_s for each in heard):.0f} ms"
        )


async def _phase(name: str, actor: Connection, seconds: float) -> None:
    actor.send("begin")
    await _told(actor)
    await asyncio.sleep(seconds)
    actor.send("end")
    print(f"{name}: {await _told(actor)}")


async def _told(pipe: Connection) -> Any:
    return await asyncio.to_thread(pipe.recv)


async def _watch(redis_url: str) -> list[str]:
    """Follow the stream as friends see it, until cancelled."""
    history: list[str] = []
    async with connect(redis_url) as redis:
        store = StatusStore(redis)
        try:
            while True:
                status = await store.read("ada")
                state = f"{status.state} ({status.stream_id})" if status else "ended"
                if history[-1:] != [state]:
                    history.append(state)
                await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            return history


# -- the actor


def _act(pipe: Connection, config: StreamActorConfig, lines: list[Connection]) -> None:
    gather_on(["127.0.0.1"])
    asyncio.run(_Actor(pipe, config, lines).run())


class _Actor:
    def __init__(
        self, pipe: Connection, config: StreamActorConfig, lines: list[Connection]
    ) -> None:
        self._pipe = pipe
        self._lines = lines
        self._host = StreamHost(NAME, config)
        self._lags: list[float] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve the peers; report on request."""
        await self._host.ready()
        gather_on(["127.0.0.1"])
        loop = asyncio.get_running_loop()
        for line in self._lines:
            loop.add_reader(line.fileno(), self._read, line)
        lag = asyncio.create_task(self._sample())
        while True:
            await asyncio.to_thread(self._pipe.recv)
            self._lags.clear()
            self._pipe.send("begun")
            began, cpu = time.monotonic(), time.process_time()
            await asyncio.to_thread(self._pipe.recv)
            share = (time.process_time() - cpu) / (time.monotonic() - began)
            self._pipe.send(self._report(share))
            assert not lag.done()

    def _report(self, share: float) -> str:
        lags = 1000 * np.array(self._lags)
        streams = self._host._streams
        stream = streams.get("ada")
        if stream is None:
            return f"THE STREAM ENDED; {100 * share:.0f} % of a core"
        publisher = stream._publishers[str(stream.status.session)]
        return (
            f"{len(list(stream._audience))} sessions, {stream.status.listeners} listen; "
            f"{100 * share:.0f} % of a core; loop lag p50/p99/worst {np.median(lags):.1f}/"
            f"{np.percentile(lags, 99):.0f}/{lags.max():.0f} ms; publisher: late hops "
            f"{stream._pipeline.levels.late_hops}, loss {publisher.order.counts.loss:.4f}"
        )

    async def _sample(self) -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self._lags.append(time.monotonic() - due)

    def _read(self, line: Connection) -> None:
        while line.poll():
            number, question = line.recv()
            task = asyncio.create_task(self._answer(line, number, *question))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, line: Connection, number: int, kind: str, *given: Any) -> None:
        try:
            if kind == "publish":
                await self._host.reserve("ada")
                answer: Any = await self._host.publish("ada", "p", given[0])
            elif kind == "live":
                answer = str(self._host._streams["ada"].status.state)
            else:
                name, offer = given
                answer = await self._host.listen("ada", f"session-{name}", offer, name, False)
        except StreamError as refusal:
            answer = getattr(refusal, "retry_after_s", 15)
        line.send((number, answer))


# -- the peers


def _publish(pipe: Connection, line: Connection) -> None:
    async def publish() -> None:
        gather_on(["127.0.0.1"])
        actor = Line(line)
        peer = PublisherPeer(encode(noisy_streams(1)[:, 0].reshape(-1)[: 200 * FRAME_SAMPLES]))
        await peer.accept(await actor.ask("publish", await peer.offer()))

        async def live() -> bool:
            return bool(await actor.ask("live") == "live")

        await until(live)
        pipe.send("live")
        await asyncio.Event().wait()

    asyncio.run(publish())


def _crowd(
    pipe: Connection,
    line: Connection,
    first: int,
    step: int,
    before: int,
    joins: int,
    over_s: float,
) -> None:
    gather_on(["127.0.0.1"])
    IceConnection.socket_protocol = Counting
    names = [str(first + n * step) for n in range(before + joins)]
    asyncio.run(_Listeners(pipe, line).run(names, before, over_s))


class _Listeners:
    def __init__(self, pipe: Connection, line: Connection) -> None:
        self._pipe = pipe
        self._line = line
        self._seen = Crowd()
        self._over = False

    async def run(self, names: list[str], before: int, over_s: float) -> None:
        """Listen, and have many others join."""
        self._actor = Line(self._line)
        peers = [PacketListener(keep_sound=False) for _ in names]
        offers = [await peer.offer() for peer in peers]
        wishes = list(zip(peers, offers, names, strict=True))
        for wish in wishes[:before]:
            await self._join(*wish)
        self._seen.joined_s.clear()
        self._seen.refused.clear()
        self._pipe.send("in")
        await asyncio.to_thread(self._pipe.recv)
        tasks = [
            asyncio.create_task(self._join(*wish, after_s=random.uniform(0, over_s)))
            for wish in wishes[before:]
        ]
        await asyncio.to_thread(self._pipe.recv)
        for task in tasks:
            self._seen.gave_up += task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._seen.heard = [each.heard for each in Counting.made if each.heard.frames]
        self._pipe.send(self._seen)

    async def _join(
        self, peer: PacketListener, offer: str, name: str, *, after_s: float = 0.0
    ) -> None:
        await asyncio.sleep(after_s)
        began = time.monotonic()
        while not isinstance(answer := await self._actor.ask("listen", name, offer), str):
            self._seen.refused.append(answer)
            await asyncio.sleep(answer)
        await peer.accept(answer)
        await peer.connected.wait()
        self._seen.joined_s.append(time.monotonic() - began)


if __name__ == "__main__":
    main()
