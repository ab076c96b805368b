"""What every input gives, whatever it is read with: its form, its tags and its sound in blocks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from actors.samples import Sound

Chunk = tuple[bytes, bytes]
"""A chunk of a WAV, or its like in a FLAC or Ogg: its id, its content."""

ROUGHLY_S = 0.1
"""How wrong the length of an MP3 may be, which is only estimated."""
_BLOCKS_A_SECOND = 4
_MOST_IN_A_BLOCK = 2**20
"""Blocks short enough to stop at once; bounded for any rate and number of channels."""


class Refused(Exception):
    """A file cannot be read or written; `str(error)` is a sentence with its name."""


@dataclass(frozen=True)
class Form:
    """How a file holds sound.

    Attributes:
        container: in libsndfile's words, or BW64; empty if we cannot write it.
        subtype: in libsndfile's words, or the codec's name if libsndfile does not have it.
        samples: how many it says it holds; None if only its end will tell.
        speakers: the channel mask of an extensible WAV.
    """

    container: str
    subtype: str
    rate: int
    channels: int
    samples: int | None
    speakers: int | None = None

    @property
    def block_samples(self) -> int:
        """How many samples to read at a time."""
        return max(1, min(self.rate // _BLOCKS_A_SECOND, _MOST_IN_A_BLOCK // self.channels))


class Source(ABC):
    """An open input; a context manager that closes it.

    Attributes:
        tags: title, artist and the like, by the names that soundfile uses.
        chunks: what a WAV, FLAC or Ogg holds besides its sound.
        measured: whether all `form.samples` are there, and not only promised by a header.
        note: once it is read, what was wrong with it, as the end of a sentence.
    """

    form: Form
    tags: Mapping[str, str] = {}
    chunks: Sequence[Chunk] = ()
    measured = False
    note = ""

    @property
    def seconds(self) -> float | None:
        """Tell about how long it is, if that is known."""
        return None if self.form.samples is None else self.form.samples / self.form.rate

    @abstractmethod
    def blocks(self) -> Iterator[Sound]:
        """Read it once, to its end. Raises Refused if it is damaged; OSError."""

    @abstractmethod
    def close(self) -> None:
        """Release what it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
