"""What is done to a stream's sound: a model denoises it, or it passes; and the change between.

A treatment takes sound and gives it back treated, with the original beside it, both aligned with
what went in: its delay is left out at the start and made up for at the end.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from actors.denoiser import Delay, Model, Slot
from actors.opus import SAMPLE_RATE, Sound

NOTHING: Sound = np.empty((2, 0), np.float32)
WARM_UP_SAMPLES = SAMPLE_RATE
"""A model hears this much of a stream before anybody hears what it makes of it."""
CROSSFADE = np.linspace(0, 1, 960, dtype=np.float32)
"""20 ms, in which one treatment's sound goes over into another's."""


class Treatment(Protocol):
    """Something that sound goes through. Belongs to the sound thread."""

    slots: Sequence[Slot]
    """Where it waits for batches."""

    def push(self, sound: Sound) -> None:
        """Take sound [T]."""

    def end(self) -> None:
        """Let the rest come out, once nothing waits in the slots."""

    def take(self) -> Sound:
        """Get what has come out: [2, T], treated and original."""


class Denoised:
    """Sound denoised by a model."""

    def __init__(self, slot: Slot) -> None:
        """The slot has heard nothing yet."""
        self.slots: Sequence[Slot] = (slot,)
        self._slot = slot
        self._delayed = _Delayed(slot.model.latency_samples)
        self._original: Sound = np.empty(0, np.float32)

    def push(self, sound: Sound) -> None:
        """Take sound [T]."""
        self._original = np.concatenate((self._original, self._delayed.process(sound)))
        self._slot.push(sound)

    def end(self) -> None:
        """Let the rest come out, once nothing waits in the slot."""
        self._original = np.concatenate((self._original, self._delayed.rest()))
        self._slot.end()

    def take(self) -> Sound:
        """Get what has come out: [2, T]. The last hop is cut where the original ends."""
        denoised = self._slot.take()[: len(self._original)]
        both = np.stack((denoised, self._original[: len(denoised)]))
        self._original = self._original[len(denoised) :]
        return self._delayed.without_warm_up(both)


class Undenoised:
    """Sound as it is, as late as a model would make it."""

    def __init__(self, model: Model) -> None:
        self.slots: Sequence[Slot] = ()
        self._delayed = _Delayed(model.latency_samples)
        self._ready: Sound = np.empty(0, np.float32)

    def push(self, sound: Sound) -> None:
        """Take sound [T]."""
        self._ready = np.concatenate((self._ready, self._delayed.process(sound)))

    def end(self) -> None:
        """Let the rest come out."""
        self._ready = np.concatenate((self._ready, self._delayed.rest()))

    def take(self) -> Sound:
        """Get what has come out: [2, T], the same twice."""
        sound, self._ready = self._ready, np.empty(0, np.float32)
        return self._delayed.without_warm_up(np.stack((sound, sound)))


class Change:
    """Two treatments of the same sound, one of which fades into the other.

    The later one has heard nothing yet. Where the first one has `inside` samples that have not come
    out, those are its alone.

    Attributes:
        over: whether the first one is heard no more.
    """

    def __init__(self, before: Treatment, after: Treatment, *, inside: int) -> None:
        self.after = after
        self.before = before
        self.slots: Sequence[Slot] = (*before.slots, *after.slots)
        warm_up = WARM_UP_SAMPLES if after.slots else 0
        self._alone = inside + warm_up
        self._unheard = warm_up
        self._faded = 0
        self._old, self._new = NOTHING, NOTHING

    @property
    def over(self) -> bool:
        """Whether only the later one is heard."""
        return self._faded == len(CROSSFADE)

    def push(self, sound: Sound) -> None:
        """Take sound [T]."""
        self.before.push(sound)
        self.after.push(sound)

    def end(self) -> None:
        """Let the rest come out, once nothing waits in the slots."""
        self.before.end()
        self.after.end()

    def take(self) -> Sound:
        """Get what has come out of both: [2, T]."""
        self._old = _joined(self._old, self.before.take())
        self._new = _joined(self._new, self.after.take())
        unheard = min(self._unheard, self._new.shape[1])
        self._unheard -= unheard
        self._new = self._new[:, unheard:]
        alone, self._old = np.split(self._old, [min(self._alone, self._old.shape[1])], axis=1)
        self._alone -= alone.shape[1]
        if self._alone:
            return alone
        length = min(self._old.shape[1], self._new.shape[1], len(CROSSFADE) - self._faded)
        old, self._old = np.split(self._old, [length], axis=1)
        new, self._new = np.split(self._new, [length], axis=1)
        gain = CROSSFADE[self._faded : self._faded + length]
        self._faded += length
        mixed = old + gain * (new - old)
        if not self.over:
            return _joined(alone, mixed)
        rest, self._new = self._new, NOTHING
        return _joined(alone, mixed, rest)


class _Delayed:
    """The original, as late as the treated sound, and how much of the start to leave out."""

    def __init__(self, latency: int) -> None:
        self._latency = self._warm_up = latency
        self._delay = Delay(latency)

    def process(self, sound: Sound) -> Sound:
        """Take samples [T] and get as many, from earlier."""
        return self._delay.process(sound)

    def rest(self) -> Sound:
        """Get what is left."""
        return self._delay.process(np.zeros(self._latency, np.float32))

    def without_warm_up(self, both: Sound) -> Sound:
        """Leave out what came before the first sample did."""
        warm_up = min(self._warm_up, both.shape[1])
        self._warm_up -= warm_up
        return both[:, warm_up:]


def _joined(*sounds: Sound) -> Sound:
    return np.concatenate(sounds, axis=1)
