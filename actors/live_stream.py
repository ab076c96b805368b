"""One user's broadcast: its sessions, its sound, its recording, its end."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from actors.access import AccessEnded, Grounds, Guest
from actors.announcer import COUNT_INTERVAL_S, Announcer
from actors.audience import Audience
from actors.errors import (
    NoPlace,
    NotLive,
    OriginalNotShared,
    TooManySessions,
    UnknownSession,
)
from actors.fanout import EncodedFrame, Fanout
from actors.heartbeat import Heartbeat
from actors.opus import FRAME_SAMPLES, SAMPLE_RATE, OpusDecoder, decodes
from actors.pipeline import Controls, Gap, Heard, Pipeline
from actors.receive import Opus, Packet, RtpOrder, Segment
from actors.sessions import ListenerSession, PublisherSession, Session, SessionState
from actors.sound_thread import SoundThread
from actors.spectrum import VERSION
from actors.status import Kept, Listening, StatusStore, StreamState, StreamStatus
from actors.stream_core import StreamCore, StreamTimes, Verdict
from foundation.ids import new_id
from foundation.lease import Lease
from foundation.logs import fields, request_id
from foundation.tasks import TaskSet
from recordings.recorder import Recorder

log = logging.getLogger(__name__)

MAX_PUBLISHERS = 8
"""How many sessions may try to publish one stream at a time."""
STATS_INTERVAL_S = 0.1
HEARD_STATES = (StreamState.LIVE, StreamState.RECONNECTING)


@dataclass
class Publisher:
    """One publisher session and what belongs to its packets."""

    session: PublisherSession
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Which settings of the stream change when it is heard."""
    order: RtpOrder = field(default_factory=RtpOrder)
    decoder: OpusDecoder = field(default_factory=OpusDecoder)
    source: int | None = None
    waits_for_gap: bool = False

    def push(self, packet: Packet, now: float) -> list[Segment]:
        """Take a packet; returns what is ready, for `decoder`: each source has its own."""
        segments = self.order.push(packet, now)
        if self.order.source != self.source:
            self.source, self.decoder = self.order.source, OpusDecoder()
        return segments


class LiveStream:
    """A stream: `connecting` until the first decoded sound, then `live` until it ends.

    What becomes of it, `StreamCore` decides; this carries it out. A publisher that comes back
    within the grace, or from elsewhere, continues the stream: same listeners, same recording, the
    gap kept as silence. `kept` is of the user's stream that another actor hosted and that goes on
    here: the same stream, with a recording of its own. Lives on one event loop.
    """

    def __init__(
        self,
        username: str,
        *,
        actor: str,
        lease: Lease,
        sound_thread: SoundThread,
        heartbeat: Heartbeat,
        times: StreamTimes,
        store: StatusStore,
        recorder: Recorder,
        kept: Kept | None = None,
    ) -> None:
        status = StreamStatus(
            username=username,
            stream_id=new_id(),
            state=StreamState.CONNECTING,
            started_at=None,
            listeners=0,
            denoise=True,
            attenuation_limit_db=None,
            share_original=False,
            actor=actor,
            session=None,
            model=sound_thread.model.name,
        )
        self._models = sound_thread.models
        if kept is not None:
            status = replace(status, **kept.settings, stream_id=kept.stream_id, part=kept.part + 1)
            if status.model not in self._models:
                status = replace(status, model=sound_thread.model.name)
        self.username = username
        self._name = f"stream {status.stream_id}"
        self._times = times
        self._began_at = kept.started_at if kept else None
        """When its first sound was decoded, if another actor did."""
        earlier_s = max(0.0, time.time() - self._began_at) if self._began_at else 0.0
        self._core = StreamCore(times, time.monotonic(), earlier_s=earlier_s)
        self._heartbeat = heartbeat
        self._announcer = Announcer(store, status, lease, writer=heartbeat.store)
        self._recording = recorder.record(username, status.stream_id, tell=self._tell_quota)
        self._fanout = Fanout()
        self._publishers: dict[str, Publisher] = {}
        self._audience = Audience(username, kept.removed if kept else ())
        self._keeping = asyncio.Lock()
        self._audience_changed = asyncio.Event()
        self._rests_on: str | None = None
        """The sign-in of the session that publishes, or published last."""
        self._tasks = TaskSet()
        self._moves = False
        """Whether its page is asked to go on elsewhere when it has ended."""
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._pipeline = Pipeline(
            sound_thread,
            name=self._name,
            recording=self._recording,
            emit=self._emit,
            failed=self._fail,
        )

    @property
    def status(self) -> StreamStatus:
        """What everybody may know of the stream now."""
        return self._announcer.status

    @property
    def grounds(self) -> set[Grounds]:
        """What its sessions rest on, and the stream itself."""
        publishers = {each.session.sign_in for each in self._publishers.values()}
        return {
            *(Grounds(self.username, sign_in) for sign_in in {*publishers, self._rests_on}),
            *(Grounds(each.listener, each.sign_in) for each in self._audience),
        }

    @property
    def connecting(self) -> int:
        """How many sessions are not connected yet."""
        publishers = [each.session for each in self._publishers.values()]
        return sum(each.state is SessionState.CONNECTING for each in [*publishers, *self._audience])

    @property
    def audience_size(self) -> int:
        """How many sessions listen, connected or not."""
        return len(self._audience)

    @property
    def listening(self) -> int:
        """How many listener sessions are connected."""
        return sum(each.state is SessionState.CONNECTED for each in self._audience)

    @property
    def has_page(self) -> bool:
        """Whether a page of ours publishes it, which goes on elsewhere when it is asked to."""
        return self._core.has_page

    @property
    def stopping(self) -> bool:
        """Whether the end has begun; no session is taken any more."""
        return self._stopping.is_set()

    async def run(self) -> None:
        """Live until the end; then tell friends, close connections, close the recording."""
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._close_sessions)  # also if one of these fails
                await stack.enter_async_context(self._recording)
                self._pipeline.start()
                stack.push_async_callback(asyncio.to_thread, self._pipeline.close)
                stack.push_async_callback(self._close_sessions)
                announcing, rounds = TaskSet(), TaskSet()
                announcing.start(self._announce(), name=f"{self._name} status")
                stack.push_async_callback(announcing.wait)
                stack.push_async_callback(rounds.cancel)
                rounds.start(self._watch(), name=f"{self._name} watch")
                rounds.start(self._send_stats(), name=f"{self._name} stats")
                rounds.start(self._tell_listeners(), name=f"{self._name} listeners")
                stack.callback(self._end, "its actor ends")
                await self._stopping.wait()
        finally:
            self._stopping.set()
            self._ended.set()

    async def stop(self, reason: str, *, session_id: str | None = None) -> None:
        """End the stream and wait for it. With a session: only if that one publishes it."""
        if self._end(reason, session_id):
            await self._ended.wait()

    async def move(self, reason: str) -> None:
        """End the stream and wait for it; its page is asked to begin anew, on another actor.

        It is told before to wait for that: it may hear of the end first.
        """
        if not self.stopping:
            await self._announcer.tell_pages(self.username, "wait", "")
            self._moves = not self.stopping  # whoever has stopped it meanwhile is not asked
        await self.stop(reason)

    # -- what people ask for

    async def publish(
        self,
        session_id: str,
        offer_sdp: str,
        *,
        sign_in: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """Answer a publisher's offer. It takes the stream over, with its settings, once heard.

        Raises OfferRefused, TooManySessions, NoPlace once the stream has ended, or RedisUnavailable
        when nobody could find the session.
        """
        if self.stopping:
            raise NoPlace("This stream has ended.")
        if len(self._publishers) >= MAX_PUBLISHERS:
            raise TooManySessions("Too many attempts to start this stream. Please wait a moment.")
        session = PublisherSession(
            session_id,
            connect_timeout_s=self._times.connect_timeout_s,
            deliver=self._take_packet,
            sign_in=sign_in,
        )
        self._publishers[session_id] = Publisher(session, settings or {})
        self._core.session_opened(session_id, time.monotonic())
        return await self._open(session, offer_sdp, owner=self.username)

    async def listen(
        self,
        session_id: str,
        offer_sdp: str,
        *,
        listener: str,
        original: bool,
        both: bool = False,
        sign_in: str | None = None,
        guest: Guest | None = None,
    ) -> str:
        """Answer a listener's offer; `listener` is a username or the guest's name.

        Of `both` sounds the original comes while it is shared.

        Raises NotLive, OriginalNotShared, RemovedFromStream, TooManySessions, OfferRefused or
        RedisUnavailable.
        """
        if self.stopping or self.status.state not in HEARD_STATES:
            raise NotLive(f"{self.username} is not live.")
        if original and not self._may_hear_original(listener):
            raise OriginalNotShared(f"{self.username} does not share the original sound.")
        self._audience.admit(listener, guest)
        session = ListenerSession(
            session_id,
            connect_timeout_s=self._times.connect_timeout_s,
            listener=listener,
            original=original,
            both=both,
            sign_in=sign_in,
            guest=guest,
            connected=self._join,
        )
        self._audience.add(session)
        return await self._open(session, offer_sdp, owner=listener)

    async def trickle(self, session_id: str, fragment: str) -> None:
        """Add a session's candidates. Raises UnknownSession, or what `Session.trickle` does."""
        session = self._session(session_id)
        if session is None:
            raise UnknownSession("This session has ended.")
        await session.trickle(fragment)

    async def end_session(self, session_id: str) -> None:
        """Close a session. The end of the one that publishes, or did so last, ends the stream."""
        await self.stop("the publisher ended it", session_id=session_id)
        if session := self._session(session_id):
            session.close()

    async def remove(self, listener: str, session_id: str) -> None:
        """Close a person's sessions; while the stream lasts they cannot listen again.

        Of a link's guests it closes this session alone: nobody would know them again. Does nothing
        if this session of theirs belonged to an earlier stream.
        """
        earlier = session_id < self.status.stream_id  # ids sort by time
        if self.stopping or (earlier and self._audience.get(session_id) is None):
            return
        told = fields(stream=self.status.stream_id, session=session_id)
        log.info("the publisher removes a listener", extra=told)
        reason = self._audience.remove(listener, session_id)
        self._keep()
        await self._announcer.tell_pages(listener, "removed", session_id, reason=reason)

    def listeners(self) -> list[Listening]:
        """List who listens, without the publisher. Raises NotLive."""
        if self.status.state not in HEARD_STATES:
            raise NotLive("You are not live.")
        return self._audience.people

    def end_access(self, ended: AccessEnded) -> None:
        """Close what rested on access that was taken back; the stream itself ends at once."""
        resting: list[Session] = []
        if ended.stream in (None, self.username):
            resting += self._audience.of(ended.username)
        owned = ended.username == self.username and ended.stream is None
        if owned:
            resting += [publisher.session for publisher in self._publishers.values()]
        self._end_sessions(session for session in resting if ended.covers(session.sign_in))
        if owned and self._core.publisher and ended.covers(self._rests_on):
            self._end("its publisher lost access", self._core.publisher)

    def publisher_socket(self, session_id: str, *, connected: bool) -> None:
        """Note that a presence socket said `publishing` for a session, or that it is gone."""
        self._core.socket_changed(session_id, time.monotonic(), connected=connected)

    def control(self, changes: Mapping[str, Any]) -> StreamStatus:
        """Change settings: fields of the status that its publisher chooses. Raises NotLive."""
        if self.status.state not in HEARD_STATES:
            raise NotLive("You are not live.")
        self._set(changes)
        return self.status

    # -- state

    def _set(self, changes: Mapping[str, Any]) -> None:
        """Change settings, what is heard at once. A model that is not here changes nothing."""
        changes = {name: value for name, value in changes.items()
                   if name != "model" or value in self._models}  # fmt: skip
        self._announcer.change(**changes)
        status = self.status
        self._recording.title = status.title
        self._pipeline.muted = status.muted
        self._pipeline.control(
            Controls(
                denoise=status.denoise,
                attenuation_limit_db=status.attenuation_limit_db,
                post_filter=status.post_filter,
                model=status.model,
                may_pass=status.undenoised_on_overload or status.share_original,
            )
        )
        for session in self._audience:
            if session.original and not self._may_hear_original(session.listener):
                session.close()
            elif session.state is SessionState.CONNECTED:
                self._feed(session)
        self._encode_what_is_heard()
        self._keep()

    def _keep(self) -> None:
        """Note what goes on with another actor, should this one be lost or its node drained."""
        self._tasks.start(self._keep_latest(), name=f"{self._name} kept")

    async def _keep_latest(self) -> None:
        async with self._keeping:  # an earlier state must not arrive last
            await self._announcer.keep(sorted(self._audience.removed))

    def _end(self, reason: str, session_id: str | None = None) -> bool:
        """Ask the core for the end; tells whether the stream has ended."""
        ended = self._core.end_requested(session_id, reason)
        self._follow_core()
        return ended

    def _follow_core(self, *, started_at: float | None = None) -> None:
        """Announce what the core decided."""
        if self.stopping:
            return
        core = self._core
        if core.state is not self.status.state or core.publisher != self.status.session:
            self._announcer.change(
                state=core.state,
                session=core.publisher,
                started_at=started_at or self.status.started_at,
            )
        if core.ended:
            told = fields(stream=self.status.stream_id, reason=core.end_reason)
            log.info("stream ends", extra=told)
            self._stopping.set()

    async def _announce(self) -> None:
        """Write the status for as long as the lease is ours; without it the stream ends."""
        try:
            await self._heartbeat.run(self._announcer.run())
            heard = self.status.started_at is not None  # before, it has kept nothing itself
            if heard and not self._moves and not self._announcer.lost:
                async with self._keeping:
                    await self._announcer.forget_kept()
            if self._moves and not self._announcer.lost:
                await self._announcer.tell_pages(self.username, "republish", "")
            if not self.stopping and (publisher := self._core.publisher) is not None:
                await self._announcer.tell_pages(self.username, "taken_over", publisher)
        finally:
            lost = self._announcer.lost
            self._end("another actor hosts its user now" if lost else "it cannot be announced")

    # -- sessions

    async def _open(self, session: Session, offer_sdp: str, *, owner: str) -> str:
        told = fields(stream=self.status.stream_id, session=session.session_id)
        log.info("session opens", extra=told)
        self._tasks.start(self._host(session, offer_sdp), name=f"session {session.session_id}")
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
            request_id.set("")
            self._announcer.remove_session(session.session_id)
            if isinstance(session, ListenerSession):
                for feed in session.feeds:
                    self._fanout.remove(feed)
                self._encode_what_is_heard()
                self._audience.drop(session)
                self._count_listeners()
            else:
                self._publishers.pop(session.session_id, None)
                self._core.session_closed(session.session_id, time.monotonic())
                self._follow_core()

    def _session(self, session_id: str) -> Session | None:
        publisher = self._publishers.get(session_id)
        return publisher.session if publisher else self._audience.get(session_id)

    def _may_hear_original(self, listener: str) -> bool:
        return self.status.share_original or listener == self.username

    def _join(self, session: ListenerSession) -> None:
        """Let a listener that is connected hear the stream."""
        self._feed(session)
        self._encode_what_is_heard()
        self._count_listeners()

    def _feed(self, session: ListenerSession) -> None:
        """Send a connected listener what it may hear now, and nothing else."""
        for feed in session.feeds:
            if not feed.original or self._may_hear_original(session.listener):
                self._fanout.add(feed)
            else:
                self._fanout.remove(feed)

    def _encode_what_is_heard(self) -> None:
        self._pipeline.encode_denoised = self._fanout.wants_denoised
        self._pipeline.encode_original = self._fanout.wants_original

    def _count_listeners(self) -> None:
        self._audience_changed.set()
        if not self.stopping:
            self._announcer.change(listeners=self._audience.count)

    async def _close_sessions(self) -> None:
        for publisher in list(self._publishers.values()):
            publisher.session.close()
        for listener in self._audience:
            listener.close()
            await asyncio.sleep(0)  # others' sound comes in between
        await self._tasks.wait()

    def _end_sessions(self, sessions: Iterable[Session]) -> None:
        """Close sessions that may not go on."""
        for session in sessions:
            told = fields(stream=self.status.stream_id, session=session.session_id)
            log.info("session loses its access", extra=told)
            session.close()

    async def _retire(self, session: PublisherSession) -> None:
        await self._announcer.tell_pages(self.username, "taken_over", session.session_id)
        session.close()

    # -- sound

    def _take_packet(self, session: PublisherSession, packet: Packet) -> None:
        """Put a packet in order and pass on what is ready. Runs for every packet."""
        publisher = self._publishers.get(session.session_id)
        if publisher is None or self.stopping:
            return
        now = time.monotonic()
        segments = publisher.push(packet, now)
        before, silent_s = self._core.publisher, now - self._core.last_heard
        publishes = session.session_id == before
        verdict = self._core.packet(
            session.session_id, now, decodes=not publishes and _any_decodes(segments)
        )
        if verdict is Verdict.IGNORED:
            return
        if verdict is Verdict.TOOK_OVER:
            self._take_over(session, before, silent_s)
        elif self._core.state is not self.status.state:
            self._follow_core()
        self._hear(publisher, segments)

    def _take_over(self, session: PublisherSession, before: str | None, silent_s: float) -> None:
        """Let a session publish from now on: its first sound was decoded."""
        self._rests_on = session.sign_in
        self._set(self._publishers[session.session_id].settings)
        started_at = self.status.started_at
        if started_at is None:
            now = time.time()
            self._recording.begin(now)
            started_at = self._began_at or now
        else:
            gap = round(silent_s * SAMPLE_RATE) - FRAME_SAMPLES
            self._pipeline.push(Gap(max(0, gap)))
        self._follow_core(started_at=started_at)
        told = fields(stream=self.status.stream_id, session=session.session_id)
        log.info("session publishes", extra=told)
        if retired := self._publishers.get(before or ""):
            self._tasks.start(self._retire(retired.session), name=f"{self._name} takeover")

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
        if publisher.session.session_id == self._core.publisher and not self.stopping:
            self._hear(publisher, publisher.order.pop(time.monotonic()))

    def _emit(self, frame: EncodedFrame) -> None:
        """Take an encoded frame from the sound thread to the listeners."""
        self._loop.call_soon_threadsafe(self._fanout.push, frame)

    def _fail(self, error: BaseException) -> None:
        """End the stream when no sound comes any more."""
        self._loop.call_soon_threadsafe(self._end, f"an internal error: {error!r}")

    def _tell_quota(self, reason: str, *, at: float | None = None) -> None:
        told = self._announcer.tell_pages(
            self.username, "quota", self._core.publisher or "", reason=reason, at=at
        )
        self._tasks.start(told, name=f"{self._name} quota")

    # -- time

    async def _watch(self) -> None:
        """Let the core see time pass. What that changes, no request asked for."""
        request_id.set("")
        told = False
        while True:
            await asyncio.sleep(min(0.2, self._times.grace_s / 4))
            self._core.tick(time.monotonic())
            self._follow_core()
            if self._pipeline.degraded != self.status.degraded and not self.stopping:
                self._announcer.change(degraded=self._pipeline.degraded)
            self._end_sessions(self._audience.expired(time.time()))
            if self._core.nearly_over and not told:
                told = True
                self._tell_nearly_over()

    def _tell_nearly_over(self) -> None:
        """Tell the publisher's pages when the stream reaches its greatest length."""
        longest_s = self._times.max_stream_s
        at = (self.status.started_at or time.time()) + longest_s
        minutes = max(1, round((at - time.time()) / 60))
        reason = f"Streams can last {longest_s / 3600:g} hours. Yours ends in {minutes} min."
        self._tell_quota(reason, at=at)

    async def _tell_listeners(self) -> None:
        """Tell the publisher's pages who listens when that changes, at most once a second."""
        while True:
            await self._audience_changed.wait()
            self._audience_changed.clear()
            telling = self._announcer.tell_listeners(self._audience.people)
            self._tasks.start(telling, name=f"{self._name} listeners told")
            await asyncio.sleep(COUNT_INTERVAL_S)

    async def _send_stats(self) -> None:
        """Tell the publisher's page the levels, ten times a second."""
        while True:
            await asyncio.sleep(STATS_INTERVAL_S)
            publisher = self._publishers.get(self._core.publisher or "")
            self._pipeline.watch(publisher is not None and publisher.session.wants_spectrum)
            if publisher is not None:
                self._tell_publisher(publisher)

    def _tell_publisher(self, publisher: Publisher) -> None:
        stats = asdict(self._pipeline.levels)
        stats["loss"] = publisher.order.counts.loss
        if (spectrum := self._pipeline.spectrum) is None:
            publisher.session.send_stats(stats)
            return
        more = {"noise_removed_db": spectrum.noise.decibels, "gaps": self._pipeline.gaps}
        publisher.session.send_stats({"version": VERSION, **_rounded(stats | more)})
        for columns in spectrum.take():
            publisher.session.send_spectrum(columns)


def _rounded(stats: dict[str, float | None]) -> dict[str, float | None]:
    """Leave out digits that nobody sees."""
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in stats.items()
    }


def _any_decodes(segments: list[Segment]) -> bool:
    return any(isinstance(each, Opus) and decodes(each.payload) for each in segments)
