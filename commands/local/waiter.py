"""The process that waits until `hushcast up` ends, and then drains the application.

It imports what that takes only then: Ray and what streams are made of take 110 MB. Its argument is
the descriptor of a file with its orders, which application.py has written.
"""

import asyncio
import json
import logging
import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Awaitable

DRAIN_LIMIT_S = 30.0
"""How long streams may take to end and be stored; the rest is left to recovery."""

log = logging.getLogger(__name__)


def wait_for_the_end() -> None:
    """Wait for SIGTERM, which is blocked, or for the end of the process that started this one."""
    threading.Thread(target=_end_with_stdin, daemon=True, name="stdin").start()
    signal.sigwait({signal.SIGTERM})


def _end_with_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def connect(address: str) -> None:
    """Connect this process to the Ray of `hushcast up`."""
    import ray

    ray.init(
        address=address,
        _node_ip_address="127.0.0.1",
        namespace="hushcast",
        logging_level=logging.WARNING,
    )


def drain(ray_address: str, settings: str, path: str) -> None:
    """Connect to Ray and drain, for a while at most."""
    from foundation import logs
    from serve_app.settings import Settings

    logs.configure("application", Settings.from_json(settings).logs)
    connect(ray_address)
    asyncio.run(_in_time(pkgutil.resolve_name(path)()))


async def _in_time(draining: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(DRAIN_LIMIT_S):
            await draining
    except TimeoutError:
        log.warning("not everything was stored in time; the next start stores the rest")


async def end_streams() -> None:
    """Drain hushcast."""
    from deployments.stream_actors import RayStreamActors, drain_all

    await drain_all(RayStreamActors(), "hushcast is stopping")


def main() -> None:
    """Wait, then drain. SIGTERM has been blocked by whoever was this process before."""
    with os.fdopen(int(sys.argv[1])) as file:
        orders = json.load(file)
    wait_for_the_end()
    drain(orders["ray"], orders["settings"], orders["drain"])
    # Ray would wait for its workers: our parent ends them.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
