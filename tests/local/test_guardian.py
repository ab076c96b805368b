"""The guardian: what its owner leaves behind is soon gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from commands.local.data_dir import DataDirInUse, locked
from tests.local.instances import lives, wait_until

OWNER = """
import subprocess, sys, time
from pathlib import Path
from commands.local.child import Child, Command
from commands.local.data_dir import locked
from commands.local.guardian import Guardian

folder = Path(sys.argv[1])
# A child, and of it: one that ignores SIGTERM, one in a session of its own, one without its mark.
code = '''
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(sleep)
subprocess.Popen(sleep, start_new_session=True)
subprocess.Popen(sleep, env={})
print("up", flush=True)
time.sleep(600)
'''
with locked(folder / "data") as lock, Guardian(lock) as guardian:
    (folder / "left").mkdir()
    guardian.remove(folder / "left")
    child = Child("child", Command((sys.executable, "-c", code), folder, folder / "log"), guardian)
    child.start()
    print("started", flush=True)
    sys.stdin.read()
"""


def start_owner(folder: Path) -> tuple["subprocess.Popen[str]", list[psutil.Process]]:
    """Start it; returns it and, when they are all there, its descendants."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    log = folder / "log"
    wait_until(lambda: log.exists() and "up" in log.read_text(), limit_s=30)
    return owner, psutil.Process(owner.pid).children(recursive=True)


def finish(owner: "subprocess.Popen[str]") -> None:
    """Close its pipes."""
    owner.wait()
    for pipe in (owner.stdin, owner.stdout):
        assert pipe is not None
        pipe.close()


def test_a_killed_owner_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    """Deaf, detached and unmarked descendants end, and the guardian after them, within 15 s."""
    owner, family = start_owner(tmp_path)
    assert len(family) == 5
    owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(lives, family)), limit_s=15)
    assert not (tmp_path / "left").exists()
    finish(owner)


def test_the_next_owner_waits_until_all_is_cleaned_up(tmp_path: Path) -> None:
    """Or two servers would write the same data. One whose owner lives is refused at once."""
    owner, family = start_owner(tmp_path)
    with pytest.raises(DataDirInUse), locked(tmp_path / "data"):
        raise AssertionError("both hold it")
    owner.kill()
    owner.wait()
    with locked(tmp_path / "data"):
        assert not any(map(lives, family[1:])) and not (tmp_path / "left").exists()
    finish(owner)


def test_an_owner_does_it_itself_when_the_guardian_was_killed(tmp_path: Path) -> None:
    """The end is the same when somebody killed the guardian first."""
    owner, family = start_owner(tmp_path)
    guardian = next(p for p in family if "commands.local.guardian" in p.cmdline())
    guardian.kill()
    assert owner.stdin is not None
    owner.stdin.close()
    assert owner.wait(20) == 0
    assert not any(map(lives, family)) and not (tmp_path / "left").exists()
    finish(owner)


def test_the_guardian_does_not_listen_to_ctrl_c(tmp_path: Path) -> None:
    """Signals from a terminal or a system that shuts down do not end it before its owner."""
    owner, family = start_owner(tmp_path)
    guardian = next(p for p in family if "commands.local.guardian" in p.cmdline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        guardian.send_signal(number)
    owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(lives, family)), limit_s=15)
    assert not (tmp_path / "left").exists()
    finish(owner)
