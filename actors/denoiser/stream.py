"""One stream's denoiser: samples of any count in, the same samples denoised out, some time later.

This is the only place where sound is cut into hops.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.engine import Model, NetworkState
from actors.denoiser.features import Analysis, AnalysisState, Features, Filter, FilterState

Sound = NDArray[np.float32]

MAX_SAMPLE = 1e4
"""80 dB above full scale: no sound. The square of much more is not finite in float32."""


@dataclass
class StreamState:
    """All that a stream's next hop depends on. A reset makes a new one."""

    analysis: AnalysisState
    network: NetworkState
    filter: FilterState
    unframed: Sound  # [T], T < hop
    hops: int = 0


class Denoiser:
    """Denoises one stream, exactly as the official DeepFilterNet2 denoises the whole clip.

    Output is input delayed by `latency_samples`: what comes out first is that much warm-up,
    close to silence. Sound comes out in whole hops, as many as went in.

    `denoise` and `attenuation_limit_db` may be set at any time, by any thread; they take effect at
    the next hop, crossfaded over one hop. Everything else belongs to one thread.

    Attributes:
        lsnr: the network's newest estimate of the local signal-to-noise ratio, dB.
        resets: how many hops had samples that are no sound (NaN, infinite, absurdly large).
            They were taken as silence, so nothing of them stays in the state.
        denoise: False gives the original, with the same delay.
    """

    def __init__(self, model: Model) -> None:
        self.sample_rate = model.sample_rate
        self.hop_samples = model.hop_samples
        self.latency_samples = model.latency_samples
        self.denoise = True
        self.resets = 0
        self._config = model.config
        self._engine = model.engine
        self._analysis = Analysis(model.config)
        self._filter = Filter(model.config)
        self._attenuation_limit_db: float | None = None
        self.reset()

    @property
    def attenuation_limit_db(self) -> float | None:
        """How far noise is turned down at most; None is as far as the network wants.

        The official `enhance(atten_lim_db=...)`: noisy and enhanced sound are mixed, 12 dB leaves
        a quarter of the noisy one. Unlike there, 0 is no denoising at all.
        """
        return self._attenuation_limit_db

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, limit_db: float | None) -> None:
        if limit_db is not None and not limit_db >= 0:
            raise ValueError(f"expected an attenuation limit of 0 dB or more, got {limit_db}")
        self._attenuation_limit_db = limit_db

    def reset(self) -> None:
        """Forget all sound; settings and `resets` stay."""
        self.lsnr = self._config.lsnr_min
        self._state = StreamState(
            analysis=self._analysis.initial_state(1),
            network=self._engine.initial_state(1),
            filter=self._filter.initial_state(1),
            unframed=np.empty(0, np.float32),
        )

    def process(self, samples: Sound) -> Sound:
        """Take samples [T] and get the hops that are ready, 480 samples each.

        Full scale is 1. Output may exceed it where the input is clipped.

        Raises:
            ValueError: not float32, or not one channel.
        """
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise ValueError(
                f"expected float32 samples [T], got {samples.dtype} {list(samples.shape)}"
            )
        sound = np.concatenate((self._state.unframed, samples))
        ready = len(sound) - len(sound) % self.hop_samples
        self._state.unframed = sound[ready:].copy()
        return self._joined([self._hop(hop) for hop in self._hops(sound[:ready])])

    def flush(self) -> Sound:
        """Get the rest of the stream and begin a new one.

        With it the output is `latency_samples` longer than the input, and without these equal to
        the official output of the whole clip. At a clip's end the official program pads two hops
        of silence, then features of zero, then nothing.
        """
        config, unframed = self._config, self._state.unframed
        rest = self.latency_samples + len(unframed)
        padded = np.zeros(2 * self.hop_samples, np.float32)
        padded[: len(unframed)] = unframed
        outputs = [self._hop(hop) for hop in self._hops(padded)]
        silence = self._analysis.silence(1)
        outputs += [self._frame_after_end(silence) for _ in range(config.conv_lookahead)]
        outputs += [self._frame_after_end(None) for _ in range(config.df_lookahead + 1)]
        self.reset()
        return self._joined(outputs)[:rest]

    def _hops(self, sound: Sound) -> Sound:
        return sound.reshape(-1, 1, self.hop_samples)  # [hops, B, T]

    def _joined(self, outputs: list[Sound]) -> Sound:
        joined: Sound = np.concatenate([np.empty((1, 0), np.float32), *outputs], axis=1)[0]
        return joined

    def _hop(self, hop: Sound) -> Sound:
        """Take a hop [1, 480] and get the one `latency_samples` before it."""
        if not np.abs(hop).max() <= MAX_SAMPLE:  # written so that NaN is caught
            hop = np.where(np.abs(hop) <= MAX_SAMPLE, hop, np.float32(0))
            self.resets += 1
        spec, features = self._analysis(hop, self._state.analysis)
        self._filter.push_spec(spec, self._state.filter)
        return self._frame(features)

    def _frame_after_end(self, features: Features | None) -> Sound:
        nothing = np.zeros((1, self._config.nb_freqs), np.complex64)
        self._filter.push_spec(nothing, self._state.filter)
        return self._frame(features)

    def _frame(self, features: Features | None) -> Sound:
        """Run the network on a frame, unless it lies outside of the clip, and make a hop."""
        state = self._state
        # The features of frame t answer for frame t - conv_lookahead: the first have none.
        if features is None or state.hops < self._config.conv_lookahead:
            self._filter.push_nothing(state.filter)
        else:
            gains, coefs, lsnr, state.network = self._engine.step(features, state.network)
            self._filter.push_answer(gains, coefs, state.filter)
            self.lsnr = float(lsnr[0])
        state.hops += 1
        return self._filter(np.array([self._noisy_share()], np.float32), state.filter)

    def _noisy_share(self) -> float:
        if not self.denoise:
            return 1.0
        limit_db = self._attenuation_limit_db
        return 0.0 if limit_db is None else math.pow(10, -limit_db / 20)


class Delay:
    """Delays sound by a fixed number of samples: the original beside what a Denoiser makes."""

    def __init__(self, latency_samples: int) -> None:
        self.latency_samples = latency_samples
        self.reset()

    def reset(self) -> None:
        """Forget all sound."""
        self._delayed: Sound = np.zeros(self.latency_samples, np.float32)

    def process(self, samples: Sound) -> Sound:
        """Take samples [T] and get as many, from `latency_samples` before."""
        sound = np.concatenate((self._delayed, samples))
        self._delayed = sound[len(samples) :].copy()
        return sound[: len(samples)]
