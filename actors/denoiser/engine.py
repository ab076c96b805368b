"""Many live streams through one model: each batch takes the streams that have a hop ready."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.cpu_executor import CpuExecutor
from actors.denoiser.executor import Batch, Device, Executor, Phase, Result
from actors.denoiser.model import Model

Sound = NDArray[np.float32]

MAX_SAMPLE = 1e4
"""80 dB above full scale. The squares of much larger samples overflow float32."""
MIN_WAIT_S, MAX_WAIT_S, WAIT_PER_STREAM_S = 0.003, 0.008, 0.0004
"""How long a hop waits for others to share its batch: longer the more there are, since then more
come in the same time, and more is saved. `python -m bench.batching` has what either is worth."""


class EngineFull(Exception):
    """All slots of an engine are taken."""


@dataclass(frozen=True)
class Hop:
    """A hop that waits for a batch."""

    sound: Sound  # [hop]
    phase: Phase
    came_s: float


class Slot:
    """One stream's place in an engine.

    Output is the input `latency_samples` later, in whole hops. Any thread may set `denoise` and
    `attenuation_limit_db`, which take effect at the next hop, crossfaded over one hop, and
    `post_filter`, which takes as many hops more as the deep filter. Everything else belongs to the
    engine's thread once the slot has joined.

    Attributes:
        model: what denoises it.
        denoise: False gives the original, with the same delay.
        post_filter: True lowers what is very noisy further, as the official `--pf` does.
        lsnr: the network's latest estimate of the local signal-to-noise ratio, dB.
        bad_hops: how many hops had invalid samples (NaN, infinite, above `MAX_SAMPLE`). Silence
            replaces such samples before they reach any state.
    """

    def __init__(self, model: Model, clock: Callable[[], float] = time.monotonic) -> None:
        self.denoise = True
        self.post_filter = False
        self.bad_hops = 0
        self.model = model
        self._clock = clock
        self._attenuation_limit_db: float | None = None
        self._unframed: Sound = np.empty(0, np.float32)
        self.waiting: deque[Hop] = deque()
        self._done: list[Sound] = []
        self.lsnr = model.config.lsnr_min

    @property
    def attenuation_limit_db(self) -> float | None:
        """How far noise is turned down at most; None for as far as the network wants.

        As with the official `enhance(atten_lim_db=...)`, noisy sound is mixed in: 12 dB leaves a
        quarter of it. Unlike there, 0 turns denoising off.
        """
        return self._attenuation_limit_db

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, limit_db: float | None) -> None:
        if limit_db is not None and not limit_db >= 0:
            raise ValueError(f"expected an attenuation limit of 0 dB or more, got {limit_db}")
        self._attenuation_limit_db = limit_db

    def push(self, samples: Sound) -> None:
        """Take samples [T]; full scale is 1.

        Raises:
            ValueError: not float32, or not one channel.
        """
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise ValueError(
                f"expected float32 samples [T], got {samples.dtype} {list(samples.shape)}"
            )
        sound = np.concatenate((self._unframed, samples))
        hop_samples = self.model.hop_samples
        ready = len(sound) - len(sound) % hop_samples
        self._unframed = sound[ready:]
        for hop in sound[:ready].reshape(-1, hop_samples):
            self._queue(hop, Phase.SOUND)

    def end(self) -> int:
        """Queue what drives the rest of the stream out; returns how many samples that rest has.

        With the rest, output is `latency_samples` longer than input. Call the engine's `reset`
        before pushing more.
        """
        model, rest = self.model, len(self._unframed)
        self.push(np.zeros(model.padding_samples - rest, np.float32))
        for phase in model.ending:
            self._queue(np.zeros(model.hop_samples, np.float32), phase)
        return model.latency_samples + rest

    @property
    def has_output(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._done)

    def take(self) -> Sound:
        """Get the sound that has come out since the last call."""
        sound: Sound = np.concatenate([np.empty(0, np.float32), *self._done])
        self._done.clear()
        return sound

    def clear(self) -> None:
        """Drop what waits and what has come out; settings and `bad_hops` stay."""
        self._unframed = np.empty(0, np.float32)
        self.waiting.clear()
        self._done.clear()
        self.lsnr = self.model.config.lsnr_min

    @property
    def ready_hops(self) -> int:
        """How many of the waiting hops may run together: any number of sound, else one."""
        waiting = self.waiting
        if len(waiting) > 1 and waiting[-1].phase is not Phase.SOUND:  # at an end
            return 1
        return len(waiting)

    @property
    def noisy_share(self) -> float:
        """How much of the noisy spectrum is mixed into the output, 0..1."""
        if not self.denoise:
            return 1.0
        limit_db = self._attenuation_limit_db
        return 0.0 if limit_db is None else math.pow(10, -limit_db / 20)

    def give(self, sound: Sound, lsnr: float) -> None:
        """Take a batch's output for this slot."""
        self._done.append(sound)
        if not math.isnan(lsnr):
            self.lsnr = lsnr

    def _queue(self, hop: Sound, phase: Phase) -> None:
        self.waiting.append(Hop(hop, phase, self._clock()))


def executor_on(device: Device) -> Callable[[Model, int], Executor]:
    """Get the executor factory for a device. Raises ModelError for `cuda` without torch."""
    if device == "cpu":
        return CpuExecutor
    from actors.denoiser.torch_executor import TorchExecutor

    return partial(TorchExecutor, device=device)


class Engine:
    """Up to `capacity` streams that share a model and run in batches.

    A hop waits for others for up to `max_wait_s`, or as long as suits the number of streams.
    Belongs to one thread, which calls `step` when `due_in_s` has passed.
    """

    def __init__(
        self,
        model: Model,
        capacity: int,
        *,
        executor: Callable[[Model, int], Executor] = CpuExecutor,
        max_wait_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._clock = clock
        self._executor = executor(model, capacity)
        self._max_wait_s = max_wait_s
        # In the order of the slab, whose first rows are taken, without holes.
        self._slots: list[Slot] = []

    def __len__(self) -> int:
        return len(self._slots)

    def join(self, slot: Slot | None = None) -> Slot:
        """Take in a slot, or make a new one, until it leaves. Raises EngineFull."""
        if len(self._slots) == self._executor.capacity:
            raise EngineFull(f"all {self._executor.capacity} slots are taken")
        slot = slot or Slot(self._model, self._clock)
        self._slots.append(slot)
        self._executor.reset(len(self._slots) - 1)
        return slot

    def leave(self, slot: Slot) -> None:
        """Remove a slot; the last row of the slab moves into its place."""
        row, last = self._slots.index(slot), self._slots.pop()
        if last is not slot:
            self._executor.move(len(self._slots), row)
            self._slots[row] = last

    def reset(self, slot: Slot) -> None:
        """Start a stream anew: forget all sound, keep settings and `bad_hops`."""
        slot.clear()
        self._executor.reset(self._slots.index(slot))

    @property
    def due_in_s(self) -> float | None:
        """How long the next batch may wait; None while no hop waits.

        A batch that is full, or has every stream in it, is due at once; any other when its oldest
        hop has waited for long enough.
        """
        came = [slot.waiting[0].came_s for slot in self._slots if slot.waiting]
        if not came:
            return None
        if len(came) >= min(len(self._slots), self._executor.max_batch):
            return 0.0
        return max(0.0, min(came) + self._wait_s - self._clock())

    @property
    def _wait_s(self) -> float:
        if self._max_wait_s is not None:
            return self._max_wait_s
        return min(max(MIN_WAIT_S, WAIT_PER_STREAM_S * len(self._slots)), MAX_WAIT_S)

    def step(self) -> int:
        """Run one batch, a hop of each slot that has one; returns how many hops it took.

        If more slots are ready than fit, those that have waited longest go first. Where each has
        several hops of sound, as after a packet, these run together.
        """
        rows = [row for row, slot in enumerate(self._slots) if slot.waiting]
        if not rows:
            return 0
        if len(rows) > self._executor.max_batch:
            rows.sort(key=lambda row: self._slots[row].waiting[0].came_s)
            rows = sorted(rows[: self._executor.max_batch])
        slots = [self._slots[row] for row in rows]
        count = min(self._executor.max_hops, *(slot.ready_hops for slot in slots))
        hops = [[slot.waiting.popleft() for _ in range(count)] for slot in slots]
        sound = np.stack([hop.sound for each in hops for hop in each])
        for n in _bad_rows(sound):
            sound[n] = np.where(np.abs(sound[n]) <= MAX_SAMPLE, sound[n], np.float32(0))
            slots[n // count].bad_hops += 1
        batch = Batch(
            slots=np.array(rows, np.intp),
            hops=sound.reshape(len(rows), count, -1),
            phases=np.array([first.phase for first, *_ in hops], np.int8),
            noisy_share=np.array([slot.noisy_share for slot in slots], np.float32),
            post_filter=np.array([slot.post_filter for slot in slots]),
        )
        self._give(slots, batch, self._executor.run(batch))
        return len(rows) * count

    def _give(self, slots: list[Slot], batch: Batch, result: Result) -> None:
        """Hand out the sound; a slot whose output is invalid is silent for once, and reset."""
        made = result.sound.reshape(len(slots), -1)
        for n in _bad_rows(made):
            made[n] = 0
            slots[n].bad_hops += 1
            self._executor.reset(int(batch.slots[n]))
        for slot, sound, lsnr in zip(slots, made, result.lsnr, strict=True):
            slot.give(sound, float(lsnr))


def _bad_rows(sound: Sound) -> Iterable[int]:
    """Find the rows with invalid samples; comparisons are written so that NaN fails them."""
    if sound.max() <= MAX_SAMPLE and sound.min() >= -MAX_SAMPLE:  # the usual, quick way out
        return ()
    rows: list[int] = np.flatnonzero(~(np.abs(sound).max(axis=1) <= MAX_SAMPLE)).tolist()
    return rows
