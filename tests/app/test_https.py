"""HTTPS without a proxy, as a browser on another machine needs it for its microphone."""

import json
import ssl
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from recordings.store import StoreConfig
from serve_app.settings import SettingsError, read_settings
from tests.running import running_app

PERSON = {"username": "ada", "password": "correct horse"}


@pytest.mark.slow
async def test_pages_requests_and_sockets_come_over_https(
    certificate: tuple[Path, Path], valkey: str, s3: StoreConfig, tmp_path: Path
) -> None:
    """The ready line says so, the cookie is for HTTPS only, and the presence socket is wss."""
    cert, key = certificate
    trust = ssl.create_default_context(cafile=str(cert))
    with running_app(
        tmp_path,
        *("--tls-cert", str(cert), "--tls-key", str(key)),
        *("--s3-endpoint", s3.endpoint or "", "--s3-bucket", s3.bucket),
        HUSHCAST_REDIS_URL=valkey.removesuffix("/0") + "/8",
        AWS_ACCESS_KEY_ID=s3.access_key or "",
        AWS_SECRET_ACCESS_KEY=s3.secret_key or "",
    ) as app:
        assert app.url.startswith("https://")
        async with httpx.AsyncClient(base_url=app.url, verify=trust, timeout=30) as http:
            assert (await http.get("/")).status_code == 200
            assert (await http.post("/api/accounts", json=PERSON)).status_code == 201
            session = await http.post("/api/session", json=PERSON)
            assert session.status_code == 200 and "Secure" in session.headers["set-cookie"]
            assert (await http.get("/api/me")).json()["username"] == "ada"
            changed = await http.delete("/api/me", headers={"origin": "https://elsewhere.test"})
            assert changed.status_code == 403
        address = app.url.replace("https", "wss") + f"/api/presence?token={session.json()['token']}"
        async with connect(address, ssl=trust) as socket:
            assert json.loads(await socket.recv())["type"] == "snapshot"
        async with httpx.AsyncClient(timeout=10) as plain:
            with pytest.raises(httpx.HTTPError):
                await plain.get(app.url.replace("https", "http"))


def test_a_certificate_needs_its_key(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """One without the other, files that are not there, or not PEM, are refused in a sentence."""
    cert, key = certificate
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    assert read_settings({"tls_cert": str(cert), "tls_key": str(key)}).https
    for given, sentence in (
        ({"tls_cert": str(cert)}, "Set both"),
        ({"tls_cert": str(cert), "tls_key": "nowhere.pem"}, "cannot be read"),
        ({"tls_cert": str(rubbish), "tls_key": str(key)}, "a certificate and its key"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            read_settings(given)
