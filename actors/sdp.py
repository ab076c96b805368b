"""Reads session descriptions tolerantly: lines into sections and attributes, without their meaning.

What is not needed is ignored, whatever it says (RFC 8866, section 5.13 asks this of attributes).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from actors.errors import OfferRefused

MAX_BYTES = 64 * 1024
MAX_LINES = 2048
MAX_LINE_LENGTH = 2048
"""Longer lines are not read."""
MAX_SECTIONS = 16
MAX_FORMATS = 32
"""Formats read of a section; browsers list about ten for audio."""
MAX_SAME = 64
"""Attributes of one name read of a section."""

_TOKEN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"  # RFC 8866, section 9
_MEDIA = re.compile(
    rf"(?P<kind>{_TOKEN}) +(?P<port>\d{{1,5}})(?:/\d+)? +(?P<protocol>{_TOKEN}(?:/{_TOKEN})*)"
    r"(?P<formats>.*)",
    re.ASCII,
)
_FORMAT = re.compile(r"[\x21-\x7e]+")
TOKEN = re.compile(_TOKEN)


@dataclass(frozen=True)
class Attribute:
    """The value of an `a=` line, "" if it has none, and the line's number, from 1."""

    value: str
    line: int


@dataclass
class Attributes:
    """The attributes of a session or section: values by name, in order."""

    by_name: dict[str, list[Attribute]] = field(default_factory=dict)

    def all(self, name: str) -> list[Attribute]:
        """Get every attribute of this name."""
        return self.by_name.get(name, [])

    def first(self, name: str) -> Attribute | None:
        """Get the first attribute of this name, or None."""
        return next(iter(self.all(name)), None)

    def __contains__(self, name: str) -> bool:
        return name in self.by_name


@dataclass
class Section(Attributes):
    """A media description: its `m=` line, whose number is `line`, and its attributes."""

    line: int = 0
    kind: str = ""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()

    @property
    def mid(self) -> str | None:
        """The section's identification (RFC 5888), if it has one."""
        mid = self.first("mid")
        return mid.value if mid and mid.value else None


@dataclass
class Description(Attributes):
    """A session description: the session's own attributes, and its sections."""

    sections: list[Section] = field(default_factory=list)


def read_description(text: str) -> Description:
    """Split a description into sections. Raises OfferRefused: not SDP, or beyond our bounds."""
    if len(text) > MAX_BYTES:
        raise OfferRefused(f"The offer is longer than {MAX_BYTES // 1024} KiB.")
    description: Description | None = None
    current: Attributes = Attributes()
    for number, kind, value in _lines(text):
        if description is None:
            if (kind, value) != ("v", "0"):
                break
            description = current = Description()
        elif kind == "m":
            if len(description.sections) == MAX_SECTIONS:
                raise OfferRefused(f"Line {number}: an offer has at most {MAX_SECTIONS} sections.")
            current = section = _read_section(number, value)
            description.sections.append(section)
        elif kind == "a":
            name, _, rest = value.partition(":")
            same = current.by_name.setdefault(name.strip(), [])
            if len(same) < MAX_SAME:
                same.append(Attribute(rest.strip(), number))
    if description is None:
        raise OfferRefused("The body is not an SDP offer: it does not begin with v=0.")
    return description


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, type and value of each line that we read; the others count too."""
    lines = text.removeprefix("\ufeff").split("\n", MAX_LINES)
    if len(lines) > MAX_LINES:
        raise OfferRefused(f"The offer has more than {MAX_LINES} lines.")
    for number, line in enumerate(lines, 1):
        if line[1:2] == "=" and len(line) <= MAX_LINE_LENGTH:
            yield number, line[0], line[2:].strip()
        elif line[:2] == "m=":
            raise OfferRefused(f"Line {number} is too long.")


def _read_section(number: int, value: str) -> Section:
    media = _MEDIA.fullmatch(value)
    if media is None:
        raise OfferRefused(f"Line {number} is not a media line (m=KIND PORT PROTOCOL FORMATS).")
    formats = [each for each in media["formats"].split() if _FORMAT.fullmatch(each)]
    return Section(
        line=number,
        kind=media["kind"],
        port=int(media["port"]),
        protocol=media["protocol"],
        formats=tuple(formats[:MAX_FORMATS]) or ("0",),  # what is rejected needs none
    )
