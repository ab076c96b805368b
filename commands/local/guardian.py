"""The process that cleans up when ours cannot: both ends of its pipe.

A process that starts others starts a guardian first and tells it about each. When the pipe closes,
because its owner closed it or died, the guardian ends every process still running, removes what
they left on disk, and exits. It knows processes by the session they were started in and by a mark
in their environment: Ray's agents and workers outlive their parents, but keep both.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from commands.local.paths import python_path

MARK = "HUSHCAST_INSTANCE"
"""Environment variable: the instance a process belongs to."""
DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Only the end of the pipe ends a guardian."""
TERM_LIMIT_S = 3.0
"""How long servers may take to save their data before they are killed."""
KILL_LIMIT_S = 10.0


class Guardian:
    """The owner's end. A context manager: leaving it ends every process left, and waits."""

    def __init__(self, lock: int | None = None) -> None:
        """`lock`: the file descriptor of a lock that is to be held until all is cleaned up."""
        self._held = () if lock is None else (lock,)
        self.instance = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()
        self._paths: list[Path] = []

    @property
    def alive(self) -> bool:
        """Whether it is there to clean up."""
        return self._process is not None and self._process.poll() is None

    @property
    def mark(self) -> dict[str, str]:
        """The mark that every process of this instance has in its environment."""
        return {MARK: self.instance}

    def watch(self, pid: int) -> None:
        """Register a process that was started in a session of its own."""
        self._sessions.add(pid)
        self._say("watch", pid)

    def end(self, pid: int) -> None:
        """End now what is left of a process that was started in a session of its own."""
        end_all(None, {pid})

    def remove(self, path: Path) -> None:
        """Register a file or folder to remove at the end."""
        self._paths.append(path.absolute())
        self._say("remove", str(path.absolute()))

    def __enter__(self) -> Self:
        # A new process inherits blocked signals, so none can end the guardian while it starts.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "commands.local.guardian", self.instance],
                stdin=subprocess.PIPE,
                cwd="/",
                env=os.environ | {"PYTHONPATH": python_path()},
                start_new_session=True,
                pass_fds=self._held,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait() != 0:  # it was killed: do its work here
            clean_up(self.instance, self._sessions, self._paths)

    def _say(self, *words: str | int) -> None:
        assert self._process is not None and self._process.stdin is not None
        # As JSON: a path may have any characters, even a new line.
        self._process.stdin.write(f"{json.dumps(words)}\n".encode())
        self._process.stdin.flush()


def members(instance: str | None, sessions: set[int]) -> list[psutil.Process]:
    """Find the living processes of an instance, among those of this user."""
    return [process for process in psutil.process_iter() if _belongs(process, instance, sessions)]


def _belongs(process: psutil.Process, instance: str | None, sessions: set[int]) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        if os.getsid(process.pid) in sessions:
            return True
        return instance is not None and process.environ().get(MARK) == instance
    except (psutil.Error, OSError):  # it is already gone, or not ours to inspect
        return False


def end_all(instance: str | None, sessions: set[int]) -> None:
    """Ask all to end, wait, then kill repeatedly until none is left."""
    for process in members(instance, sessions):
        _send(process, signal.SIGTERM)
    deadline = time.monotonic() + TERM_LIMIT_S
    while members(instance, sessions) and time.monotonic() < deadline:
        time.sleep(0.1)
    deadline = time.monotonic() + KILL_LIMIT_S
    while (left := members(instance, sessions)) and time.monotonic() < deadline:
        for process in left:
            _send(process, signal.SIGKILL)
        time.sleep(0.1)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:  # it is gone
        return


def guard(lines: IO[str], instance: str) -> None:
    """Listen until the owner's end of the pipe closes, then clean up."""
    sessions: set[int] = set()
    paths: list[Path] = []
    for line in lines:
        verb, what = json.loads(line)
        if verb == "watch":
            sessions.add(what)
        else:
            paths.append(Path(what))
    clean_up(instance, sessions, paths)


def clean_up(instance: str, sessions: set[int], paths: list[Path]) -> None:
    """End all processes of an instance, then remove what they left on disk."""
    end_all(instance, sessions)
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    guard(sys.stdin, sys.argv[1])
