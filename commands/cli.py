"""The `hushcast` command."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from actors.models import DEFAULT_MODEL, MODELS
from commands.local.proxies import spare_loopback
from commands.local.signals import Signals

if TYPE_CHECKING:
    from serve_app.settings import Settings

Run = Callable[[argparse.Namespace, Signals], int]

BUILDER = "commands.local.hushcast:build_local_app"
"""What `hushcast up` runs."""
UP_FLAGS = (
    "host",
    "port",
    "data_dir",
    "redis_url",
    "s3_endpoint",
    "s3_bucket",
    "tls_cert",
    "tls_key",
)
"""Settings that `hushcast up` has flags for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    signals = Signals()
    signals.listen()  # before anything slow, so that Ctrl-C never shows a traceback
    spare_loopback(os.environ)  # before anything reads it, or inherits it
    options = _parser().parse_args(arguments)
    return int(options.run(options, signals))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hushcast", description="Live voice, denoised on the server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="run everything on this machine, until Ctrl-C")
    up.add_argument("--host", help="address to serve on (default: 127.0.0.1)")
    up.add_argument("--port", help="port to serve on (default: 8000)")
    up.add_argument("--tls-cert", metavar="F", help="certificate chain, PEM: serve over HTTPS")
    up.add_argument("--tls-key", metavar="F", help="its key, PEM")
    _add_storage(up)
    up.set_defaults(run=_with_settings(_up))
    _add_denoise(commands)
    _add_load(commands)
    doctor = commands.add_parser("doctor", help="check what hushcast needs, and say how to fix it")
    _add_storage(doctor)
    doctor.set_defaults(run=_with_settings(_doctor))
    _add_trace(commands)
    _add_accounts(commands)
    _add_deploy(commands)
    _add_drain(commands)
    recordings = commands.add_parser("recordings", help="maintain stored recordings")
    actions = recordings.add_subparsers(required=True, metavar="ACTION")
    reconcile = actions.add_parser(
        "reconcile",
        help="finish interrupted recordings, compare index and bucket, print the differences",
    )
    _add_storage(reconcile)
    reconcile.set_defaults(run=_with_settings(_reconcile))
    return parser


def _add_denoise(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    denoise = commands.add_parser(
        "denoise",
        help="remove noise from sound files",
        description="Remove noise from sound files, keeping rate, channels, length and subtype.",
    )
    denoise.add_argument(
        "inputs", metavar="IN", nargs="+", help="any file with sound, or - for standard input"
    )
    denoise.add_argument(
        "output", metavar="OUT", help="a file, - for standard output, or a folder for several IN"
    )
    denoise.add_argument(
        "--attenuation-limit-db",
        metavar="X",
        type=float,
        help="reduce noise by at most X dB (default: no limit)",
    )
    denoise.add_argument(
        "--model",
        metavar="|".join(MODELS),
        default=DEFAULT_MODEL,
        help=f"DeepFilterNet2 or 3, or their low-latency variants (default: {DEFAULT_MODEL})",
    )
    denoise.add_argument(
        "--post-filter", action="store_true", help="reduce the noise in very noisy parts further"
    )
    denoise.add_argument("--force", action="store_true", help="replace OUT if it exists")
    denoise.set_defaults(run=_denoise)


def _add_load(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    load = commands.add_parser(
        "load",
        help="load a running instance with real publishers and listeners, and measure",
        description="Load a running instance with real publishers and listeners, and measure. "
        "Creates accounts named load-* and removes them, with their recordings, at the end.",
    )
    load.add_argument("--url", required=True, help="the instance, such as http://127.0.0.1:8000")
    load.add_argument("--publishers", metavar="N", type=int, default=1, help="(default: 1)")
    load.add_argument("--listeners", metavar="M", type=int, default=1, help="in total (default: 1)")
    load.add_argument(
        "--seconds", metavar="S", type=float, default=10.0, help="how long to measure (default: 10)"
    )
    load.add_argument(
        "--audio", metavar="WAV", help="sound to publish, denoised (default: noise, not denoised)"
    )
    load.add_argument(
        "--loss",
        metavar="PCT",
        type=float,
        default=0.0,
        help="percentage of datagrams to drop, on both legs",
    )
    load.add_argument(
        "--burst", metavar="K", type=int, default=1, help="how many to drop in a row (default: 1)"
    )
    load.add_argument(
        "--jitter", metavar="MS", type=float, default=0.0, help="delay datagrams by 0 to MS ms"
    )
    load.add_argument(
        "--undenoised-on-overload",
        action="store_true",
        help="let the server pass the streams on undenoised while it has too little time",
    )
    load.add_argument(
        "--invite",
        metavar="CODE",
        help="invitation for the accounts, where people need one to sign up; see `hushcast "
        "accounts invite --uses`",
    )
    load.add_argument("--json", metavar="FILE", help="write all results to FILE")
    load.set_defaults(run=_load)


def _add_trace(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    trace = commands.add_parser(
        "trace",
        help="follow a request, a change of status or a stream through the logs",
        description="Follow a request (its X-Request-ID), a change of status or a stream through "
        "the logs of every process: when, where, what, and the ms since the change was made.",
    )
    trace.usage = "hushcast trace [-h] [--data-dir DATA_DIR] (ID | --stream ID) [LOG ...]"
    trace.add_argument("--stream", metavar="ID", help="follow a stream")
    trace.add_argument(
        "names",
        metavar="ID LOG",
        nargs="*",
        help="id of a request or change, then log files (default: those in --data-dir)",
    )
    trace.add_argument("--data-dir", help="where everything is kept (default: var)")
    trace.set_defaults(run=_trace)


def _add_accounts(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    accounts = commands.add_parser(
        "accounts",
        help="list, create, invite, disable and delete people",
        description="Work with the accounts of the hushcast that runs on a data directory or with "
        "a Redis, or of one that does not run. New passwords and codes go to standard output.",
    )
    actions = accounts.add_subparsers(required=True, metavar="ACTION")
    for name, about in (
        ("list", "print every account"),
        ("create", "create an account, and print its password"),
        ("invite", "print a code with which people create accounts"),
        ("reset-password", "give an account another password, and print it"),
        ("disable", "end an account's sign-ins and stream, and let it sign in no more"),
        ("enable", "let an account sign in again"),
        ("delete", "delete an account with everything in it"),
        ("restore", "make accounts again that were lost with Redis, from their copies"),
    ):
        action = actions.add_parser(name, help=about, description=about.capitalize() + ".")
        if name == "restore":
            action.add_argument(
                "--without-passwords",
                action="store_true",
                help="also those whose passwords another HUSHCAST_SECRET_KEY has encrypted",
            )
        if name not in ("list", "invite", "restore"):
            action.add_argument("name", metavar="NAME")
        if name == "invite":
            action.add_argument(
                "--uses", metavar="N", type=_count, default=1, help="how many accounts (default: 1)"
            )
            action.add_argument(
                "--days",
                metavar="D",
                type=_days,
                default=7,
                help="how many days it is valid (default: 7)",
            )
        action.add_argument("--json", action="store_true", help="print JSON")
        _add_storage(action)
        action.set_defaults(run=_accounts, action=name)


def _add_deploy(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    deploy = commands.add_parser(
        "deploy",
        help="deploy this code on a Ray cluster, and wait until it serves",
        description="Deploy a Serve config as `serve deploy` does, under the name of the code that "
        "is installed here, so that new code replaces the old; wait until it serves.",
    )
    deploy.add_argument("config", metavar="FILE", nargs="?", help="(default: serve_app/serve.yaml)")
    deploy.add_argument(
        "--address",
        metavar="URL",
        default=os.environ.get("RAY_DASHBOARD_ADDRESS", "http://127.0.0.1:8265"),
        help="the head's dashboard (default: http://127.0.0.1:8265)",
    )
    deploy.set_defaults(run=_deploy)


def _add_drain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    drain = commands.add_parser(
        "drain",
        help="empty a node of a cluster, so that it can be taken away",
        description="Give a node no new streams, move those of our pages at once, end the others "
        "in time, and wait until all recordings are stored.",
    )
    drain.add_argument("node", metavar="NODE", help="its address, or its id in Ray")
    drain.add_argument(
        "--within",
        metavar="S",
        type=float,
        default=600.0,
        help="seconds after which it is empty, whoever still streams (default: 600)",
    )
    drain.add_argument("--back", action="store_true", help="let it take streams again")
    _add_storage(drain)
    drain.set_defaults(run=_drain)


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 10_000):
        raise argparse.ArgumentTypeError("expected a number from 1 to 10000")
    return int(text)


def _days(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 365):
        raise argparse.ArgumentTypeError("expected a number from 1 to 365")
    return int(text)


def _add_storage(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", help="where everything is kept (default: var)")
    command.add_argument(
        "--redis-url", metavar="URL", help="Redis or Valkey to use (default: start one)"
    )
    command.add_argument("--s3-endpoint", metavar="URL", help="S3 to use (default: start one)")
    command.add_argument("--s3-bucket", metavar="NAME", help="bucket to use there")


def _with_settings(run: Callable[["Settings", Signals], int]) -> Run:
    """Wrap a command so that it gets the settings, or exits with 2 if they are invalid."""

    def read_and_run(options: argparse.Namespace, signals: Signals) -> int:
        from serve_app.settings import SettingsError, read_settings

        flags = {name: value for name, value in vars(options).items() if name in UP_FLAGS}
        try:
            settings = read_settings(flags)
        except SettingsError as problem:
            print(problem, file=sys.stderr)
            return 2
        return run(settings, signals)

    return read_and_run


def _up(settings: "Settings", signals: Signals) -> int:
    from commands.local.up import up

    return up(settings, BUILDER, signals)


def _deploy(options: argparse.Namespace, signals: Signals) -> int:
    from commands.deploy import run

    return run(options.config, options.address, signals)


def _reconcile(settings: "Settings", signals: Signals) -> int:
    from commands.reconcile import run

    return run(settings, signals)


def _accounts(options: argparse.Namespace, signals: Signals) -> int:
    def act(settings: "Settings", signals: Signals) -> int:
        from commands import accounts

        return accounts.run(options, settings, signals)

    return _with_settings(act)(options, signals)


def _drain(options: argparse.Namespace, signals: Signals) -> int:
    def act(settings: "Settings", signals: Signals) -> int:
        from commands import drain

        return drain.run(options, settings, signals)

    return _with_settings(act)(options, signals)


def _denoise(options: argparse.Namespace, signals: Signals) -> int:
    from commands.denoise.command import run

    return run(options, signals)


def _load(options: argparse.Namespace, signals: Signals) -> int:
    from commands.load.command import run

    return run(options, signals)


def _trace(options: argparse.Namespace, signals: Signals) -> int:
    from commands.trace import run

    return run(options, signals)


def _doctor(settings: "Settings", signals: Signals) -> int:
    from commands.doctor.command import run

    return run(settings, signals)


if __name__ == "__main__":
    sys.exit(main())
