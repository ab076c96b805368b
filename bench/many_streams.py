"""What presence costs beside many live streams: snapshots, changes, sweeps, memory.

    python -m bench.many_streams [--streams 10000] [--sockets 1000] [--friends 20] [--seconds 30]

The streams are statuses that a process renews every second, as actors do, and some of them change.
A replica of the HTTP application serves the sockets; Valkey, streams, replica and sockets are
processes of their own on one machine. All sockets come at once: a replica was lost.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import multiprocessing
import random
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from actors.access import friends_key
from actors.status import STREAMING_KEY, StatusStore, StreamState, StreamStatus
from actors.status_scripts import WRITE
from commands.local.child import Child
from commands.local.guardian import Guardian
from commands.local.ports import free_ports
from commands.local.valkey import Valkey
from deployments.stream_actors import RayStreamActors
from foundation.ids import new_id
from foundation.redis import RedisClient
from foundation.redis import connect as connect_redis
from recordings.index import account_key
from serve_app.api import build_api
from serve_app.services import build_services
from serve_app.settings import read_settings
from serve_app.sign_ins import SignIns
from tests.waiting import until

SECRET = "a key that signs nothing but the tokens of this benchmark"
CHANGES_PER_S = 100
BATCH = 250
"""How many heartbeats go to Redis at a time."""
LONE_SNAPSHOTS = 50


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--sockets", type=int, default=1_000)
    parser.add_argument("--friends", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with valkey() as (url, valkey_pid), replica(url) as (port, replica_pid):
        context = multiprocessing.get_context("spawn")
        streams = context.Process(target=_run_streams, args=(url, options.streams), daemon=True)
        streams.start()
        try:
            told = asyncio.run(_measure(options, url, port, replica_pid, valkey_pid))
        finally:
            streams.kill()
            streams.join()
    for name, value in told.items():
        print(f"{name:52} {value}")


@contextmanager
def valkey() -> Iterator[tuple[str, int]]:
    """Run a Valkey; yields its URL and process id."""
    with tempfile.TemporaryDirectory() as folder, Guardian() as guardian:
        server = Valkey.prepare(Path(folder) / "data", Path(folder) / "log")
        child = Child(server.name, server.command(), guardian)
        child.start()
        try:
            child.wait_until(server.answers)
            yield server.url, child.pid
        finally:
            child.stop()


@contextmanager
def replica(redis_url: str) -> Iterator[tuple[int, int]]:
    """Run an ingress replica without Ray; yields its port and process id."""
    [port] = free_ports(1)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(redis_url, port), daemon=True)
    process.start()
    try:
        while not _answers(port):
            time.sleep(0.1)
        assert process.pid is not None
        yield port, process.pid
    finally:
        process.kill()
        process.join()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class NoDirectory:
    """A directory without places."""

    async def assign(self, username: str) -> str:
        """Find none."""
        raise AssertionError("nobody publishes here")

    async def count_warm(self) -> int:
        """Count none."""
        return 0

    async def name_warm(self) -> list[str]:
        """Name none."""
        return []

    async def problems(self) -> list[str]:
        """Know of none."""
        return []

    async def reaches_redis(self) -> bool:
        """Reach none."""
        return False


def _serve(redis_url: str, port: int) -> None:
    settings = read_settings({"redis_url": redis_url, "secret_key": SECRET, "s3_bucket": "none"})
    logging.basicConfig(level=logging.WARNING)
    services = build_services(settings, NoDirectory(), RayStreamActors())
    config = uvicorn.Config(
        build_api(services), port=port, log_config=None, access_log=False, ws="websockets-sansio"
    )
    uvicorn.Server(config).run()


# -- the streams


def _status(n: int, listeners: int = 0) -> StreamStatus:
    """Make a status whose title says when."""
    return StreamStatus(
        username=f"streamer-{n}",
        stream_id=f"{n:026}",
        state=StreamState.LIVE,
        started_at=time.time(),
        listeners=listeners,
        denoise=True,
        attenuation_limit_db=None,
        share_original=False,
        actor=f"stream-actor-{n // 8}",
        session=new_id(),
        title=repr(time.time()),
    )


class Batched:
    """A client of Redis for a `StatusStore` that writes: it collects, and believes all is well.

    Thousands of actors wait for an answer each; this one process cannot.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._pipeline = redis.pipeline(transaction=False)
        self.channel = redis.channel

    def register_script(self, script: str) -> Callable[..., Awaitable[str]]:
        """Get a script to call."""
        return partial(self._call, hashlib.sha1(script.encode()).hexdigest())

    async def _call(self, digest: str, *, keys: list[str], args: list[Any]) -> str:
        self._pipeline.evalsha(digest, len(keys), *keys, *args)
        return json.dumps({"token": args[0], "holder": args[1], "epoch": 0})

    async def send(self) -> None:
        """Send what was collected."""
        await self._pipeline.execute()


def _run_streams(redis_url: str, count: int) -> None:
    asyncio.run(_keep_streaming(redis_url, count))


async def _keep_streaming(redis_url: str, count: int) -> None:
    """Renew each status every second, and change some."""
    redis = connect_redis(redis_url)
    await redis.script_load(WRITE)
    batched = Batched(redis)
    store = StatusStore(cast(RedisClient, batched))
    statuses = [_status(n) for n in range(count)]
    leases = [store.lease(each.username, actor=each.actor) for each in statuses]
    due = time.monotonic()
    while True:
        for first in range(0, count, BATCH):
            batch = range(first, min(count, first + BATCH))
            for _ in range(max(1, CHANGES_PER_S * BATCH // count)):
                n = random.choice(batch)
                statuses[n] = _status(n, statuses[n].listeners + 1)
            for n in batch:
                now = time.time()
                await store.write(statuses[n], leases[n], change_id=str(n), changed_at=now)
            await batched.send()
            due = max(due + BATCH / count, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))


# -- the sockets


async def _people(redis: RedisClient, options: argparse.Namespace) -> list[str]:
    """Make people who may hear some of the streams; get their tokens."""
    sign_ins, tokens = SignIns(redis, SECRET), []
    for n in range(options.sockets):
        name, document = f"listener-{n}", json.dumps({"id": str(n), "password": ""})
        await redis.set(account_key(name), document)
        chosen = random.sample(range(options.streams), options.friends)
        await redis.sadd(friends_key(name), *(f"streamer-{each}" for each in chosen))
        opened = await sign_ins.open(name, document, str(n), "127.0.0.1", "")
        assert opened is not None
        tokens.append(opened[0])
    return tokens


async def _measure(
    options: argparse.Namespace, url: str, port: int, replica_pid: int, valkey_pid: int
) -> dict[str, str]:
    address = f"ws://127.0.0.1:{port}/api/presence?token="
    process, server = psutil.Process(replica_pid), psutil.Process(valkey_pid)
    async with connect_redis(url) as redis, AsyncExitStack() as stack:
        tokens = await _people(redis, options)
        await until(partial(_live, redis, options.streams), timeout_s=120)
        lone = [await _snapshot_ms(address + random.choice(tokens)) for _ in range(LONE_SNAPSHOTS)]
        before = process.memory_info().rss
        began = time.monotonic()
        opened = await asyncio.gather(*(_open(stack, address + token) for token in tokens))
        all_back_s = time.monotonic() - began
        memory = (process.memory_info().rss - before) / len(tokens)
        await redis.config_resetstat()
        used = [sum(each.cpu_times()[:2]) for each in (process, server)]
        delays: list[float] = []
        readers = [asyncio.create_task(_read(page, delays)) for page, _ in opened]
        await asyncio.sleep(options.seconds)
        shares = [
            (sum(each.cpu_times()[:2]) - was) / options.seconds
            for each, was in zip((process, server), used, strict=True)
        ]
        calls = await redis.info("commandstats")
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        written = calls["cmdstat_evalsha"]["calls"] / options.seconds
        sizes = f"{options.streams} streams, {options.friends} friends each"
        return {
            f"a socket's snapshot, ms p50/p99 ({sizes})": _spread(lone),
            f"{len(tokens)} sockets at once, ms p50/p99": _spread([ms for _, ms in opened]),
            "until all have theirs, s": f"{all_back_s:.1f}",
            "memory of a socket, KB": f"{memory / 1000:.0f}",
            f"a change to a socket, ms p50/p99 ({len(delays)})": _spread(delays),
            "scripts in Redis, per s": f"{written:.0f}",
            "replica, Redis, share of a core": " / ".join(f"{100 * s:.0f} %" for s in shares),
        }


async def _live(redis: RedisClient, streams: int) -> bool:
    return int(await redis.hlen(STREAMING_KEY)) >= streams


async def _snapshot_ms(address: str) -> float:
    async with connect(address) as page:
        began = time.monotonic()
        assert json.loads(await page.recv())["type"] == "snapshot"
        return (time.monotonic() - began) * 1000


async def _open(stack: AsyncExitStack, address: str) -> tuple[ClientConnection, float]:
    """Open a socket, again until it works, as pages do.

    Returns it and the ms until it had its snapshot, counted from the start.
    """
    began = time.monotonic()
    while True:
        page = await stack.enter_async_context(connect(address, open_timeout=60, compression=None))
        try:
            assert json.loads(await page.recv())["type"] == "snapshot"
            return page, (time.monotonic() - began) * 1000
        except ConnectionClosed:
            await asyncio.sleep(random.random())


async def _read(page: ClientConnection, delays: list[float]) -> None:
    async for text in page:
        message = json.loads(text)
        if message["type"] == "stream":
            delays.append((time.time() - float(message["stream"]["title"])) * 1000)


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.1f} / {np.percentile(values, 99):.1f}"


if __name__ == "__main__":
    main()
