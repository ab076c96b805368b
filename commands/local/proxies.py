"""Proxies that the environment names: for the operator's own servers, never for ours."""

from collections.abc import MutableMapping

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
"""As programs look for it; Python and botocore compare an IPv6 host with its brackets."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def spare_loopback(environment: MutableMapping[str, str]) -> None:
    """Keep loopback away from the proxies that this process and its children are told to use.

    Without a proxy nothing changes. Some programs read one case of `NO_PROXY`, some prefer one:
    both get the loopback names in addition to what is there.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return
    lower, upper = environment.get("no_proxy", ""), environment.get("NO_PROXY", "")
    environment["no_proxy"] = _with_loopback(lower or upper)
    environment["NO_PROXY"] = _with_loopback(upper or lower)
    # Only Ray speaks gRPC, and only to its own parts. Empty means no proxy.
    environment["grpc_proxy"] = ""


def _with_loopback(hosts: str) -> str:
    if hosts.strip() == "*":
        return hosts
    return ",".join([*filter(None, [hosts.strip(" ,")]), *LOOPBACK])
