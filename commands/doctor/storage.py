"""Redis and S3: reachable, able to keep data, and with the same time."""

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from commands.doctor.findings import Finding, clock_finding
from foundation.redis import RedisUnavailable, connect
from recordings.probe import PROBE, Probe
from recordings.store import RecordingStore, StoreUnavailable
from serve_app.services import store_config
from serve_app.settings import Settings

MIN_REDIS = 7
TIMEOUT_S = 5.0


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Check the version, persistence, eviction and clock."""
    try:
        info, ahead_s, ping_s = asyncio.run(_ask_redis(settings.redis_url or ""))
    except (RedisUnavailable, OSError, TimeoutError) as error:
        to_do = "Is it running, and is HUSHCAST_REDIS_URL right, including the password?"
        yield Finding("Redis", f"cannot be reached: {error}", to_do)
        return
    yield from _judge_redis(info, ping_s)
    yield clock_finding("clock of Redis", ahead_s)


def _judge_redis(info: dict[str, Any], ping_s: float) -> Iterator[Finding]:
    version = str(info.get("redis_version", "0"))
    text = f"answers in {ping_s * 1000:.1f} ms, version {version}"
    old = int(version.partition(".")[0]) < MIN_REDIS
    yield Finding("Redis", text, f"Install Redis {MIN_REDIS} or Valkey." if old else None)
    if info.get("aof_enabled"):
        yield Finding("Redis keeps data", "every write goes to its append-only file")
    else:
        yield Finding(
            "Redis keeps data",
            "its append-only file is off: accounts made since its last snapshot can be lost",
            "Set `appendonly yes` and `appendfsync everysec`.",
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy != "noeviction":
        to_do = "Set `maxmemory-policy noeviction`: accounts and streams are not a cache."
        yield Finding("Redis when full", f"evicts keys ({policy})", to_do)


async def _ask_redis(url: str) -> tuple[dict[str, Any], float, float]:
    """Get INFO, how far its clock is ahead, and how long a command took, both in seconds."""
    redis = connect(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await redis.time()  # connects
            began = time.time()
            seconds, microseconds = await redis.time()
            now = time.time()
            ahead_s = seconds + microseconds / 1e6 - (began + now) / 2
            return await redis.info(), ahead_s, now - began
    finally:
        await redis.aclose()


def check_s3(settings: Settings) -> Iterator[Finding]:
    """Put an object, read it whole, in part and as a browser would, and delete it."""
    store = RecordingStore(store_config(settings))
    try:
        yield from _check_s3(store)
    except StoreUnavailable as error:
        yield Finding(
            "S3",
            str(error).removeprefix("S3: "),
            "Are HUSHCAST_S3_ENDPOINT, HUSHCAST_S3_BUCKET and the keys right? The bucket must "
            "exist, and the keys must be allowed to put, get, list and delete in it.",
        )
    finally:
        store.close()


def _check_s3(store: RecordingStore) -> Iterator[Finding]:
    store.check()
    bucket = f"bucket {store.config.bucket}"
    with Probe(store) as probe:
        wrong = probe.wrong()
        if wrong:
            yield Finding("S3", f"{bucket}: {wrong}", "Use an S3 server that supports this.")
        else:
            yield Finding("S3", f"{bucket}: an object was put, read, and read in part")
        yield _check_browsers(store, probe)
    if probe.left_behind:
        yield Finding(
            "S3", f"{bucket}: a deleted object is still there", "Allow the keys to delete."
        )
    yield clock_finding("clock of S3", probe.ahead_s)


def _check_browsers(store: RecordingStore, probe: Probe) -> Finding:
    what = "S3 for browsers"
    if not store.browsers_reach_it:
        return Finding(what, "not needed: recordings are played through the ingress")
    request = urllib.request.Request(probe.url, headers={"Range": "bytes=0-3"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            if response.status == 206 and response.read(16) == PROBE[:4]:
                return Finding(what, "a signed URL plays, in ranges")
            told = f"answers {response.status} to a range request"
    except OSError as error:
        told = f"a signed URL fails: {error}"
    return Finding(what, told, "Can browsers reach HUSHCAST_S3_PUBLIC_ENDPOINT?")
