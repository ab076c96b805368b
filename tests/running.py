"""A running `hushcast up`, as a person starts it, for tests and benchmarks."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_TIMEOUT_S = 240
STOP_TIMEOUT_S = 120


@dataclass
class App:
    """A running `hushcast up`; `log` grows with what it prints."""

    url: str
    data_dir: Path
    process: "subprocess.Popen[str]"
    log: list[str] = field(default_factory=list)


def free_port() -> int:
    """Ask the system for a TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_app(data_dir: Path, *arguments: str, **environment: str) -> Iterator[App]:
    """Start hushcast, by default on loopback, wait for its ready line, and end it with SIGINT.

    Raises AssertionError with its output when it does not start, or does not exit with 0.
    """
    port = free_port()
    command = [sys.executable, "-m", "commands.cli", "up", "--port", str(port)]
    command += ["--data-dir", str(data_dir), *arguments]
    process = subprocess.Popen(
        command,
        env={**os.environ, "HUSHCAST_ICE_ADDRESSES": "127.0.0.1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    scheme = "https" if "--tls-cert" in arguments else "http"
    host = arguments[arguments.index("--host") + 1] if "--host" in arguments else "127.0.0.1"
    app = App(f"{scheme}://{host}:{port}", data_dir, process)
    ready: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_read, args=(app, ready), daemon=True)
    reader.start()
    try:
        _wait_ready(app, ready)
        yield app
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(STOP_TIMEOUT_S)
        finally:
            process.kill()
            reader.join(10)
            if process.stdout:
                process.stdout.close()
    assert code == 0, f"exit code {code}:\n" + "".join(app.log[-40:])


def _read(app: App, ready: "queue.Queue[str]") -> None:
    assert app.process.stdout is not None
    for line in app.process.stdout:
        app.log.append(line)
        if line == f"hushcast is ready: {app.url}\n":
            ready.put(line)


def _wait_ready(app: App, ready: "queue.Queue[str]") -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and app.process.poll() is None:
        try:
            ready.get(timeout=0.5)
            return
        except queue.Empty:
            continue
    raise AssertionError("hushcast did not get ready:\n" + "".join(app.log))
