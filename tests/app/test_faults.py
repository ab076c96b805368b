"""A stream's actor dies: friends are told, the recording is kept, other streams continue."""

import io
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psutil
import pytest
import soundfile

from actors.stream_core import StreamTimes
from tests.app.client import SDP, Person
from tests.app.test_bad_input import processes
from tests.peers import PublisherPeer, encode
from tests.running import App
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.quiet]

PACKETS = encode(speech_like(2.0))
People = Callable[[], Awaitable[Person]]


async def test_a_killed_actor_costs_a_second_of_the_recording_at_most(
    app: App, people: People
) -> None:
    """SIGKILL: friends and the page are told within seconds, the recording is recovered."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    async with bob.presence() as presence, ada.presence() as own:
        peer, _ = await ada.publish(PACKETS)
        await until(lambda: "live" in presence.states(ada.username))
        await until(lambda: peer.microphone.played > 150)
        played_s = peer.microphone.played * 0.02
        hosting(app).kill()
        told_after = await until(lambda: presence.states(ada.username)[-1] is None)
        await until(lambda: any(m.get("action") == "republish" for m in own.messages))
    await until(lambda: _recovered(ada), timeout_s=90)
    [recording] = await ada.recordings()
    answer = await ada.http.get(f"/api/recordings/{recording['id']}/audio", follow_redirects=True)
    sound, rate = soundfile.read(io.BytesIO(answer.content))
    lost_s = played_s - len(sound) / rate
    print(f"\nthe end was told after {told_after:.1f} s; {lost_s:.2f} s of sound were lost")
    assert told_after < 5 and lost_s < 1.0
    await ada.publish(PACKETS)


async def test_a_killed_proxy_is_soon_replaced(app: App, people: People) -> None:
    """Streams whose pages are away for longer than the grace end (it is shorter in these tests)."""
    ada = await people()
    family = psutil.Process(app.process.pid).children(recursive=True)
    [proxy] = [each for each in family if any("ProxyActor" in word for word in each.cmdline())]
    proxy.kill()
    away_s = await until(lambda: _answers(ada))
    print(f"\nthe proxy was back after {away_s:.1f} s")
    assert away_s < StreamTimes().grace_s - 2  # pages come back one by one


async def _answers(person: Person) -> bool:
    try:
        return (await person.http.get("/healthz")).status_code == 200
    except httpx.TransportError:
        return False


async def test_frozen_actors_are_replaced_while_they_are_frozen(app: App, people: People) -> None:
    """SIGSTOP for every warm one: the first who comes is told to come back, and then is live."""
    ada = await people()
    frozen: set[psutil.Process] = set()
    answers: list[httpx.Response] = []

    async def post() -> httpx.Response:
        peer = PublisherPeer(PACKETS)
        ada.peers.append(peer)
        return await ada.http.post("/whip", content=await peer.offer(), headers=SDP)

    async def refused() -> bool:
        """Freeze all there are; one that was just being started may still take the stream."""
        for actor in set(processes(app)) - frozen:
            actor.send_signal(signal.SIGSTOP)
            frozen.add(actor)
        answers.append(await post())
        return answers[-1].status_code == 503

    async def live() -> bool:
        answers.append(await post())
        return answers[-1].status_code == 201

    try:
        await until(refused, timeout_s=60)
        await until(live, timeout_s=60, interval_s=0.5)
        print("\nanswers after", *(f"{a.elapsed.total_seconds():.1f} s," for a in answers))
        told = [a for a in answers if a.status_code == 503]
        assert all(a.headers["retry-after"] for a in told)
        assert all(a.status_code in (201, 503) for a in answers)
    finally:
        for actor in frozen:
            actor.send_signal(signal.SIGCONT)
    assert all(actor.is_running() for actor in frozen)
    assert [path.name for path in directory_logs(app) if "Traceback" in path.read_text()] == []


def directory_logs(app: App) -> list[Path]:
    """Find what Serve logs of the directory: a refusal is no error of ours."""
    for process in psutil.Process(app.process.pid).children(recursive=True):
        for word in process.cmdline():
            if word.startswith("--log_dir="):
                logs = Path(word.removeprefix("--log_dir=")) / "serve"
                if found := list(logs.glob("replica_*_StreamDirectory_*.log")):
                    return found
    raise AssertionError("Serve logs nothing")


def hosting(app: App) -> psutil.Process:
    """Find the actor that hosts a stream: the one with UDP sockets."""
    [hosting] = [actor for actor in processes(app) if actor.net_connections("udp")]
    return hosting


async def _recovered(person: Person) -> bool:
    recordings = await person.recordings()
    return bool(recordings) and recordings[0]["state"] == "recovered"
