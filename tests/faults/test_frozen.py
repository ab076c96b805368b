"""An actor that is frozen for twice the life of its lease while its user goes live elsewhere."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import soundfile

from actors.status import LEASE_TTL_S, StatusStore
from foundation.redis import connect
from tests.app.client import SDP, Person
from tests.app.test_faults import hosting
from tests.faults.conftest import Instance
from tests.peers import PublisherPeer, encode
from tests.sounds import speech_like
from tests.waiting import until

PACKETS = encode(speech_like(2.0))
FROZEN_S = 2 * LEASE_TTL_S
AFTER_S = 6.0
"""Longer than a heartbeat and the TTL of a status together."""
People = Callable[[], Awaitable[Person]]


class Watch:
    """A history of which stream Redis says is live, without repeats."""

    def __init__(self, store: StatusStore, username: str) -> None:
        self.history: list[tuple[str, str] | None] = []
        self._store = store
        self._username = username
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._over.is_set():  # a cancellation may get lost in redis-py
            status = await self._store.read(self._username)
            now = None if status is None else (status.stream_id, status.actor)
            if not self.history or self.history[-1] != now:
                self.history.append(now)
            await asyncio.sleep(0.02)

    async def end(self) -> list[tuple[str, str] | None]:
        """Stop; returns the history."""
        self._over.set()
        await asyncio.wait_for(self._task, 10)
        return self.history


async def publish_again(ada: Person) -> PublisherPeer:
    """Post until it is accepted, as a page does when it is told to retry."""
    peer = PublisherPeer(PACKETS)
    ada.peers.append(peer)
    offer = await peer.offer()

    async def taken() -> bool:
        answer = await ada.http.post("/whip", content=offer, headers=SDP)
        if answer.status_code == 201:
            await peer.accept(answer.text)
        else:
            assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
        return answer.status_code == 201

    await until(taken, timeout_s=FROZEN_S, interval_s=1)
    return peer


async def length_of(ada: Person, recording: dict[str, Any]) -> float:
    """Download a recording and measure its length in seconds."""
    path = f"/api/recordings/{recording['id']}/audio"
    answer = await ada.http.get(path, follow_redirects=True)
    sound, rate = soundfile.read(io.BytesIO(answer.content))
    return len(sound) / float(rate)


@pytest.mark.slow
@pytest.mark.quiet
async def test_a_frozen_actor_lets_go_when_it_wakes(instance: Instance, people: People) -> None:
    """One live status at a time, one stream in the end, and both recordings whole."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    async with connect(instance.redis_url) as redis, bob.presence() as told:
        first, _ = await ada.publish(PACKETS)
        await until(lambda: told.states(ada.username)[-1:] == ["live"], timeout_s=30)
        watch = Watch(StatusStore(redis), ada.username)
        await until(lambda: first.microphone.played > 150)
        frozen, before_s = hosting(instance.app), first.microphone.played * 0.02
        frozen.suspend()
        since = time.monotonic()
        try:
            second = await publish_again(ada)
            await until(lambda: told.states(ada.username)[-1:] == ["live"], timeout_s=30)
            elsewhere_s = time.monotonic() - since
            await asyncio.sleep(max(0, since + FROZEN_S - time.monotonic()))
        finally:
            frozen.resume()
        await until(lambda: first.connection.connectionState == "closed", timeout_s=30)
        let_go_s = time.monotonic() - since - FROZEN_S
        await asyncio.sleep(AFTER_S)
        stream = await ada.stream()
        after_s = second.microphone.played * 0.02
        assert stream is not None and stream["state"] == "live"
        await ada.http.post("/api/stream/stop")
        history = await watch.end()
    streams = [status for status in history if status is not None]
    assert len(streams) == 2, f"each stream was live once: {history}"
    assert streams[0][0] == streams[1][0], "the same stream"
    assert streams[0][1] != streams[1][1], "on two actors"
    assert told.states(ada.username)[-1] is None

    async def both_stored() -> bool:
        recordings = await ada.recordings()
        return [r["state"] in ("ready", "recovered") for r in recordings] == [True, True]

    await until(both_stored, timeout_s=90)
    later, earlier = await ada.recordings()
    assert earlier["stream_id"] == later["stream_id"] == streams[0][0]
    lengths = await length_of(ada, earlier), await length_of(ada, later)
    print(
        f"\nlive elsewhere {elsewhere_s:.1f} s after the freeze; let go {let_go_s:.1f} s after it; "
        f"recordings {lengths[0]:.2f} s (sent before the freeze: {before_s:.2f} s), "
        f"{lengths[1]:.2f} s (sent by the second: {after_s:.2f} s)"
    )
    assert lengths[0] >= before_s - 0.3
    assert lengths[1] >= after_s - 0.3


@pytest.mark.slow
@pytest.mark.quiet
async def test_a_stream_that_was_stopped_meanwhile_does_not_come_back(
    instance: Instance, people: People
) -> None:
    """Nobody could be asked when its user stopped it; the actor learns of it when it wakes."""
    ada, bob = await people(), await people()
    await ada.befriend(bob)
    async with bob.presence() as told:
        first, _ = await ada.publish(PACKETS)
        await until(lambda: told.states(ada.username)[-1:] == ["live"], timeout_s=30)
        frozen = hosting(instance.app)
        frozen.suspend()
        try:
            await asyncio.sleep(LEASE_TTL_S + 2)
            assert (await ada.http.post("/api/stream/stop")).status_code == 204
        finally:
            frozen.resume()
        await until(lambda: first.connection.connectionState == "closed", timeout_s=30)
        await asyncio.sleep(AFTER_S)
        assert told.states(ada.username) == ["connecting", "live", None]
        assert await ada.stream() is None
