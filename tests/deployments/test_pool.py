"""The pool of stream actors in virtual time, on a cluster without Ray."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest

from actors.errors import NoCapacity
from actors.stream import StreamActorConfig
from deployments.nodes import ClusterNode
from deployments.pool import (
    ASK_INTERVAL_S,
    ASK_TIMEOUT_S,
    ASSIGN_WAIT_S,
    DISTRUST_S,
    LAST_MOMENT_S,
    PLACED_PATIENCE_S,
    SILENCE_S,
    START_PATIENCE_S,
    UNFIT_S,
    WANTED_S,
    Pool,
    PoolConfig,
    StillStarting,
)
from deployments.stream_actors import StreamActorOptions
from foundation.redis import RedisUnavailable
from recordings.store import StoreConfig
from tests.deployments.fake_cluster import FakeCluster
from tests.virtual_time import run


def config(warm_actors: int, streams_per_actor: int = 1) -> PoolConfig:
    """Make the configuration of a pool."""
    store = StoreConfig(bucket="a-bucket")
    actor = StreamActorConfig(
        "redis://nowhere", store, "/nowhere", "1", streams_per_actor=streams_per_actor
    )
    return PoolConfig(StreamActorOptions(actor, num_cpus=1), warm_actors)


@asynccontextmanager
async def running(
    cluster: FakeCluster, *, warm_actors: int = 0, streams_per_actor: int = 1, **more: Any
) -> AsyncIterator[Pool]:
    """Run a pool that knows the cluster."""
    pool = Pool(config(warm_actors, streams_per_actor), cluster, **more)
    rounds = asyncio.create_task(pool.run())
    await asyncio.sleep(0.1)
    try:
        yield pool
        assert not rounds.done(), "a round never ends by itself"
    finally:
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)


def now() -> float:
    """Tell the virtual time."""
    return asyncio.get_running_loop().time()


def test_it_keeps_as_many_warm_as_asked_for() -> None:
    """Also after some were used, and after one died."""

    async def main() -> None:
        cluster = FakeCluster()
        async with running(cluster, warm_actors=2) as pool:
            await asyncio.sleep(2)
            assert pool.count_warm() == len(cluster.actors) == 2
            host = await pool.assign("ada")
            await asyncio.sleep(2)
            assert pool.count_warm() == 2 and len(cluster.actors) == 3
            cluster.kill(next(name for name in cluster.actors if name != host))
            await asyncio.sleep(2 * ASK_INTERVAL_S)
            assert pool.count_warm() == 2 and len(cluster.started) == 4

    run(main())


def test_a_burst_gets_each_place_once() -> None:
    """Twelve people and eight places: eight are hosted at once, and nobody is asked in vain."""

    async def main() -> None:
        cluster = FakeCluster(room=4)
        for n in range(4):
            cluster.add(f"actor-{n}", capacity=2)
        async with running(cluster, streams_per_actor=2) as pool:
            people = [f"user-{n}" for n in range(12)]
            hosts = await asyncio.gather(*map(pool.assign, people), return_exceptions=True)
            assert [isinstance(host, NoCapacity) for host in hosts] == [False] * 8 + [True] * 4
            assert sorted(map(str, hosts[:8])) == sorted(2 * list(cluster.actors))
            assert sum(actor.calls.count("reserve") for actor in cluster.actors.values()) == 8

    run(main())


def test_a_burst_is_served_by_actors_that_start_for_it() -> None:
    """Twenty people and four places: as many actors as are needed start at once, and no more."""

    async def main() -> None:
        cluster = FakeCluster(capacity=8, start_s=1.5)
        cluster.add("actor-0", capacity=4)
        async with running(cluster, streams_per_actor=8) as pool:
            began = now()
            people = [f"user-{n}" for n in range(20)]
            hosts = await asyncio.gather(*map(pool.assign, people))
            assert len(cluster.started) == 2 and set(hosts) == set(cluster.actors)
            assert now() - began == pytest.approx(1.5, abs=0.2)

    run(main())


@pytest.mark.parametrize("keeps", [True, False])
def test_who_waits_is_the_demand_that_ray_sees_until_it_is_gone(keeps: bool) -> None:
    """A cluster that is full asks for what is needed; later for nothing, whoever has asked."""

    async def main() -> None:
        cluster = FakeCluster(capacity=8, room=1)
        cluster.add("actor-0", users={f"u{n}" for n in range(8)})
        async with running(cluster, streams_per_actor=8, keeps=lambda: keeps) as pool:
            with pytest.raises(StillStarting):
                await pool.assign("ada")
            assert [each.node_id for each in cluster.waiting] == [None]
            await asyncio.sleep(WANTED_S + START_PATIENCE_S + 3 * ASK_INTERVAL_S)
            assert cluster.waiting == []
            with pytest.raises(StillStarting):
                await pool.assign("ada")
            cluster.cpus["node-1"] = 1.0
            assert await pool.assign("ada") != "actor-0"

    run(main())


def test_an_actor_that_is_too_large_for_every_node_is_a_problem() -> None:
    """Operators are told which setting it is; whoever wants to stream need not know."""

    async def main() -> None:
        cluster = FakeCluster()
        cluster.cpus["node-0"] = 0.5
        async with running(cluster, warm_actors=1) as pool:
            [problem] = pool.problems()
            assert "1 CPUs" in problem and "HUSHCAST_ACTOR_NUM_CPUS" in problem
            assert "CPU" not in pool.refusal
            cluster.cpus["node-0"] = 1.0
            await asyncio.sleep(2 * ASK_INTERVAL_S)
            assert pool.problems() == []

    run(main())


def test_the_last_room_that_another_directory_took_is_not_waited_for_for_ever() -> None:
    """Its actor is enough. Ours would be a demand of Ray's, for nobody."""

    async def main() -> None:
        cluster = FakeCluster(room=1)
        listed = cluster.nodes

        async def nodes() -> list[ClusterNode]:
            found = await listed()
            if not cluster.actors:
                cluster.add("another-directorys")
            return found

        with patch.object(cluster, "nodes", nodes):
            async with running(cluster, warm_actors=1):
                await asyncio.sleep(3 * ASK_INTERVAL_S)
                assert [each.node_id for each in cluster.waiting] == ["node-0"]
                await asyncio.sleep(PLACED_PATIENCE_S + 2 * ASK_INTERVAL_S)
                assert cluster.waiting == []

    run(main())


def test_a_node_that_cannot_reach_redis_is_asked_last() -> None:
    """Its actors describe themselves well; who wants a place pays for that once, not each time."""

    async def main() -> None:
        cluster = FakeCluster(nodes=2)
        for n in range(6):
            cluster.add(f"actor-{n}", node_id=f"node-{n % 2}", load=n % 2)
        bad = [cluster.actors[f"actor-{n}"] for n in (0, 2, 4)]
        async with running(cluster) as pool:
            await asyncio.sleep(ASK_INTERVAL_S)
            for actor in bad:
                actor.cut_off = True
            hosts = [await pool.assign(name) for name in ("ada", "bob")]
            assert [cluster.actors[host].node_id for host in hosts] == ["node-1"] * 2
            assert sum(actor.calls.count("reserve") for actor in bad) == 1
            for actor in cluster.actors.values():
                actor.cut_off = True
            with pytest.raises(RedisUnavailable):
                await pool.assign("cy")
            for actor in cluster.actors.values():
                actor.cut_off = False
            await asyncio.sleep(DISTRUST_S)
            assert cluster.actors[await pool.assign("dan")].node_id == "node-0"

    run(main())


def test_six_streams_spread_over_three_nodes() -> None:
    """Two each, whichever nodes the warm actors are on; the loss of one has places elsewhere."""

    async def main() -> None:
        cluster = FakeCluster(capacity=8, nodes=3, room=3)
        async with running(cluster, warm_actors=4, streams_per_actor=8) as pool:
            await asyncio.sleep(2)
            for n in range(6):
                await pool.assign(f"user-{n}")
                await asyncio.sleep(0.5)
            assert set(cluster.users_by_node().values()) == {2}
            cluster.lose("node-1")
            began = now()
            cluster._leases.clear()
            await asyncio.gather(pool.assign("user-1"), pool.assign("user-4"))
            assert now() - began < 0.2

    run(main())


def test_a_node_that_leaves_gets_nothing_new_and_becomes_empty() -> None:
    """Because Ray drains it, or a person does; what was there moves, and its actors exit."""

    async def main(by_ray: bool) -> None:
        cluster, drains = FakeCluster(capacity=8, nodes=2, room=2), dict[str, float]()

        async def asked() -> dict[str, float]:
            return drains

        async with running(cluster, warm_actors=2, streams_per_actor=8, drains=asked) as pool:
            await asyncio.sleep(2)
            for n in range(4):
                await pool.assign(f"user-{n}")
            assert cluster.users_by_node() == {"node-0": 2, "node-1": 2}
            (cluster.leaving if by_ray else drains)["node-0"] = 1e9
            await asyncio.sleep(4 * ASK_INTERVAL_S)
            assert {actor.node_id for actor in cluster.actors.values()} == {"node-1"}
            hosts = [await pool.assign(f"new-{n}") for n in range(4)]
            assert {cluster.actors[host].node_id for host in hosts} == {"node-1"}

    run(main(True))
    run(main(False))


def test_streams_stay_on_a_node_that_leaves_until_there_is_room_elsewhere() -> None:
    """Or until the last moment, when they are ended in time to be stored."""

    async def main() -> None:
        cluster, drains = FakeCluster(capacity=8, nodes=1, room=2), dict[str, float]()

        async def asked() -> dict[str, float]:
            return drains

        async with running(cluster, warm_actors=1, streams_per_actor=8, drains=asked) as pool:
            host = cluster.actors[await pool.assign("ada")]
            drains["node-0"] = time.time() + 3600
            await asyncio.sleep(4 * ASK_INTERVAL_S)
            assert host.users == {"ada"} and not host.leaving
            cluster.cpus["node-1"] = 2.0
            await asyncio.sleep(4 * ASK_INTERVAL_S)
            assert host.leaving
            host = cluster.actors[await pool.assign("bob")]
            drains["node-1"] = time.time() + 3600
            await asyncio.sleep(2 * ASK_INTERVAL_S)
            assert host.users == {"bob"}
            drains["node-1"] = time.time() + LAST_MOMENT_S - 1
            await asyncio.sleep(2 * ASK_INTERVAL_S)
            assert host.leaving

    run(main())


def test_an_actor_that_cannot_work_on_its_node_is_never_warm() -> None:
    """Another node gets it; where there is none, people are told why, and it is tried again."""

    async def main() -> None:
        cluster = FakeCluster(nodes=2)
        cluster.unfit.add("node-0")
        async with running(cluster, warm_actors=1) as pool:
            await asyncio.sleep(4 * ASK_INTERVAL_S)
            assert {actor.node_id for actor in cluster.actors.values()} == {"node-1"}
            assert pool.problems() == ["The spool on node-0 cannot be written."]
            cluster.lose("node-1")
            await asyncio.sleep(2 * ASK_INTERVAL_S)
            with pytest.raises(NoCapacity, match="spool on node-0"):
                await pool.assign("ada")
            cluster.unfit.clear()
            await asyncio.sleep(2 * UNFIT_S)
            assert pool.count_warm() and pool.problems() == []

    run(main())


def test_two_pools_find_places_and_one_keeps_the_supply() -> None:
    """The other one starts actors only for people who wait for it."""

    async def main() -> None:
        cluster = FakeCluster(capacity=2, start_s=1)
        async with (
            running(cluster, warm_actors=1, streams_per_actor=2) as keeper,
            running(cluster, warm_actors=1, streams_per_actor=2, keeps=lambda: False) as other,
        ):
            await asyncio.sleep(3 * ASK_INTERVAL_S)
            assert len(cluster.started) == 1 and other.count_warm() == keeper.count_warm() == 2
            await asyncio.gather(*(other.assign(f"user-{n}") for n in range(4)))
            await asyncio.sleep(3 * ASK_INTERVAL_S)
            assert 2 <= len(cluster.started) <= 4 and keeper.count_warm() >= 1

    run(main())


def test_a_burst_of_one_user_finds_one_host() -> None:
    """The lease decides; the places that lost are free again."""

    async def main() -> None:
        cluster = FakeCluster()
        for n in range(4):
            cluster.add(f"actor-{n}")
        async with running(cluster) as pool:
            hosts = await asyncio.gather(*(pool.assign("ada") for _ in range(4)))
            assert len(set(hosts)) == 1
            await asyncio.sleep(2 * ASK_INTERVAL_S)
            assert pool.count_warm() == 3

    run(main())


def test_an_assign_waits_for_an_actor_that_starts() -> None:
    """It has its place as soon as that one is warm."""

    async def main() -> None:
        async with running(FakeCluster(start_s=2), warm_actors=1) as pool:
            assert await pool.assign("ada")
            assert now() == pytest.approx(2, abs=0.1)

    run(main())


def test_a_place_that_is_free_by_now_is_found_although_a_round_is_away() -> None:
    """A stream ended since the last round: the actors are asked at once."""

    async def main() -> None:
        cluster = FakeCluster()
        actor = cluster.add("actor-0", users={"ada"})
        async with running(cluster) as pool:
            actor.users.clear()
            began = now()
            assert await pool.assign("bob") == "actor-0"
            assert now() - began < 0.1

    run(main())


def test_a_frozen_actor_delays_one_assign_once() -> None:
    """That one waits for one time-out; those beside and after it do not, until it is well again."""

    async def main() -> None:
        cluster = FakeCluster()
        frozen = cluster.add("actor-0")
        async with running(cluster) as pool:
            cluster.add("actor-1")
            cluster.add("actor-2")
            await asyncio.sleep(ASK_INTERVAL_S)
            frozen.frozen = True
            began = now()
            first = asyncio.create_task(pool.assign("ada"))
            await asyncio.sleep(0)
            bobs = await pool.assign("bob")
            assert bobs != "actor-0" and now() - began < 0.1
            assert await first not in ("actor-0", bobs)
            assert now() - began == pytest.approx(ASK_TIMEOUT_S, abs=0.1)
            cluster.actors[bobs].users.clear()
            began = now()
            assert await pool.assign("cid") == bobs and now() - began < 0.1
            assert frozen.calls.count("reserve") == 1
            assert pool.count_warm() == 0, "a frozen actor's place is not warm"
            frozen.frozen = False
            await asyncio.sleep(DISTRUST_S)
            assert await pool.assign("dan") == "actor-0"

    run(main())


def test_where_all_are_frozen_there_is_no_capacity() -> None:
    """One of them is asked once more: it may only have been busy."""

    async def main() -> None:
        cluster = FakeCluster(start_s=60)
        frozen = [cluster.add(f"actor-{n}") for n in range(3)]
        async with running(cluster) as pool:
            await asyncio.sleep(ASK_INTERVAL_S)
            for actor in frozen:
                actor.frozen = True
            await asyncio.sleep(ASK_TIMEOUT_S + ASK_INTERVAL_S)
            began = now()
            with pytest.raises(NoCapacity):
                await pool.assign("ada")
            assert now() - began <= ASSIGN_WAIT_S + ASK_TIMEOUT_S

    run(main())


def test_frozen_actors_are_replaced_on_a_node_that_they_fill() -> None:
    """Each by one at most: a frozen actor takes no time of the node's processors."""

    async def main() -> None:
        cluster = FakeCluster(room=2)
        frozen = [cluster.add(f"actor-{n}") for n in range(2)]
        async with running(cluster, warm_actors=1) as pool:
            await asyncio.sleep(ASK_INTERVAL_S)
            for actor in frozen:
                actor.frozen = True
            await asyncio.sleep(SILENCE_S + 4 * ASK_INTERVAL_S)
            host = await pool.assign("ada")
            assert host not in ("actor-0", "actor-1")
            await asyncio.sleep(3 * ASK_INTERVAL_S)
            await pool.assign("bob")
            with pytest.raises(NoCapacity):
                await pool.assign("cid")
            await asyncio.sleep(30)
            assert len(cluster.actors) == 4
            for actor in frozen:
                actor.frozen = False
            await asyncio.sleep(2 * ASK_INTERVAL_S)
            assert await pool.assign("cid") in ("actor-0", "actor-1")
            await asyncio.sleep(30)
            assert len(cluster.actors) == 4

    run(main())


def test_an_actor_that_died_is_forgotten_and_the_next_one_asked() -> None:
    """Whether it is found out by asking for a place or by a bug in the answer."""

    async def main() -> None:
        cluster = FakeCluster()
        for n in range(2):
            cluster.add(f"actor-{n}")
        async with running(cluster) as pool:
            cluster.kill("actor-0")
            assert await pool.assign("ada") == "actor-1"

    run(main())


def test_surplus_actors_and_those_without_a_model_exit() -> None:
    """As many stay as shall be warm, and everybody who hosts."""

    async def main() -> None:
        cluster = FakeCluster()
        for n in range(4):
            cluster.add(f"actor-{n}", idle_s=1e6)
        cluster.add("busy", users={"ada"}, idle_s=1e6)
        cluster.add("no model", capacity=0)
        async with running(cluster, warm_actors=2) as pool:
            await asyncio.sleep(2 * ASK_INTERVAL_S)
            assert pool.count_warm() == 2 and len(cluster.actors) == 3
            assert "busy" in cluster.actors and "no model" not in cluster.actors
            assert cluster.started == []

    run(main())


def test_actors_of_another_release_exit_when_their_streams_have_ended() -> None:
    """A new stream goes there only while none of this release's own is warm."""

    async def main() -> None:
        cluster = FakeCluster(start_s=3)
        cluster.add("idle", version="0")
        old = cluster.add("busy", version="0", capacity=1, users={"ada"})
        async with running(cluster, warm_actors=1) as pool:
            assert pool.count_warm() == 1 and await pool.assign("bob") == "idle"
            await asyncio.sleep(3 + 2 * ASK_INTERVAL_S)
            assert await pool.assign("cid") in cluster.started
            assert {"idle", "busy"} <= set(cluster.actors)
            old.users.clear()
            cluster.actors["idle"].users.clear()
            await asyncio.sleep(3 + 2 * ASK_INTERVAL_S)
            assert not {"idle", "busy"} & set(cluster.actors) and pool.count_warm() == 1

    run(main())


def test_while_a_release_replaces_another_there_is_always_a_place() -> None:
    """Where both fit, the old one's actors stay until the new one's are warm, else not all go."""

    async def main() -> None:
        for room in (2, 4):
            cluster = FakeCluster(start_s=3, room=room, capacity=8)
            for n in range(2):
                cluster.add(f"old-{n}", version="0")
            async with running(cluster, warm_actors=1, streams_per_actor=8) as pool:
                for _ in range(100):
                    assert pool.count_warm() > 0
                    await asyncio.sleep(0.1)
                assert not {"old-0", "old-1"} & set(cluster.actors)

    run(main())


def test_an_old_release_leaves_where_there_is_room_for_one_actor() -> None:
    """For as long as the new one takes to start there is no place."""

    async def main() -> None:
        cluster = FakeCluster(room=1)
        cluster.add("old", version="0")
        async with running(cluster, warm_actors=1) as pool:
            await asyncio.sleep(4 * ASK_INTERVAL_S)
            assert "old" not in cluster.actors and pool.count_warm() == 1

    run(main())


def test_actors_that_do_not_start_are_tried_again() -> None:
    """One at a time, and not in a storm."""

    async def main() -> None:
        cluster = FakeCluster(start_s=0)
        cluster.startable = False
        async with running(cluster, warm_actors=1) as pool:
            await asyncio.sleep(20)
            assert 5 <= len(cluster.started) <= 20
            cluster.startable = True
            await asyncio.sleep(5)
            assert pool.count_warm() == 1

    run(main())


def test_a_cluster_out_of_reach_ends_no_round() -> None:
    """Known actors are still asked for places."""

    async def main() -> None:
        cluster = FakeCluster()
        cluster.add("actor-0")
        async with running(cluster) as pool:
            cluster.reachable = False
            await asyncio.sleep(2 * ASK_INTERVAL_S)
            assert await pool.assign("ada") == "actor-0"

    run(main())
