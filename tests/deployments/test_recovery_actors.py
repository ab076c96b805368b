"""A node that comes back, on a real Ray: what is in its spool is finished though nobody streams."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import ray

from actors.names import NAMESPACE, STREAM_PREFIX
from commands.local.ray_head import ray_environment
from deployments import recovery
from deployments.recovery import NAME_PREFIX, RecoveryConfig, RecoveryKeeper
from foundation.redis import connect
from recordings.index import RecordingIndex, RecordingState
from recordings.store import RecordingStore, StoreConfig
from tests.recordings.spools import some_sound, write_spool
from tests.servers import s3 as s3
from tests.servers import valkey as valkey
from tests.waiting import until


class Hosting:
    """Has the name of a stream actor."""


async def main(config: RecoveryConfig, recording_id: str) -> None:
    """Run two keepers until a recording is finished, then kill the actor; print what happened.

    The next one leaves, since nothing is left, until the node hosts streams.
    """
    recovery.LOOK_INTERVAL_S = 0.5
    began = time.monotonic()
    keepers = [asyncio.create_task(RecoveryKeeper(config).run()) for _ in range(2)]
    async with connect(config.redis_url) as redis:
        index = RecordingIndex(redis)

        async def finished() -> bool:
            kept = await index.get(recording_id)
            return kept is not None and kept.state is RecordingState.RECOVERED

        await until(finished, timeout_s=60)
    seconds = time.monotonic() - began
    [first] = actors()
    ray.kill(ray.get_actor(first["name"], namespace=NAMESPACE))
    await until(lambda: [each["name"] for each in actors()] == [], timeout_s=60)
    await until(lambda: len(actors()) == 1, timeout_s=60)
    recovery.EMPTY_S = 1.0
    await until(lambda: actors() == [], timeout_s=60)
    await asyncio.sleep(2)
    assert actors() == [], "a node with anything on it is never scaled away"
    remote: Any = ray.remote(num_cpus=0)(Hosting)
    hosting = remote.options(name=f"{STREAM_PREFIX}1", namespace=NAMESPACE).remote()
    await until(lambda: len(actors()) == 1, timeout_s=60)
    del hosting
    for keeper in keepers:
        keeper.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)
    print("told", json.dumps({"name": first["name"], "seconds": seconds}))


def actors() -> list[dict[str, Any]]:
    """List the recovery actors that are alive."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return [each for each in named if each["name"].startswith(NAME_PREFIX)]


@pytest.fixture
def store(s3: StoreConfig) -> Iterator[RecordingStore]:
    """A bucket of our own."""
    store = RecordingStore(replace(s3, bucket="test-recovery"))
    store.ensure_bucket()
    yield store
    store.close()


@pytest.mark.slow
async def test_what_is_left_on_a_node_is_finished_there(
    tmp_path: Path, valkey: str, store: RecordingStore
) -> None:
    """One actor a node, whoever else keeps it; one that dies is replaced."""
    token, spool_dir = tmp_path / "token", tmp_path / "spool"
    token.write_text(secrets.token_hex(32))
    spool_dir.mkdir()
    spool = write_spool(spool_dir, some_sound(48_000))
    os.utime(spool, (0, 0))
    told = {
        "redis_url": f"{valkey.removesuffix('/0')}/11",
        "store": {name: value for name, value in asdict(store.config).items() if value},
        "spool_dir": str(spool_dir),
        "recording": spool.stem,
    }
    with TemporaryDirectory() as temp:  # the names of sockets in `tmp_path` would be too long
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "tests.deployments.test_recovery_actors", temp],
            input=json.dumps(told),
            env=os.environ | ray_environment(token),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=240,
        )
    [line] = [line for line in run.stdout.splitlines() if line.startswith("told ")]
    result = json.loads(line.removeprefix("told "))
    print(f"finished after {result['seconds']:.1f} s")
    assert result["name"].startswith(f"{NAME_PREFIX}v1-")
    assert not spool.exists() and len(list(store.list_keys())) == 1


if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    ray.init(
        num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=sys.argv[1]
    )
    store_config = StoreConfig(**given["store"])
    asked = RecoveryConfig(given["redis_url"], store_config, given["spool_dir"], "v1", num_cpus=1)
    asyncio.run(main(asked, given["recording"]))
    ray.shutdown()
