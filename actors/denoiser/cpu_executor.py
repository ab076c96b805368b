"""Runs batches on one core: machine code or onnxruntime the network, numpy all around it."""

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.compiled_signal import CompiledAnalysis, CompiledFilter
from actors.denoiser.executor import Batch, Phase, Result
from actors.denoiser.features import Analysis, Complex, Features, Filter, Frames
from actors.denoiser.machine_code import can_compile
from actors.denoiser.model import Model
from actors.denoiser.network_slab import Answer, CompiledSlab, NetworkSlab, OnnxSlab

Slots = NDArray[np.intp]


MAX_BATCH = 16
"""A batch of 32 is hardly faster per stream, but each of its streams takes 100 KB in between."""


class CpuExecutor:
    """An `Executor` on the calling thread."""

    def __init__(self, model: Model, capacity: int) -> None:
        self.capacity = capacity
        self.max_batch = min(capacity, MAX_BATCH)
        self.max_hops = max(model.networks)
        self._config = model.config
        analysis, filter_ = (
            (CompiledAnalysis, CompiledFilter) if can_compile() else (Analysis, Filter)
        )
        self._analysis = analysis(model.config, normalise_level=model.normalise_level)
        self._filter = filter_(model.config)
        self._network = _network_slab(model, capacity, self.max_batch)
        self._heard = self._analysis.initial_state(capacity)
        self._filtered = self._filter.initial_state(capacity)

    def reset(self, slot: int) -> None:
        self._heard.put(slot, self._analysis.initial_state(1))
        self._filtered.put(slot, self._filter.initial_state(1))
        self._network.reset(slot)

    def move(self, source: int, target: int) -> None:
        self._heard.move(source, target)
        self._filtered.move(source, target)
        self._network.move(source, target)

    def run(self, batch: Batch) -> Result:
        spec, features = self._analyse(batch)
        frames = self._filtered.frames[batch.slots]
        asked = (frames >= self._config.conv_lookahead) & (batch.phases < Phase.NOTHING)
        if asked.all() or batch.hops.shape[1] == 1:
            gains, coefs, lsnr = self._ask(batch.slots, features, asked)
        else:
            gains, coefs, lsnr = self._ask_by_hop(batch.slots, features, frames)
        filtered = np.flatnonzero(() if batch.post_filter is None else batch.post_filter)
        answered = Frames(spec, gains, coefs, batch.noisy_share, filtered)
        return Result(self._filter(answered, self._filtered, batch.slots), lsnr[:, -1].copy())

    def _ask(self, slots: Slots, features: Features, asked: NDArray[np.bool_]) -> Answer:
        """Get the network's answer; zeros and NaN for slots that are not `asked`.

        The next call may overwrite it.
        """
        if asked.all():
            return self._network.step(slots, features)
        config, (n, _, hops, _) = self._config, features.erb.shape
        gains = np.zeros((n, hops, config.nb_erb), np.float32)
        coefs = np.zeros((n, hops, config.nb_df, config.df_order, 2), np.float32)
        lsnr = np.full((n, hops), np.nan, np.float32)
        if asked.any():
            heard = Features(features.erb[asked], features.spec[asked])
            gains[asked], coefs[asked], lsnr[asked] = self._network.step(slots[asked], heard)
        return gains, coefs, lsnr

    def _ask_by_hop(self, slots: Slots, features: Features, frames: Slots) -> Answer:
        """Ask hop by hop: among these are a stream's first ones, which the network skips."""
        answers = []
        for t in range(features.erb.shape[2]):
            heard = Features(features.erb[:, :, t : t + 1], features.spec[:, :, t : t + 1])
            answer = self._ask(slots, heard, frames + t >= self._config.conv_lookahead)
            answers.append([each.copy() for each in answer])
        gains, coefs, lsnr = (np.concatenate(each, axis=1) for each in zip(*answers, strict=True))
        return gains, coefs, lsnr

    def _analyse(self, batch: Batch) -> tuple[Complex, Features]:
        """Get spectra [n, T, F] and features; zeros after a clip's end."""
        if not batch.phases.any():  # all SOUND, as nearly always
            return self._analysis(batch.hops, self._heard, batch.slots)
        sounding = batch.phases == Phase.SOUND
        spec, features = self._analysis.silence(*batch.hops.shape[:2])
        if sounding.any():
            heard = self._analysis(batch.hops[sounding], self._heard, batch.slots[sounding])
            spec[sounding] = heard[0]
            features.erb[sounding], features.spec[sounding] = heard[1].erb, heard[1].spec
        return spec, features


def _network_slab(model: Model, capacity: int, max_batch: int) -> NetworkSlab:
    """Run the network as machine code, or by onnxruntime where there is none for it."""
    compiled = model.compiled()
    if compiled:
        return CompiledSlab(compiled, model.config, capacity, max_batch)
    sessions = {hops: model.session(hops) for hops in model.networks}
    return OnnxSlab(sessions, model.config, capacity, max_batch)
