"""`hushcast trace`: what happened to a request, a change or a stream, from every process's log."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from commands.local.signals import Signals
from foundation.logs import FILE_NAME, LogLine, read_line
from serve_app.settings import SettingsError, read_settings

SHOWN = (
    *("method", "route", "status", "state", "reason", "sockets"),
    *("stream", "session", "recording", "change"),
)
"""Fields that the table has room for."""


def run(options: argparse.Namespace, signals: Signals) -> int:
    """Print the hops; 1 when there are none, 2 when a log cannot be read."""
    names: list[str] = options.names
    wanted = options.stream or next(iter(names), None)
    files = [Path(name) for name in (names if options.stream else names[1:])]
    if wanted is None:
        print("Give the id of a request or a change, or --stream ID.", file=sys.stderr)
        return 2
    try:
        settings = read_settings({"data_dir": options.data_dir})
        lines = list(read(files or logs_of(settings.log_dir or settings.data_dir / "logs")))
    except SettingsError as problem:
        print(problem, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    hops = trace(lines, stream=wanted) if options.stream else trace(lines, wanted)
    if not hops:
        print("No log line has that id.", file=sys.stderr)
        return 1
    print("\n".join(table(hops)))
    return 0


def logs_of(folder: Path) -> list[Path]:
    """Find the logs that the processes of a node share, oldest first."""
    log = folder / FILE_NAME
    older = log.with_name(f"{FILE_NAME}.1")
    return [older, log] if older.exists() else [log]


def read(files: Iterable[Path]) -> Iterator[LogLine]:
    """Read every line that is ours. Raises OSError."""
    for path in files:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from (line for text in file if (line := read_line(text)) is not None)


def trace(lines: list[LogLine], id: str = "", *, stream: str = "") -> list[LogLine]:
    """Choose the lines about a request or a change, or about a stream, by time.

    That includes what follows from such a line: all hops of a change that a request made, and what
    happened to a session that it opened or a recording that it began. Lines that appear in several
    logs are printed once.
    """
    names = ("stream",) if stream else ("request", "change")
    wanted = stream or id

    def is_about(line: LogLine) -> bool:
        return any(line.fields.get(name) == wanted for name in names)

    ids = {id for line in lines if is_about(line) for id in _ids(line)}
    found = [line for line in lines if is_about(line) or ids & _ids(line)]
    unique = {(line.at, line.what, *sorted(line.fields.items())): line for line in found}
    return sorted(unique.values(), key=lambda line: line.at)


def _ids(line: LogLine) -> set[tuple[str, str]]:
    """Name what a line is about: a change, or else a session or a recording."""
    names = ("change",) if "change" in line.fields else ("recording", "session")
    return {(name, line.fields[name]) for name in names if name in line.fields}


def table(hops: list[LogLine]) -> list[str]:
    """Write hops as a table; `ms` is the time since the change was made, if a line has it."""
    rows = [("time", "process", "ms", "what")]
    for hop in hops:
        process = hop.fields.get("process", "-")
        told = (f"{name}={hop.fields[name]}" for name in SHOWN if name in hop.fields)
        what = " ".join([hop.what, *told])
        rows.append((_clock(hop.at), process, hop.fields.get("delay_ms", ""), what))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"{time:<{widths[0]}}  {process:<{widths[1]}}  {ms:>{widths[2]}}  {what}"
        for time, process, ms, what in rows
    ]


def _clock(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
