"""Where a new stream goes. Values in, values out.

The node that has the least to do comes first, then the actor: so a stream has a process of its own
while there are cores for it, and streams share when there are none.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from actors.stream import ActorDescription

FULL_LOAD = 0.9
"""An actor that takes this share of a core has no room: beyond it, its event loop runs late."""
LATE_MS = 500.0
"""Nor has one whose event loop was this late in the last seconds: sound is 20 ms a packet."""
ALONE_LOAD = 0.2
"""The share of a core that a stream takes in a process of its own (docs/benchmarks.md)."""


def room(actor: ActorDescription, reserving: int = 0) -> int:
    """Count the streams that an actor can take without harm to those that it has.

    `reserving` of its places are being asked for. A large audience takes places too.
    """
    if not actor.capacity:
        return 0
    free = actor.capacity - len(actor.users) - reserving
    if actor.users:  # without streams, what it takes of a core is its own start
        left = 0.0 if actor.loop_lag_ms >= LATE_MS else max(0.0, FULL_LOAD - actor.load)
        free = min(free, math.ceil(left * actor.capacity / FULL_LOAD))
    return max(0, free)


def weight(actor: ActorDescription, reserving: int = 0) -> int:
    """Say how many streams an actor has, or how many its load is worth if that is more."""
    return reserving + max(len(actor.users), int(actor.load / ALONE_LOAD) if actor.users else 0)


def best(
    candidates: Iterable[ActorDescription],
    everybody: Iterable[ActorDescription],
    reserving: Mapping[str, int],
    cpus: Mapping[str, float],
    near: str = "",
) -> ActorDescription | None:
    """Choose the actor for a new stream among candidates; None if there are none.

    `everybody` are all actors known: they say what nodes have to do. `cpus` are those of nodes.
    Of two that are as good, the one on the node `near` is chosen: so two directories that have not
    heard yet what the other one chose do not choose the same.
    """
    nodes: Counter[str] = Counter()
    for actor in everybody:
        nodes[actor.node_id] += weight(actor, reserving.get(actor.name, 0))

    def cost(actor: ActorDescription) -> tuple[float, int, bool, float]:
        per_cpu = nodes[actor.node_id] / max(1.0, cpus.get(actor.node_id, 1.0))
        streams = weight(actor, reserving.get(actor.name, 0))
        return per_cpu, streams, actor.node_id != near, actor.load

    return min(candidates, key=cost, default=None)
