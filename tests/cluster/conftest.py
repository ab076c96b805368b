"""A cluster for all tests of this folder, and people who use it."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

import pytest

from actors.ice import gather_on
from tests.app.client import Person, sign_up
from tests.cluster.cluster import URL, Cluster, running_cluster
from tests.cluster.machines import NEEDS_ROOT
from tests.cluster.pages import ListenerPage, Page, PublisherPage
from tests.peers import encode
from tests.sounds import speech_like
from tests.waiting import until

CHANGES = {
    "HUSHCAST_SIGN_UP": "open",
    "HUSHCAST_LIMITS": '"accounts=100000/minute accounts_per_day=100000/day offers=1000/minute"',
}
"""What the tests' cluster has besides: many people behind one address."""
_MOUNTS = """
ip link add lan type bridge && mount -t tmpfs tmpfs /mnt && mkdir /mnt/changed /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/changed,workdir=/mnt/work /mnt/root
"""
OVERLAY = [*"unshare --mount --net --pid --fork sh -ec".split(), _MOUNTS]
"""Succeeds where machines of namespaces can be made."""
P = TypeVar("P", bound=Page)
PACKETS = encode(speech_like(2.0))


def skip_without_namespaces() -> None:
    """Skip a test where machines of namespaces cannot be made."""
    if os.geteuid() != 0 or subprocess.run(OVERLAY, capture_output=True, check=False).returncode:
        pytest.skip(NEEDS_ROOT)


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster; this thread is on its network, as the people are."""
    skip_without_namespaces()
    folder = tmp_path_factory.mktemp("cluster")
    with running_cluster(folder, changes=CHANGES) as running, running.people.network():
        gather_on([running.people.address])
        yield running
        gather_on(["127.0.0.1"])


class People:
    """Makes people with pages, and closes all of them."""

    def __init__(self, url: str = URL) -> None:
        self._url = url
        self._pages: list[Page] = []
        self._persons: list[Person] = []

    async def person(self) -> Person:
        """Make an account."""
        self._persons.append(await sign_up(self._url))
        return self._persons[-1]

    async def publisher(self) -> PublisherPage:
        """Open a page that has not pressed Start."""
        return self._opened(PublisherPage(await self.person(), PACKETS))

    async def listener(self, publisher: PublisherPage) -> ListenerPage:
        """Open the page of a friend who listens whenever there is something to hear."""
        friend = await self.person()
        await publisher.person.befriend(friend)
        page = self._opened(ListenerPage(friend, publisher.person.username))
        page.start()
        return page

    async def on_air(self, count: int) -> list[tuple[PublisherPage, ListenerPage]]:
        """Have some people publish, each with a listener who hears them."""
        pairs = []
        for _ in range(count):
            publisher = await self.publisher()
            pairs.append((publisher, await self.listener(publisher)))
        for publisher, _ in pairs:
            publisher.start()
        for publisher, listener in pairs:
            await _until(publisher, lambda page=publisher: bool(page.times("publishes")))  # type: ignore[misc]
            await _until(listener, lambda page=listener: bool(page.heard))  # type: ignore[misc]
        return pairs

    def _opened(self, page: P) -> P:
        page.open()
        self._pages.append(page)
        return page

    async def close(self) -> None:
        """Close all pages."""
        for page in self._pages:
            await page.close()
        for person in self._persons:
            await person.http.aclose()


async def _until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for a page. Raises AssertionError that says what it has been doing."""
    try:
        await until(condition, timeout_s=120)
    except TimeoutError as late:
        raise AssertionError(f"{page.person.username}: {page.events}") from late


@pytest.fixture
async def people(cluster: Cluster) -> AsyncIterator[People]:
    """People of the cluster, until the test ends."""
    made = People()
    yield made
    await made.close()
