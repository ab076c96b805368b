"""Faults that take minutes: cuts, a lost head, nodes that drain or never return, new code."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.cluster.cluster import URL, Cluster
from tests.cluster.conftest import People
from tests.cluster.machines import Machine
from tests.cluster.pages import PublisherPage
from tests.cluster.seen import Pair, live_again, node_of, now, outcome, show
from tests.cluster.test_lost_node import (
    LIVE_S,
    LOST_S,
    TOLD_S,
    recordings_of,
    spread,
)
from tests.waiting import until

pytestmark = pytest.mark.soak

REPLICAS = ("Ingress", "StreamDirectory")
SETTLED_S = 10.0
"""Ray notices by then that a node is gone whose link came back, and starts it anew."""
GRACE_S = 120.0
"""Within this time nothing remains "recording" or "storing" without a living owner."""


@pytest.fixture(autouse=True)
async def whole(cluster: Cluster) -> None:
    """Begin with every node there and a warm actor."""
    for node in cluster.nodes:
        if not node.is_on:
            node.power_on()
    async with httpx.AsyncClient(base_url=URL, timeout=10) as http:

        async def ready() -> bool:
            try:
                answer = await http.get("/readyz")
            except httpx.HTTPError:
                return False
            media = [node.name for node in cluster.media]
            places = [sorted(node.name for node in cluster.replicas(each)) for each in REPLICAS]
            return answer.status_code == 200 and places == [media] * len(REPLICAS)

        await until(ready, timeout_s=120, interval_s=0.5)
        await asyncio.sleep(SETTLED_S)
        await until(ready, timeout_s=120, interval_s=0.5)


def seconds(recording: dict[str, Any]) -> float:
    """Get the length of a recording."""
    return float(recording["duration_s"])


async def test_six_publishers_are_spread(cluster: Cluster, people: People) -> None:
    """Over nodes first; no node has both directories or both ingresses."""
    pairs, _ = await spread(cluster, people, 6)
    counts = Counter(node_of(cluster, publisher).name for publisher, _ in pairs)
    assert set(counts.values()) == {3}
    for deployment in REPLICAS:
        nodes = [machine.name for machine in cluster.replicas(deployment)]
        assert sorted(nodes) == [machine.name for machine in cluster.media]


async def test_six_publishers_lose_a_node(cluster: Cluster, people: People) -> None:
    """All that were there are live elsewhere, without a refusal."""
    pairs, lost = await spread(cluster, people, 6)
    hit = [pair for pair in pairs if node_of(cluster, pair[0]) is lost]
    await asyncio.sleep(5)
    since = now()
    lost.power_off()
    outcomes = await asyncio.gather(*(live_again(pair, since) for pair in hit))
    show("that node killed, six publishers", *outcomes)
    for seen in outcomes:
        assert seen.told_s is not None and seen.told_s <= TOLD_S
        assert seen.live_s is not None and seen.live_s <= LIVE_S
        assert not seen.refusals


async def test_a_node_never_returns(cluster: Cluster, people: People) -> None:
    """What it recorded is there within two minutes, but for ten seconds at most."""
    [pair], lost = await spread(cluster, people, 1)
    publisher = pair[0]
    await asyncio.sleep(70)  # more than a part
    assert publisher.peer is not None
    sent_s = publisher.peer.microphone.played * 0.02
    since = now()
    lost.power_off()
    await live_again(pair, since)

    async def finished() -> bool:
        first = (await recordings_of(publisher.person))[0]
        return first["state"] in ("ready", "recovered")

    try:
        took_s = await until(finished, timeout_s=240, interval_s=1)
    finally:
        first = (await recordings_of(publisher.person))[0]
        show("a node that never returns", f"recording is {first['state']} after "
             f"{now() - since:.0f} s, {sent_s - seconds(first):.1f} s lost")  # fmt: skip
    assert took_s <= GRACE_S
    assert sent_s - seconds(first) <= LOST_S


async def test_a_short_stream_on_a_node_that_never_returns(
    cluster: Cluster, people: People
) -> None:
    """The same for a recording that has no part in the store yet."""
    [pair], lost = await spread(cluster, people, 1)
    publisher = pair[0]
    await asyncio.sleep(20)
    assert publisher.peer is not None
    sent_s = publisher.peer.microphone.played * 0.02
    since = now()
    lost.power_off()
    await live_again(pair, since)

    async def settled() -> bool:
        first = (await recordings_of(publisher.person))[0]
        return first["state"] in ("ready", "recovered")

    try:
        await until(settled, timeout_s=180, interval_s=1)
    finally:
        first = (await recordings_of(publisher.person))[0]
        show("a node that never returns, 20 s recorded", f"recording is {first['state']} after "
             f"{now() - since:.0f} s, {sent_s - seconds(first):.1f} s lost")  # fmt: skip
    assert sent_s - seconds(first) <= LOST_S


@pytest.mark.parametrize("cut_s", [5, 30, 120])
@pytest.mark.parametrize("redis_side", ["others", "node"])
async def test_a_node_is_cut_off(
    cluster: Cluster, people: People, cut_s: int, redis_side: str
) -> None:
    """From the other nodes, with Redis on either side; people reach both sides.

    Never two owners, and both recordings are whole in the end.
    """
    pairs, lost = await spread(cluster, people, 2)
    hit = [pair for pair in pairs if node_of(cluster, pair[0]) is lost]
    keeps = [cluster.people, cluster.proxy]
    if redis_side == "node":
        keeps.append(cluster.redis)
    others = cluster.everybody_but(lost, *keeps)
    since = now()
    lost.cut_from(others)
    rest = [node for node in cluster.media if node is not lost]
    if redis_side == "node":  # Redis and the store go with the node
        for node in (cluster.head, *rest):
            node.cut_from([cluster.redis])
    await _watch_the_cut(cluster, hit, since, cut_s, f"cut {cut_s} s, Redis with {redis_side}")
    lost.mend_to(others)
    if redis_side == "node":
        for node in (cluster.head, *rest):
            node.mend_to([cluster.redis])
    await _reunited(cluster, [pair[0] for pair in hit])


async def test_a_node_reaches_all_but_redis(cluster: Cluster, people: People) -> None:
    """Its pages come back by the other node, and after a few seconds nobody is refused."""
    pairs, lost = await spread(cluster, people, 2)
    hit = [pair for pair in pairs if node_of(cluster, pair[0]) is lost]
    newcomers = [await people.publisher() for _ in range(3)]
    since = now()
    lost.cut_from([cluster.redis])
    show("all but Redis", *await asyncio.gather(*(live_again(pair, since) for pair in hit)))
    await asyncio.sleep(max(0.0, since + 10 - now()))
    began = now()
    for page in newcomers:
        page.start()
        await until(lambda page=page: bool(page.times("publishes")), timeout_s=60)  # type: ignore[misc]
    times = [page.times("publishes")[0] - page.times("offers")[0] for page in newcomers]
    answers = [(await newcomers[0].person.http.get("/api/me")).status_code for _ in range(10)]
    refusals = [len(page.times("refused")) for page in newcomers]
    show("all but Redis, starts after 10 s", [f"{each:.1f} s" for each in times], refusals, answers)
    lost.mend_to([cluster.redis])
    assert now() - began < 30 and set(answers) == {200} and not any(refusals)
    await _reunited(cluster, [pair[0] for pair in hit])


@pytest.mark.parametrize("cut_s", [5, 30, 120])
async def test_a_node_loses_its_link(cluster: Cluster, people: People, cut_s: int) -> None:
    """Nobody reaches it, its publishers neither."""
    pairs, lost = await spread(cluster, people, 2)
    hit = [pair for pair in pairs if node_of(cluster, pair[0]) is lost]
    since = now()
    lost.cut()
    outcomes = await asyncio.gather(*(live_again(pair, since, 80) for pair in hit))
    show(f"link down for {cut_s} s", *outcomes)
    await asyncio.sleep(max(0.0, cut_s - (now() - since)))
    lost.mend()
    await _reunited(cluster, [pair[0] for pair in hit])
    if cut_s > 5:
        for seen in outcomes:
            assert seen.told_s is not None and seen.told_s <= TOLD_S
            assert seen.live_s is not None and seen.live_s <= 10


async def _watch_the_cut(
    cluster: Cluster, hit: list[Pair], since: float, cut_s: float, row: str
) -> None:
    """Look at whom the leases belong to while the cut lasts."""
    await asyncio.sleep(max(0.0, cut_s - (now() - since)))
    show(row, *(outcome(pair, since) for pair in hit))


async def _reunited(cluster: Cluster, publishers: list[PublisherPage]) -> None:
    """Wait until everything is recorded and stored, once each stream was stopped."""
    since = now()
    await asyncio.sleep(3)
    for publisher in publishers:
        friends = [state for _, state in publisher.states(publisher.person.username)]
        print(f"own states: {friends}")
        await publisher.close()

    async def settled() -> bool:
        for publisher in publishers:
            for recording in await recordings_of(publisher.person):
                if recording["state"] not in ("ready", "recovered"):
                    return False
        return True

    try:
        await until(settled, timeout_s=150, interval_s=1)
    finally:
        for publisher in publishers:
            kept = await recordings_of(publisher.person)
            show("recordings after the cut", [(r["state"], r["duration_s"]) for r in kept],
                 f"{now() - since:.0f} s after it ended")  # fmt: skip


async def test_the_head_is_lost(cluster: Cluster, people: People) -> None:
    """For longer than Ray usually waits: sound goes on, streams begin on warm actors."""
    pairs = await people.on_air(2)
    since = now()
    cluster.head.power_off()
    await asyncio.sleep(10)
    newcomer = await people.publisher()
    began = now()
    newcomer.start()
    try:
        await until(lambda: bool(newcomer.times("publishes")), timeout_s=60)
    except TimeoutError:
        show("start without a head", newcomer.events)
    start_s = now() - began
    async with httpx.AsyncClient(base_url=URL, timeout=20) as http:
        began = now()
        try:
            ready = str((await http.get("/readyz")).status_code)
        except httpx.HTTPError as error:
            ready = repr(error)
        ready_s = now() - began
    await asyncio.sleep(max(0.0, 75 - (now() - since)))
    gaps = [listener.longest_gap_s(since) for _, listener in pairs]
    show("head lost for 75 s", f"gaps {gaps}", f"start {start_s:.1f} s",
         f"/readyz {ready} after {ready_s:.1f} s", *(outcome(p, since) for p in pairs))  # fmt: skip
    cluster.head.power_on()
    back = now()

    async def listed() -> bool:
        return len(cluster.media) + 1 == (await asyncio.to_thread(_nodes, cluster))

    try:
        await until(listed, timeout_s=60, interval_s=1)
    finally:
        show("head back", f"all nodes listed after {now() - back:.0f} s")
    gaps = [listener.longest_gap_s(since) for _, listener in pairs]
    show("head back", f"gaps {gaps}")
    assert max(gaps) < 0.5
    assert start_s < 2
    assert not newcomer.times("refused")


def _nodes(cluster: Cluster) -> int:
    try:
        return cluster.command("ray status", timeout_s=20).count("node_")
    except Exception:
        return 0


async def test_a_node_drains(cluster: Cluster, people: People) -> None:
    """It gets nothing new, its pages move, and no recording is cut short."""
    pairs, leaving = await spread(cluster, people, 2)
    hit = [pair for pair in pairs if node_of(cluster, pair[0]) is leaving]
    await asyncio.sleep(5)
    await asyncio.to_thread(_drain, cluster, leaving, 25)
    since = now()
    await asyncio.sleep(2)
    fresh = await people.on_air(4)
    hosts = Counter(node_of(cluster, publisher).name for publisher, _ in fresh)
    await asyncio.sleep(max(0.0, 30 - (now() - since)))
    outcomes = [outcome(pair, since) for pair in hit]
    show("drained, 25 s", f"new publishers on {dict(hosts)}", *outcomes)
    for publisher, _ in hit:
        kept = await recordings_of(publisher.person)
        show("drained: recordings", [(r["state"], r["duration_s"]) for r in kept])
    leaving.power_off()
    assert leaving.name not in hosts
    assert all(seen.gap_s <= 1.0 for seen in outcomes)


def _drain(cluster: Cluster, node: Machine, deadline_s: int) -> None:
    code = "import ray; ray.init(logging_level=50); print(*(n['NodeID'] for n in ray.nodes() " \
           f"if n['Alive'] and n['NodeManagerAddress'] == '{node.address}'))"  # fmt: skip
    node_id = cluster.command(f'python -c "{code}"').split()[-1]
    cluster.command(
        f"ray drain-node --node-id {node_id} --reason DRAIN_NODE_REASON_PREEMPTION "
        f"--reason-message test --deadline-remaining-seconds {deadline_s}"
    )


async def test_a_burst_of_publishers(cluster: Cluster, people: People) -> None:
    """Twenty starts at once with four warm places: all of them within ten seconds."""
    pages = [await people.publisher() for _ in range(20)]
    began = now()
    for page in pages:
        page.start()
    try:
        await until(lambda: all(page.times("publishes") for page in pages), timeout_s=120)
    except TimeoutError:
        pass
    took = sorted(page.times("publishes")[0] - began for page in pages if page.times("publishes"))
    refusals = sum(len(page.times("refused")) for page in pages)
    show("burst of 20", f"{len(took)} started, p50 {took[len(took) // 2]:.1f} s, "
         f"p95 {took[int(len(took) * 0.95) - 1]:.1f} s, max {took[-1]:.1f} s, "
         f"refusals {refusals}")  # fmt: skip
    assert len(took) == 20 and took[18] <= 10


async def test_new_code_replaces_old(cluster: Cluster, people: People) -> None:
    """`hushcast deploy` after a change: nobody is refused, streams go on, actors are new."""
    pairs = await people.on_air(1)
    polls: Counter[str] = Counter()
    stop = asyncio.Event()

    async def poll(path: str) -> None:
        async with httpx.AsyncClient(base_url=URL, timeout=10) as http:
            while not stop.is_set():
                try:
                    polls[f"{path} {(await http.get(path)).status_code}"] += 1
                except httpx.HTTPError as error:
                    polls[f"{path} {type(error).__name__}"] += 1
                await asyncio.sleep(0.05)

    polling = [asyncio.create_task(poll(path)) for path in ("/healthz", "/readyz")]
    for node in cluster.nodes:
        node.run("echo '# another release' >> /opt/hushcast/actors/stream.py")
    since = now()
    told = await asyncio.to_thread(cluster.command, "hushcast deploy", timeout_s=320)
    took_s = now() - since
    late = await people.on_air(1)
    stop.set()
    await asyncio.gather(*polling)
    actors = cluster.media[0].run("ps ax -o lstart,args | grep StreamHostProcess | grep -v grep")
    show("new code", told, f"{took_s:.1f} s", dict(polls), outcome(pairs[0], since),
         f"refusals {len(late[0][0].times('refused'))}", actors)  # fmt: skip
    assert set(polls) == {"/healthz 200", "/readyz 200"}
    assert outcome(pairs[0], since).gap_s < 0.5
