"""A denoiser for one stream: any number of samples in, denoised samples out, some time later."""

import numpy as np

from actors.denoiser.engine import Engine, Sound
from actors.denoiser.model import Model


class Denoiser:
    """Denoises one stream exactly as the official program denoises the whole clip.

    Output is delayed by `latency_samples`: it begins with that much warm-up, close to silence.
    Sound comes out in whole hops, as many as went in.

    Any thread may set `denoise`, `attenuation_limit_db` and `post_filter` at any time; see `Slot`.
    Everything else belongs to one thread.
    """

    def __init__(self, model: Model) -> None:
        self.sample_rate = model.sample_rate
        self.hop_samples = model.hop_samples
        self.latency_samples = model.latency_samples
        self._engine = Engine(model, capacity=1)
        self._slot = self._engine.join()

    @property
    def denoise(self) -> bool:
        """False gives the original, with the same delay."""
        return self._slot.denoise

    @denoise.setter
    def denoise(self, denoise: bool) -> None:
        self._slot.denoise = denoise

    @property
    def attenuation_limit_db(self) -> float | None:
        """How far noise is turned down at most, see `Slot`. Raises ValueError below 0."""
        return self._slot.attenuation_limit_db

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, limit_db: float | None) -> None:
        self._slot.attenuation_limit_db = limit_db

    @property
    def post_filter(self) -> bool:
        """True lowers what is very noisy further, see `Slot`."""
        return self._slot.post_filter

    @post_filter.setter
    def post_filter(self, post_filter: bool) -> None:
        self._slot.post_filter = post_filter

    @property
    def lsnr(self) -> float:
        """The network's latest estimate of the local signal-to-noise ratio, dB."""
        return self._slot.lsnr

    @property
    def bad_hops(self) -> int:
        """How many hops had invalid samples, which silence replaced; see `Slot`."""
        return self._slot.bad_hops

    def reset(self) -> None:
        """Forget all sound; settings and `bad_hops` stay."""
        self._engine.reset(self._slot)

    def process(self, samples: Sound) -> Sound:
        """Take samples [T] and get the hops that are ready.

        Full scale is 1. Output may exceed it where the input is clipped.

        Raises:
            ValueError: not float32, or not one channel.
        """
        self._slot.push(samples)
        return self._run()

    def flush(self) -> Sound:
        """Get the rest of the stream and start a new one.

        With the rest, output is `latency_samples` longer than input. Without these first samples
        it is the official output for the whole clip.
        """
        rest = self._slot.end()
        sound = self._run()[:rest]
        self.reset()
        return sound

    def _run(self) -> Sound:
        while self._engine.step():
            pass
        return self._slot.take()


class Delay:
    """Delays sound by a fixed number of samples: the original, aligned with a Denoiser's output."""

    def __init__(self, latency_samples: int) -> None:
        self.latency_samples = latency_samples
        self.reset()

    def reset(self) -> None:
        """Forget all sound."""
        self._delayed: Sound = np.zeros(self.latency_samples, np.float32)

    def process(self, samples: Sound) -> Sound:
        """Take samples [T] and get as many, from `latency_samples` earlier."""
        sound = np.concatenate((self._delayed, samples))
        self._delayed = sound[len(samples) :].copy()
        return sound[: len(samples)]
