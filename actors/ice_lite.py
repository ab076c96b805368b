"""The server's side of ICE: an ICE-lite agent (RFC 8445) that cannot be made to send to others.

It answers checks and sends none on its own, ignores remote candidates, and lets nothing but STUN
pass from an address before an authenticated check. Whoever knows a session's password can write
any source address on a check. So before anything but answers to checks goes to an address, that
address must answer a request of ours, and until it has, it gets at most 1.5 times the bytes that
came from it (QUIC's limit is 3 times: RFC 9000, section 8.1).
"""

import asyncio
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aioice import Candidate, stun
from aioice.candidate import candidate_priority
from aioice.ice import StunProtocol
from aioice.utils import random_transaction_id

from actors.ice import CONNECTION, IceConnection

MAX_SOURCES = 32
"""Addresses of one session that are known; the one that was silent longest is forgotten."""
MAX_EARLY_DATAGRAMS = 16
"""What is kept for DTLS until the address has answered: a ClientHello, mostly."""
MAX_DATAGRAMS = 512
"""What waits when the event loop is late; datagrams beyond are dropped, as a network does."""
MAX_STUN_BYTES = 1280
MAX_DATA_BYTES = 1500
"""What comes over the internet is smaller; libsrtp's Python binding fails at larger packets."""
APPLICATION_DATA = 23
"""The first byte of a DTLS record with a message (RFC 6347, section 4.1)."""
AMPLIFICATION = 1.5
REQUEST_INTERVAL_S = 0.1
CONSENT_S = 30.0
"""A peer from which nothing came for this long is gone (RFC 7675, section 5.1)."""
STALE_S = 3.0
"""After this much silence another address of the peer may take the place of the selected one."""

Address = tuple[str, int]


@contextmanager
def serving() -> Iterator[None]:
    """Make peer connections that are created in this context, or its tasks, ICE-lite."""
    token = CONNECTION.set(LiteConnection)
    try:
        yield
    finally:
        CONNECTION.reset(token)


@dataclass(eq=False, slots=True)
class Source:
    """An address of the peer, from which an authenticated check came."""

    protocol: "LiteProtocol"
    address: Address
    nominated_at: float | None = None
    answered: bool = False
    """It has answered our request: it is not a spoofed one."""
    received: int = 0
    sent: int = 0
    transaction_id: bytes = field(default_factory=random_transaction_id)
    """Of our request: whoever can repeat it is at this address."""
    request: bytes = b""
    requested_at: float = 0.0

    def may_get(self, size: int) -> bool:
        """Tell whether this many bytes more are not too many for an address that is not proven."""
        return self.answered or self.sent + size <= AMPLIFICATION * self.received


class LiteProtocol(StunProtocol):
    """A socket of a session. What is neither a check nor from a checked address is dropped."""

    receiver: "LiteConnection"

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Sort a datagram by its first byte (RFC 7983)."""
        assert isinstance(data, bytes)
        address = addr[0], addr[1]
        if data and data[0] > 3:
            self.receiver.take_data(data, (self, address))
        elif len(data) <= MAX_STUN_BYTES:
            try:
                message = stun.parse_message(data)
            except (ValueError, struct.error, LookupError):
                return
            self.receiver.take_stun(message, len(data), self, address)


class LiteConnection(IceConnection):
    """An ICE connection that is answered, never made.

    Attributes:
        selected: where the session sends to; None until a peer has proved that it is there.
        heard_at: when something authenticated came from there last, `time.monotonic()`: a check,
            or what `note_authentic` was called for.
        client_waits: the client will not begin DTLS itself, so the first check that nominates its
            address gets our request, even if that is a little more than its 1.5 times.
        takes_messages: whether there is a data channel; otherwise messages are dropped here.
    """

    socket_protocol = LiteProtocol

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.selected: Source | None = None
        self.heard_at = time.monotonic()
        self.client_waits = False
        self.takes_messages = False
        self.sources: dict[tuple[LiteProtocol, Address], Source] = {}
        self.datagrams: asyncio.Queue[tuple[bytes, Source] | None] = asyncio.Queue()
        self.taken_from: Source | None = None
        self.connected: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.consent: asyncio.Task[None] | None = None
        self.tie_breaker = secrets.randbits(64) | 1  # libjuice takes 0 for none

    async def add_remote_candidate(self, remote_candidate: Candidate | None) -> None:
        """Ignore it: the client reaches the server."""

    async def connect(self) -> None:
        """Wait until the peer is there. Raises ConnectionError once closed."""
        if not await self.connected:
            raise ConnectionError("the session was closed before a client came")
        self.consent = asyncio.create_task(self._expire(), name="ICE consent")

    async def recv(self) -> bytes:
        """Receive the next datagram that is not STUN. Raises ConnectionError once closed."""
        got = await self.datagrams.get()
        if got is None:
            raise ConnectionError("the connection was closed")
        data, self.taken_from = got
        return data

    def note_authentic(self) -> None:
        """Note that the datagram that `recv` returned last could be decrypted."""
        if self.taken_from is self.selected:
            self.heard_at = time.monotonic()

    async def send(self, data: bytes) -> None:
        """Send a datagram to the peer. Raises ConnectionError without one."""
        if self.selected is None:
            raise ConnectionError("there is no peer")
        self.selected.protocol.transport.sendto(data, self.selected.address)

    async def close(self) -> None:
        """Close the sockets and wake up whoever waits."""
        if not self.connected.done():
            self.connected.set_result(False)
        if self.consent is not None and self.consent is not asyncio.current_task():
            self.consent.cancel()
        self.selected = None
        self.datagrams.put_nowait(None)
        await super().close()

    # -- what arrives

    def take_data(self, data: bytes, key: tuple[LiteProtocol, Address]) -> None:
        """Take what is not STUN, if an authenticated check came from its address."""
        source = self.sources.get(key)
        if source is None or len(data) > MAX_DATA_BYTES:
            return
        if data[0] == APPLICATION_DATA and not (self.takes_messages and _is_one_record(data)):
            return
        limit = MAX_DATAGRAMS
        if not source.answered:
            source.received += len(data)
            self._ask(source)
            limit = 0 if self.selected else MAX_EARLY_DATAGRAMS
        if self.datagrams.qsize() < limit:
            self.datagrams.put_nowait((data, source))

    def protocol_lost(self, protocol: StunProtocol) -> None:
        """End with the socket that is used."""
        if self.selected is not None and self.selected.protocol is protocol:
            self.datagrams.put_nowait(None)

    def take_stun(
        self, message: stun.Message, size: int, protocol: LiteProtocol, address: Address
    ) -> None:
        """Take a check, or an answer to our request. What cannot be authenticated gets no answer.

        RFC 8489 would answer it with an error; that would go to whoever is named as its source.
        """
        if message.message_method != stun.Method.BINDING or self.remote_password is None:
            return
        if message.message_class == stun.Class.REQUEST:
            self._take_check(message, size, protocol, address)
        elif message.message_class == stun.Class.RESPONSE:
            source = self.sources.get((protocol, address))
            if source is None or not source.request:
                return
            if message.transaction_id != source.transaction_id:
                return
            if message.check_message_integrity(self.remote_password.encode()):
                source.answered = True
                self._select(source)

    def _take_check(
        self, message: stun.Message, size: int, protocol: LiteProtocol, address: Address
    ) -> None:
        known = f"{self.local_username}:{self.remote_username}"
        if message.attributes.get("USERNAME") != known:
            return
        if not message.check_message_integrity(self.local_password.encode()):
            return
        source = self._source(protocol, address)
        source.received += size
        now = time.monotonic()
        if source is self.selected:
            self.heard_at = now
        if "ICE-CONTROLLED" in message.attributes:  # RFC 8445, section 7.3.1.1: we are lite
            self._answer(source, message, stun.Class.ERROR, "ERROR-CODE", (487, "Role Conflict"))
            return
        self._answer(source, message, stun.Class.RESPONSE, "XOR-MAPPED-ADDRESS", address)
        if "USE-CANDIDATE" in message.attributes:
            source.nominated_at = now
        if source.nominated_at == now or (self.selected is not None and self._is_stale()):
            self._select(source) if source.answered else self._ask(source)

    def _source(self, protocol: LiteProtocol, address: Address) -> Source:
        key = protocol, address
        source = self.sources.pop(key, None) or Source(protocol, address)
        if len(self.sources) >= MAX_SOURCES:
            oldest = next(each for each in self.sources if self.sources[each] is not self.selected)
            del self.sources[oldest]
        self.sources[key] = source
        return source

    def _select(self, source: Source) -> None:
        """Send to an address from now on, if the peer means it rather than the former one.

        The first that has answered is used even before it is nominated (RFC 8445, section 12.1): a
        peer that begins DTLS there has found it good. Of several nominations the last one counts,
        which is what browsers mean. A peer whose NAT has given it another port nominates nothing,
        but checks from there.
        """
        former = self.selected
        if source is former:
            return
        if former is not None and not self._is_stale():
            if (source.nominated_at or 0.0) <= (former.nominated_at or 0.0):
                return
        self.selected = source
        self.heard_at = time.monotonic()
        if not self.connected.done():
            self.connected.set_result(True)

    def _is_stale(self) -> bool:
        """Tell whether the selected address has fallen silent: a NAT may have given it up."""
        return time.monotonic() - self.heard_at > STALE_S

    async def _expire(self) -> None:
        """Close the connection when nothing has come for too long."""
        silent_s = 0.0
        while silent_s < CONSENT_S:
            await asyncio.sleep(CONSENT_S - silent_s)
            silent_s = time.monotonic() - self.heard_at
        await self.close()

    # -- what is sent to an address that is not proven

    def _answer(
        self, source: Source, check: stun.Message, kind: stun.Class, name: str, value: object
    ) -> None:
        answer = stun.Message(stun.Method.BINDING, kind, check.transaction_id, {name: value})
        answer.add_message_integrity(self.local_password.encode())
        self._send(source, bytes(answer))

    def _ask(self, source: Source) -> None:
        """Ask an address to prove that it is there, again whenever it is heard."""
        now = time.monotonic()
        if now - source.requested_at < REQUEST_INTERVAL_S:
            return
        request = source.request or self._request(source)
        if source.may_get(len(request)) or self.client_waits:
            self.client_waits = False  # one more than 1.5 times for each session, not each address
            source.request = request
            source.requested_at = now
            self._send(source, request)

    def _request(self, source: Source) -> bytes:
        assert self.remote_password is not None
        request = stun.Message(
            stun.Method.BINDING,
            stun.Class.REQUEST,
            source.transaction_id,
            {
                "USERNAME": f"{self.remote_username}:{self.local_username}",
                "PRIORITY": candidate_priority(1, "prflx"),
                "ICE-CONTROLLED": self.tie_breaker,
            },
        )
        request.add_message_integrity(self.remote_password.encode())
        return bytes(request)

    def _send(self, source: Source, data: bytes) -> None:
        if source.may_get(len(data)) or data is source.request:
            source.sent += len(data)
            source.protocol.transport.sendto(data, source.address)


def _is_one_record(datagram: bytes) -> bool:
    """Tell whether a datagram holds one DTLS record: aiortc leaves further ones in memory."""
    return len(datagram) > 13 and int.from_bytes(datagram[11:13]) == len(datagram) - 13
