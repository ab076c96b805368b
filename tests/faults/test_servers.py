"""S3 and Redis go away, stall and come back: sound goes on, and the recording is complete."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.app.client import SDP, Person
from tests.faults.conftest import Instance, Stalled
from tests.peers import ListenerPeer, PublisherPeer, encode
from tests.sounds import SAMPLE_RATE, speech_like
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.quiet]

PACKETS = encode(speech_like(2.0))
OUTAGE_S = 5.0
People = Callable[[], Awaitable[Person]]


class Show:
    """Somebody who is live, and a friend who listens."""

    def __init__(self, people: People) -> None:
        self._people = people

    async def begin(self) -> None:
        """Go live and be heard."""
        self.ada, self.bob = await self._people(), await self._people()
        await self.ada.befriend(self.bob)
        self.peer: PublisherPeer
        self.peer, self.session = await self.ada.publish(PACKETS)
        await until(self.live)
        self.listener: ListenerPeer
        self.listener, _ = await self.bob.listen(self.ada.username)
        await asyncio.wait_for(self.listener.first_sound.wait(), 10)
        self.stream_id = (await self.ada.stream() or {})["stream_id"]

    async def live(self) -> bool:
        """Tell whether the API says that the stream is live."""
        try:
            stream = await self.ada.stream()
        except (AssertionError, httpx.HTTPError):  # 503: Redis is away
            return False
        return stream is not None and stream["state"] == "live"

    async def sound_goes_on(self, seconds: float) -> None:
        """Listen for a while: the friend hears all of it."""
        before = len(self.listener.sound)
        await asyncio.sleep(seconds)
        heard_s = (len(self.listener.sound) - before) / SAMPLE_RATE
        assert heard_s > seconds - 0.5, f"{heard_s:.2f} s of {seconds:.2f} s were heard"

    async def end(self) -> float:
        """End the stream; returns how many seconds were published."""
        published_s = self.peer.microphone.played * 0.02
        answer = await self.ada.http.delete(self.session)
        assert answer.status_code == 200, answer.text
        return published_s

    async def recording(self) -> dict[str, object]:
        """Wait for the recording and return it."""

        async def stored() -> bool:
            recordings = await self.ada.recordings()
            return bool(recordings) and recordings[0]["state"] == "ready"

        await until(stored, timeout_s=90)
        [recording] = await self.ada.recordings()
        return recording


def lost_s(recording: dict[str, object], published_s: float) -> float:
    """Get how many seconds of sound are missing."""
    lost = published_s - float(str(recording["duration_s"]))
    print(f"\n{lost:+.2f} s of {published_s:.2f} s were lost")
    return lost


async def test_s3_is_away_during_and_after_a_stream(instance: Instance, people: People) -> None:
    """Live sound goes on; the recording waits, listed as `storing`, and is stored complete."""
    show = Show(people)
    await show.begin()
    await asyncio.to_thread(instance.s3.stop)
    try:
        await show.sound_goes_on(OUTAGE_S)
        published_s = await show.end()
        await until(lambda: _state(show.ada, "storing"))
        ready = await show.ada.http.get("/readyz")
        assert ready.status_code == 503 and "storage" in ready.text
    finally:
        await asyncio.to_thread(instance.s3.start)
    assert abs(lost_s(await show.recording(), published_s)) < 0.3


async def test_s3_is_away_before_a_stream(instance: Instance, people: People) -> None:
    """A stream begins without S3, is heard, ends, and is stored when S3 is back."""
    show = Show(people)
    await asyncio.to_thread(instance.s3.stop)
    try:
        await show.begin()
        await show.sound_goes_on(2.0)
        published_s = await show.end()
        await until(lambda: _gone(show), timeout_s=5)
    finally:
        await asyncio.to_thread(instance.s3.start)
    assert abs(lost_s(await show.recording(), published_s)) < 0.3


async def test_the_disk_is_full(instance: Instance, people: People) -> None:
    """Live sound goes on; what was recorded before is stored, and later streams are recorded."""
    if not instance.spool.is_mount():
        pytest.skip("needs the right to mount a small disk")
    show = Show(people)
    await show.begin()
    await show.sound_goes_on(2.0)
    filler = instance.spool / "filler"
    try:
        until_full_s = show.peer.microphone.played * 0.02
        filler.write_bytes(bytes(100 * 2**20))
        await show.sound_goes_on(3.0)
        other = Show(people)
        await other.begin()  # live, but there is nowhere to record it
        await other.sound_goes_on(1.0)
        await other.end()
        published_s = await show.end()
        recorded_s = float(str((await show.recording())["duration_s"]))
        print(f"\nthe disk was full at {until_full_s:.2f} s: {recorded_s:.2f} s were recorded")
        assert until_full_s - 1 < recorded_s < until_full_s + 2 < published_s
        assert await other.ada.recordings() == []
    finally:
        filler.unlink(missing_ok=True)
    later = Show(people)
    await later.begin()
    await later.sound_goes_on(1.0)
    published_s = await later.end()
    assert abs(lost_s(await later.recording(), published_s)) < 0.3


async def test_s3_is_stalled(instance: Instance, people: People) -> None:
    """S3 accepts connections but never answers: neither live sound nor the end waits for it."""
    show = Show(people)
    await show.begin()
    with Stalled(instance.s3):
        await show.sound_goes_on(2.0)
        published_s = await show.end()
        await until(lambda: _gone(show), timeout_s=5)
    assert abs(lost_s(await show.recording(), published_s)) < 0.3


async def test_redis_is_restarted_during_a_stream(instance: Instance, people: People) -> None:
    """Live sound goes on, a new stream is refused with 503; afterwards the same stream is live."""
    show = Show(people)
    await show.begin()
    await asyncio.to_thread(instance.redis.stop)
    try:
        await show.sound_goes_on(OUTAGE_S)
        refused = await show.bob.http.post("/whip", content=b"v=0\r\n", headers=SDP)
        assert refused.status_code == 503 and "retry-after" in refused.headers, refused.text
    finally:
        await asyncio.to_thread(instance.redis.start)
    await until(show.live)
    assert (await show.ada.stream() or {})["stream_id"] == show.stream_id
    await show.sound_goes_on(1.0)
    published_s = await show.end()
    assert abs(lost_s(await show.recording(), published_s)) < 0.3


async def test_redis_is_stalled_during_a_stream(instance: Instance, people: People) -> None:
    """Live sound goes on; afterwards the same stream is live, its friend never left."""
    show = Show(people)
    await show.begin()
    with Stalled(instance.redis):
        await show.sound_goes_on(OUTAGE_S)
    await until(show.live)
    assert (await show.ada.stream() or {})["stream_id"] == show.stream_id
    await show.sound_goes_on(1.0)
    published_s = await show.end()
    assert abs(lost_s(await show.recording(), published_s)) < 0.3


@pytest.mark.parametrize("deployment", ["StreamDirectory", "Ingress"])
async def test_a_replica_is_killed(deployment: str, instance: Instance, people: People) -> None:
    """Sound goes on without it; Serve starts another, and new streams can begin again."""
    show = Show(people)
    await show.begin()
    instance.replica(deployment).kill()
    await show.sound_goes_on(2.0)
    await until(show.live, timeout_s=60)
    assert (await show.ada.stream() or {})["stream_id"] == show.stream_id
    published_s = await show.end()
    assert abs(lost_s(await show.recording(), published_s)) < 0.3
    eve = await people()
    await until(lambda: _ready(eve), timeout_s=60)
    await eve.publish(PACKETS)


async def _state(person: Person, state: str) -> bool:
    recordings = await person.recordings()
    return bool(recordings) and recordings[0]["state"] == state


async def _gone(show: Show) -> bool:
    return await show.ada.stream() is None


async def _ready(person: Person) -> bool:
    try:
        return (await person.http.get("/readyz")).status_code == 200
    except httpx.HTTPError:
        return False
