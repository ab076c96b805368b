"""Logging: one line format for all processes, read by people and by `hushcast trace`.

    2026-11-25T18:00:00.123Z INFO actors.announcer published change=... stream=... process=actor-7

Pass fields with `extra=fields(...)`. The id of the current request is added automatically. Never
log names of people, addresses, tokens or SDP at INFO.
"""

import fcntl
import json
import logging
import os
import re
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Literal

Form = Literal["text", "json"]

PACKAGES = ("commands", "serve_app", "deployments", "actors", "recordings", "foundation")
"""These packages log from INFO up, libraries from WARNING up."""
FILE_NAME = "hushcast.log"
FILE_BYTES = 10 * 1024 * 1024
"""A longer file is rotated; one older file is kept, with `.1` added to its name."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that the current task serves; empty if there is none."""


@dataclass(frozen=True)
class LogConfig:
    """How a process logs: to stderr and, if `folder` is set, to a file there that all share."""

    form: Form = "text"
    folder: str | None = None


@dataclass(frozen=True)
class LogLine:
    """A line read back from a log."""

    at: datetime
    level: str
    logger: str
    what: str
    fields: dict[str, str]


def fields(**values: object) -> dict[str, object]:
    """Make the `extra` of a logging call. None and empty values are omitted from the line."""
    return {"fields": values}


def configure(process: str, config: LogConfig) -> None:
    """Set up this process's logging. `process` names its role, such as `ingress`; adds the pid."""
    root = logging.getLogger()
    root.handlers[:] = [handler(process, replace(config, folder=None))]
    if config.folder is not None:
        root.addHandler(handler(process, config))
    root.setLevel(logging.WARNING)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)


def handler(process: str, config: LogConfig) -> logging.Handler:
    """Make a handler for the file in `folder`, or for stderr if there is none. Raises OSError."""
    made: logging.Handler = logging.StreamHandler()
    if config.folder is not None:
        Path(config.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        made = SharedFile(Path(config.folder) / FILE_NAME)
    made.setFormatter(LineFormatter(config.form, f"{process}-{os.getpid()}"))
    return made


class LineFormatter(logging.Formatter):
    """Formats a record as a line of text followed by any traceback, or as JSON with it inside."""

    def __init__(self, form: Form, process: str) -> None:
        super().__init__()
        self._form = form
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        given: dict[str, object] = {"request": request_id.get(), **getattr(record, "fields", {})}
        values = {name: value for name, value in given.items() if value not in (None, "")}
        values["process"] = self._process
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        at = at.replace("+00:00", "Z")
        head = {"time": at, "level": record.levelname, "logger": record.name}
        what = record.getMessage()
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if self._form == "json":
            trail = {"trace": trace} if trace else {}
            return json.dumps({**head, "what": what, **values, **trail}, default=str)
        pairs = (f"{name}={_quoted(value)}" for name, value in values.items())
        line = " ".join([*head.values(), what.replace("\n", "\\n"), *pairs])
        return f"{line}\n{trace}" if trace else line


class SharedFile(WatchedFileHandler):
    """A file that many processes append to. Any of them rotates it when it is too long."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record to the file that has the name now. A full disk costs only the line."""
        try:
            super().emit(record)
            if self.stream is not None and os.fstat(self.stream.fileno()).st_size > FILE_BYTES:
                self._turn_over(self.stream.fileno())
        except OSError:
            self.handleError(record)

    def _turn_over(self, file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)  # of several processes, only the first still finds it
        try:
            if os.path.exists(self.baseFilename) and os.path.samestat(
                os.stat(self.baseFilename), os.fstat(file)
            ):
                os.replace(self.baseFilename, f"{self.baseFilename}.1")
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>[A-Z]+) (?P<logger>[\w.]+) "
    r"(?P<what>.*?)(?P<fields>(?: [a-z_]+=(?:\"(?:[^\"\\]|\\.)*\"|[^\s\"]+))*)\s*$"
)
_FIELD = re.compile(r" ([a-z_]+)=(\"(?:[^\"\\]|\\.)*\"|[^\s\"]+)")
_PLAIN = re.compile(r"[^\s\"=\\]+")
MAX_LINE_CHARS = 10_000


def read_line(text: str) -> LogLine | None:
    """Read a line in either form, even after a prefix such as Ray's; None if it is not ours."""
    if len(text) > MAX_LINE_CHARS:
        return None
    if (brace := text.find('{"time"')) >= 0:
        return _read_json(text[brace:])
    found = _LINE.search(text)
    if found is None:
        return None
    values = {name: _unquoted(value) for name, value in _FIELD.findall(found["fields"])}
    at = datetime.fromisoformat(found["time"])
    return LogLine(at, found["level"], found["logger"], found["what"], values)


def _read_json(text: str) -> LogLine | None:
    try:
        values = {name: str(value) for name, value in json.loads(text).items()}
        at = datetime.fromisoformat(values.pop("time"))
        level, logger, what = (values.pop(name) for name in ("level", "logger", "what"))
    except (ValueError, KeyError, AttributeError):
        return None
    return LogLine(at, level, logger, what, values)


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _unquoted(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text
