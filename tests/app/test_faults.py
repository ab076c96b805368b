"""A stream's actor dies in the midst of it: friends learn it, the sound is kept, others go on."""

import io
from collections.abc import Awaitable, Callable

import psutil
import pytest
import soundfile

from tests.app.client import Person
from tests.app.test_bad_input import processes
from tests.peers import encode
from tests.running import App
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = pytest.mark.slow

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


def hosting(app: App) -> psutil.Process:
    """Find the actor that hosts a stream: the one with UDP sockets."""
    [hosting] = [actor for actor in processes(app) if actor.net_connections("udp")]
    return hosting


async def _recovered(person: Person) -> bool:
    recordings = await person.recordings()
    return bool(recordings) and recordings[0]["state"] == "recovered"
