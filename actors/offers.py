"""Reads offers and trickle fragments, and completes answers (RFC 8829, RFC 8840)."""

import re

from aiortc import RTCIceCandidate
from aiortc.sdp import SessionDescription, candidate_from_sdp

from actors.errors import FragmentRefused, IceRestartRefused, OfferRefused

OPUS_ANSWER = "minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0"
"""The answer's Opus parameters (RFC 7587, section 6.1): mono, in-band FEC."""
MAX_CANDIDATES = 32
_LOCAL_NAME = re.compile(r"\.local\s", re.IGNORECASE)


def check_offer(offer_sdp: str, *, publishes: bool | None = None) -> None:
    """Refuse an offer that can never be answered, before starting anything for it.

    `publishes` says which way the sound goes; None accepts either. Raises OfferRefused.
    """
    try:
        description = SessionDescription.parse(offer_sdp)
    except Exception as error:  # aiortc's parser fails in many ways if this is not SDP
        raise OfferRefused("The body is not an SDP offer.") from error
    _check_audio(description, publishes)
    _check_sections(description)
    if offer_sdp.count("a=candidate:") > MAX_CANDIDATES:
        raise OfferRefused(f"The offer has more than {MAX_CANDIDATES} candidates; send fewer.")


def _check_audio(description: SessionDescription, publishes: bool | None) -> None:
    """Refuse an offer unless it has one Opus track, over DTLS, in the right direction."""
    audio = [media for media in description.media if media.kind == "audio"]
    if len(audio) != 1 or not audio[0].port:
        raise OfferRefused("The offer must have exactly one audio track.")
    [media] = audio
    if not any(codec.mimeType.lower() == "audio/opus" for codec in media.rtp.codecs):
        raise OfferRefused("The offer must include Opus as an audio codec.")
    if media.dtls is None or not media.dtls.fingerprints:
        raise OfferRefused("The offer has no DTLS fingerprint.")
    useless = {True: ("recvonly", "inactive"), False: ("sendonly", "inactive")}
    if publishes is not None and media.direction in useless[publishes]:
        way = "send" if publishes else "receive"
        raise OfferRefused(f"The offer's audio track does not {way}: it is {media.direction}.")


def _check_sections(description: SessionDescription) -> None:
    """Refuse sections that aiortc accepts in an offer but cannot answer."""
    mids = [media.rtp.muxId for media in description.media]
    if None in mids or len(set(mids)) < len(mids):
        raise OfferRefused("Each section of the offer must have its own mid.")
    if sum(media.kind == "application" for media in description.media) > 1:
        raise OfferRefused("The offer has more than one section for data channels.")
    for media in description.media:
        if media.kind not in ("audio", "video", "application"):
            raise OfferRefused("The offer has a section that is not audio, video or data.")
        if not (media.ice and media.ice.usernameFragment and media.ice.password):
            raise OfferRefused("The offer has no ICE credentials.")
        if media.dtls is None:
            raise OfferRefused("The offer has a section without a DTLS setup attribute.")
        if media.kind != "application" and media.direction is None:
            raise OfferRefused("The offer has a section without a direction such as sendonly.")
        if media.msid and " " in media.msid and len(media.msid.split()) < 2:
            raise OfferRefused("The offer has a section with an incomplete msid.")
    bundle = next((group for group in description.group if group.semantic == "BUNDLE"), None)
    if bundle and bundle.items and bundle.items[0] not in mids:
        raise OfferRefused("The offer's BUNDLE group names a section that does not exist.")


def ufrags(sdp: str) -> list[str]:
    """Get the ICE user fragments of a description, in order."""
    lines = sdp.splitlines()
    return [line[12:].strip() for line in lines if line.startswith("a=ice-ufrag:")]


def reachable_only(offer_sdp: str) -> str:
    """Remove what only costs time: `.local` candidates and the end-of-candidates mark.

    Resolving a `.local` name means asking multicast DNS for a second. A browser that hides behind
    one reaches us anyway and then becomes a peer-reflexive candidate. The end of candidates would
    make ICE give up before that; our own timeout ends a session that never connects.
    """
    return "".join(
        line
        for line in offer_sdp.splitlines(keepends=True)
        if not line.startswith("a=end-of-candidates")
        and not (line.startswith("a=candidate:") and _LOCAL_NAME.search(line))
    )


def agree_on_opus(answer_sdp: str) -> str:
    """Add the Opus parameters, which aiortc omits from its answers."""
    return re.sub(
        r"^a=rtpmap:(\d+) opus/48000/2\r?$",
        lambda match: f"{match[0].rstrip()}\r\na=fmtp:{match[1]} {OPUS_ANSWER}\r",
        answer_sdp,
        flags=re.MULTILINE,
    )


def read_fragment(fragment: str, ufrag: str) -> list[RTCIceCandidate]:
    """Read the candidates of a trickle fragment, except `.local` ones.

    Raises FragmentRefused, or IceRestartRefused if its ufrag is not the session's `ufrag`.
    """
    candidates = []
    mid = None
    for line in fragment.splitlines():
        if line.startswith("a=ice-ufrag:") and line[12:].strip() != ufrag:
            raise IceRestartRefused("ICE restarts are not supported; post a new offer instead.")
        if line.startswith("a=mid:"):
            mid = line[6:].strip()
        if line.startswith("a=candidate:") and not _LOCAL_NAME.search(line):
            candidates.append(_read_candidate(line[12:], mid))
    return candidates


def _read_candidate(text: str, mid: str | None) -> RTCIceCandidate:
    try:
        candidate = candidate_from_sdp(text)
    except (AssertionError, ValueError, IndexError, KeyError) as error:
        raise FragmentRefused("The fragment has a candidate that cannot be read.") from error
    candidate.component = 1  # some clients write 0, which makes ICE hang; RTP and RTCP share 1
    candidate.sdpMid = mid
    candidate.sdpMLineIndex = None if mid else 0
    return candidate
