"""Crews seen from outside: processes that are started, asked, and ended on every path."""

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

from commands.load.crew import CrewResult, Job, Started, crew_main
from commands.local.signals import Signals

END_LIMIT_S = 10.0
POLL_S = 0.1

_spawn = multiprocessing.get_context("spawn")  # a fork would copy threads and sockets


class CrewLost(Exception):
    """A process of the load test ended or does not answer."""


class Crew:
    """One process of peers. The caller calls `start` and, on every path, `end`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pipe, self._far_end = _spawn.Pipe()
        self._process: BaseProcess = _spawn.Process(
            target=crew_main, args=(self._far_end,), daemon=True
        )

    def start(self) -> None:
        """Start the process."""
        # A terminal sends Ctrl-C to all its processes, but only this one decides what follows.
        # Blocked signals stay blocked in the new process, also while it imports; but starting
        # multiprocessing's tracker, which the first process would do, unblocks them.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._far_end.close()

    def begin(self) -> None:
        """Send it its job. Not as an argument: multiprocessing waits for ever when a new process
        ends before it has read its arguments."""
        self._send(self._job)

    def started(self, signals: Signals) -> Started:
        """Wait until its next peer connects or fails. Raises CrewLost, Interrupted."""
        told = self._read(signals)
        assert isinstance(told, Started)
        return told

    def stop(self) -> None:
        """Tell it to close its peers and work out its result."""
        self._send("stop")

    def result(self, signals: Signals) -> CrewResult:
        """Wait for what it measured, after `stop`. Raises CrewLost, Interrupted."""
        told = self._read(signals)
        assert isinstance(told, CrewResult)
        return told

    def end(self) -> None:
        """End it: ask first, then kill. Its sessions end with their accounts anyway."""
        self._pipe.close()
        if self._process.pid is None:
            self._far_end.close()
            return
        self._process.join(END_LIMIT_S)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def _send(self, message: object) -> None:
        try:
            self._pipe.send(message)
        except OSError as error:
            raise CrewLost(self._lost()) from error

    def _read(self, signals: Signals) -> object:
        while not self._pipe.poll(POLL_S):
            signals.pause(0)
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise CrewLost(self._lost()) from error

    def _lost(self) -> str:
        self._process.join(END_LIMIT_S)
        return f"A process of the load test ended with exit code {self._process.exitcode}."


def crews_of(jobs: list[Job], enter: Callable[[Callable[[], None]], object]) -> list[Crew]:
    """Start a process for each job; `enter` receives the call that ends it."""
    crews = []
    for job in jobs:
        crew = Crew(job)
        enter(crew.end)
        crew.start()
        crews.append(crew)
    for crew in crews:
        crew.begin()
    return crews
