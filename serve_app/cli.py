"""The `hushcast` command."""

import argparse
import sys
from collections.abc import Sequence

from serve_app.local.signals import Signals

BUILDER = "serve_app.main:build_local_app"
"""What `hushcast up` runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    signals = Signals()
    signals.listen()  # before anything that takes long: there is no moment for a traceback
    options = _parser().parse_args(arguments)
    command = vars(options).pop("command")
    if command == "up":
        return _up(options, signals)
    return _reconcile(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hushcast", description="Live voice, denoised on the server.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="run everything on this machine")
    up.add_argument("--host", help="address to serve on (default: 127.0.0.1)")
    up.add_argument("--port", help="port to serve on (default: 8000)")
    up.add_argument("--data-dir", help="where everything is kept (default: var)")
    up.add_argument("--redis-url", metavar="URL", help="a Redis or Valkey; default: our own")
    up.add_argument("--s3-endpoint", metavar="URL", help="an object store; default: our own")
    up.add_argument("--s3-bucket", metavar="NAME", help="its bucket")
    recordings = commands.add_parser("recordings", help="look after what is stored")
    actions = recordings.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("reconcile", help="finish orphans, compare index and bucket")
    return parser


def _up(options: argparse.Namespace, signals: Signals) -> int:
    from serve_app.local.up import up
    from serve_app.settings import SettingsError, read_settings

    try:
        settings = read_settings(vars(options))
    except SettingsError as problem:
        print(problem, file=sys.stderr)
        return 2
    return up(settings, BUILDER, signals)


def _reconcile(options: argparse.Namespace) -> int:
    return 1


if __name__ == "__main__":
    sys.exit(main())
