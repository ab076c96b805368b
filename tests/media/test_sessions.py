"""Sessions between real peers: sound arrives, and refused offers start nothing."""

import asyncio
import logging
import threading
from typing import Any

import psutil
import pytest
from aiortc.sdp import SessionDescription

from actors.aiortc_internals import sockets
from actors.errors import FragmentRefused, IceRestartRefused, OfferRefused
from actors.fanout import BATCH, MAX_WAITING_FRAMES, EncodedFrame, Fanout
from actors.receive import Packet
from actors.rtp_sender import MAX_UNSENT_BYTES
from actors.sessions import ListenerSession, PublisherSession, Session, SessionState
from tests.peers import ListenerPeer, Peer, PublisherPeer, encode
from tests.sounds import speech_like
from tests.waiting import until

PACKETS = encode(speech_like(2.0))


async def begin(session: Session, peer: Peer) -> asyncio.Task[None]:
    """Run a session on a peer's offer and let the peer take the answer."""
    task = asyncio.create_task(session.run(await peer.offer()))
    await peer.accept(await session.answer)
    return task


async def test_a_publisher_is_heard_and_told_its_levels() -> None:
    """Packets arrive in the order sent, and the data channel carries the levels."""
    heard: list[Packet] = []
    session = PublisherSession("p", connect_timeout_s=10, deliver=lambda _, p: heard.append(p))
    peer = PublisherPeer(PACKETS)
    task = await begin(session, peer)
    await until(lambda: len(heard) >= 20)
    assert [packet.payload for packet in heard] == PACKETS[: len(heard)]

    def told() -> bool:
        session.send_stats({"input_dbfs": -20.5})
        return bool(peer.stats)

    await until(told)
    assert peer.stats == {"input_dbfs": -20.5}
    session.close()
    await task
    assert session.state is SessionState.CLOSED
    await peer.close()


async def test_two_listeners_hear_the_same_packets() -> None:
    """Every listener of a fan-out gets each frame once; one that leaves disturbs nobody."""
    fanout = Fanout()
    sessions = [
        ListenerSession(str(n), connect_timeout_s=10, listener="l", original=False)
        for n in range(2)
    ]
    peers = [ListenerPeer() for _ in sessions]
    tasks = [await begin(s, p) for s, p in zip(sessions, peers, strict=True)]
    for session in sessions:
        fanout.add(session.feeds[0])

    async def play() -> None:
        for number in range(10**6):
            payload = PACKETS[number % len(PACKETS)]
            fanout.push(EncodedFrame(number * 960, denoised=payload, original=None))
            await asyncio.sleep(0.02)

    player = asyncio.create_task(play())
    await until(lambda: all(len(peer.sound) > 20 * 960 for peer in peers))
    await peers[0].close()
    await tasks[0]
    fanout.remove(sessions[0].feeds[0])
    heard = len(peers[1].sound)
    await until(lambda: len(peers[1].sound) > heard + 20 * 960)
    player.cancel()
    sessions[1].close()
    await tasks[1]
    await peers[1].close()


class Ear:
    """A listener that notes what it is sent."""

    original = False

    def __init__(self) -> None:
        self.heard: list[int] = []

    def send(self, payload: bytes, position: int) -> None:
        """Note it."""
        self.heard.append(position)


async def test_a_large_audience_leaves_the_event_loop_to_others() -> None:
    """It is served in batches, frames in order; who leaves in between gets no more."""
    fanout, ears, others = Fanout(), [Ear() for _ in range(5 * BATCH)], []
    for ear in ears:
        fanout.add(ear)
    for frame in range(3):
        fanout.push(EncodedFrame(frame, denoised=b"opus", original=None))
    assert sum(len(ear.heard) for ear in ears) == BATCH
    leaving = next(ear for ear in ears if not ear.heard)
    fanout.remove(leaving)

    async def others_turn() -> bool:
        others.append(sum(len(ear.heard) for ear in ears))
        return others[-1] == 3 * (len(ears) - 1)

    await until(others_turn, interval_s=0)
    assert all(later - earlier <= BATCH for earlier, later in zip(others, others[1:], strict=False))
    assert all(ear.heard == [0, 1, 2] for ear in ears if ear is not leaving)
    assert not leaving.heard and not fanout.dropped


async def test_frames_that_cannot_be_sent_in_time_are_dropped() -> None:
    """The oldest ones, and counted: memory stays bounded, and sound catches up."""
    fanout, ears = Fanout(), [Ear() for _ in range(2 * BATCH)]
    for ear in ears:
        fanout.add(ear)
    for frame in range(MAX_WAITING_FRAMES + 10):
        fanout.push(EncodedFrame(frame, denoised=b"opus", original=None))
    await until(lambda: all(ear.heard[-1:] == [MAX_WAITING_FRAMES + 9] for ear in ears))
    assert fanout.dropped == 10
    assert max(len(ear.heard) for ear in ears) == MAX_WAITING_FRAMES + 1


async def test_a_session_that_ends_in_its_handshake_waits_for_the_thread() -> None:
    """Whatever moment it is closed in: the peer is told, no error, no thread in what is freed."""
    for after_s in (0.0, 0.002, 0.005, 0.01, 0.02):
        session = ListenerSession("l", connect_timeout_s=10, listener="l", original=False)
        peer = ListenerPeer()
        task = await begin(session, peer)
        await until(lambda s=session: s.ice.selected is not None)  # type: ignore[misc]
        await asyncio.sleep(after_s)
        session.close()
        await asyncio.wait_for(task, 10)
        assert session.state is SessionState.CLOSED
        await peer.close()


async def test_a_listeners_statistics_are_right() -> None:
    """By the client's own figures nothing is lost, and the sender reports count what was sent."""
    session = ListenerSession("l", connect_timeout_s=10, listener="l", original=False)
    peer = ListenerPeer()
    task = await begin(session, peer)
    await until(lambda: session.state is SessionState.CONNECTED)
    sent = 0

    async def stats(kind: str) -> Any:
        report = await peer.connection.getStats()
        return next((each for each in report.values() if each.type == kind), None)

    async def reported() -> bool:
        nonlocal sent
        session.feeds[0].send(PACKETS[sent % len(PACKETS)], sent * 960)
        sent += 1
        remote = await stats("remote-outbound-rtp")
        return remote is not None and remote.packetsSent > 20

    await until(reported, interval_s=0.02)
    inbound = await stats("inbound-rtp")
    assert inbound.packetsLost == 0 and inbound.packetsReceived > 20
    remote = await stats("remote-outbound-rtp")
    assert sent - 100 < remote.packetsSent <= sent
    counted = [len(PACKETS[n % len(PACKETS)]) for n in range(remote.packetsSent)]
    assert remote.bytesSent == sum(counted)
    session.close()
    await task
    await peer.close()


async def test_a_listener_whose_socket_is_full_misses_frames_and_nothing_else() -> None:
    """Packets that a full socket refuses are dropped and counted; nothing waits or is kept."""
    session = ListenerSession("l", connect_timeout_s=10, listener="l", original=False)
    peer = ListenerPeer()
    task = await begin(session, peer)
    await until(lambda: session.state is SessionState.CONNECTED)
    feed = session.feeds[0]
    sender = feed._sender
    assert sender is not None
    assert sender._direct.path is not None
    transport, _ = sender._direct.path
    unsent = MAX_UNSENT_BYTES + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.rtp_sender._unsent", lambda socket: unsent * (socket is transport))
        for position in range(10):
            feed.send(PACKETS[0], position * 960)
    assert (sender.sent, sender.dropped) == (0, 10)
    feed.send(PACKETS[0], 9600)
    assert (sender.sent, sender.dropped) == (1, 10)
    session.close()
    await task
    feed.send(PACKETS[0], 10560)
    assert sender.sent == 1
    await peer.close()


async def test_the_end_of_the_peer_ends_the_session() -> None:
    """We notice that the client closed the connection without any other message."""
    session = PublisherSession("p", connect_timeout_s=10, deliver=lambda *_: None)
    peer = PublisherPeer(PACKETS)
    task = await begin(session, peer)
    await until(lambda: session.state is SessionState.CONNECTED)
    await peer.connected.wait()  # before, it would say no goodbye
    await peer.close()
    await asyncio.wait_for(task, 10)


async def test_a_listener_that_vanishes_is_noticed_and_a_quiet_one_is_not() -> None:
    """A session whose client vanishes ends in time; one whose client lives goes on."""
    timeout_s = 3.0
    gone, there = (
        ListenerSession(
            name,
            connect_timeout_s=10,
            listener="l",
            original=False,
            listener_timeout_s=timeout_s,
        )
        for name in ("gone", "there")
    )
    peers = ListenerPeer(), ListenerPeer()
    tasks = [await begin(s, p) for s, p in zip((gone, there), peers, strict=True)]
    await until(lambda: gone.state is there.state is SessionState.CONNECTED)

    async def play() -> None:
        for number in range(10**6):
            there.feeds[0].send(PACKETS[number % len(PACKETS)], number * 960)  # reports come back
            await asyncio.sleep(0.02)

    player = asyncio.create_task(play())
    for transceiver in peers[0].connection.getTransceivers():
        for each in sockets(transceiver):
            each.abort()
    took_s = await until(tasks[0].done)
    assert timeout_s - 2 < took_s < timeout_s + 2
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(tasks[1]), timeout_s)
    player.cancel()
    there.close()
    await tasks[1]
    for peer in peers:
        await peer.close()


async def test_a_session_that_never_connects_ends() -> None:
    """If the client is gone, its session ends after the connect timeout."""
    session = PublisherSession("p", connect_timeout_s=0.3, deliver=lambda *_: None)
    peer = PublisherPeer(PACKETS)
    task = asyncio.create_task(session.run(await peer.offer()))
    await session.answer
    await peer.close()
    await asyncio.wait_for(task, 10)
    assert session.state is SessionState.CLOSED


async def test_candidates_can_be_trickled() -> None:
    """An offer without candidates connects once they trickle in, even with component 0."""
    session = PublisherSession("p", connect_timeout_s=10, deliver=lambda *_: None)
    peer = PublisherPeer(PACKETS)
    lines = (await peer.offer()).splitlines()
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    bare = [line for line in lines if "candidate" not in line]
    ufrag = next(line for line in lines if line.startswith("a=ice-ufrag:"))
    task = asyncio.create_task(session.run("\r\n".join(bare) + "\r\n"))
    await peer.accept(await session.answer)
    for line in candidates:
        broken = line.replace(" 1 udp ", " 0 udp ")
        await session.trickle(f"{ufrag}\r\na=mid:0\r\n{broken}\r\n")
    await until(lambda: session.state is SessionState.CONNECTED)
    session.close()
    await task
    await peer.close()


async def test_trickle_fragments_that_cannot_be_used_are_refused() -> None:
    """Garbage and ICE restarts each get their own error; the session goes on."""
    session = PublisherSession("p", connect_timeout_s=10, deliver=lambda *_: None)
    peer = PublisherPeer(PACKETS)
    task = await begin(session, peer)
    with pytest.raises(FragmentRefused):
        await session.trickle("a=candidate:nonsense\r\n")
    with pytest.raises(IceRestartRefused):
        await session.trickle("a=ice-ufrag:other\r\na=ice-pwd:" + "x" * 24 + "\r\n")
    await session.trickle("a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 100)
    await until(lambda: session.state is SessionState.CONNECTED)
    session.close()
    await task
    await peer.close()


async def test_the_answer_agrees_in_band_fec_for_mono_opus() -> None:
    """The answer asks for FEC, in exactly one parameter line for Opus."""
    session = PublisherSession("p", connect_timeout_s=10, deliver=lambda *_: None)
    peer = PublisherPeer(PACKETS)
    task = asyncio.create_task(session.run(await peer.offer()))
    answer = SessionDescription.parse(await session.answer)
    opus = next(c for c in answer.media[0].rtp.codecs if c.mimeType == "audio/opus")
    assert opus.parameters["useinbandfec"] == 1 and opus.parameters["stereo"] == 0
    session.close()
    await task
    await peer.close()


BAD_OFFERS = {
    "nothing": "",
    "garbage": "hello",
    "json": '{"sdp": "v=0"}',
    "no media": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n",
}


@pytest.mark.parametrize("name", BAD_OFFERS)
async def test_a_bad_offer_is_refused_and_leaves_nothing(name: str) -> None:
    """A body that is not an offer raises OfferRefused and leaves no task, thread or socket."""
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    session = PublisherSession("p", connect_timeout_s=10, deliver=lambda *_: None)
    await session.run(BAD_OFFERS[name])
    with pytest.raises(OfferRefused):
        await session.answer
    assert asyncio.all_tasks() == tasks and threading.active_count() == threads


async def test_a_fault_of_ours_reaches_the_one_who_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while we answer is raised unchanged, not blamed on the offer; no socket stays."""
    peer = PublisherPeer(PACKETS)
    offer = await peer.offer()
    await peer.close()
    before = _udp_sockets()
    for step in ("aiortc.RTCPeerConnection.createAnswer", "actors.sessions.write_answer"):
        session = PublisherSession("p", connect_timeout_s=10, deliver=lambda *_: None)
        with monkeypatch.context() as patch:
            patch.setattr(step, _fail)
            await session.run(offer)
        with pytest.raises(AttributeError, match="a bug"):
            await session.answer
        assert session.state is SessionState.CLOSED and _udp_sockets() == before


async def test_a_fault_of_ours_after_the_answer_ends_the_session_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is left to raise it to, so the log has it, with its traceback."""
    session = ListenerSession("l7", connect_timeout_s=10, listener="l", original=False)
    monkeypatch.setattr("actors.sessions.RtpSender", _fail)
    peer = ListenerPeer()
    task = await begin(session, peer)
    await asyncio.wait_for(task, 10)
    [record] = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.getMessage() == "session l7 failed" and "a bug" in caplog.text
    await peer.close()


async def test_nobody_waits_for_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A session whose answer is cancelled ends without an error."""
    peer = PublisherPeer(PACKETS)
    offer = await peer.offer()
    await peer.close()
    session = PublisherSession("p", connect_timeout_s=60, deliver=lambda *_: None)
    task = asyncio.create_task(session.run(offer))
    session.answer.cancel()
    await asyncio.wait_for(task, 10)
    assert session.state is SessionState.CLOSED
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def _fail(*_: object) -> None:
    raise AttributeError("a bug")


def _udp_sockets() -> int:
    return len(psutil.Process().net_connections("udp"))
