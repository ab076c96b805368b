"""The `hushcast` command."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from actors.models import DEFAULT_MODEL, MODELS
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
    signals.listen()  # before anything that takes long: there is no moment for a traceback
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
    doctor = commands.add_parser("doctor", help="check what hushcast needs; say what to do")
    _add_storage(doctor)
    doctor.set_defaults(run=_with_settings(_doctor))
    _add_trace(commands)
    recordings = commands.add_parser("recordings", help="look after what is stored")
    actions = recordings.add_subparsers(required=True, metavar="ACTION")
    reconcile = actions.add_parser(
        "reconcile", help="finish what was left, compare index and bucket, print the difference"
    )
    _add_storage(reconcile)
    reconcile.set_defaults(run=_with_settings(_reconcile))
    return parser


def _add_denoise(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    denoise = commands.add_parser(
        "denoise",
        help="take the noise out of sound files",
        description="Take the noise out of sound files: same rate, channels, length and subtype.",
    )
    denoise.add_argument("inputs", metavar="IN", nargs="+", help="any file libsndfile reads")
    denoise.add_argument("output", metavar="OUT", help="a file; for several IN a folder")
    denoise.add_argument(
        "--attenuation-limit-db",
        metavar="X",
        type=float,
        help="turn noise down by X dB at most (default: as far as the model wants)",
    )
    denoise.add_argument(
        "--model",
        metavar="|".join(MODELS),
        default=DEFAULT_MODEL,
        help=f"(default: {DEFAULT_MODEL}, the better one)",
    )
    denoise.add_argument("--force", action="store_true", help="replace an OUT that exists")
    denoise.set_defaults(run=_denoise)


def _add_load(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    load = commands.add_parser(
        "load",
        help="put real publishers and listeners on a running instance, and measure",
        description="Put real publishers and listeners on a running instance, and measure. The "
        "accounts it makes are called load-* and removed with their recordings.",
    )
    load.add_argument("--url", required=True, help="the instance, such as http://127.0.0.1:8000")
    load.add_argument("--publishers", metavar="N", type=int, default=1, help="(default: 1)")
    load.add_argument("--listeners", metavar="M", type=int, default=1, help="in all (default: 1)")
    load.add_argument(
        "--seconds", metavar="S", type=float, default=10.0, help="to measure (default: 10)"
    )
    load.add_argument(
        "--audio", metavar="WAV", help="what is published, denoised (default: noise, undenoised)"
    )
    load.add_argument(
        "--loss", metavar="PCT", type=float, default=0.0, help="datagrams lost, on both legs"
    )
    load.add_argument(
        "--burst", metavar="K", type=int, default=1, help="lost in a row (default: 1)"
    )
    load.add_argument(
        "--jitter", metavar="MS", type=float, default=0.0, help="datagrams delayed by 0 to MS"
    )
    load.add_argument("--json", metavar="FILE", help="write all numbers there")
    load.set_defaults(run=_load)


def _add_trace(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    trace = commands.add_parser(
        "trace",
        help="follow a request, a change of status or a stream through the logs",
        description="Follow a request (its X-Request-ID), a change of status or a stream through "
        "the logs of every process: when, where, what, and the ms since the change was made.",
    )
    trace.usage = "hushcast trace [-h] [--data-dir DATA_DIR] (ID | --stream ID) [LOG ...]"
    trace.add_argument("--stream", metavar="ID", help="of a stream")
    trace.add_argument(
        "names",
        metavar="ID LOG",
        nargs="*",
        help="of a request or a change; then files (default: the data folder's)",
    )
    trace.add_argument("--data-dir", help="where everything is kept (default: var)")
    trace.set_defaults(run=_trace)


def _add_storage(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", help="where everything is kept (default: var)")
    command.add_argument("--redis-url", metavar="URL", help="a Redis or Valkey (default: our own)")
    command.add_argument("--s3-endpoint", metavar="URL", help="an S3 (default: our own)")
    command.add_argument("--s3-bucket", metavar="NAME", help="the bucket in it")


def _with_settings(run: Callable[["Settings", Signals], int]) -> Run:
    """Make a command that gets the settings, or is refused where they are wrong."""

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


def _reconcile(settings: "Settings", signals: Signals) -> int:
    from commands.reconcile import run

    return run(settings, signals)


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
