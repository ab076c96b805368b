"""Redis and S3: reachable, able to keep data, and with the same time."""

import asyncio
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from commands.doctor.findings import Finding, clock_finding
from foundation.redis import RedisUnavailable, connect, unfit
from recordings.probe import PROBE, Probe
from recordings.store import RecordingStore, StoreUnavailable
from serve_app.settings import Settings

MIN_REDIS = 7
TIMEOUT_S = 5.0

_UNREACHED = (
    "Is HUSHCAST_S3_ENDPOINT right? Its certificate must be one that this machine trusts, or "
    "HUSHCAST_S3_CA names its authority. Keys come from HUSHCAST_S3_ACCESS_KEY and _SECRET_KEY, or "
    "from where AWS's tools look."
)
_CHECKSUMS = (
    "If AWS_REQUEST_CHECKSUM_CALCULATION is set, unset it: only Amazon's need what it adds."
)
_REFUSED = (
    "Use a store, and keys, that can put, get, list and delete objects, also in parts and ranges: "
    f'see "Object storage" in docs/operating.md. {_CHECKSUMS}'
)
_NOT_ALLOWED = (
    "Allow the keys to put, get, list and delete objects, and to list and abort multipart uploads."
)
_REGION = "Set HUSHCAST_S3_REGION to the region of the bucket."
_KEYS = (
    "Are HUSHCAST_S3_ACCESS_KEY and HUSHCAST_S3_SECRET_KEY right? Some stores answer this for a "
    "wrong HUSHCAST_S3_REGION too, or if AWS_REQUEST_CHECKSUM_CALCULATION is set."
)
_TO_DO = {
    "NoSuchBucket": "Create it, or correct HUSHCAST_S3_BUCKET; or is it HUSHCAST_S3_ADDRESSING?",
    "AccessDenied": _NOT_ALLOWED,
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "PermanentRedirect": _REGION,
    "SecondLevelDomainForbidden": "Set HUSHCAST_S3_ADDRESSING=virtual.",
    "NotImplemented": _CHECKSUMS,
    "InvalidArgument": _CHECKSUMS,
    "RequestTimeTooSkewed": "Synchronise both clocks with NTP, for example with chrony.",
}
"""What to do, by S3's code."""


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Check the version, persistence, eviction and clock."""
    try:
        if wrong := asyncio.run(unfit(settings.redis_url or "")):
            yield Finding("Redis", *wrong.split(". ", 1))
            return
        info, ahead_s, ping_s = asyncio.run(_ask_redis(settings.redis_url or ""))
    except (RedisUnavailable, OSError, TimeoutError) as error:
        to_do = "Is it running, and is HUSHCAST_REDIS_URL right, including the password?"
        yield Finding("Redis", f"cannot be used: {error}", to_do)
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
            await redis.prove()  # connects
            began = time.time()
            seconds, microseconds = await redis.time()
            now = time.time()
            ahead_s = seconds + microseconds / 1e6 - (began + now) / 2
            return await redis.info(), ahead_s, now - began
    finally:
        await redis.aclose()


def check_s3(settings: Settings) -> Iterator[Finding]:
    """Put an object and a part, read them, as a browser would too, and delete them."""
    try:
        store = RecordingStore(settings.store_config, wait_s=TIMEOUT_S)
        try:
            yield from _check_s3(store)
        finally:
            store.close()
    except StoreUnavailable as error:
        to_do = _TO_DO.get(error.code) or (_REFUSED if error.refused else _UNREACHED)
        yield Finding("S3", str(error).removeprefix("S3: "), to_do)


def _check_s3(store: RecordingStore) -> Iterator[Finding]:
    store.check()
    with Probe(store) as probe:
        found = f"bucket {store.config.bucket}: an object and a part were put and read"
        yield Finding("S3", f"{found}, whole and in part")
        yield _check_browsers(store, probe)
    yield clock_finding("clock of S3", probe.ahead_s)


def _check_browsers(store: RecordingStore, probe: Probe) -> Finding:
    what = "S3 for browsers"
    if not store.browsers_reach_it:
        return Finding(what, "not needed: recordings are played through the ingress")
    request = urllib.request.Request(probe.url, headers={"Range": "bytes=0-3"})
    trusted = ssl.create_default_context(cafile=store.config.authority)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=trusted) as response:
            if response.status == 206 and response.read(16) == PROBE[:4]:
                return Finding(what, "a signed URL plays, in ranges")
            told = f"answers {response.status} to a range request"
    except OSError as error:
        told = f"a signed URL fails: {error}"
    to_do = (
        "Can browsers reach HUSHCAST_S3_PUBLIC_ENDPOINT, and is HUSHCAST_S3_REGION the bucket's?"
    )
    return Finding(what, told, to_do)
