"""The process that deploys the Serve application of `hushcast up`, and becomes the one that waits.

It is a separate process because `ray.init` and `serve.run` cannot be interrupted: its parent can
end it at any moment. It reads one line of JSON from its standard input and reports its progress,
line by line, on the file descriptor it was given; its standard output is a log.
"""

import json
import logging
import os
import pkgutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import LoggingConfig

from commands.local import waiter
from foundation import logs
from serve_app.settings import Settings

NO_ACCESS_LOG = LoggingConfig(enable_access_log=False)
"""Serve's would name people and write any X-Request-ID as it is; ours is in `requests.py`."""
DEPLOYED = "deployed"
"""What the process reports once Serve runs the application."""


@dataclass(frozen=True)
class LocalApp:
    """A Serve application, and what drains it before it ends.

    `drain` is the `module:function` of a coroutine function that takes nothing and uses Ray.
    """

    application: serve.Application
    drain: str


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


def _wait(ray_address: str, settings: Settings, drain: str) -> NoReturn:
    """Become the process that waits, without what this one has imported."""
    orders = tempfile.TemporaryFile("w+")  # others could read secrets in arguments
    json.dump({"ray": ray_address, "settings": settings.to_json(), "drain": drain}, orders)
    orders.flush()
    os.lseek(orders.fileno(), 0, os.SEEK_SET)
    os.set_inheritable(orders.fileno(), True)
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, "-m", waiter.__name__, str(orders.fileno())])


def main() -> None:
    """Deploy, then wait. Arguments: the builder's `module:function`, a file descriptor."""
    builder: Builder = pkgutil.resolve_name(sys.argv[1])
    with os.fdopen(int(sys.argv[2]), "w", buffering=1) as report:
        orders = json.loads(sys.stdin.readline())
        waiter.connect(orders["ray"])
        # Ray's own handler would raise an exception, wherever we are.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        settings = Settings.from_json(orders["settings"])
        logs.configure("application", settings.logs)
        app = builder(settings)
        run_application(app.application, settings)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # whoever waits takes it
        print(DEPLOYED, file=report)
    ray.shutdown()  # which Serve survives
    _wait(orders["ray"], settings, app.drain)


if __name__ == "__main__":
    main()
