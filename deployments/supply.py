"""Which actors to start and which to end, so that places are ready. Values in, values out.

Places are kept for the next streams, for those who wait, and for the streams of any one node, in
case it is lost. What no node has room for is asked of Ray all the same: that is the demand which
its autoscaler sees.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from actors.stream import ActorDescription
from deployments.nodes import ClusterNode

MAX_STARTING = 8
"""How many actors start at a time."""
SURPLUS_IDLE_S = 300.0
"""An actor may be surplus once it has been idle for this long."""
ROUNDING = 1e-6
"""Sums of CPUs are not exact."""


@dataclass(frozen=True)
class Target:
    """How much is kept ready, and what an actor takes of a node."""

    warm_actors: int
    places: int
    """Places of an actor."""
    num_cpus: float
    num_gpus: float = 0.0


@dataclass(frozen=True)
class Start:
    """Where to start an actor: on a node, or wherever there will be room but on these."""

    node_id: str | None = None
    avoid: frozenset[str] = frozenset()


ANYWHERE = Start()


@dataclass(frozen=True)
class Supply:
    """What there is: actors that take new streams, actors that start, nodes that take new actors.

    `rooms` counts the free places of each actor, `wanting` the people who wait for one. Nodes that
    were given up, because nobody was there, get no actors but for a need.
    """

    target: Target
    actors: Sequence[ActorDescription] = ()
    rooms: Mapping[str, int] = field(default_factory=dict)
    starting: Sequence[Start] = ()
    nodes: Sequence[ClusterNode] = ()
    wanting: int = 0
    given_up: Set[str] = frozenset()

    @property
    def free(self) -> int:
        """Places that are free, or will be once actors have started."""
        return sum(self.rooms.values()) + len(self.starting) * self.target.places

    def lacking(self) -> Start | None:
        """Say where a place is needed; None when there are enough."""
        if self.target.warm_actors + self.wanting > self.free:
            return ANYWHERE
        if len({*self._hosts, *(each.node_id for each in self.nodes)}) > 1:
            for node in sorted(self._hosts):
                if self._needed_without(node) > self.free - self._free_on(node):
                    return Start(avoid=frozenset([node]))
        return None

    def starts(self) -> list[Start]:
        """Say which actors to start now."""
        supply, starts = self, []
        while len(supply.starting) < MAX_STARTING and (start := supply._next_start()):
            starts.append(start)
            supply = supply._with(start)
        return starts

    def surplus(self) -> ActorDescription | None:
        """Name an actor that may exit: idle for long, and not needed for any loss.

        Of the emptiest node first, so that nodes become free and can be taken away; not where
        something else keeps the node.
        """
        for actor in self._idle:
            if self.starting or self._without(actor).lacking():
                continue
            alone = len(self._hosts) > 1 and not self._users_on(actor.node_id)
            if alone or self._empty > self.target.warm_actors:
                return actor
        return None

    def has_room(self) -> bool:
        """Tell whether a node has room for another actor."""
        return any(map(self._fits, self.nodes))

    # -- sums

    @property
    def _hosts(self) -> set[str]:
        """The nodes that have actors."""
        return {each.node_id for each in self.actors}

    @property
    def _shared(self) -> set[str]:
        """The nodes that have more on them than actors, as Serve's replicas."""
        ours = Counter(each.node_id for each in self.actors)
        return {
            node.node_id
            for node in self.nodes
            if node.cpus - node.free_cpus > ours[node.node_id] * self.target.num_cpus + ROUNDING
        }

    @property
    def _idle(self) -> list[ActorDescription]:
        """The actors that were idle for long; first those whose node could be taken away."""
        idle = [each for each in self.actors if not each.users and each.idle_s > SURPLUS_IDLE_S]
        shared = self._shared
        return sorted(idle, key=lambda a: (self._users_on(a.node_id), a.node_id in shared))

    @property
    def _empty(self) -> int:
        """How many actors have, or will have, no stream."""
        return len(self.starting) + sum(not each.users for each in self.actors)

    def _users_on(self, node: str) -> int:
        return sum(len(each.users) for each in self.actors if each.node_id == node)

    def _free_on(self, node: str) -> int:
        ready = sum(self.rooms.get(a.name, 0) for a in self.actors if a.node_id == node)
        return ready + self.target.places * sum(each.node_id == node for each in self.starting)

    def _needed_without(self, node: str) -> int:
        """Places that are needed when a node is lost: for its streams, or to go on as usual."""
        return max(self._users_on(node), self.target.warm_actors)

    def _fits(self, node: ClusterNode) -> bool:
        target = self.target
        cpus = node.free_cpus + ROUNDING >= target.num_cpus
        return cpus and node.free_gpus + ROUNDING >= target.num_gpus

    # -- steps

    def _next_start(self) -> Start | None:
        if lacking := self.lacking():
            return replace(lacking, node_id=self._node_for(lacking.avoid))
        if self._empty < self.target.warm_actors and (node := self._node_for(self.given_up)):
            return Start(node)
        return self._relief()

    def _relief(self) -> Start | None:
        """Start an actor where a node is kept anyway, so that another node becomes free.

        It takes over from an idle one that is needed, and that nothing else on its node is.
        """
        if self.starting:
            return None
        kept = self._shared | {each.node_id for each in self.actors if each.users}
        others = {each.node_id for each in self.nodes} - kept
        for actor in self._idle:
            without = self._without(actor)
            if actor.node_id not in kept and (lacking := without.lacking()):
                if node := without._node_for(lacking.avoid | others):
                    return Start(node)
        return None

    def _node_for(self, avoid: Set[str]) -> str | None:
        """Choose the node for another actor: with the fewest, then one that is kept anyway."""
        here = [a.node_id for a in self.actors] + [start.node_id for start in self.starting]
        shared = self._shared
        fitting = [each for each in self.nodes if each.node_id not in avoid and self._fits(each)]
        fitting.sort(key=lambda n: (here.count(n.node_id), n.node_id not in shared, -n.free_cpus))
        return fitting[0].node_id if fitting else None

    def _with(self, start: Start) -> "Supply":
        taken = [
            replace(
                each,
                free_cpus=each.free_cpus - self.target.num_cpus,
                free_gpus=each.free_gpus - self.target.num_gpus,
            )
            if each.node_id == start.node_id
            else each
            for each in self.nodes
        ]
        return replace(self, starting=[*self.starting, start], nodes=taken)

    def _without(self, actor: ActorDescription) -> "Supply":
        rooms = {name: free for name, free in self.rooms.items() if name != actor.name}
        return replace(
            self, actors=[each for each in self.actors if each is not actor], rooms=rooms
        )
