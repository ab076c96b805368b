"""`hushcast up`: starts, stays, ends; leaves nothing behind and everything kept."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import psutil
import pytest
from redis import Redis

from commands.local.ports import free_ports
from commands.local.ray_head import ray_environment
from recordings.store import RecordingStore, StoreConfig
from serve_app.settings import Settings
from tests.local.instances import Instance, command, lives, running, wait_until
from tests.proxy import RecordingProxy, recording_proxy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KEY = "recordings/ann/one.wav"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The data of these instances, in a folder with a name that people may choose."""
    path = Path(tempfile.mkdtemp(prefix='hushcast\'s, 100% "of" #1 = \u00fc '))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def proxy() -> Iterator[RecordingProxy]:
    """A proxy that the environment of the first instance names for everything."""
    with recording_proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def pair(folder: Path, proxy: RecordingProxy) -> Iterator[tuple[Instance, Instance]]:
    """Two instances, started at the same time on this machine."""
    one, other = free_ports(2)
    with (
        running(folder / "one", one, **proxy.environment) as first,
        running(folder / "other", other, HUSHCAST_SIGN_UP="invite") as second,
    ):
        first.wait_ready()
        second.wait_ready()
        yield first, second


def where(instance: Instance) -> dict[str, str]:
    """Ask a replica what it was given."""
    connection = http.client.HTTPConnection("127.0.0.1", int(instance.url.rsplit(":", 1)[1]))
    try:
        connection.request("GET", "/where")
        told: dict[str, str] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return told


def redis(settings: Settings) -> Redis:
    """Reach an instance's Valkey."""
    assert settings.redis_url is not None
    return Redis.from_url(settings.redis_url)


def store(settings: Settings) -> RecordingStore:
    """Reach an instance's bucket."""
    assert settings.s3_bucket is not None
    return RecordingStore(
        StoreConfig(
            bucket=settings.s3_bucket,
            endpoint=settings.s3_endpoint,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key,
        )
    )


def test_two_instances_run_side_by_side(pair: tuple[Instance, Instance]) -> None:
    """Each has its own servers, secrets and port, and its application is told of its own."""
    told = [where(instance) for instance in pair]
    for name in ("redis_url", "s3_endpoint", "secret_key", "pid"):
        assert told[0][name] != told[1][name]
    assert [t["threads"] for t in told] == ["1", "1"]
    settings = pair[0].settings()
    assert told[0]["redis_url"] == settings.redis_url


def test_it_says_what_it_does_while_it_starts(pair: tuple[Instance, Instance]) -> None:
    """A line for each part, and the ready line when the application answers, not before."""
    said = "".join(pair[0].lines)
    for part in ("Valkey is ready", "SeaweedFS is ready", "Ray is ready", "is deployed"):
        assert part in said
    assert where(pair[0])["pid"]


def test_no_part_asks_a_proxy_for_another(
    pair: tuple[Instance, Instance], proxy: RecordingProxy
) -> None:
    """With `HTTP_PROXY` and its kin set, all of them start and serve without it."""
    assert where(pair[0])["pid"]
    assert proxy.asked == []


def test_only_this_machine_reaches_it(pair: tuple[Instance, Instance]) -> None:
    """Every port is on loopback, except Serve's own between replicas, which needs Ray's token."""
    family = pair[0].alive()
    open_ports = [
        (process, connection.laddr)
        for process in family
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(open_ports) > 15
    for process, (ip, port) in open_ports:
        if ip not in ("127.0.0.1", "::ffff:127.0.0.1"):
            assert "ServeReplica" in command(process), f"{command(process)} listens on {ip}:{port}"
            token = (pair[0].data_dir / "ray" / "token").read_text()
            assert is_refused(port, token="0" * len(token))
            assert not is_refused(port, token=token)


def is_refused(port: int, token: str) -> bool:
    """Call one of Serve's replicas, with nothing it could understand, and see why it fails."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
        with pytest.raises(grpc.RpcError) as failed:
            call(b"", timeout=10, metadata=[("authorization", f"Bearer {token}")])
    return bool(failed.value.code() == grpc.StatusCode.UNAUTHENTICATED)


CLIENT = """
import sys, ray
ray.init(sys.argv[1], _node_ip_address="127.0.0.1", log_to_driver=False)
print("connected with", len(ray.nodes()), "node")
"""


def ask_ray(address: str, token: Path) -> "subprocess.CompletedProcess[str]":
    """Connect to a Ray as another program of this machine would."""
    return subprocess.run(
        [sys.executable, "-c", CLIENT, address],
        env=os.environ | ray_environment(token) | {"RAY_NUM_REDIS_GET_RETRIES": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def ray_address(instance: Instance) -> str:
    """Find where an instance's Ray listens."""
    words = instance.child("commands.local.adopter").cmdline()
    port = next(word for word in words if word.startswith("--port="))
    return port.replace("--port=", "127.0.0.1:")


def test_ray_refuses_who_has_no_token(pair: tuple[Instance, Instance]) -> None:
    """This data directory's token opens its Ray; another directory's valid token does not."""
    own, others = (instance.data_dir / "ray" / "token" for instance in pair)
    assert [path.stat().st_mode & 0o777 for path in (own, others)] == [0o600, 0o600]
    assert own.read_text() != others.read_text()
    allowed = ask_ray(ray_address(pair[0]), own)
    assert allowed.returncode == 0 and "connected with 1 node" in allowed.stdout
    refused = ask_ray(ray_address(pair[0]), others)
    assert refused.returncode != 0 and "connected" not in refused.stdout
    assert "AuthenticationError" in refused.stderr


def test_ray_starts_nothing_that_nobody_uses(pair: tuple[Instance, Instance]) -> None:
    """No dashboard, no agent, no monitor, no server for clients."""
    running = {word for process in pair[0].alive() for word in command(process).split()}
    assert {"ray::ServeController", "ray::ProxyActor"} <= {each.split(".")[0] for each in running}
    unused = ("agent", "dashboard.py", "log_monitor.py", "monitor.py", "ray.util.client.server")
    assert not [each for each in running if each.lower().endswith(unused)]


def test_what_is_kept_is_private(pair: tuple[Instance, Instance]) -> None:
    """Nobody else can enter the folders; no file with a secret can be read, no log has one."""
    data = pair[0].data_dir
    settings = pair[0].settings()
    assert data.stat().st_mode & 0o777 == 0o700
    secrets = [settings.secret_key, settings.s3_secret_key or "", (data / "ray/token").read_text()]
    secrets.append((data / "valkey" / "password").read_text())
    assert all(len(secret) >= 32 for secret in secrets)
    logs = [path.read_text(errors="replace") for path in (data / "logs").iterdir()]
    assert len(logs) == 5
    for secret in secrets:
        assert not any(secret in text for text in (*logs, *pair[0].lines))
    for name in ("secret-key", "running.json"):
        assert (data / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("name", "word"), [("Valkey", "valkey-server"), ("SeaweedFS", "weed")])
def test_a_server_that_dies_comes_back(
    name: str, word: str, pair: tuple[Instance, Instance]
) -> None:
    """It restarts with its data, where clients look for it, and a line says so."""
    settings = pair[0].settings()
    before = pair[0].child(word)
    with redis(settings) as client:
        client.set("kept", "yes")
    bucket = store(settings)
    bucket.put_peaks(KEY, [0.5])
    before.kill()
    assert "signal 9" in pair[0].wait_for(f"{name} was killed")
    pair[0].wait_for(f"{name} is ready again")
    with redis(settings) as client:
        assert client.get("kept") == b"yes"
    assert bucket.get_peaks(KEY) == (0.5,)
    bucket.close()
    assert pair[0].child(word).pid != before.pid


def test_a_data_dir_in_use_is_refused(pair: tuple[Instance, Instance]) -> None:
    """A sentence and exit code 1; the one that uses it does not notice."""
    with running(pair[0].data_dir, free_ports(1)[0]) as late:
        assert late.end() == 1
        assert "is in use by another hushcast; choose another with --data-dir" in late.lines[-1]
        assert len(late.lines) == 1
    assert where(pair[0])["pid"]


def call(instance: Instance, *arguments: str) -> tuple[int, str]:
    """Call another command on an instance's data directory; returns exit code and output."""
    called = subprocess.run(
        [sys.executable, "-m", "commands.cli", *arguments, "--data-dir", str(instance.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return called.returncode, called.stdout


def test_other_commands_find_the_running_instance(pair: tuple[Instance, Instance]) -> None:
    """On a data directory in use they work on its servers."""
    assert call(pair[0], "recordings", "reconcile") == (0, "index and bucket agree\n")
    assert call(pair[1], "accounts", "create", "ada")[0] == 0
    with redis(pair[1].settings()) as client:
        assert client.exists("hushcast:account:ada")


def test_a_start_says_that_people_need_an_invitation(pair: tuple[Instance, Instance]) -> None:
    """Only where that is so."""
    told = [any(line.startswith("People need an invitation") for line in i.lines) for i in pair]
    assert told == [False, True]


def test_a_busy_port_is_refused_before_anything_starts(folder: Path) -> None:
    """A sentence and exit code 1, within seconds."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with running(folder / "busy", port) as late:
            assert late.end() == 1
            assert f"Cannot serve on port {port} of 127.0.0.1" in late.lines[-1]
            assert len(late.lines) == 1
            assert {command(p) for p in late.family} == set()


def test_two_that_start_at_once_do_not_share_a_port(folder: Path) -> None:
    """Serve's proxies would: both listen, and a request gets to either."""
    [port] = free_ports(1)
    with running(folder / "first", port) as first:
        first.wait_for("is starting")
        with running(folder / "second", port) as second:
            assert second.end() == 1
            assert f"Cannot serve on port {port} of 127.0.0.1: another hushcast" in second.lines[-1]
        first.signal(signal.SIGTERM)
        assert first.end() == 0


def test_sigkill_leaves_nothing_and_loses_nothing(pair: tuple[Instance, Instance]) -> None:
    """Within 15 s all is gone, the other instance keeps serving, and a new start finds the data."""
    first, second = pair
    secret, temp = first.settings().secret_key, first.temp_dir()
    with redis(first.settings()) as client:
        client.set("acknowledged", "yes")
        client.execute_command("WAITAOF", 1, 0, 5000)
    bucket = store(first.settings())
    bucket.put_peaks(KEY, [0.75])
    bucket.close()
    first.note_family()
    assert len(first.alive()) > 9 and temp.is_dir()
    first.signal(signal.SIGKILL)
    took = wait_until(lambda: not first.alive(), limit_s=15)
    wait_until(lambda: not temp.exists(), limit_s=1)
    assert not (first.data_dir / "running.json").exists()
    print(f"\nafter SIGKILL, {len(first.family)} processes were gone in {took:.1f} s")
    assert where(second)["pid"]
    with running(first.data_dir, int(first.url.rsplit(":", 1)[1])) as again:
        again.wait_ready()
        assert again.settings().secret_key == secret
        with redis(again.settings()) as client:
            assert client.get("acknowledged") == b"yes"
        bucket = store(again.settings())
        assert bucket.get_peaks(KEY) == (0.75,)
        bucket.close()
        _ends_without_ray(again)


def _ends_without_ray(instance: Instance) -> None:
    """A lost part of Ray ends it soon: there is nothing to drain. It says what was lost."""
    temp, began = instance.temp_dir(), time.monotonic()
    instance.child("gcs_server").kill()
    assert instance.end() == 1
    took = time.monotonic() - began
    print(f"\nwithout Ray it ended after {took:.1f} s")
    lines = "".join(instance.lines)
    assert "Ray exited with code 1" in lines and "gcs_server was killed by signal 9" in lines
    assert "Next steps" not in lines  # what Ray advises when it starts
    assert took < 25
    assert instance.alive() == [] and not temp.exists()


def test_sigterm_drains_and_ends_all(pair: tuple[Instance, Instance]) -> None:
    """The application is drained before its servers end; exit code 0."""
    second = pair[1]
    assert not (second.data_dir / "drained").exists()
    second.signal(signal.SIGTERM)
    assert second.end() == 0
    assert (second.data_dir / "drained").read_text() == "yes"
    assert second.alive() == []


@pytest.mark.parametrize(
    "moment",
    ["is starting"]
    + [
        pytest.param(each, marks=pytest.mark.soak)
        for each in ("Valkey is ready", "Ray is ready", "later")
    ],
)
def test_ctrl_c_at_any_moment_leaves_nothing(moment: str, folder: Path) -> None:
    """Even in the middle of the start, everything ends soon, with exit code 0."""
    with running(folder / "interrupted", free_ports(1)[0]) as instance:
        instance.wait_for("Ray is ready" if moment == "later" else moment)
        if moment == "later":  # Serve's first actors are being started
            wait_until(lambda: any("ServeController" in command(p) for p in noted(instance)), 60)
        instance.signal(signal.SIGINT)
        began = time.monotonic()
        assert instance.end() == 0
        assert time.monotonic() - began < 15
        assert instance.alive() == []
        assert "Traceback" not in "".join(instance.lines)


def noted(instance: Instance) -> set[psutil.Process]:
    """Look at an instance's processes now."""
    instance.note_family()
    return {process for process in instance.family if lives(process)}


def test_a_second_ctrl_c_ends_it_now(folder: Path) -> None:
    """A drain that takes its time is cut short by a second signal; nothing is left."""
    with running(folder / "stubborn", free_ports(1)[0], builder="build_stubborn") as instance:
        instance.wait_ready()
        instance.signal(signal.SIGINT)
        instance.wait_for("stopping")
        instance.signal(signal.SIGINT)
        began = time.monotonic()
        assert instance.end() == 0
        assert time.monotonic() - began < 10
        assert instance.alive() == []


def test_a_ray_that_dies_before_the_application_runs_is_reported(folder: Path) -> None:
    """At once, with its name; exit code 1, and nothing is left."""
    with running(folder / "without-ray", free_ports(1)[0]) as instance:
        instance.wait_for("Ray is ready")
        instance.child("commands.local.adopter").kill()
        assert instance.end(limit_s=60) == 1
        assert "Ray was killed by signal 9" in "".join(instance.lines)
        assert instance.alive() == []


def test_an_application_that_cannot_start_says_why(folder: Path) -> None:
    """The reason is on the screen, the exit code 1, and nothing is left."""
    with running(folder / "failing", free_ports(1)[0], builder="build_nothing") as instance:
        assert instance.end(limit_s=150) == 1
        assert "the model has another checksum" in "".join(instance.lines)
        assert instance.alive() == []
