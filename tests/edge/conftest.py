"""The edge in this process, on a Redis database and a bucket of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from actors import access
from actors.status import StatusStore
from deployments.ends import Ends
from deployments.presence import Presence
from foundation.redis import RedisClient, connect
from recordings.index import RecordingIndex
from recordings.store import RecordingStore, StoreConfig
from serve_app import friends
from serve_app.accounts import Accounts
from serve_app.api import build_api
from serve_app.isolation import Isolation
from serve_app.rates import Rates
from serve_app.services import Services
from serve_app.settings import Settings
from tests.edge.made_up import MadeUpStreams

SECRET = "a key that only these tests sign with"
PASSWORD = "correct horse"
RATES = {"accounts": "1000/minute", "offers": "1000/minute"}


@dataclass
class Person:
    """Somebody with an account and a token."""

    username: str
    token: str
    http: httpx.AsyncClient

    async def delete_account(self) -> httpx.Response:
        """Delete the account, with everything in it."""
        return await self.http.request("DELETE", "/api/me", json={"password": PASSWORD})


@dataclass
class Edge:
    """The application, what it works with, and people who use it."""

    api: FastAPI
    services: Services
    streams: MadeUpStreams
    redis: RedisClient
    clients: list[httpx.AsyncClient]

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Make a client without an account."""
        transport = httpx.ASGITransport(self.api, raise_app_exceptions=False)
        client = httpx.AsyncClient(
            transport=transport, base_url="http://hushcast.test", headers=headers
        )
        self.clients.append(client)
        return client

    async def person(self, username: str) -> Person:
        """Create an account and sign in with a bearer token."""
        await self.services.accounts.create(username, PASSWORD)
        token, _ = await self.services.accounts.sign_in(username, PASSWORD)
        return Person(username, token, self.client(authorization=f"Bearer {token}"))

    async def befriend(self, one: str, other: str) -> None:
        """Make two people friends."""
        await self.services.accounts.befriend(one, other)
        assert await self.services.accounts.befriend(other, one) == "friends"


@pytest.fixture(scope="session")
def store_config(s3: StoreConfig) -> StoreConfig:
    """A bucket of our own."""
    return replace(s3, bucket="test-edge")


@pytest.fixture(scope="session")
def store(store_config: StoreConfig) -> Iterator[RecordingStore]:
    """The real store."""
    store = RecordingStore(store_config)
    store.ensure_bucket()
    yield store
    store.close()


async def no_places() -> int:
    """Count the places of an edge without a directory."""
    return 0


async def nobody_does() -> bool:
    """Tell for all others that they do not reach Redis."""
    return False


MakeEdge = Callable[..., Edge]


@pytest.fixture
async def redis_url(valkey: str) -> AsyncIterator[str]:
    """A database of our own, empty before and after."""
    url = valkey.removesuffix("/0") + "/7"
    async with connect(url) as redis:
        await redis.flushdb()
        yield url
        await redis.flushdb()


@pytest.fixture
async def make_edge(redis_url: str, store: RecordingStore) -> AsyncIterator[MakeEdge]:
    """Make edges that differ in settings, store or Redis."""
    edges: list[Edge] = []

    def make(
        *,
        other_store: RecordingStore | None = None,
        rates: dict[str, str] | None = None,
        url: str = redis_url,
        another_reaches_redis: Callable[[], Awaitable[bool]] = nobody_does,
        **settings: Any,
    ) -> Edge:
        redis = connect(url)
        status, people = StatusStore(redis), Accounts(redis, SECRET)
        streams = MadeUpStreams(status)
        sources = (people.friends_of, friends.CHANNEL, partial(access.gone, redis))
        presence = Presence(url, status, *sources)
        services = Services(
            settings=Settings(redis_url=url, **settings),
            redis=redis,
            accounts=people,
            rates=Rates(redis, RATES if rates is None else rates),
            streams=streams,
            presence=presence,
            ends=Ends(status, no_places),
            isolation=Isolation(redis, another_reaches_redis, presence.leave),
            index=RecordingIndex(redis),
            store=other_store or store,
        )
        edges.append(Edge(build_api(services), services, streams, redis, []))
        return edges[-1]

    yield make
    for edge in edges:
        for client in edge.clients:
            await client.aclose()
        await edge.redis.aclose()


@pytest.fixture
def edge(make_edge: MakeEdge) -> Edge:
    """The edge as it usually is."""
    return make_edge()
