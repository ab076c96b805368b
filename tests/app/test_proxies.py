"""The whole of it behind the proxies of docs/proxies.md, where they are installed."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.client import Person, sign_up
from tests.peers import encode
from tests.running import App, free_port
from tests.sounds import speech_like
from tests.waiting import until

pytestmark = pytest.mark.slow

CONFIGURATIONS = Path(__file__).parents[2] / "docs/proxies"
NGINX = """daemon off;
pid {folder}/pid;
error_log {folder}/log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    include {folder}/hushcast.conf;
}}
"""


def program(name: str) -> str:
    """Find a proxy, or skip the test."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"needs Debian's {name}")
    return path


def nginx(folder: Path) -> list[str]:
    """Get the command for the documented configuration, in a folder."""
    # Started by root it becomes another user, who may not enter the folders of tests.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(user + NGINX.format(folder=folder))
    return [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def test_nginx_accepts_the_documented_configuration(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its own check, with a certificate that is there."""
    text = (CONFIGURATIONS / "nginx.conf").read_text()
    for name, path in zip(("fullchain", "privkey"), certificate, strict=True):
        text = re.sub(rf"/etc/letsencrypt/\S+/{name}.pem", str(path), text)
    (tmp_path / "hushcast.conf").write_text(text)
    checked = subprocess.run([*nginx(tmp_path), "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and "warn" not in checked.stderr, checked.stderr


def nginx_for(text: str, port: int, folder: Path) -> list[str]:
    """Adapt the documented nginx.conf: no TLS, another port."""
    text = re.sub(r"server \{\s+listen 80;.*?\n\}\n", "", text, flags=re.DOTALL)
    text = re.sub(r".*(\[::\]|ssl_certificate).*\n", "", text)
    text = text.replace("listen 443 ssl http2", f"listen 127.0.0.1:{port}")
    (folder / "hushcast.conf").write_text(text)
    return nginx(folder)


def caddy_for(text: str, port: int, folder: Path) -> list[str]:
    """Adapt the documented Caddyfile."""
    text = text.replace("cast.example.org", f"http://127.0.0.1:{port}")
    (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
    return [program("caddy"), "run", "--config", str(folder / "Caddyfile")]


@pytest.fixture(params=["nginx.conf", "Caddyfile"])
def proxied(request: pytest.FixtureRequest, app: App, tmp_path: Path) -> Iterator[str]:
    """The URL of a proxy in front of the application, without TLS."""
    port = free_port()
    text = (CONFIGURATIONS / request.param).read_text()
    text = text.replace("127.0.0.1:8000", app.url.removeprefix("http://"))
    adapt = nginx_for if request.param == "nginx.conf" else caddy_for
    command = adapt(text, port, tmp_path)
    environment = os.environ | {"HOME": str(tmp_path)}
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


async def test_everything_works_behind_a_proxy(proxied: str, tmp_path: Path) -> None:
    """WHIP and its Location, presence, the refusal of a long body, a recording in ranges."""
    host, port = proxied.removeprefix("http://").split(":")

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    await until(listens)
    ada = await sign_up(proxied)
    try:
        async with ada.presence() as presence:
            _, location = await ada.publish(encode(speech_like(3.0)))
            assert location.startswith("/whip/sessions/")
            await until(lambda: "live" in presence.states(ada.username))
            assert (await ada.http.delete(location)).status_code == 200
            await until(lambda: presence.states(ada.username)[-1] is None)
        long = await ada.http.post(
            "/whip", content=b"x" * 3_000_000, headers={"content-type": "application/sdp"}
        )
        assert long.status_code == 413 and "64 KiB" in long.text
        await _plays(ada)
    finally:
        await ada.close()


async def _plays(ada: Person) -> None:
    async def stored() -> bool:
        recordings = await ada.recordings()
        return bool(recordings) and recordings[0]["state"] == "ready"

    await until(stored)
    [recording] = await ada.recordings()
    path = f"/api/recordings/{recording['id']}/audio"
    head, whole = await ada.http.head(path), await ada.http.get(path)
    assert head.headers["content-length"] == str(recording["size_bytes"]) == str(len(whole.content))
    part = await ada.http.get(path, headers={"range": "bytes=-100"})
    assert part.status_code == 206 and part.content == whole.content[-100:]
