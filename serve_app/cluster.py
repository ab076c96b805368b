"""Whether the Ray that we run on is closed to strangers."""

import logging
import os
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

import ray

log = logging.getLogger(__name__)

OPEN = (
    "Ray has no token: anybody who reaches one of its ports, or a Serve replica's, can run code. "
    "Make one with `ray get-auth-token --generate`, copy ~/.ray/auth_token to every node, and "
    "start Ray with RAY_AUTH_MODE=token everywhere."
)


class OpenCluster(Exception):
    """Strangers can run code on this cluster; the message says how to close it."""


def refuse_an_open_cluster() -> None:
    """Raise OpenCluster on a cluster without a token; on loopback alone, log a warning."""
    if not ray.is_initialized():
        return
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    if needs_token(os.environ, (node["NodeManagerAddress"] for node in nodes)):
        raise OpenCluster(OPEN)
    if not has_token(os.environ):
        log.warning(OPEN)


def needs_token(environment: Mapping[str, str], addresses: Iterable[str]) -> bool:
    """Tell whether a cluster with nodes at these addresses lacks a token that it needs."""
    return not has_token(environment) and not all(ip_address(a).is_loopback for a in addresses)


def has_token(environment: Mapping[str, str]) -> bool:
    """Tell whether Ray asks for a token. It sets this itself where it finds one at its start."""
    return environment.get("RAY_AUTH_MODE", "").lower() in ("token", "k8s")
