#!/usr/bin/env python3
"""systemctl for machines without systemd: as much of it as docs/cluster.md and its units use.

Verbs: daemon-reload, enable [--now], start, stop, restart, is-active, default. A supervisor per
unit, in the background, runs it as its file says: user, environment, limits, restarts.
"""

import ctypes
import os
import pwd
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

UNITS = Path("/etc/systemd/system")
WANTED = Path("/etc/enabled-units")
RUN = Path("/run/units")
SUBREAPER = 36


class Unit:
    """A unit's file."""

    def __init__(self, name: str) -> None:
        self.name = name.removesuffix(".service")
        self.settings: dict[str, list[str]] = defaultdict(list)
        text = (UNITS / f"{self.name}.service").read_text().replace("\\\n", " ")
        for line in text.splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                self.settings[key.strip()].append(value.strip())

    def last(self, key: str, default: str = "") -> str:
        """Get a setting of which the last one counts."""
        return self.settings[key][-1] if self.settings[key] else default

    @property
    def supervisor(self) -> Path:
        """The file with the process id of its supervisor."""
        return RUN / self.name

    def environment(self) -> dict[str, str]:
        """Get what its processes see."""
        user = pwd.getpwnam(self.last("User", "root"))
        found = {"PATH": os.environ["PATH"], "HOME": user.pw_dir, "USER": user.pw_name}
        found |= {k: v for k, v in os.environ.items() if k.startswith("OPENBLAS_")}
        for line in self.settings["Environment"]:
            found |= dict(word.split("=", 1) for word in shlex.split(line))
        for name in self.settings["EnvironmentFile"]:
            if name.startswith("-") and not Path(name[1:]).exists():
                continue
            for line in Path(name.removeprefix("-")).read_text().splitlines():
                if line.strip() and not line.startswith("#"):
                    key, _, value = line.partition("=")
                    found[key] = "".join(shlex.split(value))
        return found

    def start(self, key: str = "ExecStart") -> "subprocess.Popen[bytes]":
        """Start its process, or the one that comes before."""
        environment, user = self.environment(), pwd.getpwnam(self.last("User", "root"))
        argv: list[str] = []
        for word in shlex.split(self.last(key)):  # `$NAME` is any number of words, `${NAME}` one
            if re.fullmatch(r"\$\w+", word):
                argv += environment.get(word[1:], "").split()
            else:
                argv.append(re.sub(r"\$\{(\w+)\}", lambda m: environment.get(m[1], ""), word))
        for folder, root in (("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")):
            for name in self.settings[folder]:
                path = Path(root) / name
                path.mkdir(exist_ok=True, mode=int(self.last(f"{folder}Mode", "755"), 8))
                os.chown(path, user.pw_uid, user.pw_gid)

        def become() -> None:
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # a sandbox may forbid more
            files = min(most, int(self.last("LimitNOFILE", "1024")))
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            os.umask(int(self.last("UMask", "22"), 8))
            os.initgroups(user.pw_name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)

        with (Path("/var/log") / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                argv,
                env=environment,
                cwd=self.last("WorkingDirectory", "/"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=become,
                start_new_session=True,
            )


def supervise(unit: Unit) -> None:
    """Run a unit until told to stop; whatever its processes leave behind ends with them."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        if process is not None:
            process.terminate()

    process: subprocess.Popen[bytes] | None = None
    signal.signal(signal.SIGTERM, stop)
    while not stopping:
        before = unit.settings["ExecStartPre"]
        if before and unit.start("ExecStartPre").wait():
            time.sleep(float(unit.last("RestartSec", "0.1")))
            continue
        process = unit.start()
        told_at: float | None = None
        while process.poll() is None:
            time.sleep(0.1)
            told_at = told_at or (time.monotonic() if stopping else None)
            if told_at and time.monotonic() > told_at + float(unit.last("TimeoutStopSec", "90")):
                process.kill()
        end_all()
        if unit.last("Restart", "no") == "no":
            break
        for _ in range(int(float(unit.last("RestartSec", "0.1")) * 10)):
            if not stopping:
                time.sleep(0.1)
    unit.supervisor.unlink()


def end_all() -> None:
    """Kill every descendant, as KillMode=control-group and mixed do in the end."""
    me = str(os.getpid())
    children = Path(f"/proc/{me}/task/{me}/children")
    while pids := children.read_text().split():
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
            os.waitpid(int(pid), 0)  # its children become ours


def is_active(unit: Unit) -> bool:
    """Tell whether a unit has a supervisor."""
    return unit.supervisor.exists()


def act(verb: str, unit: Unit) -> int:
    """Do one thing with one unit."""
    if verb in ("stop", "restart") and is_active(unit):
        os.kill(int(unit.supervisor.read_text()), signal.SIGTERM)
        while is_active(unit):
            time.sleep(0.1)
    if verb in ("start", "restart") and not is_active(unit):
        RUN.mkdir(exist_ok=True)
        started = subprocess.Popen(
            [sys.executable, __file__, "supervise", unit.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(Path("/var/log") / f"{unit.name}.log").open("ab"),
            start_new_session=True,
        )
        unit.supervisor.write_text(str(started.pid))
    return 0 if verb != "is-active" or is_active(unit) else 3


def main(verb: str, *words: str) -> int:
    """Act on each unit that is named."""
    units = [Unit(word) for word in words if not word.startswith("-")]
    if verb == "supervise":
        supervise(units[0])
    elif verb == "enable":
        WANTED.mkdir(exist_ok=True)
        for unit in units:
            (WANTED / f"{unit.name}.service").touch()
            if "--now" in words:
                act("start", unit)
    elif verb == "default":  # as at boot
        for wanted in sorted(WANTED.glob("*")):
            act("start", Unit(wanted.name))
    elif verb != "daemon-reload":
        return max(act(verb, unit) for unit in units)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
