"""Streams end in every way while the servers restart: nothing is lost, nothing is left behind."""

import asyncio
import os
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import psutil
import pytest

from actors.aiortc_internals import sockets
from foundation.redis import connect
from recordings.store import RecordingStore
from tests.app.client import Person
from tests.app.test_bad_input import processes
from tests.faults.conftest import Instance
from tests.peers import PublisherPeer, encode
from tests.sounds import speech_like
from tests.waiting import until

PACKETS = encode(speech_like(2.0))
RESTART_S = (0.5, 4.0)
People = Callable[[], Awaitable[Person]]


@dataclass(frozen=True)
class Plan:
    """What happens to one stream."""

    seconds: float
    end: str
    """stop: its user ends it; kill: its actor gets SIGKILL, and with it whoever shares that
    actor; cut: the network fails at once."""


@dataclass(frozen=True)
class Outcome:
    """The result of a stream."""

    person: Person
    end: str
    published_s: float


async def chaos(
    streams: int,
    seconds: tuple[float, float],
    restarts: int,
    instance: Instance,
    people: People,
    at_a_time: int = 4,
) -> None:
    """Run the plan that a seed gives; print and check the results."""
    seed = os.environ.get("SEED") or secrets.token_hex(4)
    print(f"\nSEED={seed}")
    dice = random.Random(seed)
    ends = [("stop", "kill", "cut")[n % 3] for n in range(streams)]
    dice.shuffle(ends)
    plans = [Plan(dice.uniform(*seconds), end) for end in ends]
    expected_s = sum(plan.seconds for plan in plans) / at_a_time
    faults = [(dice.uniform(0.1, 0.9) * expected_s, dice.uniform(*RESTART_S))
              for _ in range(2 * restarts)]  # fmt: skip
    persons = [await people() for _ in plans]
    room = asyncio.Semaphore(at_a_time)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_restart(sorted(faults), instance))
        running = [
            tasks.create_task(_stream(person, plan, room, instance))
            for person, plan in zip(persons, plans, strict=True)
        ]
    outcomes = [task.result() for task in running]
    lost = [await _lost_s(outcome) for outcome in outcomes]
    orphans = await _orphans(instance)
    for outcome, seconds_lost in zip(outcomes, lost, strict=True):
        print(f"{outcome.end}: {outcome.published_s:.2f} s, {seconds_lost:+.2f} s lost")
    print(
        f"{streams} streams, {2 * restarts} restarts: {len(lost)} recordings found, "
        f"{max(lost):.2f} s lost at most, {sum(max(0.0, each) for each in lost):.2f} s in all, "
        f"{len(orphans)} orphans left {orphans or ''}"
    )
    assert max(lost) <= 1.0
    assert not orphans


async def _restart(faults: list[tuple[float, float]], instance: Instance) -> None:
    """Restart S3 and Redis in turns at the given seconds, each down for a while."""
    began = asyncio.get_running_loop().time()
    for number, (at, outage_s) in enumerate(faults):
        await asyncio.sleep(max(0.0, began + at - asyncio.get_running_loop().time()))
        child = (instance.s3, instance.redis)[number % 2]
        await asyncio.to_thread(child.stop)
        try:
            await asyncio.sleep(outage_s)
        finally:
            child.start()


async def _stream(
    person: Person, plan: Plan, room: asyncio.Semaphore, instance: Instance
) -> Outcome:
    async with room:
        peer, session = await _published(person)
        actor = _hosting(peer, instance)
        await until(lambda: peer.microphone.played > 0)
        killed = await _dies_within(actor, plan.seconds)
        published_s = peer.microphone.played * 0.02
        if killed:
            pass
        elif plan.end == "stop":
            await _insist(lambda: person.http.delete(session))
        elif plan.end == "kill":
            actor.kill()
        else:
            _cut(peer)
        await peer.close()
        return Outcome(person, "killed with another" if killed else plan.end, published_s)


async def _dies_within(process: psutil.Process, seconds: float) -> bool:
    try:
        await until(lambda: not process.is_running(), timeout_s=seconds, interval_s=0.02)
    except TimeoutError:
        return False
    return True


async def _published(person: Person) -> tuple[PublisherPeer, str]:
    """Start publishing as a page does: if refused for now, retry after a moment."""
    for _ in range(60):
        try:
            return await person.publish(PACKETS)
        except (AssertionError, httpx.HTTPError):
            await asyncio.sleep(1)
    raise TimeoutError("no stream could be started for a minute")


async def _insist(request: Callable[[], Awaitable[httpx.Response]]) -> None:
    for _ in range(60):
        try:
            if (await request()).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.5)
    raise TimeoutError("the stream could not be ended for half a minute")


def _hosting(peer: PublisherPeer, instance: Instance) -> psutil.Process:
    """Find the actor by the port in its answer."""
    [port] = {
        int(line.split()[5])
        for line in peer.connection.remoteDescription.sdp.splitlines()
        if line.startswith("a=candidate:")
    }
    [found] = [
        actor
        for actor in processes(instance.app)
        if any(each.laddr.port == port for each in actor.net_connections("udp"))
    ]
    return found


def _cut(peer: PublisherPeer) -> None:
    """Cut the network: nothing more is sent, not even a goodbye."""
    for socket in sockets(peer.connection.getTransceivers()[0]):
        socket.abort()


async def _lost_s(outcome: Outcome) -> float:
    """Wait for the recording; returns how much of what was published is missing."""

    async def stored() -> bool:
        try:
            recordings = await outcome.person.recordings()
        except (AssertionError, httpx.HTTPError):
            return False
        return bool(recordings) and all(r["state"] in ("ready", "recovered") for r in recordings)

    await until(stored, timeout_s=120, interval_s=0.2)
    recordings = await outcome.person.recordings()
    return outcome.published_s - float(sum(each["duration_s"] for each in recordings))


async def _orphans(instance: Instance) -> list[str]:
    """List what is left behind after everything has had time to end."""
    left: list[str] = []

    async def nothing_left() -> bool:
        nonlocal left
        left = [str(path) for path in instance.spool.iterdir() if path.suffix != ".lock"]
        for actor in processes(instance.app):
            left += [f"socket of actor {actor.pid}" for _ in actor.net_connections("udp")]
        async with connect(instance.redis_url) as redis:
            for name in ("stream:*", "lease:stream:*", "lease:recording:*", "recording:*:upload"):
                left += [str(key) for key in await redis.keys(f"hushcast:{name}")]
            left += [str(each) for each in await redis.smembers("hushcast:recordings:unfinished")]
        store = RecordingStore(instance.store)
        try:
            left += [each.key for each in store.parts.open_uploads()]
        finally:
            store.close()
        return not left

    try:
        await until(nothing_left, timeout_s=60, interval_s=0.5)
    except TimeoutError:
        pass
    return left


@pytest.mark.slow
@pytest.mark.quiet
async def test_a_little_chaos(instance: Instance, people: People) -> None:
    """A stream with each end, both servers restarted: every recording is there, no orphan."""
    await chaos(3, (2.0, 6.0), 1, instance, people, at_a_time=2)


@pytest.mark.soak
@pytest.mark.timeout(2400)
async def test_ten_minutes_of_chaos(instance: Instance, people: People) -> None:
    """Fifty streams, both servers restarted four times; `SEED` repeats a run."""
    await chaos(50, (5.0, 75.0), 4, instance, people)
