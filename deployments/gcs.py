"""Ray's control service (GCS): which nodes and actors there are.

Every call is bounded, also while the head is down. Ray's public functions for this wait for the
head for a minute, each in a thread that nobody can end, and do not say which nodes drain (ray
2.60); a public client with time limits would replace this module.
"""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # its stub leaves it out

from deployments.nodes import ClusterNode

T = TypeVar("T")

RPC_TIMEOUT_S = 2.0
ALIVE = 0
"""`GcsNodeInfo.ALIVE`."""


class Gcs:
    """A client of the control service. Methods raise RayError or TimeoutError if it is silent.

    Without an address, of the cluster that this process is part of.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._threads = ThreadPoolExecutor(1, "ray nodes")
        self._client: Any = None

    async def nodes(self) -> list[ClusterNode]:
        """List the nodes that are alive."""
        return await self._in_thread(self._nodes)

    async def actor_names(self, namespace: str) -> set[str]:
        """Name the actors of a namespace that run."""
        return {each.name for each in await self._actors(namespace)}

    async def nodes_of_actors(self, namespace: str, prefix: str) -> set[str]:
        """Name the nodes on which actors run whose names begin so, by their ids."""
        actors = await self._actors(namespace)
        return {each.address.node_id.hex() for each in actors if each.name.startswith(prefix)}

    async def _actors(self, namespace: str) -> list[Any]:
        client = self._client or await self._in_thread(self._connect)
        async with asyncio.timeout(2 * RPC_TIMEOUT_S):
            actors = await client.async_get_all_actor_info(
                actor_state_name="ALIVE", timeout=RPC_TIMEOUT_S
            )
        return [each for each in actors.values() if each.ray_namespace == namespace]

    async def _in_thread(self, call: Callable[[], T]) -> T:
        async with asyncio.timeout(4 * RPC_TIMEOUT_S):
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _connect(self) -> Any:
        if self._client is None:
            address = self._address or ray.get_runtime_context().gcs_address
            self._client = GcsClient(address=address)
        return self._client

    def _nodes(self) -> list[ClusterNode]:
        client = self._connect()
        infos = client.get_all_node_info(timeout=RPC_TIMEOUT_S)
        leaving = client.get_draining_nodes(timeout=RPC_TIMEOUT_S)
        usage = client.get_all_resource_usage(timeout=RPC_TIMEOUT_S).resource_usage_data.batch
        free = {each.node_id.hex(): each.resources_available for each in usage}
        return [
            ClusterNode(
                node_id.hex(),
                info.node_manager_address,
                info.resources_total.get("CPU", 0.0),
                free.get(node_id.hex(), {}).get("CPU", 0.0),
                info.resources_total.get("GPU", 0.0),
                free.get(node_id.hex(), {}).get("GPU", 0.0),
                _leaves_at(leaving.get(node_id.hex())),
            )
            for node_id, info in infos.items()
            if info.state == ALIVE
        ]


def _leaves_at(deadline_ms: int | None) -> float | None:
    """Get a time from Ray's milliseconds, of which 0 is no deadline."""
    if deadline_ms is None:
        return None
    return deadline_ms / 1000 if deadline_ms else math.inf
