"""Whether the nodes of a cluster see each other. On one machine there is nothing to ask."""

import asyncio
import os
from collections.abc import Iterator

from ray.exceptions import RayError

from commands.doctor.findings import Finding
from deployments.gcs import Gcs
from serve_app.settings import Settings

HEAD_PORT = 6379


def check_nodes(settings: Settings) -> Iterator[Finding]:
    """Ask the cluster's head, `HEAD_IP` in the environment of its nodes, which nodes there are."""
    if not (head := os.environ.get("HEAD_IP")):
        return
    try:
        nodes = asyncio.run(Gcs(f"{head}:{HEAD_PORT}").nodes())
    except (RayError, TimeoutError, ConnectionError):
        to_do = "Start it: streams go on without it, but no node can join. See docs/cluster.md."
        yield Finding("nodes", f"the head at {head} does not answer", to_do)
        return
    told = f"{len(nodes)} are there: {', '.join(sorted(node.node_ip for node in nodes))}"
    if own := os.environ.get("NODE_IP"):
        if own not in {node.node_ip for node in nodes}:
            to_do = "Read the log of its unit: journalctl -u hushcast-media, or -u hushcast-head."
            yield Finding("nodes", f"this one ({own}) is not in the cluster; {told}", to_do)
            return
    yield Finding("nodes", told)
