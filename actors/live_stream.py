"""One user's broadcast: its sessions, its sound, its end."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.announcer import Announcer
from actors.errors import NotLive, OriginalNotShared, TooManySessions, UnknownSession
from actors.fanout import EncodedFrame, Fanout
from actors.opus import FRAME_SAMPLES, SAMPLE_RATE, OpusDecoder, decodes
from actors.pipeline import Gap, Heard, Pipeline
from actors.receive import Opus, Packet, RtpOrder, Segment
from actors.sessions import ListenerSession, PublisherSession, Session
from actors.sound_thread import SoundThread
from actors.status import StatusStore, StreamState, StreamStatus, new_stream_id
from recordings.recorder import Recorder
from recordings.writer import RecordingWriter, SpoolMeta

log = logging.getLogger(__name__)

MAX_PUBLISHERS = 8
"""How many sessions may try to publish one stream at a time."""
MAX_SESSIONS_OF_A_LISTENER = 32
STATS_INTERVAL_S = 0.1
PAGELESS_TIMEOUT_S = 1.0
"""A publisher whose page is gone, too, is lost after so long without a packet."""
HEARD_STATES = (StreamState.LIVE, StreamState.RECONNECTING)


@dataclass(frozen=True)
class StreamTimes:
    """How long a stream waits for what, in seconds."""

    connect_timeout_s: float = 15.0
    publisher_timeout_s: float = 5.0
    grace_s: float = 10.0


@dataclass
class Publisher:
    """One publisher session and what belongs to its packets."""

    session: PublisherSession
    order: RtpOrder
    decoder: OpusDecoder
    last_packet: float
    retired: bool = False
    waits_for_gap: bool = False
    sockets: int = 0
    socket_lost_at: float | None = None


class LiveStream:
    """A stream: `connecting` until the first decoded sound, then `live` until it ends.

    A publisher that comes back within `grace_s`, or from elsewhere, continues it: same
    listeners, same recording, the gap kept as silence. Lives on one event loop.
    """

    def __init__(
        self,
        username: str,
        *,
        actor: str,
        sound_thread: SoundThread,
        times: StreamTimes,
        store: StatusStore,
        recorder: Recorder,
    ) -> None:
        status = StreamStatus(
            username=username,
            stream_id=new_stream_id(),
            state=StreamState.CONNECTING,
            started_at=None,
            listeners=0,
            denoise=True,
            attenuation_limit_db=None,
            share_original=False,
            actor=actor,
            session=None,
        )
        self.username = username
        self._name = f"stream {status.stream_id}"
        self._times = times
        self._recorder = recorder
        self._announcer = Announcer(store, status)
        self._fanout = Fanout()
        self._publishers: dict[str, Publisher] = {}
        self._listeners: dict[str, ListenerSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._born = time.monotonic()
        self._last_heard = self._born
        self._lost_at: float | None = None
        self._recording: SpoolMeta | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._pipeline = Pipeline(
            sound_thread,
            name=self._name,
            open_recording=self._open_recording,
            emit=self._emit,
            failed=self._fail,
        )

    @property
    def status(self) -> StreamStatus:
        """What everybody may know of the stream now."""
        return self._announcer.status

    @property
    def stopping(self) -> bool:
        """Whether the end has begun; no session is taken any more."""
        return self._stopping.is_set()

    async def run(self) -> Path | None:
        """Live until stopped, then end: tell friends, close connections, close the recording.

        Returns the recording's closed spool, None when nothing was heard.
        """
        self._pipeline.start()
        announcing = asyncio.create_task(self._announcer.run(), name=f"{self._name} status")
        rounds = [
            asyncio.create_task(self._watch(), name=f"{self._name} watch"),
            asyncio.create_task(self._send_stats(), name=f"{self._name} stats"),
        ]
        try:
            await self._stopping.wait()
        finally:
            self._stopping.set()
            for task in rounds:
                task.cancel()
            self._announcer.change(state=StreamState.ENDED)
            await asyncio.gather(announcing, *rounds, return_exceptions=True)
            await self._close_sessions()
            spool = await asyncio.to_thread(self._pipeline.finish)
            if spool is None and self._recording is not None:
                self._recorder.withdraw(self._recording)
            self._ended.set()
        return spool

    def begin_stop(self, reason: str) -> None:
        """Let `run` end. Only the first reason counts."""
        if not self.stopping:
            log.info("%s: ends: %s", self._name, reason)
            self._stopping.set()

    async def stop(self, reason: str, *, session_id: str | None = None) -> None:
        """End the stream and wait for it. With a session: only while that one publishes."""
        if session_id is None or self.publishes(session_id):
            self.begin_stop(reason)
            await self._ended.wait()

    def publishes(self, session_id: str) -> bool:
        """Tell whether the end of this session is the end of the stream.

        Before anything was heard that is so for the only publisher session there is.
        """
        if self.status.session is not None:
            return session_id == self.status.session
        return list(self._publishers) == [session_id]

    # -- what people ask for

    async def publish(self, session_id: str, offer_sdp: str) -> str:
        """Answer a publisher's offer. It takes the stream over once it is heard.

        Raises OfferRefused, TooManySessions, or StatusUnavailable when nobody could find the
        session.
        """
        if len(self._publishers) >= MAX_PUBLISHERS:
            raise TooManySessions("You start this stream too often at once. Please wait a moment.")
        session = PublisherSession(
            session_id, connect_timeout_s=self._times.connect_timeout_s, deliver=self._take_packet
        )
        publisher = Publisher(session, RtpOrder(), OpusDecoder(), time.monotonic())
        self._publishers[session_id] = publisher
        return await self._begin_session(session, offer_sdp, owner=self.username)

    async def listen(
        self, session_id: str, offer_sdp: str, *, listener: str, original: bool
    ) -> str:
        """Answer a listener's offer.

        Raises NotLive, OriginalNotShared, TooManySessions, OfferRefused or StatusUnavailable.
        """
        if self.status.state not in HEARD_STATES:
            raise NotLive(f"{self.username} is not live.")
        if original and not self.status.share_original and listener != self.username:
            raise OriginalNotShared(f"{self.username} does not share the original sound.")
        own = sum(session.listener == listener for session in self._listeners.values())
        if own >= MAX_SESSIONS_OF_A_LISTENER:
            raise TooManySessions(f"You listen to {self.username} {own} times already.")
        session = ListenerSession(
            session_id,
            connect_timeout_s=self._times.connect_timeout_s,
            listener=listener,
            original=original,
        )
        self._listeners[session_id] = session
        self._fanout.add(session, original=original)
        self._count_listeners()
        return await self._begin_session(session, offer_sdp, owner=listener)

    async def trickle(self, session_id: str, fragment: str) -> None:
        """Add a session's candidates. Raises UnknownSession, or what `Session.trickle` does."""
        session = self._session(session_id)
        if session is None:
            raise UnknownSession("This session has ended.")
        await session.trickle(fragment)

    async def end_session(self, session_id: str) -> None:
        """Close a session; the end of the one that publishes ends the stream."""
        session = self._session(session_id)
        if isinstance(session, PublisherSession):
            await self.stop("the publisher ended it", session_id=session_id)
        if session is not None:
            session.close()

    def publisher_socket(self, session_id: str, *, connected: bool) -> None:
        """Note that a presence socket said `publishing` for a session, or that it is gone."""
        publisher = self._publishers.get(session_id)
        if publisher is not None:
            publisher.sockets += 1 if connected else -1
            publisher.socket_lost_at = None if publisher.sockets > 0 else time.monotonic()

    def control(self, changes: dict[str, bool | float | None]) -> StreamStatus:
        """Change `denoise`, `attenuation_limit_db`, `share_original`. Raises NotLive."""
        if self.status.state not in HEARD_STATES:
            raise NotLive("You are not live.")
        self._announcer.change(**changes)
        self._pipeline.controls.denoise = self.status.denoise
        self._pipeline.controls.attenuation_limit_db = self.status.attenuation_limit_db
        if not self.status.share_original:
            for session in self._listeners.values():
                if session.original and session.listener != self.username:
                    session.close()
        return self.status

    # -- sessions

    async def _begin_session(self, session: Session, offer_sdp: str, *, owner: str) -> str:
        self._own(self._host(session, offer_sdp), name=f"session {session.session_id}")
        answer = await session.answer
        publishes = isinstance(session, PublisherSession)
        try:
            await self._announcer.add_session(session.session_id, owner, publishes=publishes)
        except BaseException:
            session.close()
            raise
        return answer

    async def _host(self, session: Session, offer_sdp: str) -> None:
        """Run a session to its end and draw the consequence."""
        try:
            await session.run(offer_sdp)
        finally:
            self._announcer.remove_session(session.session_id)
            if isinstance(session, ListenerSession):
                self._fanout.remove(session)
                self._listeners.pop(session.session_id, None)
                self._count_listeners()
            else:
                self._publishers.pop(session.session_id, None)
                self._publisher_gone(session.session_id)

    def _publisher_gone(self, session_id: str) -> None:
        if self.stopping:
            return
        if session_id == self.status.session:
            self._lose_publisher()
        elif self.status.session is None and not self._publishers:
            self.begin_stop("the publisher did not connect")

    def _session(self, session_id: str) -> Session | None:
        publisher = self._publishers.get(session_id)
        return publisher.session if publisher else self._listeners.get(session_id)

    def _count_listeners(self) -> None:
        self._pipeline.encode_denoised = self._fanout.wants_denoised
        self._pipeline.encode_original = self._fanout.wants_original
        if not self.stopping:
            self._announcer.change(listeners=len(self._listeners))

    async def _close_sessions(self) -> None:
        for publisher in list(self._publishers.values()):
            publisher.session.close()
        for listener in list(self._listeners.values()):
            listener.close()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _own(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run something that belongs to the stream's life; `run` waits for it at the end."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- sound

    def _take_packet(self, session: PublisherSession, packet: Packet) -> None:
        """Put a packet in order and pass on what is ready. Runs for every packet."""
        publisher = self._publishers.get(session.session_id)
        if publisher is None or publisher.retired or self.stopping:
            return
        now = time.monotonic()
        segments = publisher.order.push(packet, now)
        if session.session_id != self.status.session:
            if not any(isinstance(s, Opus) and decodes(s.payload) for s in segments):
                return
            self._take_over(publisher, now)
        elif self._lost_at is not None:
            self._lost_at = None
            self._announcer.change(state=StreamState.LIVE)
        publisher.last_packet = self._last_heard = now
        self._hear(publisher, segments)

    def _hear(self, publisher: Publisher, segments: list[Segment]) -> None:
        """Pass segments on; when the next packet is missing, look again once it is given up."""
        for segment in segments:
            self._pipeline.push(Heard(publisher.decoder, segment))
        gap_ends = publisher.order.gap_ends
        if gap_ends is not None and not publisher.waits_for_gap:
            publisher.waits_for_gap = True
            self._loop.call_later(gap_ends - time.monotonic(), self._end_gap, publisher)

    def _end_gap(self, publisher: Publisher) -> None:
        publisher.waits_for_gap = False
        publishes = publisher.session.session_id == self.status.session
        if publishes and not publisher.retired and not self.stopping:
            self._hear(publisher, publisher.order.pop(time.monotonic()))

    def _take_over(self, publisher: Publisher, now: float) -> None:
        """Let a session publish from now on: its first sound was decoded."""
        before = self._publishers.get(self.status.session or "")
        session_id = publisher.session.session_id
        started_at = self.status.started_at
        if started_at is None:
            started_at = time.time()
            self._begin_recording(started_at)
        else:
            gap = round((now - self._last_heard) * SAMPLE_RATE) - FRAME_SAMPLES
            self._pipeline.push(Gap(max(0, gap)))
        self._lost_at = None
        self._announcer.change(state=StreamState.LIVE, session=session_id, started_at=started_at)
        log.info("%s: session %s publishes", self._name, session_id)
        if before is not None:
            before.retired = True  # what it still sends does not take the stream back
            self._own(self._retire(before.session), name=f"{self._name} takeover")

    async def _retire(self, session: PublisherSession) -> None:
        await self._announcer.tell_taken_over(session.session_id)
        session.close()

    def _lose_publisher(self) -> None:
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            self._announcer.change(state=StreamState.RECONNECTING)

    def _begin_recording(self, started_at: float) -> None:
        self._recording = self._recorder.begin(self.username, self.status.stream_id, started_at)

    def _open_recording(self) -> RecordingWriter:
        """Create the spool. Runs on the spool's thread, at the first sound."""
        assert self._recording is not None, "there is sound before the stream was live"
        return self._recorder.open(self._recording)

    def _emit(self, frame: EncodedFrame) -> None:
        """Take an encoded frame from the sound thread to the listeners."""
        self._loop.call_soon_threadsafe(self._fanout.push, frame)

    def _fail(self, error: BaseException) -> None:
        """End the stream when no sound comes any more."""
        self._loop.call_soon_threadsafe(self.begin_stop, f"an internal error: {error!r}")

    # -- time

    async def _watch(self) -> None:
        """End what has waited for long enough."""
        while True:
            await asyncio.sleep(min(0.2, self._times.grace_s / 4))
            now = time.monotonic()
            publisher = self._publishers.get(self.status.session or "")
            if self.status.state is StreamState.CONNECTING:
                if now - self._born > self._times.connect_timeout_s:
                    self.begin_stop("no sound came in time")
            elif publisher and now - publisher.last_packet > self._patience_s(publisher):
                self._lose_publisher()
            if self._lost_at is not None and now - self._lost_at > self._times.grace_s:
                self.begin_stop("the publisher did not come back")
            lost = publisher.socket_lost_at if publisher else None
            if lost is not None and now - lost > self._times.grace_s:
                self.begin_stop("the publisher's page is gone")

    def _patience_s(self, publisher: Publisher) -> float:
        """Get how long a publisher may be silent: not for long once its page's socket is gone."""
        usual = self._times.publisher_timeout_s
        return usual if publisher.socket_lost_at is None else min(usual, PAGELESS_TIMEOUT_S)

    async def _send_stats(self) -> None:
        """Tell the publisher's page the levels, ten times a second."""
        while True:
            await asyncio.sleep(STATS_INTERVAL_S)
            publisher = self._publishers.get(self.status.session or "")
            if publisher is not None:
                stats = asdict(self._pipeline.levels)
                stats["loss"] = publisher.order.counts.loss
                publisher.session.send_stats(stats)
