"""The interface between the engine and what runs a batch of hops through the pipeline."""

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
    """Later still: the network does not run; frames that wait are filtered."""


@dataclass(frozen=True)
class Batch:
    """T hops of each of some slots."""

    slots: NDArray[np.intp]  # [n], ascending, distinct
    hops: NDArray[np.float32]  # [n, T, hop], finite; zeros unless the phase is SOUND
    phases: NDArray[np.int8]  # [n], for all T hops; all SOUND if T > 1
    noisy_share: NDArray[np.float32]  # [n], 0..1, of the noisy spectrum in the output
    post_filter: NDArray[np.bool_] | None = None  # [n], which have it; None: none


class Result(NamedTuple):
    """The output of a batch."""

    sound: NDArray[np.float32]  # [n, T, hop], from `latency_samples` earlier
    lsnr: NDArray[np.float32]  # [n], dB, in the last hop; NaN where the network did not run


class Executor(Protocol):
    """Holds the state of `capacity` streams in one slab and runs batches on it.

    A slot's output depends on its own hops only: to the bit in batches of the same shape, to
    rounding between batches of different shapes.

    The network answers for the frame `conv_lookahead` hops ago. Before there is one, in the first
    hops of a stream, it does not run, and its state does not change.
    """

    capacity: int
    max_batch: int
    """Larger batches gain nothing, or take too much memory."""
    max_hops: int
    """How many hops of each stream a batch may have, at most."""

    def reset(self, slot: int) -> None:
        """Give a slot the state of a stream that has heard nothing."""

    def move(self, source: int, target: int) -> None:
        """Move a stream to another slot."""

    def run(self, batch: Batch) -> Result:
        """Run the hops of these slots; the state of the others does not change."""
