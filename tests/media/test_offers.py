"""Faults in an offer are found and named before anything is started for it."""

import asyncio
import re

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import OfferRefused
from actors.offers import check_offer, reachable_only, read_fragment
from actors.sessions import ListenerSession, PublisherSession, Session
from tests.mangling import mangled


async def make_offer() -> str:
    """Offer all that browsers may: audio, video and a data channel in one bundle."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("audio", direction="sendonly")
    connection.addTransceiver("video", direction="sendonly")
    connection.createDataChannel("stats")
    await connection.setLocalDescription(await connection.createOffer())
    sdp = connection.localDescription.sdp
    await connection.close()
    return sdp


OFFER = asyncio.run(make_offer())
SECTIONS = re.split(r"(?=^m=)", OFFER, flags=re.MULTILINE)


def without(beginning: str, *, last: bool = False) -> str:
    """Leave lines out of every section, or of the last one."""
    kept = [
        "".join(line for line in section.splitlines(True) if not line.startswith(beginning))
        for section in SECTIONS
    ]
    return "".join([*SECTIONS[:-1], kept[-1]] if last else kept)


BROKEN = {
    "not sdp": ("v=zero", "not an SDP offer"),
    "does not send": (OFFER.replace("a=sendonly", "a=recvonly"), "does not send"),
    "no opus": (OFFER.replace("opus", "speex"), "Opus"),
    "no audio": (OFFER.replace("m=audio", "m=video"), "one audio track"),
    "audio twice": (OFFER.replace("m=video", "m=audio"), "one audio track"),
    "rejected audio too": (re.sub(r"m=video \d+", "m=audio 0", OFFER), "one audio track"),
    "no credentials": (without("a=ice-"), "ICE credentials"),
    "data without credentials": (without("a=ice-", last=True), "ICE credentials"),
    "no fingerprint": (without("a=fingerprint"), "DTLS fingerprint"),
    "data without setup": (without("a=setup", last=True), "DTLS setup"),
    "no direction": (without("a=sendonly"), "without a direction"),
    "no mids": (without("a=mid"), "its own mid"),
    "an empty mid": (OFFER.replace("a=mid:1", "a=mid"), "its own mid"),
    "a mid twice": (OFFER.replace("a=mid:1", "a=mid:0"), "its own mid"),
    "data twice": (OFFER + SECTIONS[-1].replace("a=mid:2", "a=mid:3"), "data channels"),
    "half an msid": (re.sub("a=msid:.* ", "a=msid: ", OFFER), "incomplete msid"),
    "another kind": (OFFER.replace("m=application", "m=message"), "not audio, video or data"),
    "bundled with nothing": (OFFER.replace("BUNDLE 0", "BUNDLE 7"), "BUNDLE group"),
}


def test_an_offer_that_can_be_answered_is_taken() -> None:
    """The offer from which the others are made is valid for a publisher."""
    check_offer(OFFER, publishes=True)
    with pytest.raises(OfferRefused, match="does not receive"):
        check_offer(OFFER, publishes=False)


@pytest.mark.parametrize("name", BROKEN)
def test_an_offer_that_can_never_be_answered_is_refused(name: str) -> None:
    """Each fault gets its own sentence."""
    offer, sentence = BROKEN[name]
    with pytest.raises(OfferRefused, match=sentence):
        check_offer(offer, publishes=True)


@pytest.mark.parametrize("name", ["no rtcp-mux", "no common codec"])
async def test_what_aiortc_does_not_support_is_refused_with_its_reason(name: str) -> None:
    """RTP and RTCP on two ports, or video in codecs that aiortc does not know."""
    offer, reason = {
        "no rtcp-mux": (without("a=rtcp-mux"), "RTCP mux is not enabled."),
        "no common codec": (re.sub("VP8|H264|AV1", "H261", OFFER), "Failed to set remote video"),
    }[name]
    session = PublisherSession("p", connect_timeout_s=0, deliver=lambda *_: None)
    await session.run(offer)
    with pytest.raises(OfferRefused, match=f"cannot be answered: {reason}"):
        await session.answer


@pytest.mark.parametrize("publishes", [True, False])
def test_no_offer_is_a_fault_of_ours(publishes: bool) -> None:
    """However mangled an offer is, it is answered or refused; nothing else goes wrong."""

    def session() -> Session:
        if publishes:
            return PublisherSession("p", connect_timeout_s=0, deliver=lambda *_: None)
        return ListenerSession("l", connect_timeout_s=0, listener="l", original=False)

    async def answer(sdp: str) -> None:
        made = session()
        await made.run(sdp)
        try:
            assert "m=audio" in await made.answer
        except OfferRefused as refusal:
            assert str(refusal).endswith(".")

    @settings(max_examples=300)
    @given(st.one_of(mangled(OFFER), mangled(without("a=sendonly"))))
    def offer(sdp: str) -> None:
        asyncio.run(answer(sdp))

    offer()


def test_local_names_are_left_out_however_they_are_written() -> None:
    """We never resolve the candidates of a browser that hides its address."""
    for line in (
        "a=candidate:1 1 udp 1 x.local 9 typ host",
        "a=candidate:1 1 udp 1 x.local\t9 typ host",
    ):
        assert reachable_only(f"v=0\r\n{line}\r\n") == "v=0\r\n"
        assert read_fragment(f"a=ice-ufrag:u\r\n{line}\r\n", "u") == []
