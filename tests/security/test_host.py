"""The host: Ray is closed, folders are private, and what is unsafe is said."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands.local.paths import temp_folder
from commands.local.ray_head import HTTP_SERVER, RayHead
from commands.local.up import dangers
from recordings.quota import little_space
from serve_app.cluster import has_token, needs_token
from serve_app.settings import read_settings

ROOT = Path(__file__).parents[2]
TOKEN = {"RAY_AUTH_MODE": "token"}


@pytest.mark.parametrize(
    ("environment", "addresses", "needed"),
    [
        ({}, ["10.0.0.1"], True),
        ({}, ["127.0.0.1", "10.0.0.1"], True),
        ({"RAY_AUTH_MODE": "disabled"}, ["2001:db8::1"], True),
        ({}, ["127.0.0.1"], False),
        (TOKEN, ["10.0.0.1", "10.0.0.2"], False),
        ({"RAY_AUTH_MODE": "k8s"}, ["10.0.0.1"], False),
    ],
)
def test_a_cluster_needs_a_token(
    environment: dict[str, str], addresses: list[str], needed: bool
) -> None:
    """On one machine that only it reaches, a warning is enough."""
    assert needs_token(environment, addresses) is needed


def test_every_ray_of_ours_has_a_token_and_a_bounded_http_server(tmp_path: Path) -> None:
    """`hushcast up`, and each node of a cluster, which gets the token's file."""
    guide = ROOT / "docs" / "cluster"
    for unit in ("hushcast-head.service", "hushcast-media.service"):
        assert "EnvironmentFile=/opt/hushcast/docs/cluster/ray.env" in (guide / unit).read_text()
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert "~/ray-token" in config["file_mounts"]
    lines = (guide / "ray.env").read_text().splitlines()
    nodes = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    embedded = RayHead.prepare(tmp_path, tmp_path / "log", tmp_path).environment
    for environment in (nodes, embedded):
        assert has_token(environment)
        assert environment["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] == HTTP_SERVER
        assert int(environment["RAY_ROTATION_MAX_BYTES"]) <= 10 * 1024 * 1024


def test_rays_folder_is_within_a_private_one(tmp_path: Path) -> None:
    """Ray opens its own to everybody, with sockets and logs in it."""
    temp = temp_folder()
    try:
        assert stat.S_IMODE(os.stat(temp).st_mode) == 0o700
        assert RayHead.prepare(tmp_path, tmp_path / "log", temp).temp.parent == temp
    finally:
        temp.rmdir()


@pytest.mark.parametrize(
    ("host", "user", "words"),
    [
        ("127.0.0.1", 1000, []),
        ("::1", 1000, []),
        ("localhost", 1000, []),
        ("127.0.0.1", 0, ["as root"]),
        ("0.0.0.0", 1000, ["without TLS"]),
        ("::", 0, ["as root", "without TLS"]),
        ("cast.example.org", 1000, ["without TLS"]),
    ],
)
def test_what_is_unsafe_is_said_at_the_start(host: str, user: int, words: list[str]) -> None:
    """Root, and passwords that anybody on the way can read."""
    said = dangers(read_settings({"host": host}), user)
    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))


def test_a_full_disk_is_said_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams would go on without a recording."""
    assert little_space(tmp_path) is None
    monkeypatch.setattr("recordings.quota.RESERVE_BYTES", 2**60)
    assert "nothing is recorded" in (little_space(tmp_path) or "")
