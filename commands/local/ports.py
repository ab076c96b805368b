"""Free ports on loopback."""

import errno
import random
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PAIR = 10_000
"""SeaweedFS opens each of its ports a second time, this much higher, for gRPC."""
_LOW, _HIGH = 20_000, 22_768
"""Ports and their pairs stay below 32768, where Linux's ports for outgoing connections begin, so
that a restarted server finds its port free."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on loopback now."""
    return refusal(port, "127.0.0.1") is None


def refusal(port: int, host: str) -> str | None:
    """Say why a server could not listen here now; None: it could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections lingering from an earlier server do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            return error.strerror
    return None


@contextmanager
def claimed(port: int) -> Iterator[bool]:
    """Claim a port before anybody listens there; gives False if another process has claimed it.

    Serve's proxy opens it seconds later, and then shares it with any other of this user. Only Linux
    has names for this that end with the process.
    """
    if sys.platform != "linux":
        yield True
        return
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0hushcast-port-{port}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            yield False
            return
        yield True


def free_ports(count: int) -> list[int]:
    """Find different ports that are free, and so are their pairs."""
    found: list[int] = []
    for port in random.sample(range(_LOW, _HIGH), _HIGH - _LOW):
        if len(found) == count:
            return found
        if is_free(port) and is_free(port + PAIR):
            found.append(port)
    raise OSError(f"found fewer than {count} free ports from {_LOW} to {_HIGH}")
