"""Nobody makes the server send to an address that is not theirs, or keep what they send there."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aioice import stun
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors import ice_lite
from actors.aiortc_internals import ice_connection
from actors.errors import OfferRefused, StreamError
from actors.ice_lite import AMPLIFICATION, MAX_EARLY_DATAGRAMS, LiteConnection
from actors.sessions import ListenerSession, PublisherSession, Session, SessionState
from tests.mangling import mangled
from tests.peers import ListenerPeer, PublisherPeer, encode
from tests.sounds import speech_like
from tests.waiting import until

PACKETS = encode(speech_like(1.0))
CLIENT_HELLO = bytes.fromhex("16feff0000000000000000") + bytes(150)
Check = Callable[..., bytes]


class Bystander:
    """A socket on loopback that counts what it gets."""

    def __init__(self) -> None:
        self.sent = self.received = 0
        self.last = b""
        self.asked = b""
        """The last request."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def send(self, data: bytes, port: int) -> None:
        """Send a datagram to a session's port."""
        self._socket.sendto(data, ("127.0.0.1", port))
        self.sent += len(data)

    def heard(self) -> bool:
        """Tell whether it got anything."""
        return self.received > 0

    def close(self) -> None:
        """Close the socket."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        self.last = self._socket.recv(65536)
        self.received += len(self.last)
        if self.last[:2] == b"\x00\x01":
            self.asked = self.last


@asynccontextmanager
async def bystander() -> AsyncIterator[Bystander]:
    """Make somebody who has nothing to do with a session."""
    one = Bystander()
    try:
        yield one
    finally:
        one.close()


@dataclass
class Answered:
    """A session that has answered its offer, and what its client knows of it."""

    session: Session
    port: int
    ours: tuple[str, str]
    theirs: tuple[str, str]

    def check(self, **changes: object) -> bytes:
        """Make a valid check that nominates, as this session's client can."""
        attributes: dict[str, object] = {
            "USERNAME": f"{self.ours[0]}:{self.theirs[0]}",
            "PRIORITY": 1853824767,
            "ICE-CONTROLLING": 1,
            "USE-CANDIDATE": None,
        }
        kept = {name: v for name, v in (attributes | changes).items() if v != "none"}
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=kept)
        request.add_message_integrity(self.ours[1].encode())
        return bytes(request)

    def answer_to(self, request: bytes) -> bytes:
        """Answer a request of the session."""
        asked = stun.parse_message(request)
        kind = stun.Class.RESPONSE
        answer = stun.Message(stun.Method.BINDING, kind, asked.transaction_id)
        answer.add_message_integrity(self.theirs[1].encode())
        return bytes(answer)


def credentials(sdp: str) -> tuple[str, str]:
    """Find the ICE credentials in a description."""
    found = [re.search(rf"^a=ice-{name}:(\S+)", sdp, re.M) for name in ("ufrag", "pwd")]
    assert found[0] and found[1]
    return found[0][1], found[1][1]


@asynccontextmanager
async def answered(offer: str, *, publishes: bool = True) -> AsyncIterator[Answered]:
    """Answer an offer whose client does nothing by itself."""
    session: Session = PublisherSession("p", connect_timeout_s=10, deliver=lambda *_: None)
    if not publishes:
        session = ListenerSession("l", connect_timeout_s=10, listener="l", original=False)
    task = asyncio.create_task(session.run(offer))
    try:
        answer = await session.answer
        port = re.search(r"^a=candidate:.* 127\.0\.0\.1 (\d+) typ host", answer, re.M)
        assert port and "a=ice-lite" in answer
        yield Answered(session, int(port[1]), credentials(answer), credentials(offer))
    finally:
        session.close()
        await task


async def offer_of(peer: PublisherPeer | ListenerPeer) -> str:
    """Get the offer of a client that is gone then."""
    offer = await peer.offer()
    await peer.close()
    return offer


def naming(offer: str, port: int) -> str:
    """Name an address in an offer: as 32 candidates, and in its media lines."""
    lines = [
        f"a=candidate:{n} 1 udp {2130706431 - n} 127.0.0.1 {port} typ {kind}"
        for n in range(8)
        for kind in ("host", "srflx raddr 127.0.0.1 rport 9", "relay raddr 127.0.0.1 rport 9")
    ]
    bare = re.sub(r"a=candidate:.*\r\n", "", offer)
    bare = re.sub(r"^(m=\w+) \d+", rf"\1 {port}", bare, flags=re.M)
    named = "c=IN IP4 127.0.0.1\r\n" + "\r\n".join(lines) + "\r\n"
    return re.sub(r"^c=IN.*\r\n", named, bare, count=1, flags=re.M)


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
async def test_an_address_that_never_spoke_gets_nothing(setup: str) -> None:
    """Whatever an offer and its fragments name; a long user fragment carries no bytes to it."""
    async with bystander() as victim:
        offer = naming(await offer_of(PublisherPeer(PACKETS)), victim.port)
        offer = re.sub(r"a=setup:\w+", f"a=setup:{setup}", offer)
        offer = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:" + "x" * 256, offer)
        async with answered(offer) as one:
            fragment = re.findall(r"a=candidate:.*\r\n", offer)
            await one.session.trickle("".join(fragment))
            await asyncio.sleep(0.7)  # aioice's checks began within 20 ms, and came again
        assert victim.received == 0


async def test_no_offer_or_fragment_makes_us_speak() -> None:
    """Offers and fragments of any kind that name the same address."""
    offer = await offer_of(PublisherPeer(PACKETS))
    async with bystander() as victim:
        loop = asyncio.get_running_loop()

        async def tried(sdp: str, fragment: str) -> None:
            try:
                async with answered(sdp) as one:
                    await one.session.trickle(fragment)
                    await asyncio.sleep(0.03)
            except (OfferRefused, StreamError, AssertionError):
                return

        @settings(
            max_examples=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(mangled(naming(offer, victim.port)), st.sampled_from([victim.port]))
        def any_offer(sdp: str, port: int) -> None:
            fragment = f"a=candidate:1 1 udp 1 127.0.0.1 {port} typ host\r\n" * 30
            asyncio.run_coroutine_threadsafe(tried(sdp, fragment), loop).result(30)

        await asyncio.to_thread(any_offer)
        assert victim.received == 0


@pytest.mark.parametrize("publishes", [True, False], ids=["publish", "listen"])
@pytest.mark.parametrize("checks", [1, 2, 10, 100])
@pytest.mark.parametrize("with_dtls", [False, True], ids=["checks", "and DTLS"])
async def test_a_spoofed_source_gets_little_more_than_it_is_said_to_have_sent(
    checks: int, publishes: bool, with_dtls: bool
) -> None:
    """Valid checks with a source that answers nothing, and a ClientHello in its name."""
    peer = PublisherPeer(PACKETS) if publishes else ListenerPeer()
    offer = await offer_of(peer)
    async with answered(offer, publishes=publishes) as one, bystander() as victim:
        for n in range(checks):
            shortest = {"ICE-CONTROLLING": "none", "PRIORITY": "none"} if n % 2 else {}
            victim.send(one.check(**shortest), one.port)
            if with_dtls:
                victim.send(CLIENT_HELLO, one.port)
            await asyncio.sleep(0.001)
        await until(lambda: victim.received > 0)
        await asyncio.sleep(0.3)
        print(f"\n{victim.received} of {victim.sent} bytes")
        assert victim.received <= AMPLIFICATION * victim.sent
        assert one.session.state is SessionState.CONNECTING


async def test_what_cannot_be_authenticated_is_not_answered() -> None:
    """A wrong name, a wrong password, none at all; other methods; anything that is not STUN."""
    async with answered(await offer_of(PublisherPeer(PACKETS))) as one, bystander() as victim:
        bare = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        allocate = stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST)
        good = one.check()
        for data in (
            bytes(bare),
            bytes(allocate),
            one.check(USERNAME="x:y"),
            one.check(USERNAME=f"{one.ours[0]}:wrong"),
            good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
            good[:30],
            b"",
            b"\0",
            CLIENT_HELLO,
            bytes([128, 111]) + bytes(60),
        ):
            victim.send(data, one.port)
        await asyncio.sleep(0.2)
        assert victim.received == 0


async def test_only_who_got_our_request_can_answer_it() -> None:
    """An address that repeats what another one was asked is not believed."""
    async with answered(await offer_of(PublisherPeer(PACKETS))) as one:
        async with bystander() as attacker, bystander() as victim:
            for each in (attacker, victim):
                for _ in range(3):
                    each.send(one.check(), one.port)
            await until(lambda: bool(attacker.asked and victim.asked))
            victim.send(one.answer_to(attacker.asked), one.port)
            await asyncio.sleep(0.2)
            ice = one.session.ice
            assert ice is not None and ice.selected is None
            attacker.send(one.answer_to(attacker.asked), one.port)
            await until(lambda: ice.selected is not None)
            assert ice.selected and ice.selected.address[1] == attacker.port


async def test_a_client_that_waits_for_us_gets_one_small_request() -> None:
    """ffmpeg is passive in DTLS and sends a single check: a ClientHello comes once it answered."""
    offer = await offer_of(PublisherPeer(PACKETS))
    offer = re.sub(r"a=setup:\w+", "a=setup:passive", offer)
    async with answered(offer) as one, bystander() as client:
        client.send(one.check(PRIORITY="none", **{"ICE-CONTROLLING": "none"}), one.port)
        await until(lambda: bool(client.asked))
        request, got = client.asked, client.received
        await asyncio.sleep(0.7)
        assert client.received == got < 200
        client.send(one.answer_to(request), one.port)
        await until(lambda: client.last[:1] == b"\x16")


async def test_sound_stays_with_the_listener_who_is_there() -> None:
    """A check in somebody else's name does not move it to them."""
    session = ListenerSession("l", connect_timeout_s=10, listener="l", original=False)
    peer = ListenerPeer()
    offer = await peer.offer()
    task = asyncio.create_task(session.run(offer))
    answer = await session.answer
    await peer.accept(answer)
    await until(lambda: session.state is SessionState.CONNECTED)
    port = re.search(r"^a=candidate:.* (\d+) typ host", answer, re.M)
    assert port
    one = Answered(session, int(port[1]), credentials(answer), credentials(offer))
    async with bystander() as victim:
        for number in range(150):
            if number % 30 == 0:
                victim.send(one.check(PRIORITY=2**31 - 1), one.port)
            session.feeds[0].send(PACKETS[number % len(PACKETS)], number * 960)
            await asyncio.sleep(0.005)
        assert victim.received <= AMPLIFICATION * victim.sent
    await until(peer.first_sound.is_set)
    session.close()
    await task
    await peer.close()


async def test_a_session_without_a_peer_keeps_nothing() -> None:
    """Garbage is dropped before a check; after one, until its address has answered, nearly all."""
    async with answered(await offer_of(PublisherPeer(PACKETS))) as one, bystander() as attacker:
        ice = one.session.ice
        assert isinstance(ice, LiteConnection)
        for nominated in (False, True):
            if nominated:
                attacker.send(one.check(), one.port)
                await until(lambda: attacker.received > 0)
            for n in range(2000):
                attacker.send(bytes([n % 256]) + bytes(1400), one.port)
                if n % 20 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0.1)
            assert ice.datagrams.qsize() <= (MAX_EARLY_DATAGRAMS if nominated else 0)
            assert len(ice.sources) <= 1


async def test_a_client_that_moves_takes_the_sound_along() -> None:
    """Another address that is nominated and answers is where the session sends from then on."""
    async with answered(await offer_of(PublisherPeer(PACKETS))) as one:
        await arrive(one, priority=100)
        await arrive(one, priority=200)


async def arrive(one: Answered, priority: int) -> None:
    """Nominate a new address, answer from there, and wait until it is used."""
    ice = one.session.ice
    assert ice is not None
    async with bystander() as client:
        for _ in range(3):
            client.send(one.check(PRIORITY=priority), one.port)
        await until(lambda: bool(client.asked))
        client.send(one.answer_to(client.asked), one.port)
        await until(lambda: ice.selected is not None and ice.selected.address[1] == client.port)


async def test_a_client_behind_another_port_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NAT gave it a new one: it checks from there, nominates nothing, and proves to be there."""
    monkeypatch.setattr(ice_lite, "STALE_S", 0.2)
    async with answered(await offer_of(PublisherPeer(PACKETS))) as one, bystander() as client:
        await arrive(one, priority=100)
        ice = one.session.ice
        assert ice is not None
        moving = {"PRIORITY": 1, "USE-CANDIDATE": "none"}
        client.send(one.check(**moving), one.port)
        await until(lambda: client.received > 0)
        assert not client.asked  # the other address was just heard
        await asyncio.sleep(0.3)
        for _ in range(2):
            client.send(one.check(**moving), one.port)
        await until(lambda: bool(client.asked))
        client.send(one.answer_to(client.asked), one.port)
        await until(lambda: ice.selected is not None and ice.selected.address[1] == client.port)


async def test_an_address_that_is_silent_is_not_heard_through_another() -> None:
    """Checks from an address that answers nothing keep no stream of sound to the former one."""
    async with answered(await offer_of(PublisherPeer(PACKETS))) as one, bystander() as other:
        await arrive(one, priority=100)
        ice = one.session.ice
        assert ice is not None
        heard_at = ice.heard_at
        for _ in range(3):
            other.send(one.check(**{"USE-CANDIDATE": "none"}), one.port)
        await until(lambda: other.received > 0)
        assert ice.heard_at == heard_at


async def test_many_addresses_of_a_passive_client_get_no_more_than_one_request_more() -> None:
    """The exception is for a session, not for each address that somebody may write on a check."""
    offer = re.sub(r"a=setup:\w+", "a=setup:passive", await offer_of(PublisherPeer(PACKETS)))
    async with answered(offer) as one:
        sent = received = 0
        for _ in range(40):
            async with bystander() as victim:
                victim.send(one.check(PRIORITY="none", **{"ICE-CONTROLLING": "none"}), one.port)
                await until(victim.heard)
                await asyncio.sleep(0.01)
                sent, received = sent + victim.sent, received + victim.received
        assert received <= AMPLIFICATION * sent + 100


@pytest.mark.parametrize("publishes", [True, False], ids=["publish", "listen"])
async def test_a_forged_datagram_ends_no_session(publishes: bool) -> None:
    """Whatever comes from the client's address and cannot be decrypted is dropped."""
    session: Session = PublisherSession("p", connect_timeout_s=10, deliver=lambda *_: None)
    if not publishes:
        session = ListenerSession("l", connect_timeout_s=10, listener="l", original=False)
    peer = PublisherPeer(PACKETS) if publishes else ListenerPeer()
    task = asyncio.create_task(session.run(await peer.offer()))
    await peer.accept(await session.answer)
    await until(lambda: session.state is SessionState.CONNECTED)
    ice = session.ice
    assert ice is not None and ice.selected is not None
    forger = ice.selected.protocol, ice.selected.address
    for first in (*range(4, 256, 5), 20, 21, 22, 23, 128, 129):
        for length in (1, 2, 3, 8, 11, 12, 13, 100, 1999, 3000, 60_000):
            for second in (0, 111, 200):
                ice.take_data(bytes([first, second])[:length] + bytes(max(0, length - 2)), forger)
        await asyncio.sleep(0)
    await asyncio.sleep(0.3)
    assert (
        session.state is SessionState.CONNECTED and peer.connection.connectionState == "connected"
    )
    session.close()
    await task
    await peer.close()


async def test_a_listener_cannot_fill_the_memory_of_dtls() -> None:
    """It has no data channel: its messages are dropped. A publisher's come one in a datagram."""
    record = bytes([23, 254, 253]) + bytes(8) + bytes([0, 20]) + bytes(20)
    for publishes in (False, True):
        peer = PublisherPeer(PACKETS) if publishes else ListenerPeer()
        async with (
            answered(await offer_of(peer), publishes=publishes) as one,
            bystander() as attacker,
        ):
            attacker.send(one.check(), one.port)
            await until(attacker.heard)
            attacker.send(record * 30, one.port)
            attacker.send(record, one.port)
            await asyncio.sleep(0.1)
            ice = one.session.ice
            assert ice is not None and ice.datagrams.qsize() == int(publishes)


async def test_the_clients_of_the_tests_are_no_servers() -> None:
    """Only sessions are ICE-lite: a client in the same process checks as usual."""
    peer = PublisherPeer(PACKETS)
    await peer.offer()
    transceiver = peer.connection.getTransceivers()[0]
    assert not isinstance(ice_connection(transceiver), LiteConnection)
    await peer.close()
