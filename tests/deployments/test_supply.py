"""Which actors are started and ended, so that places are ready."""

from dataclasses import replace

from actors.stream import ActorDescription
from deployments.nodes import ClusterNode
from deployments.placement import room
from deployments.supply import MAX_STARTING, Start, Supply, Target


def actor(name: str, node: str, users: int = 0, idle_s: float = 1e6) -> ActorDescription:
    """Make an actor with eight places."""
    people = tuple(f"{name}-{n}" for n in range(users))
    return ActorDescription(name, "1", people, 8, 0.0 if users else idle_s, node_id=node)


def supply(
    *actors: ActorDescription, warm: int = 1, wanting: int = 0, **free_cpus: float
) -> Supply:
    """Sum up actors and nodes with so many free CPUs."""
    nodes = [ClusterNode(name, name, 4.0, free) for name, free in free_cpus.items()]
    rooms = {each.name: room(each) for each in actors}
    target = Target(warm_actors=warm, places=8, num_cpus=1)
    return Supply(target, actors, rooms, nodes=nodes, wanting=wanting)


def started_on(supply: Supply) -> list[str | None]:
    """Name the nodes of all starts."""
    return [start.node_id for start in supply.starts()]


def test_a_new_stream_gets_an_actor_of_its_own_while_there_are_cores_for_it() -> None:
    """Where there are none it finds room beside others, and nothing waits for a core in vain."""
    assert started_on(supply(x=2.0)) == ["x"]
    assert started_on(supply(actor("a", "x", users=1), x=1.0)) == ["x"]
    assert started_on(supply(actor("a", "x", users=1), x=0.9)) == []
    both = actor("a", "x", users=8), actor("b", "x", users=7)
    assert started_on(supply(*both, x=0.2)) == []


def test_what_no_node_has_room_for_is_asked_of_ray() -> None:
    """A place for the next stream, and one for each who waits, in actors, within bounds."""
    full = actor("a", "x", users=8)
    assert started_on(supply(full, x=0.0)) == [None]
    assert started_on(supply(full, wanting=15, x=0.0)) == [None] * 2
    assert started_on(supply(full, wanting=1000, x=0.0)) == [None] * MAX_STARTING


def test_warm_actors_spread_over_nodes() -> None:
    """Four on three nodes, before there is any stream."""
    assert sorted(map(str, started_on(supply(warm=4, x=3.0, y=3.0, z=3.0)))) == ["x", "x", "y", "z"]


def test_the_streams_of_any_one_node_have_places_elsewhere() -> None:
    """The loss of the largest is covered; where nothing fits, another node is asked for."""
    x, y = actor("a", "x", users=8), actor("b", "y", users=1)
    assert started_on(supply(x, y, warm=0, x=3.0, y=3.0)) == ["y", "x"]
    [start] = supply(x, y, warm=0, x=3.0, y=0.0).starts()
    assert start == Start(avoid=frozenset("x")), "room on the same node does not help"
    assert started_on(supply(x, warm=0, x=0.0)) == [], "there is no other node"


def test_what_starts_counts() -> None:
    """Nothing is started twice."""
    waiting = supply(actor("a", "x", users=8), wanting=3, x=2.0)
    [first, *_] = starts = waiting.starts()
    assert waiting._with(first).starts() == starts[1:]


def test_surplus_leaves_the_emptiest_node_first() -> None:
    """So that it can be taken away; never what a loss needs, nor the last places."""
    x = [actor("a", "x", users=2), actor("b", "x")]
    y = [actor("c", "y"), actor("d", "y")]
    z = [actor("e", "z")]
    named = []
    everybody = [*x, *y, *z]
    while gone := supply(*everybody, x=0.0, y=0.0, z=0.0).surplus():
        named.append(gone.name)
        everybody.remove(gone)
    assert named == ["c", "d", "b"], "two nodes remain, one for each other's loss"


def test_surplus_leaves_a_node_that_becomes_free_by_that() -> None:
    """Not one that Serve's replicas keep: the spare for a loss is better there."""
    some = [actor("a", "x", users=1), actor("b", "y"), actor("c", "z")]
    gone = supply(*some, x=2.8, y=2.8, z=3.0).surplus()
    assert gone is not None and gone.name == "c"


def test_a_spare_moves_where_a_node_is_kept_anyway() -> None:
    """Another takes over from it there: a stream and its spares end up on the replicas' nodes."""
    x, y, z = actor("a", "x", users=1), actor("b", "y"), actor("c", "z")
    crowded = supply(x, y, z, x=1.9, y=1.9, z=3.0)
    full = replace(crowded, target=replace(crowded.target, places=1),
                   rooms={"a": 0, "b": 1, "c": 1})  # fmt: skip
    assert full.surplus() is None, "each is the other's spare"
    assert started_on(full) == ["x"], "not beside the other spare, nor on a node of its own"
    moved = replace(full, actors=[x, y, z, actor("d", "x", idle_s=0)],
                    rooms={"a": 0, "b": 1, "c": 1, "d": 1})  # fmt: skip
    assert started_on(moved) == []
    assert moved.surplus() is z


def test_a_first_actor_goes_where_the_replicas_are() -> None:
    """Their nodes are kept anyway."""
    assert started_on(supply(x=4.0, y=3.8)) == ["y"]


def test_who_was_idle_for_a_moment_stays() -> None:
    """Somebody may come back."""
    some = [actor(name, "x", idle_s=10) for name in "abc"]
    assert supply(*some, x=0.0).surplus() is None


def test_a_node_that_was_given_up_gets_an_actor_only_for_a_need() -> None:
    """Else it would never become free."""
    x, y = actor("a", "x", users=1), actor("b", "y", users=1)
    calm = replace(supply(x, y, x=0.0, y=0.0, z=4.0), given_up={"z"})
    assert started_on(calm) == []
    assert started_on(replace(calm, wanting=20)) == ["z"]
