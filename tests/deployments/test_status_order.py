"""The order of what a subscriber is told, over every interleaving that hypothesis finds."""

from collections import deque
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.status import StatusChange, StreamStatus
from deployments.subscription import StatusOrder
from tests.edge.made_up import live

USERS = ("ada", "bob")


@dataclass
class World:
    """Redis with its channel, one subscriber, and what the page of that one shows."""

    version: int = 0
    statuses: dict[str, tuple[int, StreamStatus]] = field(default_factory=dict)
    channel: deque[StatusChange] = field(default_factory=deque)
    order: StatusOrder = field(default_factory=StatusOrder)
    shown: dict[str, tuple[int, StreamStatus | None]] = field(default_factory=dict)
    read_version: int | None = None
    read: dict[str, tuple[int, StreamStatus]] | None = None

    def change(self, username: str, *, ends: bool) -> None:
        """Publish a change, as an actor does."""
        self.version += 1
        stream = None if ends else replace(live(username), listeners=self.version)
        self.statuses.pop(username, None)
        if stream is not None:
            self.statuses[username] = self.version, stream
        self.channel.append(StatusChange(self.version, username, stream, "id", 0.0))

    def deliver(self) -> None:
        """Let the oldest message arrive."""
        if self.channel:
            change = self.channel.popleft()
            if self.order.take(change):
                self.show(change.version, change.username, change.stream)

    def show(self, version: int, username: str, stream: StreamStatus | None) -> None:
        """Show a status; it is never older than the one before."""
        before = self.shown.get(username)
        if before is not None and before[1] is not None and stream is not None:
            assert stream.listeners >= before[1].listeners, "backwards"
        assert before is None or version >= before[0], "the page would leave it out"
        self.shown[username] = version, stream

    def step_of_reading(self, audible: set[str]) -> None:
        """Go on with reading: change the audience, read the version, read statuses, tell."""
        if not self.order._waiting:
            gone = self.order.audible - audible
            self.order.drop(gone)
            for username in gone:
                self.shown.pop(username, None)
            self.order.begin_reading(audible - self.order.audible)
            self.read_version = self.read = None
        elif self.read_version is None:
            self.read_version = self.version
        elif self.read is None:
            self.read = {n: s for n, s in self.statuses.items() if n in self.order._waiting}
        else:
            for username in self.order._waiting:
                version, stream = self.read.get(username, (0, None))
                self.show(max(version, self.read_version), username, stream)
            versions = {name: version for name, (version, _) in self.read.items()}
            for change in self.order.end_reading(self.read_version, versions):
                self.show(change.version, change.username, change.stream)


STEPS = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(USERS), st.booleans()),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("read"), st.sets(st.sampled_from(USERS))),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_nothing_is_missed_and_nothing_goes_backwards(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    """However changes, messages, readings and friendships interleave; in the end all is shown."""
    world = World()
    for kind, *arguments in steps:
        if kind == "change":
            world.change(arguments[0], ends=arguments[1])
        elif kind == "deliver":
            world.deliver()
        else:
            world.step_of_reading(arguments[0])
    while world.order._waiting:
        world.step_of_reading(set(USERS))
    while world.channel:
        world.deliver()
    for username in world.order.audible:
        found = world.statuses.get(username)
        assert world.shown[username][1] == (found[1] if found else None)


def test_what_is_not_heard_is_not_told() -> None:
    """A change of somebody who is no friend, or is none any more, leaves no trace."""
    order = StatusOrder()
    change = StatusChange(1, "ada", None, "id", 0.0)
    assert not order.take(change)
    order.begin_reading(["ada"])
    assert not order.take(change) and order.end_reading(0, {}) == [change]
    order.drop(["ada"])
    assert not order.take(replace(change, version=2)) and order.audible == set()
