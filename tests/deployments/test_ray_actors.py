"""The client of stream actors on a real Ray: what an actor raises arrives as what it is."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import pytest
import ray

import actors.stream
from actors.access import Guest
from actors.errors import NoCapacity
from actors.names import NAMESPACE, STREAM_PREFIX
from actors.stream import StreamHost, StreamHostProcess
from commands.local.ray_head import ray_environment
from deployments.stream_actors import RayStreamActors, placing
from deployments.supply import ANYWHERE, Start
from foundation.logs import request_id
from foundation.redis import RedisUnavailable
from tests.waiting import until

NAME = f"{STREAM_PREFIX}test"


class Host:
    """Some methods of a `StreamHost`, each with a way to fail; `answer` is that of its process."""

    async def answer(self, request: str, method: str, *args: object) -> object:
        """Pass a call on."""
        return await getattr(self, method)(request, *args)

    async def describe(self, request: str) -> str:
        """Tell on whose behalf it was asked."""
        return request

    async def publish(self, *args: object) -> str:
        """Answer, as an actor before 0.3: it does not know what sessions rest on."""
        return "an answer"

    async def listen(self, *args: object) -> str:
        """Answer, as an actor before 0.3: it takes everybody for a user."""
        return "an answer"

    async def stop(self, *args: object) -> None:
        """Find no Redis."""
        raise RedisUnavailable("Redis: away")

    async def control(self, *args: object) -> None:
        """Refuse."""
        raise NoCapacity("All are busy.", 7)

    async def reserve(self, *args: object) -> None:
        """Have a bug, of a class that a time-out here has too."""
        raise TimeoutError("a bug")

    async def drain(self, *args: object) -> None:
        """Take for ever."""
        await asyncio.Event().wait()


class Orphan(StreamHostProcess):
    """What of an actor watches whether anybody asks about it."""

    def __init__(self, name: str) -> None:
        actors.stream.ORPHAN_TIMEOUT_S = 12.0  # looks every 3 s
        self._name, self._asked_at = name, 0.0
        self._recorder = self._previews = SimpleNamespace(busy=False)  # type: ignore[assignment]

    def _users(self) -> set[str]:
        return set()

    async def watch(self) -> None:
        """Watch, from now on."""
        self._watching = asyncio.create_task(self._end_when_orphaned())


async def exits() -> bool:
    """Tell whether an actor that nobody asks about exits."""
    name, remote = f"{STREAM_PREFIX}orphan", cast(Any, ray.remote(Orphan))
    orphan = remote.options(name=name, namespace=NAMESPACE, max_concurrency=10).remote(name)
    orphan.watch.remote()
    cluster = RayStreamActors()
    await until(lambda: is_named(cluster, name))
    await until(lambda: is_named(cluster, name, False))
    return True


async def is_named(cluster: RayStreamActors, name: str, there: bool = True) -> bool:
    """Tell whether an actor is there, or is not."""
    return (name in await cluster.names()) is there


async def main() -> None:
    """Ask for everything, and print what comes as JSON."""
    remote: Any = ray.remote(Host)
    [node] = await RayStreamActors().nodes()
    assert (node.node_ip, node.cpus, node.leaves_at) == ("127.0.0.1", 1.0, None)
    elsewhere = Start(avoid=frozenset(["0" * 56]))
    for where in (Start(node.node_id), elsewhere, ANYWHERE):
        placed = remote.options(**placing(where)).remote()
        assert await placed.describe.remote("here") == "here"
        ray.kill(placed)
    nowhere = remote.options(**placing(Start(avoid=frozenset([node.node_id])))).remote()
    waiting, _ = ray.wait([nowhere.describe.remote("here")], timeout=2)
    assert not waiting
    ray.kill(nowhere)
    actor = remote.options(name=NAME, namespace=NAMESPACE, max_concurrency=10).remote()
    cluster = RayStreamActors()
    request_id.set("a-request")
    told = {"describe": [str(await cluster.ask(NAME, 30, StreamHost.describe))]}
    told["names"] = sorted(await cluster.names())
    publish = cluster.ask(NAME, 30, StreamHost.publish, "ada", "s1", "an offer", sign_in="a1")
    told["publish"] = [await publish]
    listener = ("ada", "l1", "an offer", "link:1", False)
    told["listen"] = [await cluster.ask(NAME, 30, StreamHost.listen, *listener, guest=None)]
    guest = Guest("1", None, time.time() + 60)
    calls = {
        "guest": cluster.ask(NAME, 30, StreamHost.listen, *listener, guest=guest),
        "listeners": cluster.ask(NAME, 30, StreamHost.listeners, "ada"),
        "stop": cluster.ask(NAME, 30, StreamHost.stop, "ada", None, "the end"),
        "control": cluster.ask(NAME, 30, StreamHost.control, "ada", {}),
        "reserve": cluster.ask(NAME, 30, StreamHost.reserve, "ada"),
        "drain": cluster.ask(NAME, 0.5, StreamHost.drain, "the end"),
        "nobody": cluster.ask(f"{STREAM_PREFIX}nobody", 30, StreamHost.describe),
    }
    for name, call in calls.items():
        try:
            await call
        except Exception as error:
            told[name] = [type(error).__name__, str(error)]
    ray.kill(actor)
    while "dead" not in told:  # out of reach first, until Ray knows that it is dead
        try:
            await cluster.ask(NAME, 5, StreamHost.describe)
        except Exception as error:
            if type(error).__name__ != "ActorSilent":
                told["dead"] = [type(error).__name__]
    told["orphan"] = ["exits"] if await exits() else []
    print("told", json.dumps(told))


OUTDATED = ["ActorOutdated", "This stream began before an update. Please start it again."]


@pytest.mark.slow
def test_what_an_actor_raises_arrives_as_what_it_is(tmp_path: Path) -> None:
    """Refusals as themselves, bugs as ActorFailed, silence and death told apart."""
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    with TemporaryDirectory() as temp:  # the names of sockets in `tmp_path` would be too long
        run = subprocess.run(
            [sys.executable, "-m", "tests.deployments.test_ray_actors", temp],
            env=os.environ | ray_environment(token),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=240,
        )
    [line] = [line for line in run.stdout.splitlines() if line.startswith("told ")]
    assert json.loads(line.removeprefix("told ")) == {
        "names": [NAME],
        "describe": ["a-request"],
        "publish": ["an answer"],
        "listen": ["an answer"],
        "guest": OUTDATED,
        "listeners": OUTDATED,
        "stop": ["RedisUnavailable", "Redis: away"],
        "control": ["NoCapacity", "All are busy."],
        "reserve": ["ActorFailed", f"reserve of {NAME} failed"],
        "drain": ["ActorSilent", "The stream is not responding right now. Please try again."],
        "nobody": ["ActorGone", "The server that ran this stream is gone. Please try again."],
        "dead": ["ActorGone"],
        "orphan": ["exits"],
    }


if __name__ == "__main__":
    ray.init(
        num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=sys.argv[1]
    )
    asyncio.run(main())
    ray.shutdown()
