"""A node is lost, and nobody minds."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.app.client import Person
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import People
from tests.cluster.machines import Machine
from tests.cluster.seen import Pair, live_again, node_of, now, show
from tests.waiting import until

TOLD_S = 5.0
LIVE_S = 8.0
LOST_S = 10.0
"""How much of a recording may be lost with a node."""
FINISHED_S = 30.0
"""How long a node that came back may take to finish its recordings."""


async def recordings_of(person: Person) -> list[dict[str, Any]]:
    """Get a person's recordings, the oldest first."""
    return (await person.recordings())[::-1]


async def spread(cluster: Cluster, people: People, count: int) -> tuple[list[Pair], Machine]:
    """Put people on air; get them, and the node that most of them are on."""
    await until(cluster.is_warm, timeout_s=120, interval_s=1)
    pairs = await people.on_air(count)
    hosts = Counter(node_of(cluster, publisher).name for publisher, _ in pairs)
    places = {name: [m.name for m in cluster.replicas(name)]
              for name in ("Ingress", "StreamDirectory")}  # fmt: skip
    show(f"{count} publishers", dict(hosts), places)
    name = hosts.most_common()[0][0]
    return pairs, next(node for node in cluster.media if node.name == name)


@pytest.mark.parametrize(
    "in_time",
    [
        pytest.param(False, marks=[pytest.mark.slow, pytest.mark.quiet]),
        pytest.param(True, marks=pytest.mark.soak),
    ],
)
async def test_a_stream_survives_its_node(cluster: Cluster, people: People, in_time: bool) -> None:
    """Friends are told, the page goes on elsewhere; the node returns and stores its recordings.

    How fast depends on what else the machine has to do, so only the long runs insist on that.
    """
    pairs, lost = await spread(cluster, people, 2)
    hit = [pair for pair in pairs if node_of(cluster, pair[0]) is lost]
    begun = {(await recordings_of(publisher.person))[0]["id"] for publisher, _ in hit}
    since = now()
    lost.power_off()
    outcomes = await asyncio.gather(*(live_again(pair, since) for pair in hit))
    show("that node killed", *outcomes)
    lost.power_on()
    returned = now()

    async def stored() -> bool:
        kept = [each for publisher, _ in hit for each in await recordings_of(publisher.person)]
        return begun <= {each["id"] for each in kept if each["state"] in ("ready", "recovered")}

    try:
        await until(stored, timeout_s=150, interval_s=0.5)
    finally:
        show("its recordings, node back", f"{now() - returned:.1f} s")
    finished_s = now() - returned
    for seen in outcomes:
        assert seen.told_s is not None and seen.live_s is not None
        if in_time:
            assert seen.told_s <= TOLD_S and seen.live_s <= LIVE_S
            assert not seen.refusals  # the load balancer's, until it knows that the node is gone
    assert not in_time or finished_s <= FINISHED_S
