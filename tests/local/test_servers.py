"""Valkey and SeaweedFS as `hushcast up` brings them: real, kept, and closed to strangers."""

import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from commands.local.child import Child, Command, NeedsRestart, Part
from commands.local.guardian import Guardian, members
from commands.local.paths import temp_folder
from commands.local.ports import PAIR, is_free
from commands.local.ray_head import RayHead
from commands.local.seaweed import SeaweedFS
from commands.local.server import Server
from commands.local.signals import Signals
from commands.local.valkey import Valkey
from recordings.store import RecordingStore, StoreConfig, StoreUnavailable
from tests.local.instances import wait_until
from tests.s3_stub import s3_stub
from tests.servers import running

P = TypeVar("P", bound=Part)

KEY = "recordings/ann/one.wav"


@pytest.fixture
def store(s3: StoreConfig) -> Iterator[RecordingStore]:
    """Reach the shared SeaweedFS."""
    made = RecordingStore(s3)
    yield made
    made.close()


@contextmanager
def serving(
    make: Callable[[], P], say: Callable[[str], None] = lambda text: None
) -> Iterator[Server[P]]:
    """Run a server that a test may kill and revive."""
    with Guardian() as guardian:
        server = Server(make, guardian, Signals())
        server.start()
        try:
            server.wait(say)
            yield server
        finally:
            server.child.stop()


def mode(path: Path) -> int:
    """Get the permission bits of a file."""
    return path.stat().st_mode & 0o777


def test_valkey_refuses_who_has_no_password(valkey: str) -> None:
    """Neither a missing nor a wrong password opens it."""
    address = valkey.rsplit("@", 1)[1]
    for url in (f"redis://{address}", f"redis://:wrong@{address}"):
        with Redis.from_url(url) as client, pytest.raises(AuthenticationError):
            client.ping()


def test_valkey_keeps_what_it_acknowledged_when_it_is_killed(tmp_path: Path) -> None:
    """A key is there after SIGKILL and a start on the same data, under the same password."""
    log = tmp_path / "log"
    with (
        serving(lambda: Valkey.prepare(tmp_path / "valkey", log)) as server,
        Redis.from_url(server.part.url) as client,
    ):
        client.set("kept", "yes")
        server.child.kill()
        server.revive()
        assert client.get("kept") == b"yes"
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    again = Valkey.prepare(tmp_path / "valkey", log)
    assert again.password == server.part.password
    assert [mode(tmp_path / "valkey" / name) for name in ("password", "valkey.conf")] == [0o600] * 2


def test_seaweed_refuses_who_has_no_keys(s3: StoreConfig, store: RecordingStore) -> None:
    """Neither an unsigned request nor one signed with another key gets an object or the list."""
    store.put_peaks(KEY, [0.5])
    key = KEY.replace(".wav", ".peaks.json")
    for path in ("", f"/{s3.bucket}", f"/{s3.bucket}/{key}"):
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(f"{s3.endpoint}{path}", timeout=5)
        refused.value.close()
    wrong = StoreConfig(
        bucket=s3.bucket, endpoint=s3.endpoint, access_key=s3.access_key, secret_key="wrong"
    )
    stranger = RecordingStore(wrong)
    try:
        with pytest.raises(StoreUnavailable):
            stranger.check()
    finally:
        stranger.close()


def test_every_other_port_of_seaweed_wants_a_certificate(tmp_path: Path) -> None:
    """All listen on loopback, and except for S3 none answers without our client certificate."""
    server = SeaweedFS.prepare(tmp_path / "s3", tmp_path / "log")
    ports = {port + extra for port in server.ports.values() for extra in (0, PAIR)}
    with running(server) as child:
        wait_until(lambda: len(listening(child.pid)) >= len(ports), limit_s=30)
        assert listening(child.pid) == {("127.0.0.1", port) for port in ports}
        closed = ports - {server.ports["s3"]}
        for port in closed:
            assert not answers_strangers(port), f"port {port} answered"
        names = ("access-key", "secret-key", "s3.json", "security.toml", "tls.key")
        assert [mode(tmp_path / "s3" / name) for name in names] == [0o600] * len(names)


def listening(pid: int) -> set[tuple[str, int]]:
    """Find the addresses and ports at which a process listens; some of its parts come later."""
    connections = psutil.Process(pid).net_connections("tcp")
    return {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}


def answers_strangers(port: int) -> bool:
    """Tell whether a TLS client without a certificate gets an answer to a request."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        try:
            with context.wrap_socket(plain) as secure:
                secure.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                return secure.recv(1) != b""
        except OSError:  # TLS says no with an alert, or by closing
            return False


def test_seaweed_keeps_what_it_acknowledged_when_it_is_killed(tmp_path: Path) -> None:
    """An object is there after SIGKILL: first on the same ports, later on others too."""
    folder, log = tmp_path / "s3", tmp_path / "log"
    with serving(lambda: SeaweedFS.prepare(folder, log)) as server:
        store = RecordingStore(server.part.store)
        store.put_peaks(KEY, [0.25])
        server.child.kill()
        server.revive()
        assert store.get_peaks(KEY) == (0.25,)
        store.close()
    (folder / "ports.json").unlink()
    again = SeaweedFS.prepare(folder, log)
    assert again.ports != server.part.ports
    with running(again):
        store = RecordingStore(again.store)
        assert store.get_peaks(KEY) == (0.25,)
        store.close()


def test_a_bucket_that_refuses_puts_wants_a_restart(tmp_path: Path) -> None:
    """A store that has the bucket and says NoSuchBucket to puts goes on saying so for minutes."""
    with s3_stub(tmp_path) as stub:
        seaweed = SeaweedFS(tmp_path, tmp_path / "log", {"s3": stub.port}, stub.config)
        stub.forgets_its_bucket = True
        with pytest.raises(NeedsRestart, match="refuses to store into its own bucket"):
            seaweed.answers()
        stub.forgets_its_bucket = False
        assert seaweed.answers() and not stub.objects


@dataclass
class Stubborn:
    """A part whose first process does not serve."""

    folder: Path
    name: str = "Stubborn"
    starts: int = 0

    def command(self) -> Command:
        return Command(("sleep", "600"), self.folder, self.folder / "log")

    def answers(self) -> bool:
        self.starts += 1
        if self.starts == 1:
            raise NeedsRestart("not this time")
        return True


def test_a_server_that_wants_a_restart_gets_it(tmp_path: Path) -> None:
    """The first process is gone, the next one serves."""
    part = Stubborn(tmp_path)
    before = set(psutil.Process().children(recursive=True))
    with serving(lambda: part) as server:
        started = set(psutil.Process().children(recursive=True)) - before
        assert [each.pid for each in started if each.name() == "sleep"] == [server.child.pid]
    assert part.starts == 2


def test_another_port_is_tried_when_ours_was_taken(tmp_path: Path) -> None:
    """A program that takes the port between choice and use does not stop the start."""
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        taken = Valkey(tmp_path / "valkey", tmp_path / "log", thief.getsockname()[1], "p" * 32)
        ports = iter([taken])
        free = Valkey.prepare(tmp_path / "valkey", tmp_path / "log")
        said: list[str] = []
        with serving(lambda: next(ports, free), said.append) as server:
            assert server.part is free and free.answers()
        assert "Address already in use" in said[0]
        assert said[0].endswith("Starting Valkey again, 2 of 3")


@dataclass
class Unlucky:
    """A part that leaves a process behind when it first fails, then runs."""

    folder: Path
    name: str = "The part"
    starts: int = 0

    def command(self) -> Command:
        """Fail once."""
        self.starts += 1
        script = "sleep 600 & exit 1" if self.starts == 2 else "exec sleep 600"
        return Command(("sh", "-c", script), self.folder, self.folder / "log")

    def answers(self) -> bool:
        """Serve when started again."""
        return self.starts > 2


def test_nothing_of_a_failed_start_is_left_for_the_next(tmp_path: Path) -> None:
    """Children that outlive a part are ended before it is started again."""
    part = Unlucky(tmp_path)  # Server asks for its command once before it starts it
    with Guardian() as guardian:
        server = Server(lambda: part, guardian, Signals())
        server.start()
        failed = server.child.pid
        server.wait()
        assert members(None, {failed}) == []
        assert [p.pid for p in members(None, {server.child.pid})] == [server.child.pid]
        server.child.stop()


@pytest.mark.slow
def test_ray_that_gives_up_is_started_again(tmp_path: Path) -> None:
    """It is ready only when its node has joined: on a busy machine Ray gives up before that."""
    said: list[str] = []
    with Guardian() as guardian:
        temp = temp_folder()
        guardian.remove(temp)
        server = Server(
            lambda: RayHead.prepare(tmp_path, tmp_path / "log", temp), guardian, Signals()
        )
        server.start()
        first = server.part
        wait_until(lambda: not is_free(first.ports["store"]), limit_s=60)
        server.child.kill()
        server.wait(said.append)
        assert len(said) == 1 and "Starting Ray again, 2 of 3" in said[0]
        assert server.part.answers() and is_free(first.ports["store"])
        server.child.stop()


@pytest.mark.parametrize("name", ['-a, b: it\'s "100%" #1 = \u00fc\n\u58f0;', "x" * 250])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    """Both servers keep their data where they are told to, and so does the guardian."""
    folder = tmp_path / name / name
    with serving(lambda: Valkey.prepare(folder / "valkey", tmp_path / "log")) as server:
        with Redis.from_url(server.part.url) as client:
            client.set("kept", "yes")
        assert list((folder / "valkey" / "appendonlydir").iterdir())
    with serving(lambda: SeaweedFS.prepare(folder / "s3", tmp_path / "log")) as server:
        store = RecordingStore(server.part.store)
        store.put_peaks(KEY, [0.5])
        store.close()
        assert list((folder / "s3" / "data").iterdir())
    with Guardian() as guardian:
        guardian.remove(folder)
    assert tmp_path.is_dir() and not folder.exists()


def test_the_mark_and_the_secrets_are_not_in_the_arguments(s3: StoreConfig, valkey: str) -> None:
    """Listing the machine's processes reveals no password and no key."""
    password = valkey.split(":")[2].split("@")[0]
    shown = json.dumps([process.info["cmdline"] for process in psutil.process_iter(["cmdline"])])
    for secret in (password, s3.access_key or "", s3.secret_key or ""):
        assert secret and secret not in shown


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The message names the server and quotes the end of its log."""
    broken = Valkey.prepare(tmp_path / "valkey", tmp_path / "log")
    with Guardian() as guardian:
        command = broken.command()
        (tmp_path / "valkey" / "valkey.conf").write_text("appendonly perhaps\n")
        child = Child(broken.name, command, guardian)
        child.start()
        with pytest.raises(Exception, match=r"Valkey exited with code 1 .*(.|\n)*perhaps"):
            child.wait_until(broken.answers)
        child.stop()
