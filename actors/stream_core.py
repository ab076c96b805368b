"""One stream's state machine: connecting, live, reconnecting, ended. No I/O and no clock."""

from dataclasses import dataclass
from enum import Enum

from actors.status import StreamState

PAGELESS_TIMEOUT_S = 1.0
"""Once its page is gone, a publisher is lost after this long without a packet."""
TOLD_BEFORE_END_S = 600.0
"""How long before a stream reaches its greatest length its pages are told."""


@dataclass(frozen=True)
class StreamTimes:
    """A stream's timeouts, in seconds."""

    connect_timeout_s: float = 15.0
    publisher_timeout_s: float = 5.0
    grace_s: float = 10.0
    max_stream_s: float = 12 * 3600.0


class Verdict(Enum):
    """What a packet means for its stream."""

    IGNORED = "ignored"
    HEARD = "heard"
    TOOK_OVER = "took over"
    """Heard, and its session publishes from now on, as the first or in place of another."""


@dataclass
class _Publisher:
    """A publisher session, from its offer to its close."""

    last_packet: float
    retired: bool = False
    """Another session took over; what this one still sends is ignored."""
    sockets: int = 0
    socket_lost_at: float | None = None


class StreamCore:
    """Decides one stream's state, takeover, grace and end.

    Every `now` is in seconds, from one clock that never goes back; `earlier_s` is how long the
    stream had lasted on other actors. If its publisher's session closes or falls silent, a stream
    is reconnecting for the grace period. Only an explicit end by the session that publishes, or
    published last, ends it at once.

    Attributes:
        state: never changes once it is `ended`.
        publisher: the session that publishes, or published last; None until the first sound.
        end_reason: why it ended; None before.
        last_heard: when the last packet was heard.
        nearly_over: whether it has at most ten minutes left of `max_stream_s`.
    """

    def __init__(self, times: StreamTimes, now: float, *, earlier_s: float = 0.0) -> None:
        self.state = StreamState.CONNECTING
        self.publisher: str | None = None
        self.end_reason: str | None = None
        self.last_heard = now
        self.nearly_over = False
        self._times = times
        self._born = now
        self._earlier_s = earlier_s
        self._began: float | None = None
        """When the first sound was heard."""
        self._lost_at: float | None = None
        self._sessions: dict[str, _Publisher] = {}

    @property
    def ended(self) -> bool:
        """Whether the stream has ended."""
        return self.state is StreamState.ENDED

    @property
    def sessions(self) -> int:
        """How many publisher sessions there are, connected or not."""
        return len(self._sessions)

    @property
    def has_page(self) -> bool:
        """Whether a presence socket says that it publishes the stream."""
        publisher = self._sessions.get(self.publisher or "")
        return publisher is not None and publisher.sockets > 0

    def session_opened(self, session: str, now: float) -> None:
        """Add a publisher session, which takes the stream over once its sound can be decoded."""
        self._sessions[session] = _Publisher(now)

    def session_closed(self, session: str, now: float) -> None:
        """Note that a publisher session is gone, for whatever reason."""
        if self._sessions.pop(session, None) is None or self.ended:
            return
        if session == self.publisher:
            self._lose(now)
        elif self.publisher is None and not self._sessions:
            self._end("the publisher did not connect")

    def packet(self, session: str, now: float, *, decodes: bool) -> Verdict:
        """Judge a packet. `decodes` matters only for a session that does not publish yet."""
        sender = self._sessions.get(session)
        if sender is None or sender.retired or self.ended:
            return Verdict.IGNORED
        verdict = Verdict.HEARD
        if session != self.publisher:
            if not decodes:
                return Verdict.IGNORED
            if before := self._sessions.get(self.publisher or ""):
                before.retired = True
            self.publisher = session
            self._began = now - self._earlier_s if self._began is None else self._began
            verdict = Verdict.TOOK_OVER
        sender.last_packet = self.last_heard = now
        self._lost_at = None
        self.state = StreamState.LIVE
        return verdict

    def socket_changed(self, session: str, now: float, *, connected: bool) -> None:
        """Note that a presence socket said it publishes this session, or that it closed."""
        if publisher := self._sessions.get(session):
            publisher.sockets += 1 if connected else -1
            publisher.socket_lost_at = None if publisher.sockets > 0 else now

    def end_requested(self, session: str | None, reason: str) -> bool:
        """End the stream if the requester may; returns whether it has ended.

        A session may if it publishes or published last, connected or not; before any sound, if it
        is the only one. None is the user or the server, who always may.
        """
        if session is None or session == self.publisher or self._is_alone(session):
            self._end(reason)
        return self.ended

    def tick(self, now: float) -> None:
        """Note that time has passed. Call this a few times per grace period."""
        if self.state is StreamState.CONNECTING:
            if now - self._born > self._times.connect_timeout_s:
                self._end("no sound came in time")
            return
        self._note_length(now)
        publisher = self._sessions.get(self.publisher or "")
        if publisher and now - publisher.last_packet > self._patience_s(publisher):
            self._lose(now)
        if self._lost_at is not None and now - self._lost_at > self._times.grace_s:
            self._end("the publisher did not come back")
        socket_lost_at = publisher.socket_lost_at if publisher else None
        if socket_lost_at is not None and now - socket_lost_at > self._times.grace_s:
            self._end("the publisher's page is gone")

    def _note_length(self, now: float) -> None:
        lasted_s = 0.0 if self._began is None else now - self._began
        left_s = self._times.max_stream_s - lasted_s
        self.nearly_over = left_s <= TOLD_BEFORE_END_S
        if left_s <= 0:
            self._end("it reached the greatest length")

    def _is_alone(self, session: str) -> bool:
        return self.publisher is None and list(self._sessions) == [session]

    def _patience_s(self, publisher: _Publisher) -> float:
        """Get how long a publisher may be silent: less once its page's socket is gone."""
        usual = self._times.publisher_timeout_s
        return usual if publisher.socket_lost_at is None else min(usual, PAGELESS_TIMEOUT_S)

    def _lose(self, now: float) -> None:
        if self._lost_at is None and not self.ended:
            self._lost_at = now
            self.state = StreamState.RECONNECTING

    def _end(self, reason: str) -> None:
        if not self.ended:
            self.state = StreamState.ENDED
            self.end_reason = reason
