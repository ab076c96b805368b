"""What we read in offers and fragments, and what we write into answers (RFC 8829, RFC 8840)."""

import re
from typing import Any

from aiortc import sdp as aiortc_sdp

from actors.errors import FragmentRefused, IceRestartRefused, OfferRefused

OPUS_ANSWER = "minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0"
"""What the answer agrees for Opus (RFC 7587, section 6.1): mono, in-band FEC."""
MAX_CANDIDATES = 32


def check_offer(offer_sdp: str, *, publishes: bool | None = None) -> None:
    """Refuse an offer that could never be answered, before anything is started for it.

    `publishes` says which way the sound goes; None leaves that open. Raises OfferRefused.
    """
    try:
        description = aiortc_sdp.SessionDescription.parse(offer_sdp)
    except Exception as error:  # aiortc's parser fails in many ways on what is not SDP
        raise OfferRefused("The body is not an SDP offer.") from error
    audio = [media for media in description.media if media.kind == "audio" and media.port]
    if len(audio) != 1:
        raise OfferRefused("The offer needs exactly one audio track.")
    media = audio[0]
    if not any(codec.mimeType.lower() == "audio/opus" for codec in media.rtp.codecs):
        raise OfferRefused("The offer needs Opus among its audio codecs.")
    if not (media.ice and media.ice.usernameFragment and media.ice.password):
        raise OfferRefused("The offer has no ICE credentials.")
    if media.dtls is None or not media.dtls.fingerprints:
        raise OfferRefused("The offer has no DTLS fingerprint.")
    useless = {True: ("recvonly", "inactive"), False: ("sendonly", "inactive")}
    if publishes is not None and media.direction in useless[publishes]:
        way = "send" if publishes else "receive"
        raise OfferRefused(f"The offer's audio track does not {way}: it is {media.direction}.")
    if offer_sdp.count("a=candidate:") > MAX_CANDIDATES:
        raise OfferRefused(f"The offer has more than {MAX_CANDIDATES} candidates.")


def ufrags(sdp: str) -> list[str]:
    """Get the ICE user fragments of a description, in order."""
    return re.findall(r"^a=ice-ufrag:(\S+)", sdp, re.MULTILINE)


def reachable_only(offer_sdp: str) -> str:
    """Leave out what only costs time.

    Resolving `.local` names asks multicast DNS for a second; such a browser reaches us, and is
    then known as a peer-reflexive candidate. The end of candidates would make ICE give up
    before that; our own timeout ends a connection that never comes.
    """
    return "".join(
        line
        for line in offer_sdp.splitlines(keepends=True)
        if not line.startswith("a=end-of-candidates")
        and not (line.startswith("a=candidate:") and ".local " in line)
    )


def agree_on_opus(answer_sdp: str) -> str:
    """Add the Opus parameters, which aiortc leaves out of its answers."""
    return re.sub(
        r"^a=rtpmap:(\d+) opus/48000/2\r?$",
        lambda match: f"{match[0].rstrip()}\r\na=fmtp:{match[1]} {OPUS_ANSWER}\r",
        answer_sdp,
        flags=re.MULTILINE,
    )


def read_fragment(fragment: str, ufrag: str) -> list[Any]:
    """Read the candidates of a trickle fragment; `.local` ones are left out."""
    candidates = []
    mid = None
    for line in fragment.splitlines():
        if line.startswith("a=ice-ufrag:") and line[12:].strip() != ufrag:
            raise IceRestartRefused("ICE restarts are not supported; post a new offer instead.")
        if line.startswith("a=mid:"):
            mid = line[6:].strip()
        if line.startswith("a=candidate:") and ".local " not in line:
            candidates.append(_read_candidate(line[12:], mid))
    return candidates


def _read_candidate(text: str, mid: str | None) -> Any:
    try:
        candidate = aiortc_sdp.candidate_from_sdp(text)
    except (AssertionError, ValueError, IndexError, KeyError) as error:
        raise FragmentRefused("The fragment holds a candidate that cannot be read.") from error
    candidate.component = 1  # some clients write 0, on which ICE hangs; RTP and RTCP share 1
    candidate.sdpMid = mid
    candidate.sdpMLineIndex = None if mid else 0
    return candidate
