"""The process that runs the Serve application of `hushcast up`, and drains it at the end.

It is a separate process because `ray.init` and `serve.run` cannot be interrupted: its parent can
end it at any moment. It reads one line of JSON from its standard input and reports its progress,
line by line, on the file descriptor it was given; its standard output is a log.
"""

import asyncio
import importlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import FrameType

import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import LoggingConfig

from foundation import logs
from serve_app.settings import Settings

DRAIN_LIMIT_S = 30.0
"""How long streams may take to end and be stored; the rest is left to recovery."""
NO_ACCESS_LOG = LoggingConfig(enable_access_log=False)
"""Serve's would name people and write any X-Request-ID as it is; ours is in `requests.py`."""
DEPLOYED = "deployed"
"""What the process reports once Serve runs the application."""

log = logging.getLogger(__name__)


async def _nothing() -> None:
    """Drain nothing."""


@dataclass(frozen=True)
class LocalApp:
    """A Serve application, and the `drain` to await before it ends."""

    application: serve.Application
    drain: Callable[[], Awaitable[None]] = _nothing


Builder = Callable[[Settings], LocalApp]


def run_application(application: serve.Application, settings: Settings) -> None:
    """Run an application in the Ray this process is connected to; returns when it is deployed."""
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(
            host=settings.host,
            port=settings.port,
            ssl_keyfile=str(settings.tls_key) if settings.tls_key else None,
            ssl_certfile=str(settings.tls_cert) if settings.tls_cert else None,
        ),
        logging_config=NO_ACCESS_LOG,
    )
    serve.run(application, name="hushcast", route_prefix="/", logging_config=NO_ACCESS_LOG)


def find_builder(path: str) -> Builder:
    """Import `module:function`."""
    module, _, name = path.partition(":")
    builder: Builder = getattr(importlib.import_module(module), name)
    return builder


def _end_of(pipe_closed: threading.Event) -> None:
    sys.stdin.read()
    pipe_closed.set()


def _wait_for_the_end() -> None:
    """Wait for SIGTERM, or for the end of the process that started this one."""
    end = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        end.set()

    signal.signal(signal.SIGTERM, on_signal)
    threading.Thread(target=_end_of, args=(end,), daemon=True, name="stdin").start()
    while not end.wait(0.5):  # short, so that the signal handler gets to run
        continue


async def _drain(drain: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(DRAIN_LIMIT_S):
            await drain()
    except TimeoutError:
        log.warning("not everything was stored in time; the next start stores the rest")


def main() -> None:
    """Run until told to end. Arguments: the builder's `module:function`, a file descriptor."""
    builder = find_builder(sys.argv[1])
    with os.fdopen(int(sys.argv[2]), "w", buffering=1) as report:
        orders = json.loads(sys.stdin.readline())
        ray.init(
            address=orders["ray"],
            _node_ip_address="127.0.0.1",
            namespace="hushcast",
            logging_level=logging.WARNING,
        )
        # Ray's own handler would raise an exception, wherever we are.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        settings = Settings.from_json(orders["settings"])
        logs.configure("application", settings.logs)
        app = builder(settings)
        run_application(app.application, settings)
        print(DEPLOYED, file=report)
    _wait_for_the_end()
    asyncio.run(_drain(app.drain))
    # Serve would wait for open sockets, and Ray for its workers: our parent ends both.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
