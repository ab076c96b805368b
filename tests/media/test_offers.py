"""Whatever a client may offer is answered validly or refused in a sentence that names the line."""

import asyncio
import re
from dataclasses import dataclass, field

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import FragmentRefused, IceRestartRefused, OfferRefused
from actors.offers import (
    OPUS_PARAMETERS,
    for_aiortc,
    read_fragment,
    read_offer,
    write_answer,
)
from actors.sdp import MAX_LINES
from actors.sessions import ListenerSession, PublisherSession, Session
from tests.mangling import mangled

ICE = ["a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx"]
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
TRANSPORT = [*ICE, FINGERPRINT, "a=setup:actpass"]
OPUS = ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1"]
CANDIDATE = "a=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host"


@dataclass
class Part:
    """A section of an offer: its media line and the lines below it."""

    media: str = "audio 9 UDP/TLS/RTP/SAVPF 111"
    mid: str | None = None
    lines: list[str] = field(default_factory=lambda: ["a=sendonly", "a=rtcp-mux", *OPUS])
    transport: list[str] = field(default_factory=lambda: list(TRANSPORT))

    @property
    def text(self) -> list[str]:
        """All lines of the section."""
        mid = [] if self.mid is None else [f"a=mid:{self.mid}"]
        return [f"m={self.media}", "c=IN IP4 0.0.0.0", *mid, *self.lines, *self.transport]


def offer(*parts: Part, bundle: str | None = None, session: list[str] | None = None) -> str:
    """Write an offer; `bundle` names the mids of its group, `session` the session's own lines."""
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", *(session or [])]
    lines += [f"a=group:BUNDLE {bundle}"] if bundle else []
    return "\r\n".join([*lines, *(line for part in parts for line in part.text), ""])


def audio(*lines: str, media: str | None = None, mid: str = "a") -> Part:
    """Make a live audio section with more lines."""
    part = Part(mid=mid)
    part.lines += lines
    part.media = media or part.media
    return part


def video(
    codec: str = "VP8/90000", *, port: int = 9, mid: str = "v", way: str = "sendonly"
) -> Part:
    """Make a section for a picture."""
    return Part(
        f"video {port} UDP/TLS/RTP/SAVPF 96",
        mid,
        [f"a={way}", "a=rtcp-mux", f"a=rtpmap:96 {codec}"],
    )


def data(mid: str = "d", port: str = "5000") -> Part:
    """Make a section for data channels."""
    media = "application 9 UDP/DTLS/SCTP webrtc-datachannel"
    return Part(media, mid, [f"a=sctp-port:{port}", "a=max-message-size:262144"])


def without_transport(part: Part) -> Part:
    """Make a section that relies on others of its group, as a bundle-only one does."""
    part.transport, part.media = [], re.sub(" 9 ", " 0 ", part.media)
    part.lines.append("a=bundle-only")
    return part


async def answer_of(sdp: str, *, publishes: bool = True, both: bool = False) -> str:
    """Run a session on an offer until it has answered or refused it."""
    session: Session
    if publishes:
        session = PublisherSession("p", connect_timeout_s=0, deliver=lambda *_: None)
    else:
        session = ListenerSession("l", connect_timeout_s=0, listener="l", original=False, both=both)
    await session.run(sdp)
    return await session.answer


def sections(sdp: str) -> list[str]:
    """Get the media lines of a description, with port 9 for any but 0."""
    lines = [line[2:] for line in sdp.splitlines() if line.startswith("m=")]
    return [re.sub(r" [1-9]\d* ", " 9 ", line, count=1) for line in lines]


ODD_LINES = [
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on",
    "a=extmap:1/sendonly",
    "a=extmap:",
    "a=extmap:99999 x",
    "a=ssrc:1234",
    "a=ssrc:",
    "a=ssrc:x y",
    "a=ssrc:1 msid:",
    "a=ssrc-group:FID",
    "a=fmtp:18 annexb=no",
    "a=fmtp:111",
    "a=fmtp:111 minptime=ten",
    "a=rtpmap:x",
    "a=rtpmap:",
    "a=msid:- ",
    "a=msid:",
    "a=rtcp:x",
    "a=rtcp:9 IN IP4 host.example",
    "a=rtcp-fb:111",
    "a=candidate:1 1 udp 1 x.local 9 typ host",
    "a=candidate:1 1 udp 1 host.example 9 typ host",
    "a=candidate:0 0 UDP 1 127.0.0.1 9 typ host",
    "a=candidate:1 2 udp 1 127.0.0.1 9 typ host",
    "a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype active",
    "a=candidate:",
    "a=candidate:x",
    "a=candidate:1 1 udp 99999999999 127.0.0.1 9 typ host",
    "a=candidate:1 1 udp 1 127.0.0.1 9 typ host generation 0 ufrag abcd network-cost 999",
    "a=end-of-candidates",
    "a=ice-options:trickle ice2",
    "a=ice-mismatch",
    "a=mid",
    "a=",
    "a=rid:hi send",
    "a=simulcast:send hi",
    "a=imageattr:*",
    "a=bogus:\x00\x7f",
    "b=AS:x",
    "c=IN IP6 ::1",
    "k=prompt",
    "i=\xe9",
    "zzz",
    "=",
    "a",
    "\x0ba=inactive",
    "a=ptime:20",
    "a=maxptime:x",
    "a=sctp-port:x",
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
]
"""Lines that need not be understood."""

BUNDLED_OPUS = "audio 9 UDP/TLS/RTP/SAVPF 111"
NO_PICTURE = "video 0 UDP/TLS/RTP/SAVPF 96"
ANSWERED = {
    # An offer, and the media lines of its answer.
    "audio alone": (offer(audio(), bundle="a"), [BUNDLED_OPUS]),
    "no bundle": (offer(audio()), [BUNDLED_OPUS]),
    "no mid": (offer(Part()), [BUNDLED_OPUS]),
    "an empty mid": (offer(Part(mid="")), [BUNDLED_OPUS]),
    **{
        f"a picture in {codec}": (
            offer(audio(), video(codec), bundle="a v"),
            [BUNDLED_OPUS, NO_PICTURE],
        )
        for codec in ("H265/90000", "AV1/90000", "VP9/90000", "H264/90000", "JPEG2000/90000", "x/1")
    },
    "picture first, audio bundle-only": (
        offer(video(), without_transport(audio()), bundle="v a"),
        [NO_PICTURE, BUNDLED_OPUS],
    ),
    "bundled audio at port 0": (
        offer(video(), audio(media="audio 0 UDP/TLS/RTP/SAVPF 111"), bundle="v a"),
        [NO_PICTURE, BUNDLED_OPUS],
    ),
    "picture first, one transport for all, as Chromium's max-bundle": (
        offer(video("H265/90000"), audio(), bundle="v a"),
        ["video 9 UDP/TLS/RTP/SAVPF 96", BUNDLED_OPUS],
    ),
    "picture first, a transport for each": (
        offer(
            Part(**{**vars(video()), "transport": [t.replace("abcd", "vvvv") for t in TRANSPORT]}),
            audio(),
            bundle="v a",
        ),
        [NO_PICTURE, BUNDLED_OPUS],
    ),
    "data first, audio bundle-only": (
        offer(data(), without_transport(audio()), bundle="d a"),
        ["application 9 UDP/DTLS/SCTP webrtc-datachannel", BUNDLED_OPUS],
    ),
    "data outside the bundle": (
        offer(audio(), data(), bundle="a"),
        [BUNDLED_OPUS, "application 0 UDP/DTLS/SCTP webrtc-datachannel"],
    ),
    "data twice": (
        offer(audio(), data(), data("e"), bundle="a d e"),
        [
            BUNDLED_OPUS,
            "application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "application 0 UDP/DTLS/SCTP webrtc-datachannel",
        ],
    ),
    "data at no port of SCTP": (
        offer(audio(), data(port="70000"), bundle="a d"),
        [BUNDLED_OPUS, "application 0 UDP/DTLS/SCTP webrtc-datachannel"],
    ),
    "another application": (
        offer(audio(), Part("application 9 TCP/BFCP *", "b", []), bundle="a"),
        [BUNDLED_OPUS, "application 0 TCP/BFCP *"],
    ),
    "a rejected picture": (offer(audio(), video(port=0), bundle="a"), [BUNDLED_OPUS, NO_PICTURE]),
    "a rejected audio first": (
        offer(Part("audio 0 UDP/TLS/RTP/SAVPF 0", "x", ["a=inactive"], []), audio(), bundle="a"),
        ["audio 0 UDP/TLS/RTP/SAVPF 0", BUNDLED_OPUS],
    ),
    "two audios": (
        offer(audio(), audio(mid="b"), bundle="a b"),
        [BUNDLED_OPUS, "audio 0 UDP/TLS/RTP/SAVPF 111"],
    ),
    "one audio that receives, one that sends": (
        offer(Part(mid="r", lines=["a=recvonly", "a=rtcp-mux", *OPUS]), audio(), bundle="r a"),
        [BUNDLED_OPUS, BUNDLED_OPUS],  # the first one is inactive
    ),
    "text and messages": (
        offer(
            audio(),
            Part("text 9 UDP/TLS/RTP/SAVPF 98", "t", []),
            Part("message 9 TCP/MSRP *", "m", []),
        ),
        [BUNDLED_OPUS, "text 0 UDP/TLS/RTP/SAVPF 98", "message 0 TCP/MSRP *"],
    ),
    **{
        f"payload type {number}": (
            offer(audio()).replace("111", f"{number}"),
            [f"audio 9 UDP/TLS/RTP/SAVPF {number}"],
        )
        for number in (20, 35, 63, 64, 71, 77, 95, 96, 127)
    },
    "other codecs first": (
        offer(
            audio(
                "a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111", "a=rtpmap:13 CN/8000",
                "a=rtpmap:110 telephone-event/48000", "a=rtcp-fb:* nack",
                media="audio 9 UDP/TLS/RTP/SAVPF 63 0 8 9 13 111 110",
            )
        ),
        [BUNDLED_OPUS],
    ),
    "Opus at a number like RTCP's, and at another one": (
        offer(audio("a=rtpmap:72 opus/48000/2", media="audio 9 UDP/TLS/RTP/SAVPF 72 111")),
        [BUNDLED_OPUS],
    ),
    "a number with a zero before it": (
        offer(audio(media="audio 9 UDP/TLS/RTP/SAVPF 0111")),
        [BUNDLED_OPUS],
    ),
    "rtcp-mux of the session": (
        offer(Part(lines=["a=sendonly", *OPUS]), session=["a=rtcp-mux"]),
        [BUNDLED_OPUS],
    ),
    "rtcp-mux-only": (offer(audio()).replace("rtcp-mux", "rtcp-mux-only"), [BUNDLED_OPUS]),
    "a rejected picture without a codec": (
        offer(audio(), Part("video 0 UDP/TLS/RTP/SAVPF", "v", [], [])),
        [BUNDLED_OPUS, "video 0 UDP/TLS/RTP/SAVPF 0"],
    ),
    "opus in capitals, no channels": (
        offer(Part(mid="a", lines=["a=sendonly", "a=rtcp-mux", "a=rtpmap:111 OPUS/48000"])),
        [BUNDLED_OPUS],
    ),
    "transport of the session": (
        offer(Part(transport=[]), session=TRANSPORT),
        [BUNDLED_OPUS],
    ),
    "direction of the session": (
        offer(Part(lines=["a=rtcp-mux", *OPUS]), session=["a=sendonly"]),
        [BUNDLED_OPUS],
    ),
    "no direction": (offer(Part(lines=["a=rtcp-mux", *OPUS])), [BUNDLED_OPUS]),
    "rtcp-mux in the first of the group": (
        offer(video(), without_transport(Part(mid="a", lines=["a=sendonly", *OPUS])), bundle="v a"),
        [NO_PICTURE, BUNDLED_OPUS],
    ),
    "a group that names what is not there": (offer(audio(), bundle="q a"), [BUNDLED_OPUS]),
    "an empty group": (offer(audio(), session=["a=group:"]), [BUNDLED_OPUS]),
    "a port count": (offer(audio(media="audio 9/2 UDP/TLS/RTP/SAVPF 111")), [BUNDLED_OPUS]),
    "another protocol": (
        offer(audio(media="audio 9 RTP/SAVPF 111")),
        ["audio 9 RTP/SAVPF 111"],
    ),
    "no setup": (offer(Part(transport=[*ICE, FINGERPRINT])), [BUNDLED_OPUS]),
    "bare line feeds": (offer(audio()).replace("\r\n", "\n"), [BUNDLED_OPUS]),
    "no line end": (offer(audio()).rstrip(), [BUNDLED_OPUS]),
    "a byte order mark": ("\ufeff" + offer(audio()), [BUNDLED_OPUS]),
    **{
        f"a line {line!r}": (offer(audio(line)), [BUNDLED_OPUS])
        for line in ODD_LINES
    },
    **{
        f"{name} candidates": (offer(audio(*candidates)), [BUNDLED_OPUS])
        for name, candidates in {
            "100": [CANDIDATE.replace(" 9 ", f" {n} ") for n in range(1, 101)],
            "the same": [CANDIDATE] * 100,
        }.items()
    },
    "100 codecs, extensions and sources": (
        offer(
            audio(
                *(f"a=rtpmap:{n} x/{n}" for n in range(100)),
                *(f"a=extmap:{n} urn:{n}" for n in range(1, 101)),
                *(f"a=ssrc:{n} cname:x" for n in range(100)),
            )
        ),
        [BUNDLED_OPUS],
    ),
}  # fmt: skip


@pytest.mark.parametrize("publishes", [True, False], ids=["publish", "listen"])
@pytest.mark.parametrize("name", ANSWERED)
async def test_what_clients_offer_is_answered_in_their_own_terms(
    name: str, publishes: bool
) -> None:
    """Sections in the client's order, what we do not use rejected in place, the audio live."""
    sdp, expected = ANSWERED[name]
    if not publishes:
        flip = {"sendonly": "recvonly", "recvonly": "sendonly"}
        sdp = re.sub("(?<=^a=)(send|recv)only", lambda way: flip[way[0]], sdp, flags=re.MULTILINE)
        expected = [re.sub("(?<=^application) 9", " 0", line) for line in expected]
    answer = await answer_of(sdp, publishes=publishes)
    assert sections(answer) == expected
    check_answer(sdp, answer, publishes=publishes)


def check_answer(sdp: str, answer: str, *, publishes: bool) -> None:
    """Check what holds for every answer, with aiortc's parser and by the text."""
    parsed = SessionDescription.parse(answer)
    offered = [part for part in re.split(r"^(?=m=)", sdp, flags=re.MULTILINE) if part[:2] == "m="]
    answered = re.split(r"^(?=m=)", answer, flags=re.MULTILINE)[1:]
    assert len(answered) == len(offered)
    bundle = parsed.group[0].items if parsed.group else []
    for theirs, ours, media in zip(offered, answered, parsed.media, strict=True):
        mids = [re.findall(r"^a=mid:([^\r\n]+)", text, re.MULTILINE)[:1] for text in (theirs, ours)]
        assert mids[0] == mids[1]
        assert theirs[2:].split()[0] == media.kind and theirs.split()[2] == media.profile
        formats = [each.lstrip("0") or "0" for each in theirs.splitlines()[0].split()[3:]]
        assert set(map(str, media.fmt)) <= set(formats or ["0"])
        assert (media.rtp.muxId in bundle) <= bool(media.port)
    kept = [media for media in parsed.media if media.port and media.direction != "inactive"]
    live = [media for media in kept if media.kind == "audio"]
    assert [media.direction for media in live] == ["recvonly" if publishes else "sendonly"]
    assert [(codec.mimeType, codec.clockRate, codec.channels) for codec in live[0].rtp.codecs] == [
        ("audio/opus", 48000, 2)
    ]
    assert answer.count(OPUS_PARAMETERS) == 1
    for media in (media for media in parsed.media if media.port):
        assert (
            media.ice
            and media.dtls
            and media.ice.usernameFragment
            and media.ice.password
            and media.ice_candidates
            and media.ice.iceLite
        )
        assert [each.algorithm for each in media.dtls.fingerprints] == ["sha-256"]
        assert media.dtls.role in ("client", "server")
    assert len(kept) == 1 or (publishes and [each.kind for each in kept].count("application") == 1)


RELIES = without_transport(audio(mid="b"))
BOTH = {
    # An offer to listen to both sounds, and which of its sections are answered.
    "two sections": (offer(audio(), audio(mid="b"), bundle="a b"), "ab"),
    "the second one relies on the first": (offer(audio(), RELIES, bundle="a b"), "ab"),
    "the other way round in the group": (offer(audio(), audio(mid="b"), bundle="b a"), "ab"),
    "a picture between them": (offer(audio(), video(), audio(mid="b"), bundle="a v b"), "ab"),
    "a third one": (offer(audio(), audio(mid="b"), audio(mid="c"), bundle="a b c"), "ab"),
    "one section": (offer(audio(), bundle="a"), "a"),
    "two transports": (offer(audio(), audio(mid="b")), "a"),
    "two groups": (offer(audio(), audio(mid="b"), bundle="a"), "a"),
    "the second one has no Opus": (
        offer(
            audio(),
            Part("audio 9 UDP/TLS/RTP/SAVPF 0", "b", ["a=sendonly", "a=rtcp-mux"]),
            audio(mid="c"),
            bundle="a b c",
        ),
        "ac",
    ),
    "the second one sends": (
        offer(audio(), Part(mid="b", lines=["a=recvonly", "a=rtcp-mux", *OPUS]), bundle="a b"),
        "a",
    ),
    "another number": (
        offer(
            audio(),
            Part("audio 9 UDP/TLS/RTP/SAVPF 35", "b",
                 ["a=sendonly", "a=rtcp-mux", "a=rtpmap:35 opus/48000/2"]),
            bundle="a b",
        ),
        "ab",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOTH)
async def test_who_wants_both_sounds_gets_two_sections_that_serve(name: str) -> None:
    """On one transport, each a source of its own; the rest is rejected in its place."""
    sdp, live = BOTH[name]
    flip = {"sendonly": "recvonly", "recvonly": "sendonly"}
    sdp = re.sub("(?<=^a=)(send|recv)only", lambda way: flip[way[0]], sdp, flags=re.MULTILINE)
    answer = await answer_of(sdp, publishes=False, both=True)
    parsed = SessionDescription.parse(answer)
    assert [media.rtp.muxId for media in parsed.media] == re.findall(r"^a=mid:(\w)", sdp, re.M)
    accepted = [media for media in parsed.media if media.port]
    assert [media.rtp.muxId for media in accepted] == list(live)
    assert {media.direction for media in accepted} == {"sendonly"}
    assert len({media.ssrc[0].ssrc for media in accepted}) == len(live)
    assert len({media.ice.usernameFragment for media in accepted if media.ice}) == 1
    for media in accepted:
        assert f"a=rtpmap:{media.fmt[0]} opus/48000/2" in answer
    one = await answer_of(sdp, publishes=False)
    live_then = [
        each for each in SessionDescription.parse(one).media if each.direction == "sendonly"
    ]
    assert [media.rtp.muxId for media in live_then] == ["a"]


REFUSED = {
    "nothing": ("", "begin with v=0"),
    "not sdp": ("v=zero", "begin with v=0"),
    "no sections": (offer(), "has no audio section"),
    "a picture alone": (offer(video()), "has no audio section"),
    "rejected audio": (offer(audio(media="audio 0 UDP/TLS/RTP/SAVPF 111")), "Line 5: .* rejected"),
    "no Opus": (offer(audio(media="audio 9 UDP/TLS/RTP/SAVPF 0 8 9")), "Line 5: .* Opus"),
    "Opus at another rate": (offer(audio()).replace("48000", "16000"), "Line 5: .* Opus"),
    "Opus at a number beyond 127": (offer(audio()).replace("111", "200"), "Line 5: .* Opus"),
    "Opus at a number of RTCP's": (offer(audio()).replace("111", "72"), "Line 5: .* RTCP"),
    "PCMU alone": (offer(Part("audio 9 UDP/TLS/RTP/SAVPF 0", "a", ["a=rtcp-mux"])), "Opus"),
    "wrong way": (offer(audio()).replace("sendonly", "recvonly"), "Line 8: .* not send"),
    "no way": (offer(audio()).replace("sendonly", "inactive"), "Line 8: .* not send"),
    "wrong way, by the session": (
        offer(Part(lines=["a=rtcp-mux", *OPUS]), session=["a=recvonly"]),
        "Line 5: .* not send",
    ),
    "two ports": (offer(audio()).replace("a=rtcp-mux", "a=rtcp:10"), "rtcp-mux"),
    "no encryption": (offer(audio(media="audio 9 RTP/AVP 111")), "Line 5: .*SAVPF"),
    "no credentials": (offer(Part(transport=[FINGERPRINT])), "Line 5: .* no ICE credentials"),
    "short ufrag": (offer(audio()).replace("ufrag:abcd", "ufrag:abc"), "Line 12: .* user fragment"),
    "long ufrag": (offer(audio()).replace("ufrag:abcd", "ufrag:" + "a" * 257), "Line 12: .* 256"),
    "odd ufrag": (offer(audio()).replace("ufrag:abcd", "ufrag:ab cd"), "Line 12: "),
    "short password": (offer(audio()).replace("pwd:abcd", "pwd:"), "Line 13: .* password"),
    "no fingerprint": (offer(Part(transport=ICE)), "Line 5: .* no DTLS fingerprint"),
    "SHA-1": (offer(audio()).replace("sha-256", "sha-1"), "Line 14: .* SHA-256"),
    "half a fingerprint": (offer(audio()).replace(":AB:AB", ":AB", 1), "Line 14: .* SHA-256"),
    "holdconn": (offer(audio()).replace("actpass", "holdconn"), "Line 15: setup"),
    "a mid twice": (offer(audio(), video(mid="a")), "Line 18: .* mid"),
    "a mid of two words": (offer(audio(mid="a b")), "Line 7: .* mid"),
    "no media line": (offer(audio(media="audio")), "Line 5 is not a media line"),
    "a port of letters": (offer(audio(media="audio x RTP/SAVPF 1")), "Line 5 is not a media line"),
    "17 sections": (offer(*[audio(mid=str(n)) for n in range(17)]), "at most 16 sections"),
    "a long media line": (offer(audio(media="audio" + " 1" * 9999)), "Line 5 is too long"),
    "too long": (offer(audio(), session=["a=" + "x" * 65536]), "64 KiB"),
    "too many lines": (offer(audio(), session=[""] * MAX_LINES), "more than 2048 lines"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_offer_that_cannot_be_answered_is_refused_with_line_and_reason(name: str) -> None:
    """Each fault has its own sentence."""
    sdp, sentence = REFUSED[name]
    with pytest.raises(OfferRefused, match=sentence) as refusal:
        read_offer(sdp, publishes=True)
    assert str(refusal.value).endswith((".", ")."))


# -- property tests


@st.composite
def offers(draw: st.DrawFn) -> str:
    """Draw an offer made of valid pieces in any order, with one audio section that serves."""
    number = draw(st.sampled_from([35, 63, 96, 100, 109, 111, 120, 127]))
    codecs = draw(st.lists(st.sampled_from(["red/48000/2", "PCMU/8000", "CN/8000", "ISAC/16000"])))
    free = [n for n in range(97, 127) if n != number]
    maps = [f"a=rtpmap:{n} {codec}" for n, codec in zip(free, codecs, strict=False)]
    numbers = draw(st.permutations([number, *free[: len(maps)]]))
    lines = draw(
        st.permutations(
            [
                *maps,
                f"a=rtpmap:{number} opus/48000/2",
                draw(st.sampled_from(["a=sendrecv", "a=sendonly", "b=AS:64"])),
                *draw(st.lists(st.sampled_from([CANDIDATE, *ODD_LINES]))),
            ]
        )
    )
    main = Part(f"audio 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}", None, list(lines))
    main.lines.append("a=rtcp-mux")
    others = draw(
        st.lists(
            st.sampled_from(["video", "h265", "data", "text", "stub", "stub audio"]), max_size=5
        )
    )
    made = {
        "video": video(),
        "h265": video("H265/90000", way=draw(st.sampled_from(["sendrecv", "recvonly"]))),
        "data": data(),
        "text": Part("text 9 UDP/TLS/RTP/SAVPF 98", None, []),
        "stub": video(port=0),
        "stub audio": Part("audio 0 UDP/TLS/RTP/SAVPF 0", None, ["a=inactive"], []),
    }
    parts = [main, *(Part(p.media, None, p.lines, p.transport) for p in map(made.get, others) if p)]
    parts = list(draw(st.permutations(parts)))
    if draw(st.booleans()):
        for mid, part in enumerate(parts):
            part.mid = draw(st.sampled_from([f"{mid}", f"mid-{mid}"]))
    named = [part for part in parts if part.mid and " 0 " not in part.media]
    bundled: list[Part] = draw(st.one_of(st.permutations(named), st.just([])))
    session = []
    if draw(st.booleans()):
        session = TRANSPORT
        for part in parts:
            part.transport = []
    elif draw(st.booleans()):
        for part in bundled[1:]:
            without_transport(part)
    bundle = " ".join(part.mid for part in bundled if part.mid)
    return offer(*parts, bundle=bundle or None, session=session)


@pytest.mark.parametrize("publishes", [True, False], ids=["publish", "listen"])
def test_any_offer_made_of_valid_pieces_is_answered_validly(publishes: bool) -> None:
    """In any order, with any of what clients add."""

    @settings(max_examples=100)
    @given(offers())
    def check(sdp: str) -> None:
        if not publishes:
            sdp = sdp.replace("a=sendonly", "a=recvonly")
        check_answer(sdp, asyncio.run(answer_of(sdp, publishes=publishes)), publishes=publishes)

    check()


@settings(max_examples=250)
@given(
    st.one_of(
        mangled(ANSWERED["data twice"][0]),
        st.text(max_size=400),
        offers(),
    )
)
def test_no_offer_is_a_fault_of_ours(sdp: str) -> None:
    """However mangled it is, it is read and can be answered, or it is refused in a sentence."""
    for publishes in (True, False):
        try:
            read = read_offer(sdp, publishes=publishes)
        except OfferRefused as refusal:
            assert str(refusal).endswith(".") or str(refusal).endswith(").")
            continue
        ours = for_aiortc(read)
        SessionDescription.parse(ours)
        SessionDescription.parse(write_answer(read, ours))


@settings(max_examples=150)
@given(mangled(BOTH["a third one"][0].replace("sendonly", "recvonly")))
def test_no_offer_to_listen_twice_is_a_fault_of_ours(sdp: str) -> None:
    """The same for two sounds; what aiortc gets has one section or two."""
    try:
        read = read_offer(sdp, publishes=False, both=True)
    except OfferRefused:
        return
    ours = for_aiortc(read)
    assert len(SessionDescription.parse(ours).media) == len(read.audio) <= 2
    answer = write_answer(read, ours)
    assert len(sections(answer)) == len(read.sections)


def test_mangled_offers_are_answered_or_refused_by_a_whole_session() -> None:
    """What aiortc gets is always an offer that it can answer."""

    two = BOTH["a third one"][0].replace("sendonly", "recvonly")

    @settings(max_examples=100)
    @given(st.one_of(mangled(ANSWERED["data twice"][0]), mangled(two)), st.booleans())
    def check(sdp: str, publishes: bool) -> None:
        try:
            answer = asyncio.run(answer_of(sdp, publishes=publishes, both=not publishes))
        except OfferRefused:
            return
        assert "m=audio" in answer

    check()


# -- what aiortc gets, and trickle


def test_aiortc_gets_what_we_wrote_and_nothing_of_the_client_but_its_transport() -> None:
    """One Opus codec, at most one data channel, no candidates; the client begins DTLS."""
    candidates = [CANDIDATE.replace(" 9 ", f" {n} ") for n in range(1, 101)]
    useless = ["a=end-of-candidates", "a=ssrc:1 cname:x"]
    read = read_offer(
        offer(audio(*candidates, *useless), video(), data(), bundle="a v d"), publishes=True
    )
    parsed = SessionDescription.parse(for_aiortc(read))
    sound, channel = parsed.media
    assert [codec.mimeType for codec in sound.rtp.codecs] == ["audio/opus"]
    assert channel.kind == "application" and sound.ice and sound.ice.usernameFragment == "abcd"
    assert not sound.ice_candidates and not sound.ssrc and not sound.rtp.headerExtensions
    assert sound.dtls and sound.dtls.role == "client"


def test_the_transport_of_a_bundle_is_that_of_its_first_section_that_we_accept() -> None:
    """As RFC 9143 has it: sections that gather apart each have credentials of their own."""
    apart = [line.replace("abcd", "vvvv") for line in TRANSPORT]
    picture = video()
    picture.transport = apart
    both = offer(picture, audio(), bundle="v a")
    assert read_offer(both, publishes=True).transport.ufrag == "abcd"
    relies = offer(picture, without_transport(audio()), bundle="v a")
    assert read_offer(relies, publishes=True).transport.ufrag == "vvvv"


def test_a_fragment_is_read_and_its_candidates_are_not_used() -> None:
    """Whatever it names; garbage and ICE restarts are refused."""
    read = read_offer(offer(audio(), video(), data(), bundle="a d"), publishes=True)
    for lines in (
        [CANDIDATE] * 100,
        ["a=ice-ufrag:abcd", "a=mid:a", CANDIDATE, CANDIDATE.replace(" 1 udp", " 0 UDP")],
        ["a=mid:nobody", "a=candidate:1 1 udp 1 x.local\t9 typ host"],
        ["a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype active"],
        ["a=end-of-candidates", "", "nonsense"],
    ):
        read_fragment("\r\n".join(lines), read)
    for garbage in ("hello", '{"candidate": "x"}', "\ufffd\0"):
        with pytest.raises(FragmentRefused, match="not a trickle fragment"):
            read_fragment(garbage, read)
    with pytest.raises(FragmentRefused, match="Line 2: the candidate"):
        read_fragment("a=mid:a\r\na=candidate:nonsense", read)
    with pytest.raises(IceRestartRefused):
        read_fragment("a=ice-ufrag:other\r\n", read)
