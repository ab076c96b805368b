"""A thousand presence sockets: what they cost, and what they notice of a fault."""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.app.client import Person
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import People
from tests.cluster.machines import Machine
from tests.cluster.pages import Page
from tests.cluster.seen import now, show
from tests.waiting import until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

FRIENDS, PAGES_EACH = 25, 40
CHANGES = 20
"""How many changes make the figures of a calm time."""
CHANGE_EVERY_S = 0.5


class Watching(Page):
    """A page that notes when it learned of each of the stream's titles, which are numbers."""

    def __init__(self, person: Person) -> None:
        super().__init__(person)
        self.learned: dict[int, float] = {}

    def news(self, username: str, stream: dict[str, Any] | None) -> None:
        """Learn of a title, and so of all before it."""
        if stream and stream["title"]:
            self.learned.setdefault(int(stream["title"]), time.monotonic())

    def away_s(self, since: float) -> float:
        """Say for how long it had no socket, at most, since a fault."""
        away, lost_at = 0.0, None
        for at, what, _ in self.events:
            if at >= since and what == "socket lost" and lost_at is None:
                lost_at = at
            if what == "socket" and lost_at is not None:
                away, lost_at = max(away, at - lost_at), None
        return float("inf") if lost_at is not None else away


@dataclass
class Changes:
    """Changes of somebody's stream, and when each was made."""

    publisher: Person
    made: dict[int, float] = field(default_factory=dict)
    last: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Requests that changed nothing, by their status or error."""

    async def make(self) -> None:
        """Change the title, unless that is refused."""
        began, change = time.monotonic(), {"title": str(self.last + 1)}
        try:
            answer = await self.publisher.http.patch("/api/stream", json=change)
        except httpx.TransportError as error:  # it may have been changed all the same
            self.refused[type(error).__name__] += 1
            return
        if answer.status_code == 200:
            self.last += 1
            self.made[self.last] = began
        else:
            self.refused[str(answer.status_code)] += 1

    async def make_some(self, count: int) -> None:
        """Change it a few times."""
        for _ in range(count):
            await self.make()
            await asyncio.sleep(CHANGE_EVERY_S)

    async def make_during(self, event: Coroutine[Any, Any, None]) -> None:
        """Change it over and over until an event is over."""
        task = asyncio.create_task(event)
        while not task.done():
            await self.make()
            await asyncio.sleep(CHANGE_EVERY_S)
        await task

    def delays_ms(self, pages: list[Watching], first: int) -> NDArray[np.float64]:
        """Say how long each page took to learn of each change, or of a later one."""
        delays = []
        for page in pages:
            known_at = float("inf")
            for number in range(self.last, first - 1, -1):
                known_at = min(known_at, page.learned.get(number, float("inf")))
                delays.append(1000 * (known_at - self.made[number]))
        return np.array(delays)


def memory_kb(cluster: Cluster) -> int:
    """Sum up what the ingress replicas take, in kB of their own and shared memory."""
    said = (
        "for pid in $(pgrep -f '[S]erveReplica:hushcast:Ingress'); do "
        "grep ^Pss: /proc/$pid/smaps_rollup; done || true"
    )
    lines = [line for node in cluster.media for line in node.run(said).splitlines()]
    return sum(int(line.split()[1]) for line in lines)


def told(delays: NDArray[np.float64]) -> str:
    """Write delays."""
    p50, p99 = np.percentile(delays, [50, 99])
    return f"p50 {p50:.0f}, p99 {p99:.0f}, worst {delays.max():.0f} ms of {len(delays)}"


async def open_pages(publisher: Person, people: People) -> list[Watching]:
    """Open the pages of friends, all with a socket."""
    friends = [await people.person() for _ in range(FRIENDS)]
    for friend in friends:
        await publisher.befriend(friend)
    pages = []
    for number in range(FRIENDS * PAGES_EACH):
        pages.append(Watching(friends[number % FRIENDS]))
        pages[-1].open()
        await asyncio.sleep(0.01)
    await until(lambda: all(page.times("socket") for page in pages), timeout_s=120)
    return pages


async def all_back(pages: list[Watching], since: float) -> None:
    """Wait until every page has a socket again, and has stayed so for a while."""
    calm_since = now()
    while now() - calm_since < 10:
        if any(page.away_s(since) == float("inf") for page in pages):
            calm_since = now()
        assert now() - since < 300
        await asyncio.sleep(0.2)


def show_fault(row: str, pages: list[Watching], changes: Changes, first: int, since: float) -> None:
    """Print how a fault went."""
    away = np.array([page.away_s(since) for page in pages])
    lost = away[away > 0]
    assert len(lost), "it was none"
    p50, p99 = np.percentile(lost, [50, 99])
    show(
        row,
        f"{len(lost)} of {len(pages)} sockets lost, back after p50 {p50:.1f}, p99 {p99:.1f}, "
        f"worst {lost.max():.1f} s; changes known after "
        f"{told(changes.delays_ms(pages, first))}; changes refused: {dict(changes.refused)}",
    )


def kill_replica(node: Machine) -> None:
    """Kill a node's ingress replica."""
    node.run("kill -9 $(pgrep -f '[S]erveReplica:hushcast:Ingress')")


async def test_a_thousand_sockets(cluster: Cluster, people: People) -> None:
    """They hear every change at once; after a fault all are back, and none has missed the end."""
    await until(cluster.is_warm, timeout_s=120, interval_s=1)
    [(publisher, _)] = await people.on_air(1)
    changes = Changes(publisher.person)
    empty_kb = memory_kb(cluster)
    pages = await open_pages(publisher.person, people)
    try:
        each_kb = (memory_kb(cluster) - empty_kb) / len(pages)
        await changes.make_some(CHANGES)
        await asyncio.sleep(2)
        delays = changes.delays_ms(pages, 1)
        show(f"{len(pages)} sockets", f"{told(delays)}; {each_kb:.0f} kB for each")
        assert np.isfinite(delays).all()

        first, since = changes.last + 1, now()
        kill_replica(cluster.replicas("Ingress")[0])
        await changes.make_during(all_back(pages, since))
        show_fault("a replica killed", pages, changes, first, since)

        first, since = changes.last + 1, now()
        for node in cluster.nodes:
            node.run("echo '# new code under many sockets' >> /opt/hushcast/serve_app/main.py")

        async def deploy() -> None:
            await asyncio.to_thread(cluster.command, "hushcast deploy", timeout_s=320)
            await all_back(pages, since)

        await changes.make_during(deploy())
        show_fault("new code", pages, changes, first, since)
        await asyncio.sleep(2)
        assert np.isfinite(changes.delays_ms(pages, 1)).all(), "every page knows the last change"
    finally:
        await asyncio.gather(*(page.close() for page in pages))
