"""Nodes come and go with the streams: Ray's autoscaler, whose provider starts nodes right here."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from actors.ice import gather_on
from tests.cluster.cluster import ADDRESSES, Cluster, running_cluster
from tests.cluster.conftest import CHANGES, People, skip_without_namespaces
from tests.cluster.machines import Machine
from tests.cluster.pages import place
from tests.cluster.seen import now, show
from tests.waiting import until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

URL = f"http://{ADDRESSES['head']}:8000"
FILE = "/etc/hushcast/autoscaler.json"
MOST_NODES = 4
LOOK_S = 0.02
LATE_S = 0.005
AUTOSCALER = {
    "cluster_name": "autoscaled",
    "max_workers": MOST_NODES,
    "idle_timeout_minutes": 0.2,
    "upscaling_speed": 1.0,
    "provider": {
        "type": "fake_multinode",
        "gcs_address": f"{ADDRESSES['head']}:6379",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "head_node_type": "ray.head.default",
    "auth": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "media": {
            "resources": {"CPU": 2, "object_store_memory": 104857600},
            "node_config": {},
            "min_workers": 0,
            "max_workers": MOST_NODES,
        },
    },
}
ENVIRONMENT = {
    **CHANGES,
    "HEAD_OPTIONS": f"--autoscaling-config={FILE}",
    "HUSHCAST_PUBLIC_URL": URL,
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "0",  # the nodes share an address, and HAProxy's own ports
}


def prepare(head: Machine) -> None:
    """Have nodes started on demand; a stream each for an actor, two actors for a node."""
    (head.root / FILE[1:]).parent.mkdir(exist_ok=True)
    (head.root / FILE[1:]).write_text(json.dumps(AUTOSCALER))
    serve = "/opt/hushcast/serve_app/serve.yaml"
    head.run(f"sed -i 's/streams_per_actor: .*/streams_per_actor: 1/' {serve}")
    head.run(f"sed -i 's/warm_actors: .*/warm_actors: 1/' {serve}")


@pytest.fixture
def autoscaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head whose autoscaler starts media nodes."""
    skip_without_namespaces()
    folder = tmp_path_factory.mktemp("autoscaled")
    with running_cluster(
        folder, changes=ENVIRONMENT, media=0, before="## 5.", prepare=prepare
    ) as running:
        with running.people.network():
            gather_on([running.people.address])
            yield running
            gather_on(["127.0.0.1"])


def nodes(cluster: Cluster) -> int:
    """Count the nodes that are alive, the head aside."""
    raylets = cluster.head.run("ps ax -o args | grep -c '[r]aylet/raylet ' || true")
    return int(raylets) - 1


@dataclass
class Stalls:
    """When this process stood still itself, as starting nodes make it: it plays and hears all."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    async def watch(self) -> None:
        """Note them until cancelled."""
        while True:
            due = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            if (now := time.monotonic()) - due > LATE_S:
                self.spans.append((due, now))

    def longest_gap_s(self, heard: list[float]) -> float:
        """Get the longest time between packets in which this process could have heard one."""
        return max(
            later - earlier - self._within(earlier, later)
            for earlier, later in itertools.pairwise(heard)
        )

    def _within(self, start: float, end: float) -> float:
        return sum(max(0.0, min(end, until) - max(start, since)) for since, until in self.spans)


async def test_nodes_follow_the_streams(autoscaled: Cluster) -> None:
    """Demand brings nodes, its end takes them away, and a stream that goes on is not cut."""
    people, stalls = People(URL), Stalls()
    watching = asyncio.create_task(stalls.watch())
    try:
        [(publisher, listener)] = await people.on_air(1)
        few = nodes(autoscaled)
        before = await publisher.person.stream()
        crowd, since = People(URL), now()
        await crowd.on_air(5)
        many = nodes(autoscaled)
        show("nodes", f"{few} for a stream, {many} for six, all live after {now() - since:.0f} s")
        assert few < many <= MOST_NODES
        await crowd.close()
        ended = time.monotonic()
        await until(lambda: nodes(autoscaled) <= few, timeout_s=600, interval_s=2)
        after, took_s = await publisher.person.stream(), time.monotonic() - ended
        heard = [at for at in listener.heard if at > since]
        gap_s = stalls.longest_gap_s([*heard, time.monotonic()])
        show("nodes", f"{nodes(autoscaled)} again {took_s:.0f} s after the end of five streams, "
             f"the longest gap of the first {gap_s:.2f} s")  # fmt: skip
        events = [(round(at - since, 1), *what) for at, *what in publisher.events]
        assert before and after and place(after) == place(before), events
        assert len(publisher.times("publishes")) == len(listener.times("listens")) == 1, events
        assert gap_s <= 0.5, events
    finally:
        watching.cancel()
        await people.close()
