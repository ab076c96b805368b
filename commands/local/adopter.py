"""Runs a command that leaves daemons behind, and stands for them: it ends when one of them does.

`ray start --block` is that, too, but keeps in memory what it imported, 90 MB.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from types import FrameType
from typing import NoReturn

import psutil

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): orphans among a process's descendants become its children. Linux only."""
TERM_LIMIT_S = 2.0
"""How long a daemon may take to end before it is killed. One that still starts may not listen."""


def run(command: list[str]) -> int:
    """Run a command, then wait for the first of its daemons to end; returns the exit code."""
    if code := subprocess.run(command, check=False).returncode:
        return code
    return _wait({each.pid: each.name() for each in psutil.Process().children()})


def _wait(daemons: Mapping[int, str]) -> int:
    while True:
        pid, status = os.wait()  # also reaps what else is orphaned
        if pid in daemons:
            code = os.waitstatus_to_exitcode(status)
            how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
            print(f"{daemons[pid]} {how}", file=sys.stderr, flush=True)
            return 1


def _end_children() -> None:
    """End daemons in the reverse order of their starts: a raylet before the store it needs."""
    children = psutil.Process().children()
    for each in sorted(children, key=psutil.Process.create_time, reverse=True):
        try:
            each.terminate()
            each.wait(TERM_LIMIT_S)
        except psutil.TimeoutExpired:
            each.kill()
        except psutil.NoSuchProcess:
            continue


def _on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    """Run the command of the arguments."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        code = run(sys.argv[1:])
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_children()
    sys.exit(code)


if __name__ == "__main__":
    main()
