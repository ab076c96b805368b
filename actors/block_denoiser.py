"""Denoises sound of any rate and channel count, block by block: numbers in, numbers out."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from actors.denoiser import MAX_SAMPLE, Engine, Model

Sound = NDArray[np.float32]


class BlockDenoiser:
    """Denoises one piece of sound [T, channels] of any rate; every channel is a stream of its own.

    As many samples come out as go in, and sample n of the output belongs to sample n of the input:
    the model's latency and the resamplers' delays are taken off. Everything above half the
    model's rate (24 kHz) is lost.

    Attributes:
        replaced: how many samples were invalid (NaN, infinite, absurdly large) and became silence.
    """

    def __init__(
        self,
        model: Model,
        *,
        rate: int,
        channels: int,
        attenuation_limit_db: float | None = None,
        post_filter: bool = False,
    ) -> None:
        self.replaced = 0
        self._channels = channels
        self._engine = Engine(model, channels)
        self._slots = [self._engine.join() for _ in range(channels)]
        for slot in self._slots:
            slot.attenuation_limit_db = attenuation_limit_db
            slot.post_filter = post_filter
        self._to_model = _Resampler(rate, model.sample_rate, channels)
        self._from_model = _Resampler(model.sample_rate, rate, channels)
        # Makes up for rounding the length to whole samples twice.
        self._padding_samples = model.sample_rate // rate + 1
        self._warm_up = model.latency_samples
        self._missing = 0  # samples taken but not yet returned

    def process(self, block: Sound) -> Sound:
        """Take samples [T, channels] and get those that are ready."""
        self._missing += len(block)
        heard = self._to_model.process(self._repaired(block))
        return self._counted(self._from_model.process(self._denoised(heard)))

    def flush(self) -> Sound:
        """Get the rest, so that the output is as long as the input. Nothing may follow."""
        if not self._missing:
            return self._silence(0)
        denoised = self._denoised(self._to_model.end(self._silence(0)))
        rest = [slot.end() for slot in self._slots][0] - self._warm_up
        padding = self._silence(self._padding_samples)
        sound = np.concatenate((denoised, self._run()[:rest], padding))
        return self._counted(self._from_model.end(sound)[: self._missing])

    def _repaired(self, block: Sound) -> Sound:
        """Silence invalid samples before a resampler spreads them."""
        broken = ~(np.abs(block) <= MAX_SAMPLE)  # written so that NaN is caught
        count = int(np.count_nonzero(broken))
        self.replaced += count
        return np.where(broken, np.float32(0), block) if count else block

    def _denoised(self, sound: Sound) -> Sound:
        for slot, channel in zip(self._slots, sound.T, strict=True):
            slot.push(channel)
        return self._run()

    def _run(self) -> Sound:
        """Get what the model has made [T, channels], without its warm-up."""
        while self._engine.step():
            pass
        sound = np.stack([slot.take() for slot in self._slots], axis=1)
        skipped = min(self._warm_up, len(sound))
        self._warm_up -= skipped
        return sound[skipped:]

    def _counted(self, sound: Sound) -> Sound:
        self._missing -= len(sound)
        return sound

    def _silence(self, samples: int) -> Sound:
        return np.zeros((samples, self._channels), np.float32)


def denoise_blocks(blocks: Iterable[Sound], denoiser: BlockDenoiser) -> Iterator[Sound]:
    """Denoise sound that comes in blocks [T, channels] of any length, including zero."""
    for block in blocks:
        yield denoiser.process(block)
    yield denoiser.flush()


class _Resampler:
    """Changes the rate of sound [T, channels]; sample 0 stays sample 0; output lags input."""

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        # libsoxr compensates for its filter's delay; VHQ keeps errors below those of 24 bits.
        self._stream = (
            None
            if source_rate == target_rate
            else soxr.ResampleStream(source_rate, target_rate, channels, quality="VHQ")
        )

    def process(self, sound: Sound) -> Sound:
        return self._resampled(sound, last=False)

    def end(self, sound: Sound) -> Sound:
        return self._resampled(sound, last=True)

    def _resampled(self, sound: Sound, *, last: bool) -> Sound:
        if self._stream is None:
            return sound
        resampled: Sound = self._stream.resample_chunk(np.ascontiguousarray(sound), last)
        return resampled
