"""The `hushcast` command."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serve_app.local.signals import Signals

if TYPE_CHECKING:
    from serve_app.settings import Settings

BUILDER = "serve_app.main:build_local_app"
"""What `hushcast up` runs."""
_FLAGS = ("host", "port", "data_dir", "redis_url", "s3_endpoint", "s3_bucket")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    signals = Signals()
    signals.listen()  # before anything that takes long: there is no moment for a traceback
    options = _parser().parse_args(arguments)
    from serve_app.settings import SettingsError, read_settings

    run = options.run
    flags = {name: value for name, value in vars(options).items() if name in _FLAGS}
    try:
        settings = read_settings(flags)
    except SettingsError as problem:
        print(problem, file=sys.stderr)
        return 2
    return int(run(settings, signals))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hushcast", description="Live voice, denoised on the server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="run everything on this machine, until Ctrl-C")
    up.add_argument("--host", help="address to serve on (default: 127.0.0.1)")
    up.add_argument("--port", help="port to serve on (default: 8000)")
    _add_storage(up)
    up.set_defaults(run=_up)
    recordings = commands.add_parser("recordings", help="look after what is stored")
    actions = recordings.add_subparsers(required=True, metavar="ACTION")
    reconcile = actions.add_parser(
        "reconcile", help="finish what was left, compare index and bucket, print the difference"
    )
    _add_storage(reconcile)
    reconcile.set_defaults(run=_reconcile)
    return parser


def _add_storage(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", help="where everything is kept (default: var)")
    command.add_argument("--redis-url", metavar="URL", help="a Redis or Valkey (default: our own)")
    command.add_argument("--s3-endpoint", metavar="URL", help="an S3 (default: our own)")
    command.add_argument("--s3-bucket", metavar="NAME", help="the bucket in it")


def _up(settings: "Settings", signals: Signals) -> int:
    from serve_app.local.up import up

    return up(settings, BUILDER, signals)


def _reconcile(settings: "Settings", signals: Signals) -> int:
    from serve_app.reconcile import run

    return run(settings, signals)


if __name__ == "__main__":
    sys.exit(main())
