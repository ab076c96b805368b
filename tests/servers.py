"""The real servers that tests share: started once a session, gone when it ends or is killed.

`from tests.servers import s3, valkey` in a conftest.py or a test module gives the fixtures.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from recordings.store import StoreConfig
from serve_app.local.child import Child, Part
from serve_app.local.guardian import Guardian
from serve_app.local.seaweed import SeaweedFS
from serve_app.local.valkey import Valkey


@contextmanager
def running(part: Part) -> Iterator[Child]:
    """Run a server with a guardian of its own."""
    with Guardian() as guardian:
        child = Child(part.name, part.command(), guardian)
        child.start()
        try:
            child.wait_until(part.answers, time.sleep)
            yield child
        finally:
            child.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey, with its password. Tests tell their keys apart, or flush."""
    folder = tmp_path_factory.mktemp("valkey")
    server = Valkey.prepare(folder / "data", folder / "log")
    with running(server):
        yield server.url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreConfig]:
    """A SeaweedFS: endpoint, bucket and keys, as the recordings layer wants them."""
    folder = tmp_path_factory.mktemp("s3")
    server = SeaweedFS.prepare(folder / "data", folder / "log")
    with running(server):
        yield server.store
