"""What was seen of a fault, in seconds from its beginning."""

import re
import time
from dataclasses import dataclass

from tests.cluster.cluster import Cluster
from tests.cluster.machines import Machine
from tests.cluster.pages import ListenerPage, PublisherPage
from tests.waiting import until

Pair = tuple[PublisherPage, ListenerPage]
_CANDIDATE = re.compile(r"^a=candidate:\S+ \d+ udp \d+ (\S+) ", re.MULTILINE)


def node_of(cluster: Cluster, page: PublisherPage) -> Machine:
    """Find the node that a page publishes to, by the addresses in the answer that it got."""
    assert page.peer is not None
    [address] = set(_CANDIDATE.findall(page.peer.connection.remoteDescription.sdp))
    return cluster.at(address)


@dataclass
class Outcome:
    """What became of one stream; seconds since the fault, None where it did not happen."""

    told_s: float | None
    """Until the friend's page was told of a change."""
    live_s: float | None
    """Until the friend's page was told that it is live again."""
    heard_s: float | None
    """Until the friend heard something again."""
    refusals: int
    gap_s: float
    """The longest silence at the friend's."""
    socket_s: float | None
    """Until the friend's page had a socket again, if it lost one."""

    def __str__(self) -> str:
        def shown(seconds: float | None) -> str:
            return "-" if seconds is None else f"{seconds:.1f} s"

        return (
            f"told {shown(self.told_s)}, live again {shown(self.live_s)}, heard again "
            f"{shown(self.heard_s)}, gap {self.gap_s:.2f} s, refusals {self.refusals}, "
            f"socket back {shown(self.socket_s)}"
        )


def outcome(pair: Pair, since: float) -> Outcome:
    """Sum up what happened to a stream since a fault."""
    publisher, listener = pair
    states = listener.states(publisher.person.username, since)
    told = states[0][0] if states else None  # another live stream, if it had no socket meanwhile
    live = next((at for at, state in states if state == "live"), None)
    silent = [a for a, b in zip(listener.heard, listener.heard[1:], strict=False)
              if b > since and b - a > 0.5]  # fmt: skip
    heard = next((at for at in listener.heard if silent and at > silent[-1]), None)
    lost = listener.times("socket lost", since)
    back = next((at for at in listener.times("socket", since) if lost and at > lost[0]), None)

    def after(at: float | None) -> float | None:
        return None if at is None else at - since

    return Outcome(
        after(told), after(live), after(heard), len(publisher.times("refused", since)),
        listener.longest_gap_s(since), after(back),
    )  # fmt: skip


async def live_again(pair: Pair, since: float, timeout_s: float = 90.0) -> Outcome:
    """Wait until a stream that was lost is live and heard again; gives up after a while."""
    publisher, _ = pair

    def back() -> bool:
        seen = outcome(pair, since)
        return seen.live_s is not None and seen.heard_s is not None

    try:
        await until(back, timeout_s=timeout_s, interval_s=0.1)
    except TimeoutError:
        for page in pair:
            told = [(round(at - since, 1), *what) for at, *what in page.events if at > since]
            print(f"{page.person.username} is not back: {told}")
    return outcome(pair, since)


def now() -> float:
    """Get the moment at which a fault begins."""
    return time.monotonic()


def show(row: str, *outcomes: object) -> None:
    """Print a row of the table."""
    for seen in outcomes:
        print(f"\n{row}: {seen}", flush=True)
