"""Understands offers and trickle fragments, and writes answers (RFC 8829, 8840, 9143, 9429).

An offer becomes an `Offer`: a live audio section with Opus, perhaps a second one for a listener who
wants both sounds, perhaps one data channel, and how to reach them. aiortc gets an offer that we
write from it; the client gets an answer with its own sections, order, mids and payload types.
Whatever we do not use is rejected in its place.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actors.errors import FragmentRefused, IceRestartRefused, OfferRefused
from actors.sdp import (
    MAX_FORMATS,
    MAX_LINES,
    TOKEN,
    Attribute,
    Attributes,
    Description,
    Section,
    read_description,
)

OPUS_PARAMETERS = "minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0"
"""The answer's Opus parameters (RFC 7587, section 6.1): mono, in-band FEC."""
AIORTC_PAYLOAD_TYPE = 111
"""Opus in the offer that aiortc gets, since it renumbers those below 96."""

DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""The fingerprints that aiortc can verify."""
MAX_FINGERPRINTS = 8

_HEX = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2})*")
_ICE_CHARS = re.compile(r"[0-9A-Za-z+/]+")  # RFC 8839, section 5.1
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_OPUS = re.compile(r"(\d{1,3})\s+opus/48000(?:/\d+)?", re.IGNORECASE | re.ASCII)
_RTP_PROTOCOLS = re.compile(r"(?:UDP/|TCP/)?(?:TLS/)?RTP/SAVPF?")
_DATA_PROTOCOLS = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
_CANDIDATE = re.compile(  # RFC 8839, section 5.1
    r"\S{1,64}\s+\d{1,3}\s+\S+\s+\d{1,10}\s+\S+\s+\d{1,5}\s+typ\s+\S+.*", re.ASCII
)


@dataclass(frozen=True)
class Transport:
    """What the client's checks and its DTLS are known by. Its candidates are never used."""

    ufrag: str
    password: str
    fingerprints: tuple[str, ...]
    setup: str


@dataclass(frozen=True)
class Audio:
    """An audio section that serves, and the client's number for Opus in it."""

    section: Section
    payload_type: int


@dataclass(frozen=True)
class Offer:
    """What we make of an offer. All sections are kept, since an answer must name each."""

    sections: tuple[Section, ...]
    group: tuple[Section, ...]
    """The audio's BUNDLE group, in the client's order; empty without one (RFC 9143)."""
    audio: tuple[Audio, ...]
    """One, or two in the same group."""
    publishes: bool
    data: Section | None
    anchor: Section | None
    """A picture at which the client anchors the whole group's transport: kept, but inactive."""
    transport: Transport

    @property
    def used(self) -> list[Section]:
        """The sections that aiortc gets, in its order."""
        return [*(each.section for each in self.audio), *([self.data] if self.data else [])]


def read_offer(text: str, *, publishes: bool, both: bool = False) -> Offer:
    """Read an offer to publish, or else to listen, to `both` sounds if it has two sections.

    Raises OfferRefused, naming the line.
    """
    description = read_description(text)
    _check_mids(description.sections)
    audio = _choose_audio(description, publishes)
    group = _group_of(audio.section, description)
    second = _choose_second(audio, group, description) if both else None
    chosen = (audio, second) if second else (audio,)
    data = next(filter(_is_data_channel, group), None) if publishes else None
    used = [*(each.section for each in chosen), data]
    relies = bool(group) and group[0] not in used
    return Offer(
        sections=tuple(description.sections),
        group=tuple(group),
        audio=chosen,
        publishes=publishes,
        data=data,
        anchor=_find_anchor(group[0], audio.section) if relies else None,
        transport=_read_transport(description, group or [audio.section], used),
    )


# -- choosing sections


def _check_mids(sections: Iterable[Section]) -> None:
    seen: set[str] = set()
    mids = (mid for section in sections for mid in section.all("mid"))
    for mid in filter(lambda each: each.value, mids):
        if not TOKEN.fullmatch(mid.value):
            raise OfferRefused(f"Line {mid.line}: the mid is not a single word.")
        if mid.value in seen:
            raise OfferRefused(f"Line {mid.line}: two sections have this mid.")
        seen.add(mid.value)


def _choose_audio(description: Description, publishes: bool) -> Audio:
    """Choose the first live audio section that serves."""
    sections = [section for section in description.sections if section.kind == "audio"]
    if not sections:
        raise OfferRefused("The offer has no audio section.")
    live = [each for each in sections if each.port or _group_of(each, description)]
    if not live:
        raise OfferRefused(f"Line {sections[0].line}: the audio section is rejected (port 0).")
    faults = []
    for section in live:
        try:
            return _check_audio(section, description, publishes)
        except OfferRefused as fault:
            faults.append(fault)
    raise faults[0]


def _choose_second(
    audio: Audio, group: Sequence[Section], description: Description
) -> Audio | None:
    """Choose a listener's next section in the group that serves, if there is one."""
    for section in group:
        if section.kind == "audio" and section is not audio.section:
            try:
                return _check_audio(section, description, publishes=False)
            except OfferRefused:
                continue
    return None


def _check_audio(section: Section, description: Description, publishes: bool) -> Audio:
    """Return a section with its payload type for Opus. Raises OfferRefused unless it serves."""
    if not _RTP_PROTOCOLS.fullmatch(section.protocol):
        raise OfferRefused(f"Line {section.line}: audio must use UDP/TLS/RTP/SAVPF.")
    payload_type = _choose_payload_type(section)
    _check_direction(section, description, publishes)
    places = (section, description, *_group_of(section, description))
    if not any("rtcp-mux" in each or "rtcp-mux-only" in each for each in places):
        raise OfferRefused(f"Line {section.line}: the audio section does not offer rtcp-mux.")
    return Audio(section, payload_type)


def _choose_payload_type(section: Section) -> int:
    """Choose the section's first number for Opus; those from 64 on only if it has no other.

    With the marker bit 64 to 95 look like RTCP (RFC 5761, section 4), and aiortc takes no packet
    of 72 to 76 for sound.
    """
    maps = (_OPUS.fullmatch(each.value) for each in section.all("rtpmap"))
    opus = {int(match[1]) for match in maps if match}
    numbers = [int(each) for each in section.formats if re.fullmatch("[0-9]{1,5}", each)]
    offered = [each for each in numbers if each in opus and each <= 127]
    if not offered:
        raise OfferRefused(
            f"Line {section.line}: the audio section does not offer Opus (opus/48000/2) among its "
            f"first {MAX_FORMATS} payload types."
        )
    usable = [each for each in offered if not 72 <= each <= 76]
    if not usable:
        raise OfferRefused(
            f"Line {section.line}: Opus has payload type {offered[0]}, which would be taken for "
            "RTCP; use 96 to 127."
        )
    return next((each for each in usable if not 64 <= each <= 95), usable[0])


def _check_direction(section: Section, description: Description, publishes: bool) -> None:
    way, useless = ("send", "recvonly") if publishes else ("receive", "sendonly")
    for place in (section, description):
        for direction in ("sendrecv", "sendonly", "recvonly", "inactive"):
            if line := place.first(direction):
                if direction in (useless, "inactive"):
                    raise OfferRefused(
                        f"Line {line.line}: the audio does not {way}, it is {direction}."
                    )
                return


def _group_of(section: Section, description: Description) -> list[Section]:
    """Get the sections of the BUNDLE group that this one belongs to."""
    by_mid = {each.mid: each for each in description.sections if each.mid}
    for group in description.all("group"):
        mids = group.value.split()
        if mids[:1] == ["BUNDLE"] and section.mid in mids[1:]:
            return [by_mid[mid] for mid in dict.fromkeys(mids[1:]) if mid in by_mid]
    return []


def _find_anchor(first: Section, audio: Section) -> Section | None:
    """Return the group's first section, which we do not use, if we must not reject it either.

    Chromium takes its rejection for that of the whole group if it has made one transport for all
    ("max-bundle"): then the audio has the same credentials and no candidates of its own.
    """
    if not (first.port and audio.port and _RTP_PROTOCOLS.fullmatch(first.protocol)):
        return None
    same = {each.value for part in (first, audio) for each in part.all("ice-ufrag")}
    return first if len(same) == 1 and "candidate" not in audio else None


def _is_data_channel(section: Section) -> bool:
    """Tell whether a section is for data channels over SCTP (RFC 8841)."""
    return (
        section.kind == "application"
        and section.protocol in _DATA_PROTOCOLS
        and section.formats[0] == "webrtc-datachannel"
        and _sctp_port(section) is not None
    )


def _sctp_port(section: Section) -> int | None:
    port = section.first("sctp-port")
    if port is None or not re.fullmatch(r"[0-9]{1,5}", port.value):
        return None
    return int(port.value) if 0 < int(port.value) < 65536 else None


# -- the transport


def _read_transport(
    description: Description, group: Sequence[Section], used: Sequence[Section | None]
) -> Transport:
    """Find the transport of what we use; the rest of its group may hold it (RFC 9143, 7.3)."""
    accepted = [section for section in group if section in used]
    others = [section for section in group if section not in used]
    places: list[Attributes] = [*accepted, description, *others]
    line = accepted[0].line
    home = next((each for each in places if "ice-ufrag" in each and "ice-pwd" in each), None)
    if home is None:
        raise OfferRefused(f"Line {line}: the section has no ICE credentials.")
    setup = next((found for each in (home, *places) if (found := each.first("setup"))), None)
    if setup and setup.value not in ("actpass", "active", "passive"):
        raise OfferRefused(f"Line {setup.line}: setup must be actpass, active or passive.")
    if lite := description.first("ice-lite"):
        raise OfferRefused(
            f"Line {lite.line}: the server is ICE-lite, so the client cannot be ice-lite too."
        )
    return Transport(
        ufrag=_credential(home.all("ice-ufrag")[0], "user fragment", 4),
        password=_credential(home.all("ice-pwd")[0], "password", 22),
        fingerprints=_read_fingerprints([home, *places], line),
        setup=setup.value if setup else "active",  # RFC 4145, section 4
    )


def _credential(attribute: Attribute, name: str, shortest: int) -> str:
    if not (shortest <= len(attribute.value) <= 256 and _ICE_CHARS.fullmatch(attribute.value)):
        raise OfferRefused(
            f"Line {attribute.line}: an ICE {name} has {shortest} to 256 letters, digits, + or /."
        )
    return attribute.value


def _read_fingerprints(places: Sequence[Attributes], line: int) -> tuple[str, ...]:
    """Get the fingerprints that aiortc can verify, from the first place that has any."""
    for place in places:
        found = place.all("fingerprint")[:MAX_FINGERPRINTS]
        read = tuple(f"{digest} {value}" for digest, value in map(_fingerprint, found) if digest)
        if read:
            return read
        if found:
            raise OfferRefused(f"Line {found[0].line}: this DTLS fingerprint is not a SHA-256.")
    raise OfferRefused(f"Line {line}: the section has no DTLS fingerprint.")


def _fingerprint(attribute: Attribute) -> tuple[str, str]:
    """Get digest and value of a fingerprint, or "" twice if we cannot verify it (RFC 8122)."""
    digest, _, value = attribute.value.partition(" ")
    digest, value = digest.lower(), value.strip().upper()
    fits = _HEX.fullmatch(value) and len(value) == 3 * DIGEST_BYTES.get(digest, 0) - 1
    return (digest, value) if fits else ("", "")


# -- fragments


def read_fragment(fragment: str, offer: Offer) -> None:
    """Read a trickle fragment (RFC 8840). Its candidates are not used.

    Raises FragmentRefused, or IceRestartRefused if its ufrag is not the offer's.
    """
    if fragment.strip() and not re.search(r"^\s*[a-z]=", fragment, re.MULTILINE):
        raise FragmentRefused("The body is not a trickle fragment (RFC 8840).")
    if fragment.count("\n") > MAX_LINES:
        raise FragmentRefused(f"The fragment has more than {MAX_LINES} lines.")
    for number, line in enumerate(fragment.split("\n"), 1):
        name, _, value = line.strip().partition(":")
        if name == "a=ice-ufrag" and value.strip() != offer.transport.ufrag:
            raise IceRestartRefused("ICE restarts are not supported; post a new offer instead.")
        if name == "a=candidate" and not _CANDIDATE.fullmatch(value.strip()):
            raise FragmentRefused(f"Line {number}: the candidate cannot be read.")


# -- writing


def for_aiortc(offer: Offer) -> str:
    """Write the offer that aiortc gets: Opus, perhaps a data channel, one transport.

    Unless the client insists on being passive it begins DTLS, so that we never speak first.
    """
    transport = [
        f"a=ice-ufrag:{offer.transport.ufrag}",
        f"a=ice-pwd:{offer.transport.password}",
        *(f"a=fingerprint:{each}" for each in offer.transport.fingerprints),
        f"a=setup:{'passive' if offer.transport.setup == 'passive' else 'active'}",
    ]
    mids = range(len(offer.used))
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    lines += [f"a=group:BUNDLE {' '.join(map(str, mids))}"] if len(mids) > 1 else []
    for mid in range(len(offer.audio)):
        lines += [
            f"m=audio 9 UDP/TLS/RTP/SAVPF {AIORTC_PAYLOAD_TYPE}",
            f"a=mid:{mid}",
            "a=sendonly" if offer.publishes else "a=recvonly",
            "a=rtcp-mux",
            f"a=rtpmap:{AIORTC_PAYLOAD_TYPE} opus/48000/2",
            *transport,
        ]
    if offer.data:
        lines += [
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            f"a=mid:{mids[-1]}",
            f"a=sctp-port:{_sctp_port(offer.data)}",
            *transport,
        ]
    return _text(lines)


def write_answer(offer: Offer, aiortc_answer: str) -> str:
    """Write the client's answer: aiortc's, with the client's sections, mids and payload type."""
    session, *sections = re.split(r"^(?=m=)", aiortc_answer, flags=re.MULTILINE)
    lines = [line for line in session.splitlines() if not line.startswith("a=group:")]
    lines += ["a=ice-lite"]
    ours = {used.line: text for used, text in zip(offer.used, sections, strict=True)}
    opus = {audio.section.line: audio.payload_type for audio in offer.audio}
    kept = (offer.anchor, *offer.used)
    group = [each.mid for each in offer.group if each in kept and each.mid]
    lines += [f"a=group:BUNDLE {' '.join(group)}"] if group else []
    for section in offer.sections:
        if (opus_number := opus.get(section.line)) is not None:
            mapped = f"a=rtpmap:{opus_number} opus/48000/2"
            formats = [mapped, f"a=fmtp:{opus_number} {OPUS_PARAMETERS}"]
            lines += _accept(section, str(opus_number), ours[section.line], formats)
        elif section is offer.data:
            lines += _accept(section, section.formats[0], ours[section.line], [])
        elif section is offer.anchor:
            number = section.formats[0]
            transport = re.sub(r"^a=(msid|ssrc|sendonly|recvonly).*\n", "", sections[0], flags=re.M)
            lines += _accept(section, number, transport, ["a=inactive", *_codec(section)])
        else:
            lines += _reject(section)
    return _text(lines)


def _accept(section: Section, formats: str, ours: str, lines: list[str]) -> list[str]:
    """Answer a section with aiortc's answer, except for what the client numbers and names.

    Of its fingerprints only the SHA-256 stays: with several, libdatachannel (OBS) fails to verify
    our certificate in about half of all handshakes.
    """
    first, *rest = ours.splitlines()
    port = first.split()[1]
    left_out = ("a=mid:", "a=rtpmap:", "a=fmtp:", "a=fingerprint:sha-384", "a=fingerprint:sha-512")
    kept = [each for each in rest if not each.startswith(left_out)]
    mid = [f"a=mid:{section.mid}"] if section.mid else []
    return [f"m={section.kind} {port} {section.protocol} {formats}", *kept, *mid, *lines]


def _reject(section: Section) -> list[str]:
    """Reject a section in its place (RFC 3264, section 6)."""
    mid = [f"a=mid:{section.mid}"] if section.mid else []
    media = f"m={section.kind} 0 {section.protocol} {section.formats[0]}"
    return [media, "c=IN IP4 0.0.0.0", "a=inactive", *mid, *_codec(section)]


def _codec(section: Section) -> list[str]:
    """Get the lines that describe a section's first format, as the client wrote them."""
    return [
        f"a={name}:{each.value}"
        for name in ("rtpmap", "fmtp")
        for each in section.all(name)
        if each.value.split()[:1] == [section.formats[0]] and _PRINTABLE.fullmatch(each.value)
    ]


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\r\n" for line in lines)
