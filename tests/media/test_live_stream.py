"""A stream between real peers, with a real Redis and a real S3, from its start to its end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors import audience
from actors.access import Guest
from actors.audience import MAX_CONNECTING_OF_A_LISTENER
from actors.denoiser import load_model
from actors.errors import NoPlace, NotLive, OfferRefused, OriginalNotShared, TooManySessions
from actors.heartbeat import Heartbeat
from actors.live_stream import MAX_PUBLISHERS, LiveStream
from actors.sound_thread import SoundThread
from actors.status import Kept, StatusStore, StreamState
from actors.stream_core import StreamTimes
from foundation.ids import new_id
from foundation.redis import connect
from recordings.index import Recording, RecordingIndex, RecordingState
from recordings.quota import Quota
from recordings.recorder import Recorder
from recordings.spool_thread import SpoolThread
from recordings.store import RecordingStore, StoreConfig
from recordings.wav import SpoolMeta
from tests.peers import ListenerPeer, PublisherPeer, encode
from tests.sounds import speech_like
from tests.waiting import until

PACKETS = encode(speech_like(4.0))
QUOTA = Quota(1_000_000_000)
TIMES = StreamTimes(connect_timeout_s=8.0, publisher_timeout_s=1.0, grace_s=1.0)


@pytest.fixture(scope="module")
def sound_thread() -> Iterator[SoundThread]:
    """A sound thread with the official model, as every actor has one."""
    thread = SoundThread(load_model(), streams=1)
    thread.start()
    yield thread
    thread.close()


class Stage:
    """One user's stream with everything around it."""

    def __init__(
        self,
        valkey: str,
        s3: StoreConfig,
        spool_dir: Path,
        sound_thread: SoundThread,
        times: StreamTimes = TIMES,
    ) -> None:
        self.redis_url = valkey.removesuffix("/0") + "/5"  # emptied after each test
        self.redis = connect(self.redis_url)
        self.status = StatusStore(self.redis)
        self.index = RecordingIndex(self.redis)
        self.spool_dir = spool_dir
        self.recorder = Recorder(self.index, RecordingStore(s3), spool_dir, quota=QUOTA)
        self.states: list[str] = []
        self.peers: list[PublisherPeer | ListenerPeer] = []
        self.sound_thread = sound_thread
        self.heartbeat = Heartbeat(self.redis_url)
        self.heartbeat.start()
        self.times = times
        self.stream = self.make("alice")
        self.life = asyncio.create_task(self.stream.run())

    def make(self, username: str) -> LiveStream:
        """Make a user's stream; it does nothing before it runs."""
        return LiveStream(
            username,
            actor="actor-1",
            lease=self.status.lease(username, actor="actor-1"),
            sound_thread=self.sound_thread,
            heartbeat=self.heartbeat,
            times=self.times,
            store=self.status,
            recorder=self.recorder,
        )

    async def publish(
        self,
        session_id: str,
        *,
        stats: bool = True,
        protocol: str = "",
        sign_in: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> PublisherPeer:
        """Start a client that publishes."""
        peer = PublisherPeer(PACKETS, stats=stats, protocol=protocol)
        self.peers.append(peer)
        answer = await self.stream.publish(
            session_id, await peer.offer(), sign_in=sign_in, settings=settings
        )
        await peer.accept(answer)
        return peer

    async def go_live(self, session_id: str = "p1", *, sign_in: str | None = None) -> PublisherPeer:
        """Publish until live, undenoised: the model takes the test's synthetic voice for noise."""
        peer = await self.publish(session_id, sign_in=sign_in)
        await self.reach(StreamState.LIVE)
        self.stream.control({"denoise": False})
        return peer

    async def listen(
        self,
        session_id: str,
        *,
        listener: str = "bob",
        original: bool = False,
        both: bool = False,
        sections: int = 1,
        sign_in: str | None = None,
        guest: Guest | None = None,
    ) -> ListenerPeer:
        """Start a client that listens."""
        listener = guest.name if guest else listener
        peer = ListenerPeer(sections=sections)
        self.peers.append(peer)
        answer = await self.stream.listen(
            session_id,
            await peer.offer(),
            listener=listener,
            original=original,
            both=both,
            sign_in=sign_in,
            guest=guest,
        )
        await peer.accept(answer)
        return peer

    async def reach(self, state: StreamState) -> float:
        """Wait for a state; returns how many seconds that took."""
        return await until(lambda: self.stream.status.state is state)

    async def close(self) -> None:
        """End everything a test left running."""
        await self.stream.stop("the test is over")
        await self.life
        for peer in self.peers:
            await peer.close()
        await self.recorder.wait_stored()
        self.heartbeat.close()
        await self.redis.flushdb()
        await self.redis.aclose()


@pytest.fixture
async def stage(
    valkey: str, s3: StoreConfig, tmp_path: Path, sound_thread: SoundThread
) -> AsyncIterator[Stage]:
    """Set up one stream."""
    stage = Stage(valkey, s3, tmp_path, sound_thread)
    yield stage
    await stage.close()


async def test_a_stream_lives_and_leaves_a_recording(stage: Stage) -> None:
    """From offer to object: connecting, live, heard, announced in Redis, stored, gone."""
    assert stage.stream.status.state is StreamState.CONNECTING
    publisher = await stage.go_live()

    async def published() -> bool:
        status = await stage.status.read("alice")
        return status is not None and status.session == "p1" and status.started_at is not None

    await until(published)
    listener = await stage.listen("l1")
    await asyncio.wait_for(listener.first_sound.wait(), 10)
    await until(lambda: stage.stream.status.listeners == 1)
    await until(lambda: bool(publisher.stats))
    played = publisher.microphone.played
    await until(lambda: publisher.microphone.played >= played + 50)
    [recording] = await stage.index.list("alice")
    assert recording.state is RecordingState.RECORDING
    await stage.stream.end_session("p1")
    assert await stage.status.read("alice") is None
    assert await stage.status.host_of("alice") is None
    await stage.life
    await stage.recorder.wait_stored()
    [recording] = await stage.index.list("alice")
    assert recording.state is RecordingState.READY
    assert abs(recording.duration_s - publisher.microphone.played * 0.02) < 0.2
    assert not list(stage.spool_dir.iterdir())


async def test_without_storage_left_a_stream_is_heard_but_not_recorded(stage: Stage) -> None:
    """The publisher's pages are told why."""
    large = Recording.of(SpoolMeta(new_id(), "carol", "01", 1.7e9), RecordingState.READY)
    await stage.index.put(replace(large, size_bytes=999_500_000))
    await stage.stream.stop("another one begins")
    await stage.life
    stage.stream = stage.make("carol")
    stage.life = asyncio.create_task(stage.stream.run())
    async with stage.redis.pubsub(ignore_subscribe_messages=True) as told:
        await told.subscribe(stage.redis.channel("hushcast:control"))
        await stage.go_live()
        listener = await stage.listen("l1")
        await asyncio.wait_for(listener.first_sound.wait(), 10)
        while (message := await told.get_message(timeout=5)) is None:
            pass
    assert json.loads(message["data"]) == {
        "username": "carol",
        "action": "quota",
        "stream_id": stage.stream.status.stream_id,
        "session": "p1",
        "reason": QUOTA.full,
        "at": None,
    }
    assert len(await stage.index.list("carol")) == 1 and not list(stage.spool_dir.iterdir())


async def test_a_second_listener_comes_late_and_comes_again(stage: Stage) -> None:
    """Listeners come, go and come back while others go on hearing."""
    await stage.go_live()
    first = await stage.listen("l1")
    await asyncio.wait_for(first.first_sound.wait(), 10)
    second = await stage.listen("l2", listener="cid")
    await asyncio.wait_for(second.first_sound.wait(), 10)
    await second.close()
    await until(lambda: stage.stream.status.listeners == 1)
    again = await stage.listen("l3", listener="cid")
    await asyncio.wait_for(again.first_sound.wait(), 10)
    heard = len(first.sound)
    await until(lambda: len(first.sound) > heard + 9600)
    assert stage.stream.status.listeners == 2


async def test_a_newer_publisher_takes_over_when_it_is_heard(stage: Stage) -> None:
    """The stream goes on with the same id and listeners; the old session's end ends nothing."""
    await stage.go_live()
    stream_id = stage.stream.status.stream_id
    listener = await stage.listen("l1")
    second = await stage.publish("p2")
    await until(lambda: stage.stream.status.session == "p2")
    await stage.stream.end_session("p1")
    await stage.stream.stop("an old page is closed", session_id="p1")
    played, heard = second.microphone.played, len(listener.sound)
    await until(lambda: second.microphone.played > played + 30)
    assert stage.stream.status.state is StreamState.LIVE
    assert stage.stream.status.stream_id == stream_id
    assert len(listener.sound) > heard


async def test_a_page_of_today_gets_spectra_and_an_older_one_what_it_knows(stage: Stage) -> None:
    """Columns of before and after follow each other, at least ten a second; JSON says more."""
    older = await stage.go_live()
    await until(lambda: bool(older.stats))
    assert set(older.stats) == {"input_dbfs", "output_dbfs", "lsnr", "late_hops", "loss"}
    page = await stage.publish("p2", protocol="2")
    await until(lambda: len(page.spectra) > 12)
    assert set(page.stats) == {*older.stats, "version", "noise_removed_db", "gaps"}
    assert page.stats["version"] == 2 and page.stats["gaps"] >= 0
    numbers = []
    for message in page.spectra:
        version, count, high, low = message[:4]
        assert version == 2 and len(message) == 4 + 128 * count
        numbers += [256 * high + low + n for n in range(count)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) >= len(page.spectra), "fewer columns than messages, ten a second"
    loud = np.frombuffer(page.spectra[-1][4:132], np.uint8)
    assert loud.max() > 2 * (120 - 60)
    assert not older.spectra
    await page.close()
    await until(lambda: stage.stream._pipeline.spectrum is None)


async def test_a_publisher_brings_its_settings_once_it_is_heard(stage: Stage) -> None:
    """They change the stream that it takes over, too; what it leaves out stays as it is."""
    settings = {"title": "Birds", "denoise": False, "share_original": True, "post_filter": True}
    await stage.publish("p1", settings=settings)
    assert stage.stream.status.title is None
    await stage.reach(StreamState.LIVE)
    stage.stream.control({"muted": True})
    await stage.publish("p2", settings={"title": None, "attenuation_limit_db": 12.0})
    await until(lambda: stage.stream.status.session == "p2")
    status = stage.stream.status
    assert (status.title, status.denoise, status.share_original) == (None, False, True)
    assert (status.attenuation_limit_db, status.muted, status.post_filter) == (12.0, True, True)


async def test_friends_see_that_a_stream_is_degraded(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is too little time for it; who shares the original has allowed it, too."""
    monkeypatch.setattr(SoundThread, "_look", lambda self: None)  # there is enough
    await stage.go_live()
    stage.stream.control({"share_original": False, "denoise": True})
    stage.stream._pipeline._lane.passes = True
    await asyncio.sleep(0.5)
    assert not stage.stream.status.degraded
    for allowed in ("share_original", "undenoised_on_overload"):
        stage.stream.control({allowed: True})
        await until(lambda: stage.stream.status.degraded)
        stage.stream.control({allowed: False})
        await until(lambda: not stage.stream.status.degraded)
    assert stage.stream.control({"model": "dfn3"}).model == "dfn2", "another is not loaded"


async def test_what_is_kept_last_is_the_latest(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long an earlier state takes to reach Redis: whoever was removed stays out."""
    begun: list[tuple[str, ...]] = []
    kept: list[tuple[str, ...]] = []
    slow = asyncio.Event()

    async def noted(username: str, what: Kept) -> None:
        begun.append(tuple(what.removed))
        if not what.removed:
            await slow.wait()
        kept.append(tuple(what.removed))

    await stage.go_live()
    monkeypatch.setattr(stage.status, "keep", noted)
    stage.stream.control({"title": "A slow change"})
    await until(lambda: bool(begun))
    await stage.stream.remove("bob", new_id())
    slow.set()
    await until(lambda: ("bob",) in kept and len(kept) == len(begun))
    assert kept[0] == () and kept[-1] == ("bob",)


async def test_nothing_is_heard_soon_after_muting_until_unmuting(stage: Stage) -> None:
    """Listeners get silence; the stream goes on, and friends see why."""
    publisher = await stage.go_live()
    listener = await stage.listen("l1")
    await asyncio.wait_for(listener.first_sound.wait(), 10)
    assert stage.stream.control({"muted": True}).muted

    def quiet() -> bool:
        return not np.any(np.abs(listener.sound[-9600:]) > 0.001)

    await until(quiet)
    heard, played = len(listener.sound), publisher.microphone.played
    await until(lambda: len(listener.sound) > heard + 24000)
    assert not np.any(np.abs(listener.sound[heard:]) > 0.001)
    assert publisher.microphone.played > played
    assert stage.stream.status.state is StreamState.LIVE
    stage.stream.control({"muted": False})
    await until(lambda: not quiet())


async def test_what_a_superseded_publisher_still_sends_takes_nothing_back(stage: Stage) -> None:
    """Two pages send at once: the newer one keeps the stream, and the older one is closed."""
    first = await stage.go_live()
    publishers = []
    second = await stage.publish("p2")
    await until(lambda: stage.stream.status.session == "p2")

    def closed() -> bool:
        publishers.append(stage.stream.status.session)
        return first.connection.connectionState == "closed"

    await until(closed, interval_s=0.001)
    assert set(publishers) == {"p2"}
    played = second.microphone.played
    await until(lambda: second.microphone.played > played + 25)
    assert stage.stream.status.session == "p2"


async def test_a_publisher_that_is_gone_is_waited_for_and_then_the_stream_ends(
    stage: Stage,
) -> None:
    """A closed connection: reconnecting, and after the grace the end, with the recording kept."""
    publisher = await stage.go_live()
    await publisher.close()
    await stage.reach(StreamState.RECONNECTING)
    waited = await until(lambda: stage.life.done())
    assert waited >= TIMES.grace_s * 0.9
    await stage.recorder.wait_stored()
    assert (await stage.index.list("alice"))[0].state is RecordingState.READY


async def test_a_delete_after_the_connection_closed_ends_the_stream_at_once(stage: Stage) -> None:
    """Clients call `pc.close()`, then DELETE; the grace period is for those who say nothing."""
    publisher = await stage.go_live()
    await publisher.close()
    await stage.reach(StreamState.RECONNECTING)
    await stage.stream.end_session("p1")
    assert stage.stream.status.state is StreamState.ENDED
    assert await stage.status.read("alice") is None


async def test_a_stream_whose_lease_is_lost_ends_and_says_nothing_more(stage: Stage) -> None:
    """Another actor hosts its user: we write no more status, and keep the recording."""
    await stage.go_live()
    other = stage.status.lease("alice", actor="actor-2")

    async def taken() -> bool:
        nonlocal other
        other = stage.status.lease("alice", actor="actor-2")
        await stage.redis.delete("hushcast:lease:stream:alice")
        return await other.hold()  # unless a heartbeat came in between

    await until(taken)
    await asyncio.wait_for(stage.life, 30)
    assert await stage.status.host_of("alice") == other.grant
    await stage.recorder.wait_stored()
    assert (await stage.index.list("alice"))[0].state is RecordingState.READY


async def test_a_stream_that_was_stopped_while_its_actor_was_frozen_ends(stage: Stage) -> None:
    """Its lease had expired, so nobody could be asked: it neither goes on nor is live again."""
    await stage.go_live()

    async def voided() -> bool:
        await stage.redis.delete("hushcast:lease:stream:alice", "hushcast:stream:alice")
        return await stage.status.void("alice") is None  # unless a heartbeat came in between

    await until(voided)
    await asyncio.wait_for(stage.life, 30)
    assert await stage.status.host_of("alice") is None
    assert await stage.status.read("alice") is None


async def test_a_silent_publisher_is_lost_although_it_is_connected(stage: Stage) -> None:
    """No packets for `publisher_timeout_s`: reconnecting; once they come again: live."""
    publisher = await stage.go_live()
    sender = publisher.connection.getSenders()[0]
    sender.replaceTrack(None)
    await stage.reach(StreamState.RECONNECTING)
    sender.replaceTrack(publisher.microphone)
    await stage.reach(StreamState.LIVE)


async def test_a_publisher_that_comes_back_continues_the_stream(stage: Stage) -> None:
    """Same stream, same recording, the gap kept as silence."""
    first = await stage.go_live()
    await until(lambda: first.microphone.played > 50)
    await first.close()
    await stage.reach(StreamState.RECONNECTING)
    began = stage.stream.status.started_at
    await stage.publish("p2")
    await stage.reach(StreamState.LIVE)
    assert stage.stream.status.started_at == began
    await stage.stream.stop("enough")
    await stage.life
    await stage.recorder.wait_stored()
    assert len(await stage.index.list("alice")) == 1


async def test_the_loss_of_the_page_that_publishes_ends_the_stream(stage: Stage) -> None:
    """A presence socket that said `publishing` closes: the stream ends after the grace period."""
    await stage.go_live()
    stage.stream.publisher_socket("p1", connected=True)
    stage.stream.publisher_socket("p1", connected=False)
    stage.stream.publisher_socket("p1", connected=True)
    played = stage.peers[0].microphone.played  # type: ignore[union-attr]
    await until(lambda: stage.peers[0].microphone.played > played + 75)  # type: ignore[union-attr]
    assert stage.stream.status.state is StreamState.LIVE
    stage.stream.publisher_socket("p1", connected=False)
    waited = await until(lambda: stage.life.done())
    assert waited >= TIMES.grace_s * 0.9


async def test_a_stream_that_is_never_heard_leaves_nothing(stage: Stage) -> None:
    """No sound in time: no recording, no status, no file."""
    peer = PublisherPeer(PACKETS)
    stage.peers.append(peer)
    await stage.stream.publish("p1", await peer.offer())
    await until(lambda: stage.life.done())
    assert await stage.index.list("alice") == []
    assert await stage.status.read("alice") is None
    assert not list(stage.spool_dir.iterdir())


async def test_a_refused_offer_begins_nothing(stage: Stage) -> None:
    """Garbage as the first offer ends the stream that was made for it."""
    with pytest.raises(OfferRefused):
        await stage.stream.publish("p1", "garbage")
    await asyncio.wait_for(stage.life, 5)
    assert await stage.status.read("alice") is None


async def test_nobody_listens_to_what_is_not_live_or_not_shared(stage: Stage) -> None:
    """Listening needs a live stream; its original sound also needs the publisher's consent."""
    with pytest.raises(NotLive):
        await stage.listen("l0")
    await stage.go_live()
    with pytest.raises(OriginalNotShared):
        await stage.listen("l1", original=True)
    stage.stream.control({"share_original": True})
    listener = await stage.listen("l2", original=True)
    await asyncio.wait_for(listener.first_sound.wait(), 10)
    stage.stream.control({"share_original": False, "denoise": True})
    await until(lambda: stage.stream.status.listeners == 0)


async def test_both_sounds_come_on_one_connection_while_the_original_is_shared(
    stage: Stage,
) -> None:
    """Sharing begins and ends without a new session; the publisher always hears both."""
    await stage.go_live()
    stage.stream.control({"denoise": True})  # which removes all of the test's synthetic voice
    friend = await stage.listen("l1", both=True, sections=2)
    own = await stage.listen("l2", both=True, sections=2, listener="alice")
    await until(lambda: all(len(sound) > 9600 for sound in own.sounds))
    await until(lambda: len(friend.sounds[0]) > 9600)
    assert not len(friend.sounds[1])
    stage.stream.control({"share_original": True})

    def unlike() -> bool:
        levels = [np.sqrt(np.mean(np.square(s[-9600:]))) for s in friend.sounds if len(s)]
        return len(levels) == 2 and bool(levels[1] > 0.02 > 10 * levels[0])

    await until(unlike)
    stage.stream.control({"share_original": False, "denoise": True})
    heard = len(friend.sounds[1])
    more = len(friend.sounds[0]) + 24000
    await until(lambda: len(friend.sounds[0]) > more)
    assert len(friend.sounds[1]) < heard + 9600
    before = len(own.sounds[1])
    await until(lambda: len(own.sounds[1]) > before)
    assert stage.stream.status.listeners == 1
    await stage.stream.remove("bob", "l1")
    await until(lambda: stage.stream.status.listeners == 0)
    before = len(friend.sounds[0])
    more = len(own.sounds[0]) + 24000
    await until(lambda: len(own.sounds[0]) > more)
    assert len(friend.sounds[0]) < before + 9600


async def test_who_has_one_section_for_both_sounds_gets_the_denoised_one(stage: Stage) -> None:
    """The wish alone changes nothing; nothing more is encoded."""
    await stage.go_live()
    stage.stream.control({"share_original": True})
    listener = await stage.listen("l1", both=True)
    await asyncio.wait_for(listener.first_sound.wait(), 10)
    assert not stage.stream._fanout.wants_original


async def test_nothing_is_encoded_for_who_is_not_connected(stage: Stage) -> None:
    """An offer alone costs no encoder."""
    await stage.go_live()
    stage.stream.control({"share_original": True})
    peer = ListenerPeer(sections=2)
    stage.peers.append(peer)
    await stage.stream.listen("l1", await peer.offer(), listener="bob", original=False, both=True)
    assert not stage.stream._fanout.wants_denoised and not stage.stream._fanout.wants_original


async def test_nobody_opens_sessions_without_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One listener's sessions are limited without limiting others; so are attempts to publish."""
    await stage.go_live()
    peer = ListenerPeer()
    stage.peers.append(peer)
    offer = await peer.offer()
    for n in range(MAX_CONNECTING_OF_A_LISTENER):
        await stage.stream.listen(f"l{n}", offer, listener="eve", original=False)
    with pytest.raises(TooManySessions, match="still connect"):
        await stage.stream.listen("one-more", offer, listener="eve", original=False)
    assert stage.stream.connecting == MAX_CONNECTING_OF_A_LISTENER
    assert stage.stream.status.listeners == 0 and stage.stream.listeners() == []
    monkeypatch.setattr(audience, "MAX_SESSIONS_OF_A_LISTENER", MAX_CONNECTING_OF_A_LISTENER)
    with pytest.raises(TooManySessions, match="8 times"):
        await stage.stream.listen("one-more", offer, listener="eve", original=False)
    await stage.stream.listen("bobs", offer, listener="bob", original=False)
    publisher = PublisherPeer(PACKETS)
    stage.peers.append(publisher)
    offer = await publisher.offer()
    for n in range(MAX_PUBLISHERS - 1):
        await stage.stream.publish(f"again{n}", offer)
    with pytest.raises(TooManySessions):
        await stage.stream.publish("one-more", offer)


async def test_controls_reach_the_model_and_the_friends(stage: Stage) -> None:
    """A change is published at once; before the stream is live it is refused."""
    with pytest.raises(NotLive):
        stage.stream.control({"denoise": False})
    await stage.go_live()
    stage.stream.control({"denoise": False, "attenuation_limit_db": 12.0})

    async def published() -> bool:
        status = await stage.status.read("alice")
        return status is not None and not status.denoise and status.attenuation_limit_db == 12.0

    await until(published)


async def test_a_stream_that_cannot_begin_leaves_nobody_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread can be started: sessions close, and `stop` returns."""

    def refuse(thread: SpoolThread) -> None:
        raise RuntimeError("can't start new thread")

    async def begun() -> bool:
        return await stage.status.read("alice") is not None

    await until(begun)
    monkeypatch.setattr(SpoolThread, "start", refuse)
    stream = stage.make("bob")
    life = asyncio.create_task(stream.run())
    peer = PublisherPeer(PACKETS)
    stage.peers.append(peer)
    offer = await peer.offer()
    with pytest.raises(RuntimeError):
        await life
    with pytest.raises(NoPlace):
        await stream.publish("p1", offer)
    await asyncio.wait_for(stream.stop("the test is over"), 10)
    assert not len(stream._tasks)


async def test_stopping_many_times_is_one_end(stage: Stage) -> None:
    """However often and from wherever it is stopped: one recording, one end, nobody hangs."""
    await stage.go_live()
    stops: list[Callable[[], object]] = [lambda: stage.stream.stop("again")] * 5
    await asyncio.gather(*(stop() for stop in stops))  # type: ignore[call-overload]
    await stage.life
    await stage.recorder.wait_stored()
    assert len(await stage.index.list("alice")) <= 1
