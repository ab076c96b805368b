"""A program that hushcast runs: started, waited for, watched, stopped."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from commands.local.guardian import Guardian

READY_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
LOG_BYTES = 10 * 1024 * 1024
"""A log longer than this is emptied; its end is kept as one old log."""

Pause = Callable[[float], None]
"""Waits for some seconds; may raise to give up waiting."""


class StartFailed(Exception):
    """A program did not come up; the message says which, and shows the end of its log."""


class NeedsRestart(StartFailed):
    """A program runs, but will not serve before it is started again."""


@dataclass(frozen=True)
class Command:
    """How a program is started. Secrets go into files and pipes: other users can read arguments."""

    argv: tuple[str, ...]
    folder: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    leftovers: tuple[Path, ...] = ()
    """Files outside `folder` that it creates, and leaves behind when killed."""


class Part(Protocol):
    """A server that comes with hushcast."""

    @property
    def name(self) -> str:
        """Its name, for people."""

    def command(self) -> Command:
        """Write the files that it reads at startup, and get its command."""

    def answers(self) -> bool:
        """Tell whether it serves; waits for at most a few seconds. May raise NeedsRestart."""


class Child:
    """One process of ours, in a session of its own and known to the guardian.

    A terminal's Ctrl-C does not reach it: only we stop it. Nothing starts before `start`.
    """

    def __init__(self, name: str, command: Command, guardian: Guardian) -> None:
        self.name = name
        self.command = command
        self._guardian = guardian
        self._process: subprocess.Popen[bytes] | None = None
        self._start_said = 0  # bytes of its log

    def start(self, *, pipe: bool = False, pass_fds: Iterable[int] = ()) -> None:
        """Start the process; with `pipe`, `stdin` is open for writing."""
        command = self.command
        for leftover in command.leftovers:
            self._guardian.remove(leftover)
            leftover.unlink(missing_ok=True)
        self.turn_over_log()
        with command.log.open("ab") as log:
            self._process = subprocess.Popen(
                command.argv,
                cwd=command.folder,
                env=os.environ | command.environment | self._guardian.mark,
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        self._guardian.watch(self._process.pid)

    def turn_over_log(self) -> None:
        """Keep the end of a long log beside it, and empty it; the process goes on appending."""
        log = self.command.log
        if not log.exists() or (size := log.stat().st_size) <= LOG_BYTES:
            return
        try:
            with log.open("rb") as whole, log.with_name(f"{log.name}.old").open("wb") as end:
                whole.seek(size - LOG_BYTES)
                end.write(whole.read(LOG_BYTES))
        finally:  # a disk that is full most of all
            os.truncate(log, 0)

    @property
    def started(self) -> bool:
        """Whether there is, or was, a process."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process id of a child that was started."""
        return self._popen.pid

    @property
    def stdin(self) -> IO[bytes]:
        """Where a child that was started with `pipe` listens."""
        assert self._popen.stdin is not None
        return self._popen.stdin

    @property
    def ended(self) -> str | None:
        """Say how the process ended; None while it runs."""
        code = self._popen.poll()
        if code is None:
            return None
        return f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"

    def wait_until(
        self,
        ready: Callable[[], bool],
        pause: Pause = time.sleep,
        limit_s: float = READY_LIMIT_S,
    ) -> None:
        """Wait until it is ready. Raises StartFailed if it ends first, or takes too long."""
        deadline = time.monotonic() + limit_s
        while not ready():
            if self.ended is not None:
                raise StartFailed(f"{self.name} {self.ended} while starting. {self.last_words()}")
            if time.monotonic() > deadline:
                raise StartFailed(
                    f"{self.name} was not ready after {limit_s:.0f} s. {self.last_words()}"
                )
            pause(0.03)

    def note_started(self) -> None:
        """Note that what its log says up to now is no explanation of a later end."""
        self._start_said = self.command.log.stat().st_size

    def last_words(self) -> str:
        """Quote the end of its log."""
        path = self.command.log
        size = path.stat().st_size
        since = self._start_said if self._start_said <= size else 0  # it was turned over
        with path.open("rb") as log:
            log.seek(max(since, size - 4096))
            lines = log.read().decode(errors="replace").splitlines()[-15:]
        if not lines:
            return f"It said nothing of it in {path}."
        return "\n".join([f"The end of {path}:", *("  " + line for line in lines)])

    def terminate(self) -> None:
        """Ask it to end."""
        self._popen.terminate()

    def kill(self) -> None:
        """End it now."""
        self._popen.kill()

    def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """Ask it to end, kill it after `limit_s`, and wait until it has ended. Idempotent."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    @property
    def _popen(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was not started"
        return self._process
