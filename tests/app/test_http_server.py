"""The bounds of the HTTP server are in force in the product: in the process that Serve starts."""

import asyncio

import httpx
import pytest
import websockets

from tests.app.client import sign_up
from tests.running import App

pytestmark = [pytest.mark.slow, pytest.mark.quiet]


async def test_serves_http_server_is_bounded(app: App) -> None:
    """Long headers, ids that are no text, Serve's own routes, long messages, unread downloads."""
    address = httpx.URL(app.url)
    grown = -_logged(app)
    async with httpx.AsyncClient(base_url=app.url) as http:
        long = await http.get("/healthz", headers={"x-request-id": "x" * 500_000})
        assert long.status_code == 431 and long.json()["detail"]
        for name in ("x-request-id", "x-session-id", "serve_multiplexed_model_id"):
            answer = await http.get("/healthz", headers={name.encode(): b"\xff"})
            assert answer.status_code == 200, name
            assert len(answer.headers.get_list("x-request-id")) == 1
        assert (await http.get("/-/routes")).status_code == 404
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"GET / HTTP/1.1\r\nx: " + b"y" * 400_000)
    assert b" 431 " in await reader.readline()
    writer.close()
    ada = await sign_up(app.url)
    async with ada.presence() as presence:
        with pytest.raises(websockets.ConnectionClosedError) as refused:
            await presence.say(text="x" * 100_000)
            await presence._socket.wait_closed()
            await presence.say()
    assert refused.value.rcvd is not None and refused.value.rcvd.code == 1009
    await ada.close()
    assert grown + _logged(app) < 20_000


def _logged(app: App) -> int:
    return sum(log.stat().st_size for log in (app.data_dir / "logs").iterdir())
