"""Streams that are really heard, in this process: the ingress, one stream host, no Ray."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from playwright.async_api import Browser

from actors.stream import ActorDescription, StreamActorConfig, StreamHost
from actors.stream_core import StreamTimes
from deployments.nodes import ClusterNode
from deployments.stream_actors import StreamActorOptions
from deployments.streams import Streams
from deployments.supply import Start
from recordings.store import StoreConfig
from serve_app.api import build_api
from tests.app.browser import Tab, chromium, open_tab, write_microphone
from tests.app.client import Person
from tests.edge.conftest import Edge
from tests.pages.site import Server, serving
from tests.sounds import Sound

P = ParamSpec("P")
R = TypeVar("R")
NAME = "hushcast-stream-here"


class OneHost:
    """The directory and the actors of a cluster that is one host in this process."""

    def __init__(self, host: StreamHost) -> None:
        self._host = host

    async def assign(self, username: str) -> str:
        """Keep a place."""
        holder = await self._host.reserve(username)
        assert holder is not None, "the host is full"
        return holder

    async def count_warm(self) -> int:
        """Count the one."""
        return 1

    async def name_warm(self) -> list[str]:
        """Name the one."""
        return [NAME]

    async def problems(self) -> list[str]:
        """Know of none."""
        return []

    async def reaches_redis(self) -> bool:
        """Reach no other Redis than others do."""
        return False

    async def meet(self, names: Iterable[str]) -> None:
        """Know it already."""

    async def nodes(self) -> list[ClusterNode]:
        """List none."""
        return []

    async def names(self) -> set[str]:
        """Name the one."""
        return {NAME}

    async def start(self, name: str, options: StreamActorOptions, where: Start) -> ActorDescription:
        """Start no other."""
        raise AssertionError("there is one host")

    async def ask(
        self,
        name: str,
        limit_s: float,
        method: Callable[Concatenate[StreamHost, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call it."""
        await self._host.describe()  # one that nobody asks about ends itself
        return await method(self._host, *args, **kwargs)


@dataclass
class Stage:
    """A running hushcast without Ray, and a browser with a microphone."""

    edge: Edge
    host: StreamHost
    server: Server
    browser: Browser

    @property
    def url(self) -> str:
        """The pages' address."""
        return self.server.url

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Let the ingress be gone for a while; the host goes on."""
        await self.server.stop()
        yield
        await self.server.start()

    async def person(self, name: str) -> Person:
        """Let somebody sign up and in."""
        made = await self.edge.person(name)
        return Person(self.url, name, made.token)

    async def open(self, person: Person, path: str = "/", **options: Any) -> Tab:
        """Open a page for somebody who is signed in."""
        return await open_tab(self.browser, person, path, **options)


@asynccontextmanager
async def on_stage(
    edge: Edge,
    redis_url: str,
    store: StoreConfig,
    folder: Path,
    microphone: Sound,
    times: StreamTimes | None = None,
) -> AsyncIterator[Stage]:
    """Start a stream host, the ingress and Chromium; `microphone` is played again and again."""
    config = StreamActorConfig(
        redis_url,
        store,
        str(folder / "spool"),
        "1",
        models=edge.services.settings.models,
        streams_per_actor=8,
        ice_addresses=("127.0.0.1",),
        times=times or StreamTimes(),
    )
    host = StreamHost(NAME, config)
    await host.ready()
    one = OneHost(host)
    services = replace(edge.services, streams=Streams(edge.streams.store, one, one))
    wav = write_microphone(folder / "microphone.wav", microphone)
    try:
        async with serving(build_api(services)) as server, chromium(wav) as browser:
            yield Stage(edge, host, server, browser)
    finally:
        await host.drain("the test is over")
        await host._tasks.cancel()
        if host._sound_thread is not None:
            await asyncio.to_thread(host._sound_thread.close)
        await host._store._redis.aclose()  # an actor's ends with its process
