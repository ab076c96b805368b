"""A node of the cluster, as far as placement cares."""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ClusterNode:
    """A node that is alive, with what it has and what nobody has reserved yet.

    `leaves_at` is when it will be taken away, in seconds since the epoch; infinite if it drains
    without a deadline, None if it stays.
    """

    node_id: str
    node_ip: str = ""
    cpus: float = 1.0
    free_cpus: float = 0.0
    gpus: float = 0.0
    free_gpus: float = 0.0
    leaves_at: float | None = None

    def holds(self, num_cpus: float, num_gpus: float) -> bool:
        """Tell whether it is large enough for an actor, when nothing else is there."""
        return self.cpus >= num_cpus and self.gpus >= num_gpus

    def drained(self, drains: Mapping[str, float]) -> "ClusterNode":
        """Get it as it is if people have these nodes drained: by id or address, until when."""
        ends = [self.leaves_at, drains.get(self.node_id), drains.get(self.node_ip)]
        return replace(self, leaves_at=min((at for at in ends if at is not None), default=None))
