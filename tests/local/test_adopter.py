"""The process that stands for daemons: it ends with the first of them, and they with it."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.local.instances import wait_until

SLEEPER = "while :; do sleep 0.05; done"
LIMIT_S = 20


def adopt(script: str) -> "subprocess.Popen[str]":
    """Have a shell script's daemons adopted."""
    return subprocess.Popen(
        [sys.executable, "-m", "commands.local.adopter", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def started(log: Path, name: str) -> psutil.Process:
    """Wait for a daemon that has written down its process id."""
    wait_until(lambda: log.exists() and f"{name} " in log.read_text(), limit_s=LIMIT_S)
    words = next(line.split() for line in log.read_text().splitlines() if line.startswith(name))
    return psutil.Process(int(words[1]))


def daemon(log: Path, name: str) -> str:
    """Write a daemon that notes when it begins and when it is asked to end."""
    noting = f"trap 'echo {name}-ends >> {log}; exit 0' TERM; echo {name} $$ >> {log}"
    return f'sh -c "{noting.replace("$$", chr(92) + "$$")}; {SLEEPER}" >/dev/null 2>&1 &'


def test_it_ends_with_the_first_daemon_and_ends_the_others(tmp_path: Path) -> None:
    """It says which one ended, and how; its exit code is 1."""
    log = tmp_path / "log"
    with adopt(f"{daemon(log, 'first')} {daemon(log, 'second')} exit 0") as adopter:
        first, second = started(log, "first"), started(log, "second")
        wait_until(lambda: first.ppid() == second.ppid() == adopter.pid, limit_s=LIMIT_S)
        wait_until(lambda: len(psutil.Process(adopter.pid).children()) == 2, limit_s=LIMIT_S)
        assert adopter.poll() is None
        first.kill()
        assert adopter.wait(LIMIT_S) == 1
        assert adopter.stderr is not None
        assert "sh was killed by signal 9" in adopter.stderr.read()
    assert not second.is_running()
    assert log.read_text().endswith("second-ends\n")


def test_daemons_end_in_the_reverse_order_of_their_starts(tmp_path: Path) -> None:
    """On SIGTERM, with exit code 0: the node ends before the store that it needs."""
    log = tmp_path / "log"
    script = f"{daemon(log, 'store')} sleep 0.3; {daemon(log, 'node')} exit 0"
    with adopt(script) as adopter:
        daemons = [started(log, name) for name in ("store", "node")]
        adopter.send_signal(signal.SIGTERM)
        assert adopter.wait(LIMIT_S) == 0
    assert not any(each.is_running() for each in daemons)
    assert log.read_text().splitlines()[-2:] == ["node-ends", "store-ends"]


def test_a_command_that_fails_says_so(tmp_path: Path) -> None:
    """Its exit code is the adopter's, and what it had started is ended."""
    log = tmp_path / "log"
    with adopt(f"{daemon(log, 'one')} sleep 0.3; exit 7") as adopter:
        one = started(log, "one")
        assert adopter.wait(LIMIT_S) == 7
    assert not one.is_running()
