"""Shared by several of these tests: spools with sound in them, and a connection to cut."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation.ids import new_id
from foundation.redis import RedisClient
from recordings.index import account_key
from recordings.writer import RecordingWriter, SpoolMeta

STARTED_AT = 1_790_000_000.25
"""2026-09-21 14:13:20.25 UTC."""


def some_meta(username: str = "anna", account: str = "") -> SpoolMeta:
    """Describe a new recording."""
    return SpoolMeta(new_id(), username, "stream-1", STARTED_AT, account)


async def register(redis: RedisClient, accounts: Mapping[str, str]) -> None:
    """Make accounts with these names and ids."""
    for username, account in accounts.items():
        await redis.set(account_key(username), json.dumps({"id": account}))


def some_sound(samples: int, seed: int = 1) -> NDArray[np.float32]:
    """Make noise that PCM16 represents exactly."""
    pcm = np.random.default_rng(seed).integers(-32768, 32768, samples)
    return (pcm / 32768).astype(np.float32)


def write_spool(
    folder: Path, sound: NDArray[np.float32], username: str = "anna", account: str = ""
) -> Path:
    """Write and close a spool."""
    meta = some_meta(username, account)
    path = folder / f"{meta.recording_id}.wav"
    writer = RecordingWriter(path, meta)
    writer.write(sound)
    writer.close()
    return path


def files_in(folder: Path) -> list[Path]:
    """List the files in a spool folder."""
    return sorted(folder.iterdir())


def chunks_of(header: bytes) -> dict[bytes, bytes]:
    """Walk the chunks of a WAV up to the sound, as any reader does."""
    chunks, at = {}, 12
    while at + 8 <= len(header):
        name, size = struct.unpack_from("<4sI", header, at)
        chunks[name] = header[at + 8 : at + 8 + size]
        if name == b"data":
            chunks[name] = header[at + 4 : at + 8]
            break
        at += 8 + size + size % 2
    return chunks


@asynccontextmanager
async def relay(port: int, to_port: int) -> AsyncIterator[None]:
    """Forward loopback connections to another port while the context lasts."""
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        there = await asyncio.open_connection("127.0.0.1", to_port)
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
