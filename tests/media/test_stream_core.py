"""A stream's state machine in virtual time: whole histories, and every order an end can take."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from actors.status import StreamState
from actors.stream_core import (
    PAGELESS_TIMEOUT_S,
    TOLD_BEFORE_END_S,
    StreamCore,
    StreamTimes,
    Verdict,
)

TIMES = StreamTimes(connect_timeout_s=15, publisher_timeout_s=5, grace_s=10)
TICK_S = 0.2
SESSIONS = st.sampled_from("ABCD")
LEGAL = {
    StreamState.CONNECTING: {StreamState.LIVE, StreamState.ENDED},
    StreamState.LIVE: {StreamState.RECONNECTING, StreamState.ENDED},
    StreamState.RECONNECTING: {StreamState.LIVE, StreamState.ENDED},
    StreamState.ENDED: set(),
}


class Histories(RuleBasedStateMachine):
    """Publishers, packets, sockets, ends and time in any order.

    A simple model runs beside the core: who was heard last, who is connected, and since when there
    has been no sound.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.core = StreamCore(TIMES, self.now)
        self.history = [StreamState.CONNECTING]
        self.connected: set[str] = set()
        self.publisher: str | None = None
        self.retired: set[str] = set()
        self.ended = False

    # -- what can happen

    @rule(session=SESSIONS)
    def open(self, session: str) -> None:
        """A client posts an offer."""
        name = f"{session}{len(self.retired)}{self.now}"
        if len(self.connected) < 4:
            self.connected.add(name)
            self.core.session_opened(name, self.now)

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), decodes=st.booleans(), count=st.integers(1, 50))
    def send(self, data: st.DataObject, decodes: bool, count: int) -> None:
        """A session sends packets for a while, 20 ms apart."""
        session = data.draw(st.sampled_from(sorted(self.connected)))
        for _ in range(count):
            self._pass(0.02)
            verdict = self.core.packet(session, self.now, decodes=decodes)
            if self.ended or session in self.retired:
                assert verdict is Verdict.IGNORED
            elif session == self.publisher:
                assert verdict is Verdict.HEARD
            elif decodes:
                assert verdict is Verdict.TOOK_OVER
                self.retired |= {self.publisher} if self.publisher else set()
                self.publisher = session
            else:
                assert verdict is Verdict.IGNORED
            self._note()

    @precondition(lambda self: self.connected)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        """A connection closes, for whatever reason."""
        session = data.draw(st.sampled_from(sorted(self.connected)))
        self.connected.discard(session)
        self.core.session_closed(session, self.now)
        self._note()
        if session == self.publisher and not self.ended:
            assert self.core.state is StreamState.RECONNECTING

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), connected=st.booleans())
    def socket(self, data: st.DataObject, connected: bool) -> None:
        """A page's presence socket comes or goes."""
        session = data.draw(st.sampled_from(sorted(self.connected)))
        self.core.socket_changed(session, self.now, connected=connected)

    @rule(data=st.data())
    def request_end(self, data: st.DataObject) -> None:
        """DELETE or a beacon, from a session that exists, has gone, or never existed."""
        known = sorted(self.connected | self.retired | ({self.publisher} - {None}) | {"?"})  # type: ignore[type-var]
        session = data.draw(st.sampled_from(known))
        was_ended = self.ended
        ends = session == self.publisher or (self.publisher is None and self.connected == {session})
        assert self.core.end_requested(session, "asked") is (was_ended or ends)
        self._note()

    @rule(seconds=st.floats(0.01, 30))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._pass(seconds)

    # -- what must hold

    @invariant()
    def the_end_is_the_end(self) -> None:
        """An ended stream stays ended and says why."""
        if self.ended:
            assert self.core.state is StreamState.ENDED and self.core.end_reason

    @invariant()
    def one_publisher_is_told(self) -> None:
        """The core names the last session heard."""
        assert self.core.publisher == self.publisher

    def teardown(self) -> None:
        """Every history ends, without another packet within the longest wait."""
        for session in sorted(self.connected):
            self.core.session_closed(session, self.now)
        self.connected.clear()
        self._note()
        self._pass(max(TIMES.connect_timeout_s, TIMES.grace_s) + 2 * TICK_S)
        assert self.core.state is StreamState.ENDED

    # -- time and bookkeeping

    def _pass(self, seconds: float) -> None:
        """Let time pass in the steps that the shell uses."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + TICK_S, until)
            self.core.tick(self.now)
            self._note()

    def _note(self) -> None:
        before, state = self.history[-1], self.core.state
        if state is not before:
            assert state in LEGAL[before], f"{before} -> {state}"
            self.history.append(state)
        self.ended = state is StreamState.ENDED


Histories.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestHistories = Histories.TestCase


class Played:
    """A core in which session A goes live at second 1."""

    def __init__(self) -> None:
        self.core = StreamCore(TIMES, 0.0)
        self.core.session_opened("A", 0.0)
        assert self.core.packet("A", 1.0, decodes=True) is Verdict.TOOK_OVER
        self.core.socket_changed("A", 1.0, connected=True)

    def pass_until(self, until: float, since: float = 1.0) -> float:
        """Tick until the state changes; returns when, or `until`."""
        state, now = self.core.state, since
        while now < until and self.core.state is state:
            now += TICK_S
            self.core.tick(now)
        return now


ENDINGS = ("close", "delete", "beacon", "socket", "silence")


def orders() -> Iterator[tuple[str, ...]]:
    """Every order of what a leaving client does, including an explicit end."""
    for length in range(1, len(ENDINGS) + 1):
        for order in permutations(ENDINGS, length):
            if "delete" in order or "beacon" in order:
                yield order


def test_an_explicit_end_ends_at_once_in_any_order() -> None:
    """`pc.close()` then DELETE, or a beacon after the socket: the last publisher may end it."""
    for order in orders():
        played, now = Played(), 1.0
        for what in order:
            assert not played.core.ended, f"{order}: before the explicit end there is the grace"
            match what:
                case "close":
                    played.core.session_closed("A", now)
                case "socket":
                    played.core.socket_changed("A", now, connected=False)
                case "silence":
                    now = played.pass_until(now + 6, now)
                case _:
                    assert played.core.end_requested("A", "asked"), order
                    break
        assert played.core.end_reason == "asked", order


def test_an_old_session_ends_nothing() -> None:
    """A page that was taken over ends nothing when it closes, deletes or sends a beacon."""
    played = Played()
    played.core.session_opened("B", 2.0)
    assert played.core.packet("B", 2.0, decodes=True) is Verdict.TOOK_OVER
    assert not played.core.end_requested("A", "asked")
    played.core.session_closed("A", 3.0)
    assert not played.core.end_requested("A", "asked")
    assert played.core.state is StreamState.LIVE


def test_silence_is_judged_by_what_is_known_of_the_page() -> None:
    """5 s with a page, 1 s without; then the grace period, counted from the loss."""
    with_page = Played()
    assert with_page.pass_until(60) == pytest.approx(1 + TIMES.publisher_timeout_s, abs=0.3)
    without = Played()
    without.core.socket_changed("A", 1.0, connected=False)
    lost_at = without.pass_until(60)
    assert lost_at == pytest.approx(1 + PAGELESS_TIMEOUT_S, abs=0.3)
    assert without.pass_until(60, lost_at) == pytest.approx(1 + TIMES.grace_s, abs=0.5)
    assert without.core.end_reason == "the publisher's page is gone"


def test_whoever_is_heard_within_the_grace_continues() -> None:
    """The same session, or another one."""
    for session in ("A", "B"):
        played = Played()
        lost_at = played.pass_until(60)
        assert played.core.state is StreamState.RECONNECTING
        if session == "B":
            played.core.session_opened("B", lost_at)
        assert played.core.packet(session, lost_at + 5, decodes=True) is not Verdict.IGNORED
        assert str(played.core.state) == "live"


def test_a_stream_whose_packets_come_never_ends_by_itself() -> None:
    """An hour, with one packet every 4.9 s."""
    played, now = Played(), 1.0
    while now < 3600:
        now = played.pass_until(now + 4.6, now)
        assert played.core.packet("A", now, decodes=False) is Verdict.HEARD
    assert played.core.state is StreamState.LIVE


def test_a_stream_ends_at_its_greatest_length_whoever_publishes_it() -> None:
    """Counted from the first sound, through a loss and a takeover; told ten minutes before."""
    core = StreamCore(replace(TIMES, max_stream_s=3600), 0.0)
    core.session_opened("A", 0.0)
    core.tick(10.0)
    core.packet("A", 10.0, decodes=True)
    told_at, now, session = None, 10.0, "A"
    while not core.ended:
        now += TICK_S
        if round(now, 1) == 1800:
            core.session_closed("A", now)
        if round(now, 1) == 1808:
            session = "B"
            core.session_opened("B", now)
        core.packet(session, now, decodes=True)
        core.tick(now)
        told_at = now if told_at is None and core.nearly_over else told_at
    assert told_at == pytest.approx(10 + 3600 - TOLD_BEFORE_END_S, abs=TICK_S)
    assert now == pytest.approx(10 + 3600, abs=TICK_S)
    assert core.end_reason == "it reached the greatest length"


def test_a_stream_that_goes_on_here_ends_when_it_would_have_elsewhere() -> None:
    """A node that leaves gives nobody another twelve hours."""
    core = StreamCore(replace(TIMES, max_stream_s=3600), 0.0, earlier_s=3000.0)
    core.session_opened("A", 0.0)
    core.packet("A", 1.0, decodes=True)
    core.tick(2.0)
    assert core.nearly_over and not core.ended
    core.packet("A", 601.0, decodes=True)
    core.tick(602.0)
    assert core.ended
