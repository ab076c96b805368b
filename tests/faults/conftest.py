"""A hushcast with its own servers, which tests may stop, stall and restart."""

import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from commands.local.child import Child
from commands.local.seaweed import SeaweedFS
from commands.local.valkey import Valkey
from recordings.quota import RESERVE_BYTES
from recordings.store import StoreConfig
from tests.app.client import Person, sign_up
from tests.running import App, running_app
from tests.servers import running

SMALL_DISK_MB = RESERVE_BYTES // 2**20 + 64


@dataclass
class Instance:
    """A running hushcast and what it depends on."""

    app: App
    redis: Child
    redis_url: str
    s3: Child
    store: StoreConfig
    spool: Path
    """On its own small disk, if one can be mounted."""

    def replica(self, deployment: str) -> psutil.Process:
        """Find the process of a Serve deployment's replica."""
        everything = psutil.Process(self.app.process.pid).children(recursive=True)
        titles = {process: _title(process) for process in everything}
        [found] = [p for p, title in titles.items() if f":{deployment}" in title]
        return found


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system that is soon full; without the right to, use an ordinary folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Start all three, once for all tests of this folder."""
    folder = tmp_path_factory.mktemp("faults")
    valkey = Valkey.prepare(folder / "valkey", folder / "valkey.log")
    weed = SeaweedFS.prepare(folder / "s3", folder / "s3.log")
    with ExitStack() as stack:
        spool = stack.enter_context(small_disk(folder / "spool"))
        redis = stack.enter_context(running(valkey))
        s3 = stack.enter_context(running(weed))
        app = stack.enter_context(
            running_app(
                folder / "data",
                *("--s3-endpoint", weed.store.endpoint or "", "--s3-bucket", weed.store.bucket),
                HUSHCAST_REDIS_URL=valkey.url,
                HUSHCAST_SPOOL_DIR=str(spool),
                HUSHCAST_WARM_ACTORS="1",
                HUSHCAST_LIMITS="accounts=100000/minute offers=100000/minute",
                AWS_ACCESS_KEY_ID=weed.store.access_key or "",
                AWS_SECRET_ACCESS_KEY=weed.store.secret_key or "",
            )
        )
        yield Instance(app, redis, valkey.url, s3, weed.store, spool)


@pytest.fixture
async def people(instance: Instance) -> AsyncIterator[Callable[[], Awaitable[Person]]]:
    """Make people; their peers and streams end after the test."""
    known: list[Person] = []

    async def make() -> Person:
        known.append(await sign_up(instance.app.url))
        return known[-1]

    yield make
    for person in known:
        await person.close()


class Stalled:
    """Stop a process while the context lasts; it keeps its connections."""

    def __init__(self, child: Child) -> None:
        self._process = psutil.Process(child.pid)

    def __enter__(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGCONT)
