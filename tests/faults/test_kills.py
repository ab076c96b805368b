"""Actors die at any moment of a stream: what was spooled becomes a recording, every time."""

import asyncio
import io
import os
import random
import secrets
from collections.abc import Awaitable, Callable

import pytest
import soundfile

from tests.app.client import Person
from tests.app.test_faults import hosting
from tests.faults.conftest import Instance
from tests.peers import encode
from tests.sounds import speech_like
from tests.waiting import until

PACKETS = encode(speech_like(2.0))
People = Callable[[], Awaitable[Person]]


async def killed_at(after_s: float, instance: Instance, people: People) -> float:
    """Publish, kill the actor some time after going live; returns the seconds of sound lost."""
    ada = await people()
    peer, _ = await ada.publish(PACKETS)
    await until(lambda: peer.microphone.played > 0)
    await asyncio.sleep(after_s)
    published_s = peer.microphone.played * 0.02
    hosting(instance.app).kill()

    async def recovered() -> bool:
        recordings = await ada.recordings()
        return bool(recordings) and recordings[0]["state"] == "recovered"

    await until(recovered, timeout_s=90)
    [recording] = await ada.recordings()
    path = f"/api/recordings/{recording['id']}/audio"
    answer = await ada.http.get(path, follow_redirects=True)
    sound, rate = soundfile.read(io.BytesIO(answer.content))
    return published_s - len(sound) / float(rate)


async def killed(times: int, instance: Instance, people: People) -> None:
    seed = os.environ.get("SEED") or secrets.token_hex(4)
    print(f"\nSEED={seed}")
    moments = random.Random(seed)
    lost = []
    for _ in range(times):
        lost.append(await killed_at(moments.uniform(0.5, 4.0), instance, people))
        print(f"{lost[-1]:+.2f} s lost", flush=True)
        assert lost[-1] <= 1.0
    print(f"{times} killed, {times} recovered, {max(lost):.2f} s lost at most")


@pytest.mark.soak
async def test_twenty_killed_actors(instance: Instance, people: People) -> None:
    """The long form of tests/app/test_faults.py; `SEED` repeats the same moments."""
    await killed(20, instance, people)
