"""The network, with its state for all slots: as machine code, or by onnxruntime."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.compiled_network import CompiledNetwork
from actors.denoiser.config import Config
from actors.denoiser.features import Features, Real
from actors.denoiser.graph import NEXT_PREFIX, STATE_PREFIX
from actors.denoiser.kernels import zeros_on_a_line
from actors.denoiser.onnx_session import IOBinding, Session

Slots = NDArray[np.intp]
Shape = tuple[int, ...]
Answer = tuple[Real, Real, Real]
"""gains, coefs and lsnr [n, T, ...]."""
Slab = Mapping[str, Real]
"""By name: [sides, capacity, ...]."""


class NetworkSlab(Protocol):
    """Runs the network on slots of a slab of state."""

    _state: dict[str, Real]

    def reset(self, slot: int) -> None:
        """Give a slot the state of a stream that has heard nothing."""

    def move(self, source: int, target: int) -> None:
        """Copy one slot over another."""

    def step(self, slots: Slots, features: Features) -> Answer:
        """Run the network; the next step overwrites what it returns."""


class CompiledSlab:
    """Machine code, which reads and writes slots where they are."""

    def __init__(
        self, network: CompiledNetwork, config: Config, capacity: int, max_batch: int
    ) -> None:
        self._network = network
        self._state: dict[str, Real] = {
            name: np.zeros((1, capacity, size), np.float32) for name, size in network.states.items()
        }
        self._scratch = zeros_on_a_line((network.scratch_floats(max_batch),))
        self._slots = np.zeros(max_batch, np.int64)
        self._places = {hops: Places(config, max_batch, hops) for hops in network.run}
        self._tables = {hops: self._table(places) for hops, places in self._places.items()}

    def reset(self, slot: int) -> None:
        for slab in self._state.values():
            slab[0, slot] = 0

    def move(self, source: int, target: int) -> None:
        for slab in self._state.values():
            slab[0, target] = slab[0, source]

    def step(self, slots: Slots, features: Features) -> Answer:
        n, hops = len(slots), features.erb.shape[2]
        places = self._places[hops]
        places.hear(features)
        self._slots[:n] = slots
        memory, table = self._tables[hops]
        self._network.run[hops](n, *memory, table.ctypes.data)
        return places.answer(n)

    def _table(self, places: "Places") -> tuple[tuple[int, int], NDArray[np.uint64]]:
        """Get the addresses that the code takes: of slots and scratch, and a table of the rest."""
        arrays = {**places.inputs, **places.outputs, **self._state}
        table = np.array([arrays[name].ctypes.data for name in self._network.table], np.uint64)
        return (self._slots.ctypes.data, self._scratch.ctypes.data), table


class OnnxSlab:
    """onnxruntime, with everything bound to fixed memory.

    There are two slabs of state: a batch reads one and writes the other, and `_side` says where a
    slot's newest state is. The first slots of one slab are used in place; others are gathered first
    and scattered afterwards.
    """

    def __init__(
        self, sessions: Mapping[int, Session], config: Config, capacity: int, max_batch: int
    ) -> None:
        self._sessions = sessions
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
        self._places = {hops: Places(config, max_batch, hops) for hops in sessions}
        self._bindings: dict[tuple[int, int, bool, int], IOBinding] = {}

    def reset(self, slot: int) -> None:
        for slab in self._state.values():
            slab[self._side[slot], slot] = 0

    def move(self, source: int, target: int) -> None:
        self._side[target] = self._side[source]
        for slab in self._state.values():
            slab[self._side[target], target] = slab[self._side[source], source]

    def step(self, slots: Slots, features: Features) -> Answer:
        n, hops = len(slots), features.erb.shape[2]
        places = self._places[hops]
        places.hear(features)
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
        return places.answer(n)

    def _binding(self, n: int, hops: int, state: Slab, side: int) -> IOBinding:
        """Bind the first n places; state is read from this side and written to the other."""
        key = n, hops, state is self._state, side
        if key not in self._bindings:
            binding = self._bindings[key] = self._sessions[hops].io_binding()
            places = self._places[hops]
            for name, taken in places.inputs.items():
                _bind(binding.bind_input, name, taken[:n])
            for name, given in places.outputs.items():
                _bind(binding.bind_output, name, given[:n])
            for name, slab in state.items():
                leading = self._leading[name]
                _bind(binding.bind_input, STATE_PREFIX + name, slab[side, :n], leading)
                _bind(binding.bind_output, NEXT_PREFIX + name, slab[1 - side, :n], leading)
        return self._bindings[key]


class Places:
    """The network's inputs and outputs, except for state, in fixed memory."""

    def __init__(self, config: Config, batch: int, hops: int) -> None:
        self.inputs = {
            "feat_erb": np.zeros((batch, 1, hops, config.nb_erb), np.float32),
            "feat_spec": np.zeros((batch, 2, hops, config.nb_df), np.float32),
        }
        self.outputs = {
            "gains": np.zeros((batch, hops, config.nb_erb), np.float32),
            "coefs": np.zeros((batch, hops, config.nb_df, config.df_order, 2), np.float32),
            "lsnr": np.zeros((batch, hops), np.float32),
        }

    def hear(self, features: Features) -> None:
        n = len(features.erb)
        self.inputs["feat_erb"][:n], self.inputs["feat_spec"][:n] = features.erb, features.spec

    def answer(self, n: int) -> Answer:
        return self.outputs["gains"][:n], self.outputs["coefs"][:n], self.outputs["lsnr"][:n]


def _bind(bind: Callable[..., None], name: str, array: Real, leading: Shape = ()) -> None:
    bind(name, "cpu", 0, np.float32, (*leading, *array.shape), array.ctypes.data)
