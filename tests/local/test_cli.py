"""The `hushcast` command: what it offers, and how it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from commands.local.data_dir import DataDirRefused, locked
from tests.servers import valkey_with


def hushcast(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "commands.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_help_names_the_commands() -> None:
    """Every command it names has help of its own."""
    told = hushcast("--help")
    assert told.returncode == 0
    named = [line.split()[0] for line in told.stdout.splitlines() if line.startswith("    ")]
    commands = {"up", "denoise", "load", "doctor", "accounts", "drain", "recordings"}
    assert commands <= set(named)
    for command in commands:
        assert hushcast(command, "--help").returncode == 0


def test_a_wrong_flag_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """Exit code 2, one line, and nothing is created."""
    refused = hushcast("up", "--port", "many", "--data-dir", str(tmp_path / "data"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("--port: ") and refused.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_redis_in_cluster_mode_is_refused(tmp_path: Path) -> None:
    """Exit code 1 and a sentence, before anything starts."""
    with valkey_with(tmp_path, "cluster-enabled yes") as port:
        url = f"redis://127.0.0.1:{port}"
        refused = hushcast("up", "--redis-url", url, "--data-dir", str(tmp_path / "data"))
    assert refused.returncode == 1 and refused.stdout == ""
    assert refused.stderr.startswith("HUSHCAST_REDIS_URL: Redis runs in cluster mode")
    assert refused.stderr.count("\n") == 1


def test_a_data_dir_that_cannot_be_used_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """Exit code 1 and one line."""
    (tmp_path / "file").touch()
    refused = hushcast("up", "--data-dir", str(tmp_path / "file" / "data"))
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert "cannot be used: Not a directory; choose another" in refused.stderr


@pytest.mark.parametrize(
    ("name", "why"), [("x" * 300, "File name too long"), ("x/" * 450, "too long a path")]
)
def test_a_data_dir_with_too_long_a_name_is_refused(name: str, why: str, tmp_path: Path) -> None:
    """Nothing is created."""
    with pytest.raises(DataDirRefused, match=why), locked(tmp_path / name):
        raise AssertionError
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_reconcile_brings_its_servers_when_none_runs(tmp_path: Path) -> None:
    """On an idle data directory it starts what it needs, reports, and stops it.

    That directory may have lost its Redis; one that has nothing is not hushcast's.
    """
    absent = hushcast("recordings", "reconcile", "--data-dir", str(tmp_path / "data"))
    assert absent.returncode == 1 and "There is no hushcast data" in absent.stderr
    (tmp_path / "data" / "s3").mkdir(parents=True)
    reconciled = hushcast("recordings", "reconcile", "--data-dir", str(tmp_path / "data"))
    assert (reconciled.returncode, reconciled.stderr) == (0, "")
    assert reconciled.stdout == "index and bucket agree\n"
