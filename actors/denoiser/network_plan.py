"""What a network's graph does, as operations on memory in the layout that kernels want.

Frequencies lie outside of channels, and hops outside of both: what the graph transposes back and
forth lies still. An operation, or a use of one, that is not listed raises ModelError.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.denoiser.graph import NEXT_PREFIX, STATE_PREFIX, Network
from actors.denoiser.kernels import (
    PANEL,
    Function,
    Gemm,
    each,
    gates,
    on_a_line,
    padded,
    panels,
    sigmoid,
    tanh,
)
from actors.denoiser.machine_code import FLOAT, LANES, VECTOR, Code, Value
from actors.denoiser.nodes import Graph, Node, Real, as_matrix
from actors.denoiser.views import BATCH, Atom, Axis, Buffer, View, aligned, like, merged, row_major
from actors.denoiser.weights import ModelError

Layouts = Mapping[str, tuple[Axis, ...]]
"""Of states, by name."""


@dataclass
class Place:
    """Where an operation runs: the code it is written to, and where its streams' memory is."""

    code: Code
    gemm: Gemm
    streams: Value
    memory: Mapping[Buffer, Value]

    def at(self, view: View, offset: int = 0) -> Value:
        return self.code.at(self.memory[view.buffer], view.offset + offset)


@dataclass(eq=False)
class Operation:
    """Writes buffers from others: for one stream, or, if it is wide, for all at once."""

    reads: Sequence[Buffer]
    writes: Sequence[Buffer]
    write: Callable[[Place, "Operation"], None]
    wide: bool = False
    floor: float | None = None  # of what it writes; None if it knows none


@dataclass
class Spread:
    """A tensor with zeros put after each of its frequencies, which are not in memory."""

    view: View
    factor: int


@dataclass
class Padded:
    """A tensor with zeros at the end of an axis, which are not in memory."""

    view: View
    axis: int
    size: int


class NetworkPlan:
    """The operations of a network in the order of its graph.

    Attributes:
        given: what the caller passes, by name: features and answers.
        states: by name without prefix; shapes are [B, ...], or [1, B, H].
    """

    def __init__(self, network: Network, layouts: Layouts, packed: "Packed") -> None:
        graph = Graph.read(network)
        self._packed = packed
        self._constants = graph.constants
        self._uses = Counter(name for node in graph.nodes for name in node.inputs)
        self._views: dict[str, View] = {}
        self._lazy: dict[str, Spread | Padded] = {}
        self._sole: dict[str, bool] = {}  # whether nobody else reads what a view shows
        self._writers: dict[Buffer, Operation] = {}
        self.operations: list[Operation] = []
        self.given: dict[str, Buffer] = {}
        self.states: dict[str, View] = {}
        for name, shape in graph.inputs.items():
            self._declare(name, shape, layouts)
        for node in graph.nodes:
            _OPERATIONS.get(node.op, NetworkPlan._unknown)(self, node)
        for name, shape in graph.outputs.items():
            self._deliver(name, shape)

    def layouts(self) -> Layouts:
        """Get the layouts of states that need no rearranging."""
        return {
            name: like(self._views[NEXT_PREFIX + name]).axes
            for name in self.states
            if NEXT_PREFIX + name in self._views
        }

    def _declare(self, name: str, shape: Sequence[int], layouts: Layouts) -> None:
        if name.startswith(STATE_PREFIX):
            plain = name.removeprefix(STATE_PREFIX)
            view = row_major("state", plain, shape)
            if plain in layouts:
                view = View(view.buffer, layouts[plain])
            self.states[plain] = view
        else:
            view = row_major("given", name, shape)
            self.given[name] = view.buffer
        self._views[name] = view

    def _deliver(self, name: str, shape: Sequence[int]) -> None:
        if name.startswith(NEXT_PREFIX):
            state = self.states[name.removeprefix(NEXT_PREFIX)]
            if not any(state.buffer in each.writes for each in self.operations):  # GRUs have
                self._copy(state, self._views[name])
        else:
            target = row_major("given", name, shape)
            self.given[name] = target.buffer
            self._copy(target, self._views[name])

    # Operations of the plan

    def _add_operation(self, operation: Operation) -> Operation:
        self.operations.append(operation)
        self._writers.update(dict.fromkeys(operation.writes, operation))
        return operation

    def _each(self, out: View, operands: Sequence[View], function: Function) -> None:
        """Compute numbers of a tensor from the numbers at the same places of others."""
        self._add_operation(
            Operation(
                [view.buffer for view in operands],
                [out.buffer],
                lambda place, _: _nest(place, out, operands, function),
            )
        )

    def _copy(self, out: View, view: View) -> None:
        self._each(out, [view], lambda code, x: x)

    def _result(self, node: Node, view: View) -> None:
        self._views[node.outputs[0]], self._sole[node.outputs[0]] = view, True

    def _shown(self, node: Node, view: View) -> None:
        """Give another view of an operand as the result."""
        (self._views[node.outputs[0]],) = (view,)
        self._sole[node.outputs[0]] = self._only_reader(node.inputs[0])

    def _only_reader(self, name: str) -> bool:
        return self._sole.get(name, False) and self._uses[name] == 1

    # Operations of the graph

    def _unknown(self, node: Node) -> None:
        raise ModelError(f"no machine code for {node.op}")

    def _integers(self, name: str) -> list[int]:
        if name not in self._constants:
            raise ModelError(f"{name} is not constant")
        integers: list[int] = self._constants[name].ravel().tolist()
        return integers

    def _reshape(self, node: Node) -> None:
        x, shape = node.inputs
        self._shown(node, self._views[x].reshape(self._integers(shape)))

    def _transpose(self, node: Node) -> None:
        self._shown(node, self._views[node.inputs[0]].transpose(node.attributes["perm"]))

    def _slice(self, node: Node) -> None:
        x, *bounds = node.inputs
        (start,), (end,), (axis,) = (self._integers(name) for name in bounds)
        self._shown(node, self._views[x].slice(axis, start, end))

    def _concat(self, node: Node) -> None:
        axis, parts = node.attributes["axis"], [self._views[name] for name in node.inputs]
        out = like(parts[0], axis=axis, size=sum(part.shape[axis] for part in parts))
        start = 0
        for part in parts:
            end = start + part.shape[axis]
            self._copy(out.slice(axis, start, end), part)
            start = end
        self._result(node, out)

    def _pad(self, node: Node) -> None:
        view, pads = self._views[node.inputs[0]], self._integers(node.inputs[1])
        after = pads[len(pads) // 2 :]
        axes = [axis for axis, count in enumerate(after) if count]
        if any(pads[: len(pads) // 2]) or len(axes) != 1:
            raise ModelError("no machine code for such a Pad")
        (axis,) = axes
        self._lazy[node.outputs[0]] = Padded(view, axis, view.shape[axis] + after[axis])

    def _relu(self, node: Node) -> None:
        (name,) = node.inputs
        view = self._views[name]
        writer = self._writers.get(view.buffer)
        if writer and writer.floor is not None and self._only_reader(name):
            writer.floor = 0.0
            self._shown(node, view)
        else:
            self._map(node, lambda code, x: code.at_least(x, code.number(0, x.type)))

    def _sigmoid(self, node: Node) -> None:
        self._map(node, sigmoid)

    def _tanh(self, node: Node) -> None:
        self._map(node, tanh)

    def _map(self, node: Node, function: Function) -> None:
        view = self._views[node.inputs[0]]
        out = like(view)
        self._each(out, [view], function)
        self._result(node, out)

    def _add(self, node: Node) -> None:
        self._combine(node, Code.plus)

    def _mul(self, node: Node) -> None:
        self._combine(node, Code.times)

    def _combine(self, node: Node, function: Function) -> None:
        first, second = node.inputs
        if second in self._lazy:
            self._add_padded(node, self._views[first], self._lazy[second])
            return
        if second in self._constants:
            if self._constants[second].size != 1:
                raise ModelError(f"no machine code for {node.op} with an array")
            number = float(self._constants[second].ravel()[0])
            self._map(node, lambda code, x: function(code, x, code.number(number, x.type)))
            return
        views = [self._views[first], self._views[second]]
        if views[0].shape != views[1].shape:
            raise ModelError(f"no machine code for {node.op} with broadcasting")
        out = like(views[0])
        self._each(out, views, function)
        self._result(node, out)

    def _add_padded(self, node: Node, view: View, padded: Spread | Padded) -> None:
        if not isinstance(padded, Padded) or padded.size != view.shape[padded.axis]:
            raise ModelError("no machine code for such an Add")
        axis, size = padded.axis, padded.view.shape[padded.axis]
        out = like(view)
        summed = view.slice(axis, 0, size), padded.view
        self._each(out.slice(axis, 0, size), summed, Code.plus)
        self._copy(out.slice(axis, size, padded.size), view.slice(axis, size, padded.size))
        self._result(node, out)

    def _matmul(self, node: Node) -> None:
        x, weight = self._views[node.inputs[0]], self._weight(node.inputs[1])
        if weight.ndim == 3:
            self._result(node, self._linear(x, weight))
        elif len(x.axes) == 2:
            self._linear_rows(node, x, weight)
        else:
            self._lazy[node.outputs[0]] = Spread(x, _zeros_between(weight))

    def _gemm(self, node: Node) -> None:
        x, weight, bias = node.inputs
        if node.attributes:
            raise ModelError("no machine code for such a Gemm")
        self._linear_rows(node, self._views[x], self._weight(weight), self._weight(bias))

    def _linear_rows(self, node: Node, x: View, weight: Real, bias: Real | None = None) -> None:
        grouped = self._linear(View(x.buffer, ((), *x.axes), x.offset), weight[None], bias)
        self._result(node, View(grouped.buffer, grouped.axes[1:]))

    def _linear(self, x: View, weight: Real, bias: Real | None = None) -> View:
        """Multiply x [G, rows, I] by a matrix for each group [G, I, H]."""
        groups, _, nb_out = weight.shape
        x = self._rows(x, (1, 0, 2))
        width, hops = padded(nb_out), _hops(x.axes[1])
        axes = (_axis(groups, width), _with_stride(x.axes[1], groups * width), _axis(nb_out, 1))
        out = View(Buffer(hops * groups * width), axes)
        packed = [self._packed(each) for each in weight]
        offset = self._packed.bias(np.zeros(nb_out, np.float32) if bias is None else bias)
        x_row, group = _row_stride(x, x.axes[1]), x.single(0).stride

        def write(place: Place, operation: Operation) -> None:
            assert operation.floor is not None
            rows = place.code.mul(place.streams, hops)
            for n, matrix in enumerate(packed):
                place.gemm(
                    place.code,
                    (place.at(x, n * group), x_row),
                    rows,
                    matrix,
                    offset,
                    (place.at(out, n * width), groups * width),
                    floor=operation.floor,
                )

        self._add_operation(Operation([x.buffer], [out.buffer], write, wide=True, floor=-math.inf))
        return out

    def _rows(self, x: View, order: tuple[int, ...]) -> View:
        """Get x with all streams' and hops' rows (axis order[0]) at equal distances."""
        rows = x.axes[order[0]]
        hops = [atom for atom in rows if atom.size != BATCH]
        last = x.axis(order[-1])
        good = len(rows) - len(hops) == 1 and len(hops) <= 1
        good = good and x.buffer.kind != "state" and len(last) == 1 and last[0].stride == 1
        good = good and all(atom.size * atom.stride == x.buffer.size for atom in hops)
        good = good and all(len(x.axis(axis)) <= 1 for axis in order[1:])
        if good:
            return x
        copy = like(x, order=order)
        self._copy(copy, x)
        return copy

    def _gru(self, node: Node) -> None:
        """Steps of a GRU, whose gates come in the order z, r, h (here: n)."""
        if node.attributes.get("linear_before_reset") != 1 or node.inputs[4]:
            raise ModelError("no machine code for such a GRU")
        name = node.outputs[1].removeprefix(NEXT_PREFIX)
        x, state = self._views[node.inputs[0]], self.states[name]
        if node.inputs[5] != STATE_PREFIX + name:
            raise ModelError("no machine code for a GRU that does not begin in its state")
        weight, recurrent, biases = (self._weight(name)[0] for name in node.inputs[1:4])
        width = recurrent.shape[1]
        hops, row = x.shape[0], padded(3 * width)
        x = View(x.buffer, ((*x.axes[0], *x.axes[1]), x.axes[2]), x.offset)
        x = self._rows(x, (0, 1))
        from_x, from_h = Buffer(hops * row), Buffer(row)
        steps, before = Buffer(hops * width), View(Buffer(width), state.axes)
        self._copy(before, state)
        from_input, from_state = np.split(biases, 2)
        outside = from_input.copy()
        outside[: 2 * width] += from_state[: 2 * width]
        inside = np.concatenate((np.zeros(2 * width, np.float32), from_state[2 * width :]))
        of_x, of_h = self._packed(weight.T), self._packed(recurrent.T)
        x_bias, h_bias = self._packed.bias(outside), self._packed.bias(inside)
        x_row = _row_stride(x, x.axes[0])

        def write(place: Place, operation: Operation) -> None:
            code, streams = place.code, place.streams
            after = place.memory[steps]
            gx, gh = place.memory[from_x], place.memory[from_h]
            rows = code.mul(streams, hops)
            place.gemm(code, (place.at(x), x_row), rows, of_x, x_bias, (gx, row))
            h, h_row = place.memory[before.buffer], width
            for t in range(hops):
                # What was read last is still in the cache.
                back = t % 2 == 1
                place.gemm(code, (h, h_row), streams, of_h, h_bias, (gh, row), backwards=back)
                with code.loop(streams) as stream:
                    code.call(
                        gates(code.module, width),
                        code.at(gx, t * row, code.mul(stream, hops * row)),
                        code.at(gh, code.mul(stream, row)),
                        code.at(h, code.mul(stream, h_row)),
                        code.at(after, t * width, code.mul(stream, hops * width)),
                    )
                h, h_row = code.at(after, t * width), hops * width

        self._add_operation(
            Operation([x.buffer, before.buffer], [from_x, from_h, steps], write, wide=True)
        )
        streams: Axis = (Atom(BATCH, 0),)
        units = _axis(width, 1)
        last = View(steps, ((), streams, units), (hops - 1) * width)
        self._copy(state, last)
        self._views[node.outputs[1]], self._sole[node.outputs[1]] = last, False
        if node.outputs[0]:
            self._views[node.outputs[0]] = View(steps, (_axis(hops, width), (), streams, units))

    # Convolutions

    def _conv(self, node: Node) -> None:
        name, kernel = node.inputs[0], self._weight(node.inputs[1])
        bias = self._weight(node.inputs[2]) if len(node.inputs) > 2 else None
        nb_out, nb_in, taps_t, taps_f = kernel.shape
        groups, stride, pad = node.conv()
        x = self._lazy.get(name) or self._views[name]
        if isinstance(x, Padded):
            raise ModelError("no machine code for a Conv of a padded tensor")
        if nb_in == 1 and nb_out == groups and taps_t == 1:
            out = self._depthwise(x, kernel[:, 0, 0], bias, stride, pad)
        elif isinstance(x, Spread):
            raise ModelError("no machine code for a dense transposed convolution")
        elif taps_t == taps_f == stride == 1:
            out = self._pointwise(x, kernel[..., 0, 0], bias, groups)
        elif groups == taps_t == 1 and nb_out * taps_f <= PANEL:
            out = self._narrow(x, kernel[:, :, 0], bias, stride, pad)
        else:
            patches = self._patches(x, taps_t, taps_f, stride, pad)
            out = self._pointwise(patches, as_matrix(kernel, groups), bias, 1)
        self._result(node, out)

    def _pointwise(self, x: View, weight: Real, bias: Real | None, groups: int) -> View:
        """Multiply the channels of x [B, C, T, F] by [C', C / groups]."""
        x = self._channels_inside(x)
        nb_out, nb_in = weight.shape
        each_out = nb_out // groups
        width, hops, freqs = padded(each_out), x.single(2), x.single(3)
        row = groups * width
        out = View(
            Buffer(hops.size * freqs.size * row),
            (
                x.axes[0],
                (*_axis(groups, width), *_axis(each_out, 1)),
                _axis(hops.size, freqs.size * row),
                _axis(freqs.size, row),
            ),
        )
        by_group = weight.reshape(groups, each_out, nb_in)
        packed = [self._packed(each.T) for each in by_group]
        offsets = np.zeros(nb_out, np.float32) if bias is None else bias
        biases = [self._packed.bias(each) for each in offsets.reshape(groups, each_out)]
        joined = hops.size == 1 or hops.stride == freqs.size * freqs.stride
        rows = hops.size * freqs.size if joined else freqs.size

        def write(place: Place, operation: Operation) -> None:
            assert operation.floor is not None
            for t in range(1 if joined else hops.size):
                for n, (matrix, offset) in enumerate(zip(packed, biases, strict=True)):
                    place.gemm(
                        place.code,
                        (place.at(x, t * hops.stride + n * nb_in), freqs.stride),
                        rows,
                        matrix,
                        offset,
                        (place.at(out, t * freqs.size * row + n * width), row),
                        floor=operation.floor,
                    )

        self._add_operation(Operation([x.buffer], [out.buffer], write, floor=-math.inf))
        return out

    def _channels_inside(self, x: View) -> View:
        channels, hops, freqs = (x.axis(axis) for axis in (1, 2, 3))
        if len(channels) == 1 and channels[0].stride == 1 and max(len(hops), len(freqs)) <= 1:
            return x
        copy = like(x, order=(0, 2, 3, 1))
        self._copy(copy, x)
        return copy

    def _depthwise(
        self, x: View | Spread, kernel: Real, bias: Real | None, stride: int, pad: int
    ) -> View:
        """Convolve each channel with a kernel [C, taps] over the frequencies."""
        factor = x.factor if isinstance(x, Spread) else 1
        x = self._channels_inside(x.view if isinstance(x, Spread) else x)
        nb_freqs = (x.shape[3] * factor + 2 * pad - kernel.shape[1]) // stride + 1
        if nb_freqs % factor or min(stride, factor) > 1:
            raise ModelError("no machine code for such a depthwise Conv")
        (channels,), hops, freqs = x.axis(1), x.single(2), x.single(3)
        if channels.size % LANES:
            raise ModelError("no machine code for so few channels")
        out = like(x, axis=3, size=nb_freqs, order=(0, 2, 3, 1))
        weights = self._packed.plain(np.ascontiguousarray(kernel.T))
        offsets = np.zeros(channels.size, np.float32) if bias is None else bias
        biases = self._packed.plain(offsets)
        t_out, f_out = out.single(2).stride, out.single(3).stride
        phases = [
            (
                phase,
                [
                    (tap, (phase + tap - pad) // factor)
                    for tap in range(kernel.shape[1])
                    if (phase + tap - pad) % factor == 0
                ],
            )
            for phase in range(factor)
        ]

        def write(place: Place, operation: Operation) -> None:
            code = place.code
            floor = code.number(operation.floor or 0.0, VECTOR)
            with_floor = operation.floor == 0.0
            weight_at, bias_at = (code.address(a.ctypes.data) for a in (weights, biases))

            def row(
                taps: list[tuple[int, int]],
                values: Mapping[int, Value],
                start: Value,
                x_at: Value,
                y_at: Value,
                freq: Value | int,
                phase: int,
            ) -> None:
                total = start
                for tap, ahead in taps:
                    near = code.at(
                        x_at, code.mul(code.add(code.mul(freq, stride), ahead), freqs.stride)
                    )
                    total = code.fma(code.load(near, VECTOR), values[tap], total)
                total = code.at_least(total, floor) if with_floor else total
                where = code.mul(code.add(code.mul(freq, factor), phase), f_out)
                code.store(total, code.at(y_at, where))

            with code.loop(channels.size, 0, LANES) as channel:
                values = {
                    tap: code.load(code.at(weight_at, tap * channels.size, channel), VECTOR)
                    for tap in range(kernel.shape[1])
                }
                start = code.load(code.at(bias_at, channel), VECTOR)
                with code.loop(hops.size) as hop:
                    x_at = code.at(place.at(x), channel, code.mul(hop, hops.stride))
                    y_at = code.at(place.at(out), channel, code.mul(hop, t_out))
                    for phase, taps in phases:
                        count = nb_freqs // factor
                        aheads = [ahead for _, ahead in taps] or [0]
                        low = -(-max(0, -min(aheads)) // stride)
                        high = min(count, (freqs.size - 1 - max(aheads)) // stride + 1)
                        for freq in (*range(low), *range(high, count)):
                            inside = [
                                (tap, ahead)
                                for tap, ahead in taps
                                if 0 <= freq * stride + ahead < freqs.size
                            ]
                            row(inside, values, start, x_at, y_at, freq, phase)
                        with code.loop(high, low) as middle:
                            row(taps, values, start, x_at, y_at, middle, phase)

        self._add_operation(Operation([x.buffer], [out.buffer], write, floor=-math.inf))
        return out

    def _narrow(self, x: View, kernel: Real, bias: Real | None, stride: int, pad: int) -> View:
        """Convolve to few channels: multiply by all taps first, then sum up over them."""
        nb_out, nb_in, taps = kernel.shape
        by_tap = kernel.transpose(2, 0, 1).reshape(taps * nb_out, nb_in)
        products = self._pointwise(x, by_tap, None, 1)
        nb_freqs = (x.shape[3] + 2 * pad - taps) // stride + 1
        out = like(products, axis=1, size=nb_out, order=(0, 2, 3, 1))
        out = like(out, axis=3, size=nb_freqs, order=(0, 2, 1, 3))
        for channel in range(nb_out):
            start = 0.0 if bias is None else float(bias[channel])
            one = out.slice(1, channel, channel + 1)
            self._each(one, [], lambda code, kind=FLOAT, start=start: code.number(start, kind))
            for tap in range(taps):
                low, high = _inside(tap - pad, stride, x.shape[3], nb_freqs)
                n, first = tap * nb_out + channel, low * stride + tap - pad
                some = products.slice(1, n, n + 1)
                some = some.slice(3, first, first + (high - low - 1) * stride + 1, stride)
                part = one.slice(3, low, high)
                self._each(part, [part, some], Code.plus)
        return out

    def _patches(self, x: View, taps_t: int, taps_f: int, stride: int, pad: int) -> View:
        """Put what a kernel covers into channels: [B, taps_t * taps_f * C, T, F]."""
        nb_freqs = (x.shape[3] + 2 * pad - taps_f) // stride + 1
        hop, nb_hops = x.single(2), x.shape[2] - taps_t + 1
        shape = (BATCH, nb_hops, nb_freqs, taps_t, taps_f, x.shape[1])
        out = row_major("scratch", "", shape)
        streams, channels = x.axes[0], x.axes[1]
        for tap in range(taps_f):
            low, high = _inside(tap - pad, stride, x.shape[3], nb_freqs)
            first = low * stride + tap - pad
            part = x.slice(3, first, first + (high - low - 1) * stride + 1, stride)
            covered = View(
                x.buffer,
                (
                    streams,
                    _axis(nb_hops, hop.stride),
                    part.axes[3],
                    _axis(taps_t, hop.stride),
                    (),
                    channels,
                ),
                part.offset,
            )
            of_tap = out.slice(4, tap, tap + 1)
            self._copy(of_tap.slice(2, low, high), covered)
            for start, end in ((0, low), (high, nb_freqs)):
                if start < end:
                    edge = of_tap.slice(2, start, end)
                    self._each(edge, [], lambda code, kind=FLOAT: code.number(0, kind))
        return out.reshape((BATCH, nb_hops, nb_freqs, -1)).transpose((0, 3, 1, 2))

    def _weight(self, name: str) -> Real:
        if name not in self._constants:
            raise ModelError(f"{name} is not constant")
        return self._constants[name]


class Packed:
    """Weights as kernels read them, once for all graphs that share them."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], tuple[Real, Real]] = {}

    def __call__(self, weight: Real) -> Real:
        """Get a weight [K, N] in panels."""
        return self._once(weight, panels)

    def bias(self, bias: Real) -> Real:
        """Get a bias, filled up with zeros to whole panels."""
        return panels(bias[None])

    def plain(self, array: Real) -> Real:
        return on_a_line(array)

    def _once(self, array: Real, pack: Callable[[Real], Real]) -> Real:
        key = (array.ctypes.data, array.shape, array.strides)
        if key not in self._known:
            self._known[key] = array, pack(array)  # the former stays where it is
        return self._known[key][1]


def _nest(place: Place, out: View, operands: Sequence[View], function: Function) -> None:
    """Write the loops of an operation on single numbers."""
    code = place.code
    loops = aligned([out, *operands])

    def level(depth: int, pointers: list[Value]) -> None:
        size, strides = loops[depth]
        if depth < len(loops) - 1:
            with code.loop(size) as index:
                level(
                    depth + 1,
                    [
                        code.at(pointer, code.mul(index, stride))
                        for pointer, stride in zip(pointers, strides, strict=True)
                    ],
                )
        elif all(stride == 1 for stride in strides):
            each(
                code,
                size,
                lambda index, kind: one([code.at(pointer, index) for pointer in pointers], kind),
            )
        else:
            with code.loop(size) as index:
                one(
                    [
                        code.at(pointer, code.mul(index, stride))
                        for pointer, stride in zip(pointers, strides, strict=True)
                    ],
                    FLOAT,
                )

    def one(pointers: list[Value], kind: Any) -> None:
        target, *sources = pointers
        values = [code.load(pointer, kind) for pointer in sources]
        made = function(code, *values) if values else function(code, kind)
        code.store(made, target)

    level(0, [place.at(view) for view in (out, *operands)])


def _zeros_between(weight: Real) -> int:
    """Tell how many frequencies a matrix makes of one: itself, and zeros after it."""
    freqs, more = weight.shape
    factor = more // freqs
    if not factor or not np.array_equal(weight, np.kron(np.eye(freqs), np.eye(1, factor))):
        raise ModelError("no machine code for such a MatMul")
    return factor


def _inside(ahead: int, stride: int, nb_in: int, nb_out: int) -> tuple[int, int]:
    """Get the first output whose input `stride * n + ahead` exists, and the one after the last."""
    return -(-max(0, -ahead) // stride), min(nb_out, (nb_in - 1 - ahead) // stride + 1)


def _axis(size: int, stride: int) -> Axis:
    return (Atom(size, stride),) if size > 1 else ()


def _hops(rows: Axis) -> int:
    return math.prod(atom.size for atom in rows if atom.size != BATCH)


def _with_stride(rows: Axis, stride: int) -> Axis:
    """Get an axis of streams and hops with another distance of hops."""
    return tuple(atom if atom.size == BATCH else Atom(atom.size, stride) for atom in rows)


def _row_stride(x: View, rows: Axis) -> int:
    """Get the distance of rows, those of streams included."""
    strides = [atom.stride for atom in merged(rows) if atom.size != BATCH]
    return strides[0] if strides else x.buffer.size


_OPERATIONS: Mapping[str, Callable[[NetworkPlan, Node], None]] = {
    "Add": NetworkPlan._add,
    "Concat": NetworkPlan._concat,
    "Conv": NetworkPlan._conv,
    "GRU": NetworkPlan._gru,
    "Gemm": NetworkPlan._gemm,
    "MatMul": NetworkPlan._matmul,
    "Mul": NetworkPlan._mul,
    "Pad": NetworkPlan._pad,
    "Relu": NetworkPlan._relu,
    "Reshape": NetworkPlan._reshape,
    "Sigmoid": NetworkPlan._sigmoid,
    "Slice": NetworkPlan._slice,
    "Tanh": NetworkPlan._tanh,
    "Transpose": NetworkPlan._transpose,
}
