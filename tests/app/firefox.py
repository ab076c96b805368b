"""Debian's Firefox with a fake microphone, driven by WebDriver BiDi (W3C)."""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

FIREFOX = "/usr/bin/firefox-esr"
PREFERENCES = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "app.normandy.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
}


class FirefoxPage:
    """The browser's only tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._context = ""

    async def command(self, method: str, **params: Any) -> Any:
        """Send a command; returns its result. Raises AssertionError if Firefox refuses it."""
        number = next(self._ids)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(await self._socket.recv())
            if message.get("id") == number:
                assert message["type"] == "success", message
                return message["result"]

    async def open(self) -> None:
        """Begin the session."""
        await self.command("session.new", capabilities={})
        tree = await self.command("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def goto(self, url: str) -> None:
        """Load a page."""
        await self.command(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    async def evaluate(self, function: str, argument: Any = None) -> Any:
        """Call a function with a JSON argument; returns what it resolves to, through JSON."""
        call = f"(async () => JSON.stringify(await ({function})({json.dumps(argument)})))()"
        answer = await self.command(
            "script.evaluate",
            expression=call,
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        assert answer["type"] == "success", answer.get("exceptionDetails", {}).get("text")
        text = answer["result"].get("value")
        return None if text is None else json.loads(text)


@asynccontextmanager
async def firefox(profile: Path) -> AsyncIterator[FirefoxPage]:
    """Start Firefox without a window and with a profile of its own."""
    profile.mkdir(parents=True)
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    browser = await asyncio.create_subprocess_exec(
        FIREFOX, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert browser.stderr is not None
    try:
        async with asyncio.timeout(60):
            address = None
            while address is None:
                line = (await browser.stderr.readline()).decode(errors="replace")
                assert line, "Firefox did not start"
                address = re.search(r"WebDriver BiDi listening on (ws://\S+)", line)
        draining = asyncio.create_task(browser.stderr.read())
        async with connect(f"{address[1]}/session", max_size=None, proxy=None) as socket:
            page = FirefoxPage(socket)
            await page.open()
            yield page
        draining.cancel()
    finally:
        if browser.returncode is None:
            browser.terminate()
        await browser.wait()
