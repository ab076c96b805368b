"""/readyz proves what hushcast needs of Redis and the object storage, and says what is wrong."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

import serve_app.isolation
import serve_app.readiness
from deployments.subscription import ShuttingDown
from foundation.redis import connect
from recordings.store import RecordingStore
from serve_app.api import check_background
from tests.edge.conftest import Edge, MakeEdge
from tests.s3_stub import S3Stub, s3_stub
from tests.servers import valkey_with
from tests.waiting import until

PUTS_OF_A_PROBE = 2


@pytest.fixture(autouse=True)
def at_each_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again, whenever somebody asks."""
    monkeypatch.setattr(serve_app.readiness, "FRESH_S", 0.0)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[S3Stub]:
    with s3_stub(tmp_path) as stub:
        yield stub


@pytest.fixture
def edge(make_edge: MakeEdge, stub: S3Stub) -> Iterator[Edge]:
    """An edge on that store."""
    store = RecordingStore(stub.config, wait_s=1)
    yield make_edge(other_store=store)
    store.close()


@contextmanager
def redis_stopped(port: int) -> Iterator[None]:
    """Have the Redis on this port accept connections and answer nothing."""
    listening = (c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN)
    [process] = [c.pid for c in listening if c.pid and c.laddr and c.laddr.port == port]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


async def ready(edge: Edge) -> httpx.Response:
    return await edge.client().get("/readyz")


async def detail(edge: Edge) -> str:
    """Get what /readyz says is wrong."""
    answer = await ready(edge)
    assert answer.status_code == 503 and answer.headers["retry-after"]
    text: str = answer.json()["detail"]
    return text


async def test_a_store_is_proven_once_and_then_only_asked(edge: Edge, stub: S3Stub) -> None:
    """Polls are cheap; nothing of the proof is left in the bucket."""
    polls = await asyncio.gather(*(ready(edge) for _ in range(3)))
    polls += [await ready(edge) for _ in range(3)]
    assert [poll.status_code for poll in polls] == [200] * 6
    assert stub.count("PUT") == PUTS_OF_A_PROBE and not stub.objects


async def test_many_polls_are_one_look(
    edge: Edge, stub: S3Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may poll, as often as they like; for a second all get the same answer."""
    monkeypatch.setattr(serve_app.readiness, "FRESH_S", 60.0)
    await ready(edge)
    looks = stub.count("HEAD")
    polls = await asyncio.gather(*(ready(edge) for _ in range(10)))
    assert {poll.status_code for poll in polls} == {200} and stub.count("HEAD") == looks


async def test_a_store_that_refuses_puts_is_not_ready(
    edge: Edge, stub: S3Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although its bucket is there; it is ready as soon as a later proof succeeds."""
    monkeypatch.setattr(serve_app.readiness, "REFUSED_S", 0.0)
    stub.refuses = frozenset({"PUT"})
    told = await detail(edge)
    assert told == (
        "The object storage refuses requests (403 AccessDenied) when asked to store an object."
    )
    stub.refuses = frozenset()
    assert (await ready(edge)).status_code == 200


async def test_a_refusal_is_remembered_for_a_while(edge: Edge, stub: S3Stub) -> None:
    """Polls of a store that refuses do not try again each time."""
    stub.refuses = frozenset({"PUT"})
    assert [await detail(edge)] * 2 == [await detail(edge) for _ in range(2)]
    assert stub.count("PUT") == 1


async def test_a_store_that_comes_back_is_proven_again(edge: Edge, stub: S3Stub) -> None:
    """Another one may have taken its place."""
    assert (await ready(edge)).status_code == 200
    stub.refuses = frozenset({"HEAD", "GET"})
    assert "refuses requests (403 AccessDenied)" in await detail(edge)
    stub.refuses = frozenset({"PUT"})
    assert "when asked to store an object" in await detail(edge)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
async def test_a_store_that_hangs_holds_nothing(edge: Edge, stub: S3Stub, method: str) -> None:
    """The answer comes within the limit of checks, and one thread waits, however many ask."""
    stub.hangs_on = frozenset({method})
    polls = await asyncio.gather(*(detail(edge) for _ in range(8)))
    assert all("does not answer in time" in told for told in polls)
    assert stub.count("HEAD") <= 3 and stub.count("PUT") <= PUTS_OF_A_PROBE + 1
    stub.freed.set()


async def test_a_store_that_trickled_is_asked_again(edge: Edge, stub: S3Stub) -> None:
    """No thread waits for the rest of its answer."""
    stub.trickles = "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n"
    assert "does not answer in time" in await detail(edge)
    stub.trickles = ""

    async def is_ready() -> bool:
        return (await ready(edge)).status_code == 200

    await until(is_ready)


async def test_a_redis_that_became_a_replica_is_not_ready(
    make_edge: MakeEdge, tmp_path: Path
) -> None:
    """It answers, but nobody could sign in or start a stream."""
    with valkey_with(tmp_path) as port:
        url = f"redis://127.0.0.1:{port}/0"
        edge = make_edge(url=url)
        assert (await ready(edge)).status_code == 200
        async with connect(url) as redis:
            await redis.replicaof("127.0.0.1", 1)
        await until(lambda: _says(edge, "Redis is a read-only replica."))


async def _says(edge: Edge, sentence: str) -> bool:
    told: str | None = (await ready(edge)).json().get("detail")
    return told == sentence


async def test_a_replica_that_stopped_following_redis_is_not_healthy(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would tell its pages nothing any more, so Serve is to replace it."""
    fails = asyncio.Event()

    async def run() -> None:
        await fails.wait()
        raise ValueError("a message that nobody foresaw")

    monkeypatch.setattr(edge.services.presence, "run", run)
    async with edge.api.router.lifespan_context(edge.api):
        check_background(edge.api)
        fails.set()
        await until(lambda: "presence has ended" in caplog.text)
        with pytest.raises(RuntimeError, match="presence has ended"):
            check_background(edge.api)


async def test_a_replica_that_alone_is_cut_off_sends_its_pages_away(
    make_edge: MakeEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not healthy until it is back; while Redis is away for everybody, nothing changes."""
    monkeypatch.setattr(serve_app.isolation, "CUT_S", 0.2)
    monkeypatch.setattr(serve_app.isolation, "LOOK_INTERVAL_S", 0.05)
    asked, others_reach_it = 0, False

    async def another_reaches_redis() -> bool:
        nonlocal asked
        asked += 1
        return others_reach_it

    with valkey_with(tmp_path) as port:
        edge = make_edge(
            url=f"redis://127.0.0.1:{port}/0", another_reaches_redis=another_reaches_redis
        )
        presence = edge.services.presence
        async with edge.api.router.lifespan_context(edge.api):
            with presence.subscribe("ada") as page, redis_stopped(port):
                await until(lambda: asked > 2 * serve_app.isolation.ASKS)
                check_background(edge.api)
                assert not page.ended.is_set()
                others_reach_it = True
                await until(page.ended.is_set)
                assert isinstance(page.why, ShuttingDown)
                with pytest.raises(RuntimeError, match="cut off"):
                    check_background(edge.api)
            await until(lambda: not edge.services.isolation.isolated)
            check_background(edge.api)
