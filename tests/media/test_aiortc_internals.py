"""The private names that we use in aiortc and aioice exist, or an actor says so at startup."""

from importlib.metadata import version
from typing import Any

import pytest
from aioice import Connection
from aiortc import RTCRtpReceiver, RTCRtpSender, rtcicetransport

from actors import aiortc_internals
from actors.aiortc_internals import AiortcChanged, check_aiortc


async def test_the_installed_versions_have_every_name() -> None:
    """The check passes with the versions in the lock file."""
    await check_aiortc()


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [
        (RTCRtpReceiver, aiortc_internals.JITTER_BUFFER, "RTCRtpReceiver._RTCRtpReceiver__jitter"),
        (RTCRtpSender, aiortc_internals.NTP_TIMESTAMP, "RTCRtpSender._RTCRtpSender__ntp_timestamp"),
        (Connection, "_protocols", "IceConnection._protocols"),
    ],
)
async def test_an_attribute_that_is_gone_is_named(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, told: str
) -> None:
    """The error names what is missing and the version that lacks it."""
    make = owner.__init__  # type: ignore[misc]

    def without(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        delattr(self, name)

    monkeypatch.setattr(owner, "__init__", without)
    with pytest.raises(AiortcChanged, match=told) as error:
        await check_aiortc()
    assert f"aiortc {version('aiortc')} with aioice {version('aioice')}" in str(error.value)


async def test_ice_connections_made_another_way_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If aiortc stopped using the class that `gather_on` sets, it would gather on any address."""
    make = rtcicetransport.RTCIceGatherer.__init__

    def otherwise(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        setattr(self, "_connection", Connection(False))  # noqa: B010  # it is private

    monkeypatch.setattr(rtcicetransport.RTCIceGatherer, "__init__", otherwise)
    with pytest.raises(AiortcChanged, match="made from rtcicetransport.Connection"):
        await check_aiortc()
