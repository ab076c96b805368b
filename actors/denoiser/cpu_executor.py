"""Runs batches on one core: onnxruntime runs the network, numpy everything around it."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.config import Config
from actors.denoiser.executor import Batch, Phase, Result
from actors.denoiser.features import Analysis, Complex, Features, Filter, Frames, Real
from actors.denoiser.graph import NEXT_PREFIX, STATE_PREFIX
from actors.denoiser.model import Model
from actors.denoiser.onnx_session import IOBinding

Slots = NDArray[np.intp]
Shape = tuple[int, ...]
Slab = Mapping[str, Real]
"""By name: [2, capacity, ...], both sides."""


MAX_BATCH = 16
"""A batch of 32 is 7 % faster per stream, but each of its streams takes 100 KB in onnxruntime."""


class CpuExecutor:
    """An `Executor` on the calling thread."""

    def __init__(self, model: Model, capacity: int) -> None:
        self.capacity = capacity
        self.max_batch = min(capacity, MAX_BATCH)
        self.max_hops = max(model.networks)
        self._config = model.config
        self._analysis = Analysis(model.config, normalise_level=model.normalise_level)
        self._filter = Filter(model.config)
        self._network = NetworkSlab(model, capacity, self.max_batch)
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
            gains, coefs, lsnr = self._network.ask(batch.slots, features, asked)
        else:
            gains, coefs, lsnr = self._ask_by_hop(batch.slots, features, frames)
        filtered = np.flatnonzero(() if batch.post_filter is None else batch.post_filter)
        answered = Frames(spec, gains, coefs, batch.noisy_share, filtered)
        return Result(self._filter(answered, self._filtered, batch.slots), lsnr[:, -1].copy())

    def _ask_by_hop(self, slots: Slots, features: Features, frames: Slots) -> tuple[Real, ...]:
        """Ask hop by hop: among these are a stream's first ones, which the network skips."""
        answers = []
        for t in range(features.erb.shape[2]):
            heard = Features(features.erb[:, :, t : t + 1], features.spec[:, :, t : t + 1])
            answer = self._network.ask(slots, heard, frames + t >= self._config.conv_lookahead)
            answers.append([each.copy() for each in answer])
        return tuple(np.concatenate(each, axis=1) for each in zip(*answers, strict=True))

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


class NetworkSlab:
    """The network, with its state for all slots.

    Everything is bound to fixed memory. There are two slabs of state: a batch reads one and
    writes the other, and `_side` says where a slot's newest state is. The first slots of one slab
    are used in place; others are gathered first and scattered afterwards.
    """

    def __init__(self, model: Model, capacity: int, max_batch: int) -> None:
        self._sessions = {hops: model.session(hops) for hops in model.networks}
        self._state: dict[str, Real] = {}
        self._leading: dict[str, Shape] = {}  # (1,) where the network wants [1, B, ...]
        for tensor in self._sessions[1].get_inputs():
            if tensor.name.startswith(STATE_PREFIX):
                name, batch = tensor.name.removeprefix(STATE_PREFIX), tensor.shape.index("B")
                self._leading[name] = tuple(tensor.shape[:batch])
                shape = (2, capacity, *tensor.shape[batch + 1 :])
                self._state[name] = np.zeros(shape, np.float32)
        self._gathered = {name: slab[:, :max_batch].copy() for name, slab in self._state.items()}
        self._side = np.zeros(capacity, np.intp)
        self._places = {hops: _Places(model.config, max_batch, hops) for hops in model.networks}
        self._bindings: dict[tuple[int, int, bool, int], IOBinding] = {}

    def reset(self, slot: int) -> None:
        """Give a slot the state of a stream that has heard nothing."""
        for slab in self._state.values():
            slab[self._side[slot], slot] = 0

    def move(self, source: int, target: int) -> None:
        """Copy one slot over another."""
        self._side[target] = self._side[source]
        for slab in self._state.values():
            slab[self._side[target], target] = slab[self._side[source], source]

    def ask(
        self, slots: Slots, features: Features, asked: NDArray[np.bool_]
    ) -> tuple[Real, Real, Real]:
        """Get gains, coefs and lsnr [n, T]; zeros and NaN for slots that are not `asked`.

        The next call may overwrite them.
        """
        if asked.all():
            return self._step(slots, features)
        n, places = len(slots), self._places[features.erb.shape[2]]
        gains, coefs = np.zeros_like(places.gains[:n]), np.zeros_like(places.coefs[:n])
        lsnr = np.full_like(places.lsnr[:n], np.nan)
        if asked.any():
            heard = Features(features.erb[asked], features.spec[asked])
            gains[asked], coefs[asked], lsnr[asked] = self._step(slots[asked], heard)
        return gains, coefs, lsnr

    def _step(self, slots: Slots, features: Features) -> tuple[Real, Real, Real]:
        """Run the network; the next step overwrites what it returns."""
        n, hops = len(slots), features.erb.shape[2]
        places = self._places[hops]
        places.erb[:n], places.spec[:n] = features.erb, features.spec
        sides = self._side[slots]
        side = int(sides[0])
        run = self._sessions[hops].run_with_iobinding
        if slots[-1] == n - 1 and (sides == side).all():
            run(self._binding(n, hops, self._state, side))
            self._side[slots] = 1 - side
        else:
            for name, slab in self._state.items():
                self._gathered[name][0, :n] = slab[sides, slots]
            run(self._binding(n, hops, self._gathered, 0))
            for name, slab in self._state.items():
                slab[0, slots] = self._gathered[name][1, :n]
            self._side[slots] = 0
        return places.gains[:n], places.coefs[:n], places.lsnr[:n]

    def _binding(self, n: int, hops: int, state: Slab, side: int) -> IOBinding:
        """Bind the first n places; state is read from this side and written to the other."""
        key = n, hops, state is self._state, side
        if key not in self._bindings:
            binding = self._bindings[key] = self._sessions[hops].io_binding()
            places = self._places[hops]
            inputs = {"feat_erb": places.erb, "feat_spec": places.spec}
            outputs = {"gains": places.gains, "coefs": places.coefs, "lsnr": places.lsnr}
            for name, taken in inputs.items():
                _bind(binding.bind_input, name, taken[:n])
            for name, given in outputs.items():
                _bind(binding.bind_output, name, given[:n])
            for name, slab in state.items():
                leading = self._leading[name]
                _bind(binding.bind_input, STATE_PREFIX + name, slab[side, :n], leading)
                _bind(binding.bind_output, NEXT_PREFIX + name, slab[1 - side, :n], leading)
        return self._bindings[key]


class _Places:
    """The network's inputs and outputs, except for state."""

    def __init__(self, config: Config, batch: int, hops: int) -> None:
        self.erb = np.zeros((batch, 1, hops, config.nb_erb), np.float32)
        self.spec = np.zeros((batch, 2, hops, config.nb_df), np.float32)
        self.gains = np.zeros((batch, hops, config.nb_erb), np.float32)
        self.coefs = np.zeros((batch, hops, config.nb_df, config.df_order, 2), np.float32)
        self.lsnr = np.zeros((batch, hops), np.float32)


def _bind(bind: Callable[..., None], name: str, array: Real, leading: Shape = ()) -> None:
    bind(name, "cpu", 0, np.float32, (*leading, *array.shape), array.ctypes.data)
