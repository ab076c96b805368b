"""Run `hushcast up` with the small application, and know every process it ever started."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from commands.local.guardian import MARK
from serve_app.settings import Settings

LIMIT_S = 240.0
"""On a busy machine Ray may need its three attempts."""


class Instance:
    """One `hushcast up` in a process of its own; `lines` grows with what it prints."""

    def __init__(
        self,
        data_dir: Path,
        port: int,
        *arguments: str,
        builder: str = "build",
        **environment: str,
    ) -> None:
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{port}"
        self.lines: list[str] = []
        self.family: set[psutil.Process] = set()
        self._heard: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.local.run_small", builder, "up"]
            + ["--port", str(port), "--data-dir", str(data_dir), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={name: v for name, v in os.environ.items() if not name.startswith("HUSHCAST_")}
            | environment,
        )
        self._me = psutil.Process(self.process.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._heard.put(line)
        self._heard.put(None)

    def wait_for(self, text: str) -> str:
        """Wait for a line with this text, noting all processes on the way."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            self.note_family()
            try:
                line = self._heard.get(timeout=0.02)
            except queue.Empty:
                continue
            if line is None:
                break
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"never said {text!r}:\n" + "".join(self.lines))

    def wait_ready(self) -> None:
        """Wait for the ready line, exactly as it is promised."""
        assert self.wait_for("hushcast is ready") == f"hushcast is ready: {self.url}\n"

    def note_family(self) -> None:
        """Remember every process that descends from it now, or carries its mark."""
        if self.process.poll() is not None:
            return
        try:
            self.family |= set(self._me.children(recursive=True))
        except psutil.NoSuchProcess:
            return

    def child(self, *words: str) -> psutil.Process:
        """Find the one descendant whose command has all these words."""
        self.note_family()
        found = [process for process in self.alive() if all(w in command(process) for w in words)]
        assert len(found) == 1, f"{words}: {found}"
        return found[0]

    def alive(self) -> list[psutil.Process]:
        """List those of the family that still run, and all others with their mark."""
        marks = {mark for process in self.family if (mark := marked(process))}
        strangers = [process for process in psutil.process_iter() if marked(process) in marks]
        return [process for process in {*self.family, *strangers} if lives(process)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process that a person sees."""
        self.note_family()
        self.process.send_signal(number)

    def end(self, limit_s: float = 45.0) -> int:
        """Wait for its end; returns the exit code, and collects the rest of its lines."""
        deadline = time.monotonic() + limit_s
        while self.process.poll() is None:
            self.note_family()
            self._listen()
            assert time.monotonic() < deadline, "it did not end:\n" + "".join(self.lines)
            time.sleep(0.02)
        self._reader.join(10)
        self._listen()
        return self.process.returncode

    def _listen(self) -> None:
        while not self._heard.empty():
            if line := self._heard.get():
                self.lines.append(line)

    def temp_dir(self) -> Path:
        """Find Ray's folder."""
        words = self.child("gcs_server").cmdline()
        log_dir = next(word for word in words if word.startswith("--log_dir="))
        return Path(log_dir.removeprefix("--log_dir=")).parents[1]

    def settings(self) -> Settings:
        """Read what other commands of this user find."""
        return Settings.from_json((self.data_dir / "running.json").read_text())

    def close(self) -> None:
        """End it however it is, when a test has failed."""
        self.process.kill()
        self.process.wait()
        wait_until(lambda: not self.alive(), limit_s=30)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def running(
    data_dir: Path, port: int, *arguments: str, builder: str = "build", **environment: str
) -> Iterator[Instance]:
    """Start an instance; nothing of it is left afterwards."""
    instance = Instance(data_dir, port, *arguments, builder=builder, **environment)
    try:
        yield instance
    finally:
        instance.close()


def wait_until(condition: Callable[[], bool], limit_s: float) -> float:
    """Wait for a condition; returns the seconds that took. Raises AssertionError."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"not within {limit_s} s"
        time.sleep(0.05)
    return time.monotonic() - began


def command(process: psutil.Process) -> str:
    """Get a process's command line; nothing when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def marked(process: psutil.Process) -> str | None:
    """Get the instance in a process's environment."""
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def lives(process: psutil.Process) -> bool:
    """Tell whether it runs; one that only waits for its parent to notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
