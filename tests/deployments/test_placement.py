"""Where a new stream goes."""

from dataclasses import replace

from actors.stream import ActorDescription
from deployments.placement import best, room


def actor(name: str, users: int = 0, *, node: str = "", load: float = 0.0) -> ActorDescription:
    """Make an actor with eight places."""
    people = tuple(f"{name}-{n}" for n in range(users))
    return ActorDescription(name, "1", people, 8, 0.0, node_id=node, load=load)


def test_an_actor_has_room_until_its_places_or_its_core_are_used_up() -> None:
    """Whichever comes first; the load of an empty one is its own start."""
    assert [room(actor("a", n, load=0.07 * n)) for n in (0, 1, 7, 8)] == [8, 7, 1, 0]
    assert room(actor("a", 2), reserving=3) == 3
    assert room(actor("a", 1, load=0.9)) == 0, "a large audience"
    assert room(actor("a", 1, load=0.6)) == 3
    assert room(actor("a", load=1.5)) == 8
    assert room(replace(actor("a", 1), loop_lag_ms=600.0)) == 0
    assert room(replace(actor("a"), capacity=0)) == 0


def test_streams_spread_over_nodes_then_actors() -> None:
    """Nine streams on three nodes of two actors: three each, two on one actor at most."""
    actors = {f"{n}{a}": actor(f"{n}{a}", node=n) for n in "xyz" for a in "ab"}
    for _ in range(9):
        chosen = best(actors.values(), actors.values(), {}, {})
        assert chosen is not None
        actors[chosen.name] = replace(chosen, users=(*chosen.users, "somebody"))
    by_node = [sum(len(a.users) for a in actors.values() if a.node_id == n) for n in "xyz"]
    assert by_node == [3, 3, 3] and max(len(a.users) for a in actors.values()) == 2


def test_a_large_audience_counts_like_streams_and_a_large_node_takes_more() -> None:
    """What an actor takes of a core counts, and how many cores a node has."""
    busy, idle = actor("a", 1, node="x", load=0.7), actor("b", 2, node="y", load=0.3)
    assert best([busy, idle], [busy, idle], {}, {}) is idle
    small, large = actor("a", 1, node="x"), actor("b", 2, node="y")
    assert best([small, large], [small, large], {}, {"x": 1.0, "y": 8.0}) is large


def test_directories_that_know_nothing_of_each_other_yet_choose_different_nodes() -> None:
    """Each, of nodes that have as little to do, its own."""
    actors = [actor("a", node="x"), actor("b", node="y", load=0.01)]
    chosen = [best(actors, actors, {}, {}, near) for near in "xy"]
    assert chosen == actors
    assert best([actor("c", 1, node="x"), *actors], actors, {"a": 1}, {}, "x") is actors[1]


def test_places_that_are_being_asked_for_count() -> None:
    """People who come at the same moment do not all go to the same actor."""
    actors = [actor("a"), actor("b")]
    chosen = best(actors, actors, {"a": 1}, {})
    assert chosen is actors[1]
    assert best([], actors, {}, {}) is None
