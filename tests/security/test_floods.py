"""Floods inside an established connection: what aiortc would keep or walk through for ever."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiortc.rtcsctptransport import DataChunk, serialize_packet
from aiortc.rtp import RtpPacket

from actors.aiortc_internals import BoundedSrtp, TooMuch
from actors.errors import StreamError
from actors.offers import read_fragment, read_offer
from actors.sessions import MAX_SOURCES, PublisherSession, SessionState
from tests.media.test_offers import audio, offer
from tests.peers import PublisherPeer, encode
from tests.sounds import speech_like
from tests.waiting import until

PACKETS = encode(speech_like(1.0))


@asynccontextmanager
async def publishing() -> AsyncIterator[tuple[PublisherSession, PublisherPeer, list[Any]]]:
    """A connected publisher, and what arrives from it."""
    got: list[Any] = []
    session = PublisherSession(
        "p", connect_timeout_s=10, deliver=lambda _, packet: got.append(packet)
    )
    peer = PublisherPeer(PACKETS)
    task = asyncio.create_task(session.run(await peer.offer()))
    await peer.accept(await session.answer)
    await until(lambda: session.state is SessionState.CONNECTED)
    try:
        yield session, peer, got
    finally:
        session.close()
        await task
        await peer.close()


async def test_fragments_that_never_end_close_their_session() -> None:
    """Each would be looked at again for every later one; the loop is never held up by them."""
    async with publishing() as (session, peer, _):
        sctp: Any = peer.connection.sctp
        await until(lambda: sctp.state == "connected")
        worst_s, last = 0.0, time.monotonic()
        for n in range(20_000):
            if session.state is not SessionState.CONNECTED:
                break
            chunk = DataChunk(flags=2 if n == 0 else 0)
            chunk.tsn = (sctp.__dict__["_local_tsn"] + n) % 2**32
            chunk.stream_id, chunk.stream_seq, chunk.protocol = 1, 0, 51
            chunk.user_data = b"x" * 16
            tag = sctp.__dict__["_remote_verification_tag"]
            data = serialize_packet(5000, 5000, tag, chunk)
            try:
                await sctp.transport.__getattribute__("_send_data")(data)
            except ConnectionError:
                break
            await asyncio.sleep(0)
            worst_s, last = max(worst_s, time.monotonic() - last), time.monotonic()
        await until(lambda: session.state is SessionState.CLOSED)
        print(f"\nclosed after {n} fragments; the loop was held for {1000 * worst_s:.1f} ms")
        assert n < 2000


async def test_no_more_sources_than_a_client_has() -> None:
    """A packet from yet another SSRC leaves nothing behind, in any of aiortc's tables."""
    async with publishing() as (session, peer, got):
        await until(lambda: bool(got))
        [transceiver] = peer.connection.getTransceivers()
        dtls: Any = transceiver.sender.transport
        for n in range(500):
            packet = RtpPacket(
                got[0].payload_type, sequence_number=n, timestamp=n * 960, ssrc=n + 1
            )
            packet.payload = PACKETS[0]
            await dtls.__getattribute__("_send_rtp")(packet.serialize())
            if n % 20 == 0:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.2)
        sources = {packet.ssrc for packet in got}
        assert 1 < len(sources) <= MAX_SOURCES
        assert session.state is SessionState.CONNECTED


def test_what_a_peer_sends_is_bounded_before_it_is_decrypted() -> None:
    """A listener's sound, further SSRCs, and reports at a rate that no client has."""

    class Decrypts:
        def __init__(self) -> None:
            self.count = 0

        def unprotect(self, data: bytes) -> bytes:
            self.count += 1
            return data

        unprotect_rtcp = unprotect

    def offered(sources: int) -> tuple[int, int]:
        session = Decrypts()
        bounded = BoundedSrtp(session, sources=sources, reports_per_second=20, heard=lambda: None)
        for n in range(5000):
            with suppress(TooMuch):
                bounded.unprotect(bytes(8) + n.to_bytes(4))
        sound = session.count
        for n in range(5000):
            with suppress(TooMuch):
                bounded.unprotect_rtcp(bytes(4) + (n % 3).to_bytes(4))
        return sound, session.count - sound

    assert offered(0)[0] == 0 and offered(MAX_SOURCES)[0] == MAX_SOURCES
    assert 200 <= offered(0)[1] < 400


BOMBS = [
    "a=x:y\r\n" * 9000,
    "\n" * 65_000,
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" * 390,
    "a=rtpmap:111 opus/48000/2\r\n" * 2000,
    "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 1300,
]


@pytest.mark.parametrize("publishes", [True, False], ids=["publish", "listen"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_no_bomb_holds_the_loop(bomb: str, publishes: bool) -> None:
    """An offer or fragment is read or refused in linear time; `pytest -s` prints how long."""
    sdp = offer(audio()).replace("sendonly", "sendonly" if publishes else "recvonly")
    good = read_offer(sdp, publishes=publishes)
    bombed = (sdp + bomb)[: 64 * 1024]
    for read in (
        lambda: read_offer(bombed, publishes=publishes),
        lambda: read_fragment(bomb, good),
    ):
        began = time.process_time()
        with suppress(StreamError):
            read()
        spent_s = time.process_time() - began
        print(f"\n{1000 * spent_s:.1f} ms")
        assert spent_s < 0.5  # a few milliseconds on a quiet machine; quadratic would be minutes
