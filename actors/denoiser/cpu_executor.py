"""Runs batches on one core: numpy around the network, which onnxruntime runs."""

from collections.abc import Callable, Mapping

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from actors.denoiser.dfn2 import NEXT_PREFIX, STATE_PREFIX
from actors.denoiser.executor import Batch, Phase, Result
from actors.denoiser.features import Analysis, Complex, Features, Filter, Frame, Real
from actors.denoiser.model import Model

Slots = NDArray[np.intp]
Shape = tuple[int, ...]
Slab = Mapping[str, Real]
"""By name: [2, capacity, ...], both sides."""


MAX_BATCH = 16
"""32 are 7 % quicker per stream, but onnxruntime keeps 100 KB of room for each of a batch."""


class CpuExecutor:
    """An `Executor` on the calling thread."""

    def __init__(self, model: Model, capacity: int) -> None:
        self.capacity = capacity
        self.max_batch = min(capacity, MAX_BATCH)
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
        asked = self._filtered.frames[batch.slots] >= self._config.conv_lookahead
        asked &= batch.phases < Phase.NOTHING
        gains, coefs, lsnr = self._network.ask(batch.slots, features, asked)
        frame = Frame(spec, gains, coefs, batch.noisy_share)
        return Result(self._filter(frame, self._filtered, batch.slots), lsnr.copy())

    def _analyse(self, batch: Batch) -> tuple[Complex, Features]:
        """Get spectra [n, F] and features; zeros after the end of a clip."""
        if not batch.phases.any():  # all SOUND, as nearly always
            return self._analysis(batch.hops, self._heard, batch.slots)
        sounding = batch.phases == Phase.SOUND
        spec, features = self._analysis.silence(len(batch.slots))
        if sounding.any():
            heard = self._analysis(batch.hops[sounding], self._heard, batch.slots[sounding])
            spec[sounding] = heard[0]
            features.erb[sounding], features.spec[sounding] = heard[1].erb, heard[1].spec
        return spec, features


class NetworkSlab:
    """The network's state of all slots, and the network to be run on it.

    Everything is bound to fixed memory. There are two slabs of state: a batch reads one and
    writes the other, and `_side` says where a slot's newest state is. Slots that lie side by side
    in the same slab are taken as they are; others are gathered first and scattered afterwards.
    """

    def __init__(self, model: Model, capacity: int, max_batch: int) -> None:
        config = model.config
        self._session = model.session
        self._state: dict[str, Real] = {}
        self._leading: dict[str, Shape] = {}  # (1,) where the network wants [1, B, ...]
        for tensor in self._session.get_inputs():
            if tensor.name.startswith(STATE_PREFIX):
                name, batch = tensor.name.removeprefix(STATE_PREFIX), tensor.shape.index("B")
                self._leading[name] = tuple(tensor.shape[:batch])
                shape = (2, capacity, *tensor.shape[batch + 1 :])
                self._state[name] = np.zeros(shape, np.float32)
        self._gathered = {name: slab[:, :max_batch].copy() for name, slab in self._state.items()}
        self._side = np.zeros(capacity, np.intp)
        self._erb = np.zeros((max_batch, 1, 1, config.nb_erb), np.float32)
        self._spec = np.zeros((max_batch, 2, 1, config.nb_df), np.float32)
        self._gains = np.zeros((max_batch, config.nb_erb), np.float32)
        self._coefs = np.zeros((max_batch, config.nb_df, config.df_order, 2), np.float32)
        self._lsnr = np.zeros((max_batch, 1), np.float32)
        self._bindings: dict[tuple[int, bool, int], onnxruntime.IOBinding] = {}

    def reset(self, slot: int) -> None:
        """Make a slot one that has heard nothing yet."""
        for slab in self._state.values():
            slab[self._side[slot], slot] = 0

    def move(self, source: int, target: int) -> None:
        """Copy one slot's state over another's."""
        self._side[target] = self._side[source]
        for slab in self._state.values():
            slab[self._side[target], target] = slab[self._side[source], source]

    def ask(
        self, slots: Slots, features: Features, asked: NDArray[np.bool_]
    ) -> tuple[Real, Real, Real]:
        """Get gains, coefs and lsnr [n]; zeros and NaN for those who are not `asked`."""
        if asked.all():
            return self._step(slots, features)
        n = len(slots)
        gains, coefs = np.zeros_like(self._gains[:n]), np.zeros_like(self._coefs[:n])
        lsnr = np.full(n, np.nan, np.float32)
        if asked.any():
            heard = Features(features.erb[asked], features.spec[asked])
            gains[asked], coefs[asked], lsnr[asked] = self._step(slots[asked], heard)
        return gains, coefs, lsnr

    def _step(self, slots: Slots, features: Features) -> tuple[Real, Real, Real]:
        """Run the network. What it says is overwritten by the next step."""
        n = len(slots)
        self._erb[:n], self._spec[:n] = features.erb, features.spec
        sides = self._side[slots]
        side = int(sides[0])
        if slots[-1] == n - 1 and (sides == side).all():
            self._session.run_with_iobinding(self._binding(n, self._state, side))
            self._side[slots] = 1 - side
        else:
            for name, slab in self._state.items():
                self._gathered[name][0, :n] = slab[sides, slots]
            self._session.run_with_iobinding(self._binding(n, self._gathered, 0))
            for name, slab in self._state.items():
                slab[0, slots] = self._gathered[name][1, :n]
            self._side[slots] = 0
        return self._gains[:n], self._coefs[:n], self._lsnr[:n, 0]

    def _binding(self, n: int, state: Slab, side: int) -> onnxruntime.IOBinding:
        """Bind the first n places: state is read from this side and written to the other one."""
        key = n, state is self._state, side
        if key not in self._bindings:
            binding = self._bindings[key] = self._session.io_binding()
            inputs = {"feat_erb": self._erb, "feat_spec": self._spec}
            outputs = {"gains": self._gains, "coefs": self._coefs, "lsnr": self._lsnr}
            for name, taken in inputs.items():
                _bind(binding.bind_input, name, taken[:n])
            for name, given in outputs.items():
                _bind(binding.bind_output, name, given[:n])
            for name, slab in state.items():
                leading = self._leading[name]
                _bind(binding.bind_input, STATE_PREFIX + name, slab[side, :n], leading)
                _bind(binding.bind_output, NEXT_PREFIX + name, slab[1 - side, :n], leading)
        return self._bindings[key]


def _bind(bind: Callable[..., None], name: str, array: Real, leading: Shape = ()) -> None:
    bind(name, "cpu", 0, np.float32, (*leading, *array.shape), array.ctypes.data)
