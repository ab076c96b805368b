"""Networks that allow only TURN: both roles in Chromium, relayed by coturn."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from recordings.store import StoreConfig
from tests.app.browser import chromium, open_tab, write_microphone
from tests.app.client import sign_up
from tests.running import App, running_app
from tests.servers import Coturn
from tests.sounds import speech_like

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

# A network whose firewall stops all but what goes to the TURN server over one transport.
ONLY_RELAYED = """(() => {
  const transport = "%s";
  const only = (configuration) => ({ ...configuration, iceTransportPolicy: "relay",
    iceServers: (configuration.iceServers ?? []).filter(({ urls }) =>
      [urls].flat().some((url) => url.endsWith(`transport=${transport}`))) });
  window.connections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration = {}) {
      super(only(configuration));
      window.connections.push(this);
    }
    setConfiguration(configuration) { super.setConfiguration(only(configuration)); }
  };
})();"""

# How the sound of the page's last connection travels.
PATHS = """async () => {
  const stats = await window.connections.at(-1).getStats();
  const used = [...stats.values()].find((s) => s.type === "transport").selectedCandidatePairId;
  const local = stats.get(stats.get(used).localCandidateId);
  return [local.candidateType, local.relayProtocol];
}"""


@pytest.fixture(scope="module")
def behind_turn(
    coturn: Coturn, valkey: str, s3: StoreConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """Start hushcast with a TURN server to announce to its clients."""
    with running_app(
        tmp_path_factory.mktemp("behind-turn"),
        *("--s3-endpoint", s3.endpoint or "", "--s3-bucket", s3.bucket),
        HUSHCAST_REDIS_URL=valkey.removesuffix("/0") + "/9",
        HUSHCAST_TURN_URLS=f"{coturn.url('udp')},{coturn.url('tcp')}",
        HUSHCAST_TURN_SECRET=coturn.secret,
        HUSHCAST_WARM_ACTORS="1",
        AWS_ACCESS_KEY_ID=s3.access_key or "",
        AWS_SECRET_ACCESS_KEY=s3.secret_key or "",
    ) as running:
        yield running


@pytest.mark.parametrize("transport", ["udp", pytest.param("tcp", marks=pytest.mark.soak)])
async def test_both_roles_through_a_relay(behind_turn: App, transport: str, tmp_path: Path) -> None:
    """With the credentials of the `Link` header alone, the page publishes and is heard."""
    ada, bob = await sign_up(behind_turn.url), await sign_up(behind_turn.url)
    await ada.befriend(bob)
    try:
        async with chromium(write_microphone(tmp_path / "voice.wav", speech_like(5.0))) as browser:
            hers = await open_tab(browser, ada, script=ONLY_RELAYED % transport)
            await hers.click("start")
            await expect(hers.find("stream-state")).to_have_text("Live", timeout=20_000)
            his = await open_tab(
                browser, bob, f"/u/{ada.username}", script=ONLY_RELAYED % transport, bypass_csp=True
            )
            await his.record()
            await his.click("listen")
            await his.page.wait_for_function("() => window.heard.firstAt", timeout=20_000)
            for tab in (hers, his):
                assert await tab.page.evaluate(PATHS) == ["relay", transport]
            await hers.end_stream()
            await expect(hers.find("stream-state")).to_have_text("Off")
    finally:
        await bob.close()
        await ada.close()


async def test_credentials_are_for_those_who_are_let_in(behind_turn: App, coturn: Coturn) -> None:
    """Nobody else can use the relay, neither by asking first nor with a refused offer."""
    ada = await sign_up(behind_turn.url)
    try:
        for answer in (
            await ada.http.options("/whip"),
            await ada.http.post(
                "/whip", content="no offer", headers={"content-type": "application/sdp"}
            ),
            await ada.http.options("/whip", headers={"authorization": ""}),
        ):
            assert "ice-server" not in answer.headers.get("link", "")
            assert "turn:" not in answer.headers.get("link", "")
    finally:
        await ada.close()
