"""`hushcast load`: check the call, run it, report what was measured."""

import asyncio
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from actors.aiortc_internals import AiortcChanged, check_aiortc
from commands.load.api import ApiError
from commands.load.marker import AudioRefused, built_in, read_audio
from commands.load.peers import encode
from commands.load.processes import CrewLost
from commands.load.report import numbers, passed, table
from commands.load.scenario import Scenario, Wanted
from commands.load.wire import Faults
from commands.local.signals import Interrupted, Signals

MAX_LOSS_PERCENT = 50.0
BITRATE = 64_000


class Refused(Exception):
    """The call asks for something that cannot be done."""


class ProgressLine:
    """One line of a terminal that shows progress; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Replace the line."""
        if self._shown:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def run(options: Namespace, signals: Signals) -> int:
    """Put load on an instance and report how it coped; returns the exit code.

    1 if peers failed or frames are missing that were not dropped on purpose, 2 if the call is
    refused or the instance cannot be used, 130 after Ctrl-C. Accounts are removed on every path.
    """
    progress = ProgressLine()
    scenario = None
    try:
        wanted = _wanted(options)
        asyncio.run(check_aiortc())
        scenario = Scenario(wanted, signals, progress.say)
        told = numbers(_chosen(options), scenario.run())
        _write(options.json, told)
    except Interrupted:
        return signals.exit_code
    except (Refused, AudioRefused, AiortcChanged, ApiError, CrewLost) as problem:
        progress.say("")
        print(problem, file=sys.stderr)
        return 2
    finally:
        progress.say("")
        if scenario is not None and scenario.left_behind:
            print(f"could not remove: {', '.join(scenario.left_behind)}", file=sys.stderr)
    print(table(told))
    return 0 if passed(told, harmed=bool(wanted.faults)) else 1


def _wanted(options: Namespace) -> Wanted:
    _check(options)
    sound = read_audio(Path(options.audio)) if options.audio else built_in()
    return Wanted(
        url=options.url.rstrip("/"),
        publishers=options.publishers,
        listeners=options.listeners,
        seconds=options.seconds,
        faults=Faults(options.loss / 100, options.burst, options.jitter / 1000),
        sound=sound,
        packets=tuple(encode(sound, bitrate=BITRATE)),
        denoise=bool(options.audio),
        undenoised_on_overload=options.undenoised_on_overload,
        invite=options.invite,
    )


def _check(options: Namespace) -> None:
    """Refuse values that make no sense, NaN among them, before anything is created."""
    parts = urlsplit(options.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("--url: give the URL of an instance, for example http://127.0.0.1:8000")
    for name, low in (("publishers", 1), ("listeners", 1), ("burst", 1)):
        if getattr(options, name) < low:
            raise Refused(f"--{name}: expected {low} or more")
    if not 0 < options.seconds < float("inf"):
        raise Refused("--seconds: expected more than 0")
    if not 0 <= options.loss <= MAX_LOSS_PERCENT:
        raise Refused(f"--loss: expected 0 to {MAX_LOSS_PERCENT:g} (percent)")
    if not 0 <= options.jitter <= 1000:
        raise Refused("--jitter: expected 0 to 1000 (milliseconds)")
    if options.json and not Path(options.json).absolute().parent.is_dir():
        raise Refused(f"--json: no such folder: {Path(options.json).parent}")


def _chosen(options: Namespace) -> dict[str, Any]:
    names = "url publishers listeners seconds audio loss burst jitter undenoised_on_overload"
    return {name: getattr(options, name) for name in names.split()}


def _write(path: str | None, told: dict[str, Any]) -> None:
    if path:
        try:
            Path(path).write_text(json.dumps(told, indent=2) + "\n")
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}") from error
