"""A busy process keeps its streams, a hung one ends."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator

import pytest

from actors import announcer, status
from actors.announcer import Announcer
from actors.denoiser import load_model
from actors.heartbeat import Heartbeat
from actors.sound_thread import Lane, SoundThread
from actors.status import StatusStore, StreamState, StreamStatus
from foundation.redis import connect
from tests.waiting import until

ADA = StreamStatus("ada", "01", StreamState.LIVE, 1.7e9, 0, True, None, False, "actor-1", "p1")
HUNG = """
import asyncio, time
from actors.heartbeat import Heartbeat

async def hang_for_ever():
    Heartbeat("redis://127.0.0.1:1", stuck_s=0.5).start()
    time.sleep(60)

asyncio.run(hang_for_ever())
"""


@pytest.fixture
def hung() -> list[str]:
    """What was found to hang."""
    return []


@pytest.fixture
async def heartbeat(valkey: str, hung: list[str]) -> AsyncIterator[Heartbeat]:
    """A heartbeat that takes a second of standing still for a hung process."""
    heartbeat = Heartbeat(valkey.removesuffix("/0") + "/7", stuck_s=1, give_up=hung.append)
    yield heartbeat
    heartbeat.close()


async def test_a_stream_lives_while_its_process_is_busy(
    heartbeat: Heartbeat, hung: list[str], valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status and lease are renewed, and changes written, while the event loop gets nowhere."""
    monkeypatch.setattr(status, "STATUS_TTL_S", 1)
    monkeypatch.setattr(announcer, "HEARTBEAT_S", 0.2)
    heartbeat.start()
    async with connect(valkey.removesuffix("/0") + "/7") as redis:
        store = StatusStore(redis)
        lease = store.lease("ada", actor="actor-1")
        announces = Announcer(store, ADA, lease, writer=heartbeat.store)
        running = asyncio.create_task(heartbeat.run(announces.run()))

        async def said(title: str | None) -> bool:
            written = await store.read("ada")
            return written is not None and written.title == title

        await until(lambda: said(None))
        version, _ = await store.read_versions(["ada"])
        announces.change(title="On air")
        for _ in range(3):
            time.sleep(0.5)  # noqa: ASYNC251  # as a storm of joins would
            await asyncio.sleep(0)
        assert await said("On air") and (await store.read_versions(["ada"]))[0] == version + 1
        assert await store.host_of("ada") == lease.grant
        assert heartbeat.lag_ms > 100 and not hung
        announces.change(state=StreamState.ENDED)
        await running
        assert await store.read("ada") is None
        await redis.flushdb()


async def test_an_event_loop_that_stands_still_is_noticed(
    heartbeat: Heartbeat, hung: list[str]
) -> None:
    """However long it was, and by its name."""
    heartbeat.start()
    give_up_at = time.monotonic() + 20
    while not hung and time.monotonic() < give_up_at:
        time.sleep(0.05)  # noqa: ASYNC251
    assert hung == ["the event loop"]


async def test_a_sound_thread_that_stands_still_is_noticed(
    heartbeat: Heartbeat, hung: list[str]
) -> None:
    """One that has nothing to do is not meant."""
    sound, goes_on = SoundThread(load_model(), streams=1), threading.Event()
    sound.start()
    heartbeat.watch("the sound thread", lambda: sound.progress)
    heartbeat.start()
    await asyncio.sleep(1.5)
    assert not hung

    def work(item: str) -> None:
        goes_on.wait()

    lane = Lane[str](
        sound,
        "test",
        capacity=1,
        work=work,
        passed_on=lambda: None,
        finished=lambda: None,
        dropped=lambda item: None,
        failed=lambda error: None,
    )
    sound.open(lane)
    lane.push("sound")
    try:
        await until(lambda: bool(hung))
    finally:
        goes_on.set()
    assert hung == ["the sound thread"]
    await asyncio.to_thread(lane.close)
    await asyncio.to_thread(sound.close)


def test_a_hung_process_ends_and_says_where() -> None:
    """Its streams are then found dead, instead of silent for ever."""
    run = subprocess.run(
        [sys.executable, "-c", HUNG], capture_output=True, text=True, timeout=50, check=False
    )
    assert run.returncode == 1
    assert "the event loop hangs" in run.stderr and "in hang_for_ever" in run.stderr
