"""What runs hops through the whole pipeline, for any of many streams at a time."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Device = Literal["cpu", "cuda"]


class Phase(IntEnum):
    """What the network hears in a hop: at a clip's end the official program pads features."""

    SOUND = 0
    """A hop of sound."""
    SILENCE = 1
    """Right after the end: the network hears features of zero."""
    NOTHING = 2
    """Later still: the network does not run."""


@dataclass(frozen=True)
class Batch:
    """T hops each of some of the slots."""

    slots: NDArray[np.intp]  # [n], ascending, distinct
    hops: NDArray[np.float32]  # [n, T, hop], finite; zeros where the phase is not SOUND
    phases: NDArray[np.int8]  # [n], of all T; all SOUND where T is not 1
    noisy_share: NDArray[np.float32]  # [n], 0..1, of the undenoised spectrum in the output


class Result(NamedTuple):
    """What came out of a batch."""

    sound: NDArray[np.float32]  # [n, T, hop], of `latency_samples` before
    lsnr: NDArray[np.float32]  # [n], dB, of the last hop; NaN where the network did not run


class Executor(Protocol):
    """Holds the state of `capacity` streams in one slab and runs batches on it.

    What a slot gives depends on its own hops only: bit by bit for batches of one shape, to
    rounding for batches of different sizes, or of one hop and two.

    The network answers for the frame `conv_lookahead` hops back, so in the first hops of a stream
    it does not run, and its state stays as it was.
    """

    capacity: int
    max_batch: int
    """A larger batch gains nothing, or costs too much memory."""
    max_hops: int
    """How many hops of each stream a batch may have."""

    def reset(self, slot: int) -> None:
        """Make a slot one that has heard nothing yet."""

    def move(self, source: int, target: int) -> None:
        """Let the stream of one slot go on in another one."""

    def run(self, batch: Batch) -> Result:
        """Take the hops of these slots; the others stay as they are."""
