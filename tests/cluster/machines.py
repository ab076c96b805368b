"""Machines made of namespaces, on a network that nothing else is on.

Each has an address, processes, a hostname and a copy-on-write disk of its own. The disk begins as a
copy of this machine's and outlives `power_off`. Everything ends with the `Lan`, or with the process
that made it.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from commands.local.guardian import Guardian

CHECKOUT = Path(__file__).parents[2]
NEW_NETWORK = 0x40000000
NOWHERE = "02:00:00:00:00:00"
"""A link-layer address that nobody has."""
DISKS = "/run/disks"
JOINED = "hushcast"
"""The interface of the machine that all of this runs on."""
NEEDS_ROOT = "machines of namespaces need root, and overlays to be mounted"

_SWITCH = f"""
mount -t tmpfs tmpfs /run && mkdir {DISKS}
ip link set lo up
ip link add lan type bridge && ip link set lan up
echo ready && exec sleep infinity
"""
# The checkout may lie anywhere, also in /tmp, so /tmp stays, without what others left there.
_BOOT = """
set -e
hostname "$NAME"
mkdir -p "$DISK"/{changed,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$DISK/changed,workdir=$DISK/work" "$DISK/root"
cd "$DISK/root"
mount --rbind /dev dev && mount -t tmpfs -o size=300m,mode=1777 tmpfs dev/shm
mount -t proc proc proc && mount --rbind /sys sys && mount -t tmpfs -o mode=755 tmpfs run
rm -rf tmp/ray tmp/haproxy-serve tmp/hush-* etc/resolv.conf opt/hushcast
ln -s "$CHECKOUT" opt/hushcast && touch etc/resolv.conf
for folder in "$CHECKOUT" "$(dirname "$PYTHON")"; do  # where every user has to get
    while [ "$folder" != / ]; do chmod a+x ".$folder"; folder=$(dirname "$folder"); done
done
printf '127.0.0.1 localhost\\n%s %s\\n' "$ADDRESS" "$NAME" > etc/hosts
install -m 755 "$CHECKOUT/tests/cluster/systemctl.py" usr/bin/systemctl
sed -i "1s|.*|#!$PYTHON -I|" usr/bin/systemctl
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done  # /sys shows the real machine's
ip link set lo up && ip address add "$ADDRESS/24" dev eth0 && ip link set eth0 up
exec chroot . bash -c 'echo ready; trap "exit 0" TERM; sleep infinity & wait'
"""


class Lan:
    """A network of machines; a context manager."""

    def __init__(self) -> None:
        self._guardian = Guardian()
        self._machines: dict[str, Machine] = {}
        self._switch: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise PermissionError(NEEDS_ROOT)
        self._guardian.__enter__()
        self._switch = self.spawn(["unshare", "--net", "--mount", "bash", "-c", _SWITCH], {})
        wait_ready(self._switch, "the network")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for machine in self._machines.values():
            machine.power_off()
        if self._switch is not None:
            _end(self._switch)
        self._guardian.__exit__(kind, error, traceback)

    def machine(self, name: str, address: str) -> "Machine":
        """Add a machine, and switch it on."""
        machine = self._machines[name] = Machine(self, name, address)
        machine.power_on()
        return machine

    @property
    def machines(self) -> "list[Machine]":
        """All machines."""
        return list(self._machines.values())

    @property
    def switch(self) -> int:
        """The process that holds the network and the disks."""
        assert self._switch is not None
        return self._switch.pid

    def spawn(self, argv: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        """Start a process that says when it is ready, and ends with us."""
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._guardian.watch(process.pid)
        assert process.stdout is not None
        return process

    @contextmanager
    def joined(self, address: str) -> Iterator[None]:
        """Connect the machine that all of this runs on, so that it reaches the others."""
        self.plug(JOINED, os.getpid(), JOINED)
        try:
            for words in (f"address add {address}/24 dev {JOINED}", f"link set {JOINED} up"):
                subprocess.run(["ip", *words.split()], check=True)
            yield
        finally:
            self.unplug(JOINED)

    def plug(self, name: str, pid: int, interface: str = "eth0") -> None:
        """Connect the machine of this process to a port of the switch."""
        self._run(f"ip link add to-{name} type veth peer name {interface} netns {pid}")
        self._run(f"ip link set to-{name} master lan up")

    def unplug(self, name: str) -> None:
        """Remove the port, and the machine's end of it; a machine that died took both with it."""
        self._run(f"ip link delete to-{name}", check=False)

    def set_port(self, name: str, *, passes: bool) -> None:
        """Let a machine's port pass packets, or drop them."""
        self._run(f"bridge link set dev to-{name} state {3 if passes else 0}")

    def _run(self, command: str, *, check: bool = True) -> None:
        here = ["nsenter", "-t", str(self.switch), "-n"]
        subprocess.run([*here, *command.split()], check=check)


class Machine:
    """One machine."""

    def __init__(self, lan: Lan, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self._lan = lan
        self._process: subprocess.Popen[str] | None = None
        self._init: psutil.Process | None = None

    @property
    def is_on(self) -> bool:
        """Whether it runs."""
        return self._process is not None

    @property
    def root(self) -> Path:
        """Its root folder, as this process sees it, while it runs."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def pid(self) -> int:
        """Its first process, as this process sees it."""
        assert self._init is not None, f"{self.name} is off"
        return self._init.pid

    def power_on(self) -> None:
        """Start it; units that were enabled start, as at boot."""
        spaces = "--net --mount --uts --ipc --pid --fork --kill-child --mount-proc".split()
        argv = ["nsenter", "-t", str(self._lan.switch), "-m", "unshare", *spaces]
        environment = {
            "NAME": self.name,
            "ADDRESS": self.address,
            "DISK": f"{DISKS}/{self.name}",
            "CHECKOUT": str(CHECKOUT),
            "PYTHON": os.path.realpath(sys.executable),
        }
        self._process = self._lan.spawn([*argv, "bash", "-c", _BOOT], environment)
        self._init = _only_child(self._process)
        self._lan.plug(self.name, self.pid)
        wait_ready(self._process, self.name)
        self.run("systemctl default")

    def power_off(self) -> None:
        """Cut it off, then end all its processes at once. Its peers hear nothing of that."""
        if self._process is not None and self._init is not None:
            self._lan.unplug(self.name)
            self._init.kill()
            _end(self._process)
        self._process = self._init = None

    def cut(self) -> None:
        """Drop every packet to and from it. Nobody sees a link go down."""
        self._lan.set_port(self.name, passes=False)

    def mend(self) -> None:
        """Connect it again."""
        self._lan.set_port(self.name, passes=True)

    def cut_from(self, others: "Iterable[Machine]") -> None:
        """Drop every packet between it and these, in both directions."""
        for one, other in _pairs(self, others):
            one.run(f"ip neigh replace {other.address} lladdr {NOWHERE} dev eth0 nud permanent")

    def mend_to(self, others: "Iterable[Machine]") -> None:
        """Undo `cut_from`."""
        for one, other in _pairs(self, others):
            one.run(f"ip neigh delete {other.address} dev eth0")

    def enter(self, *argv: str) -> list[str]:
        """Get a command line that runs another one on this machine, with a plain environment."""
        entered = [
            "nsenter",
            "-t",
            str(self.pid),
            "-a",
            "-r",
            "-w",
            "--",
            "env",
            "-i",
            "HOME=/root",
        ]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        kept = [f"{k}={v}" for k, v in os.environ.items() if k.startswith("OPENBLAS_")]
        return [*entered, path, "LANG=C.UTF-8", "TERM=dumb", *kept, *argv]

    def run(self, script: str, *, timeout_s: float = 120.0) -> str:
        """Run a script of bash as root; get what it prints. Raises AssertionError if it fails."""
        done = subprocess.run(
            self.enter("timeout", str(timeout_s), "bash", "-euo", "pipefail", "-c", script),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{self.name}: {script}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def network(self) -> Iterator[None]:
        """Have this thread, and what it starts, on this machine's network."""
        with open("/proc/thread-self/ns/net") as here, open(f"/proc/{self.pid}/ns/net") as there:
            _enter_network(there.fileno())
            try:
                yield
            finally:
                _enter_network(here.fileno())


def wait_ready(process: "subprocess.Popen[str]", name: str) -> None:
    """Wait until a process says that it is ready. Raises AssertionError if it does not."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", f"{name} does not start"


def _pairs(one: Machine, others: Iterable[Machine]) -> Iterator[tuple[Machine, Machine]]:
    for other in others:
        for pair in ((one, other), (other, one)):
            if other is not one and pair[0].is_on:
                yield pair


def _only_child(process: "subprocess.Popen[str]") -> psutil.Process:
    """Wait for the first process of a machine."""
    while process.poll() is None:
        if children := psutil.Process(process.pid).children():
            return children[0]
    raise AssertionError(f"ended with {process.returncode}")


def _enter_network(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns is there from Python 3.12 on
    if libc.setns(descriptor, NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
