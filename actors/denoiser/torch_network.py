"""The network as torch operations, generated from its ONNX graph.

The network's mathematics is in that graph alone. Here is only what each of its operations is called
in torch. An operation, or a use of one, that is not listed is refused, not guessed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from actors.denoiser.graph import NEXT_PREFIX, STATE_PREFIX, Network
from actors.denoiser.weights import ModelError

Operation = Callable[..., Tensor]


@dataclass(frozen=True)
class _Step:
    """One operation of the graph, on tensors by name."""

    operation: Operation
    operands: tuple[str, ...]
    output: str
    used_up: tuple[str, ...]  # not read afterwards


class TorchNetwork:
    """One frame of B streams through the network, with weights on a device.

    Shapes, axes and bounds are folded into the steps, so nothing waits for the device and a CUDA
    graph can capture it.

    Attributes:
        state_shapes: of one stream, by the name of the state without its prefix.

    Raises:
        ModelError: the graph has an operation without a torch form here.
    """

    def __init__(self, network: Network, device: torch.device) -> None:
        graph = onnx.load_from_string(network.graph).graph
        arrays = {tensor.name: _array(tensor, network) for tensor in graph.initializer}
        integers = {
            name: array.ravel().tolist()
            for name, array in arrays.items()
            if np.issubdtype(array.dtype, np.integer)
        }
        self._constants = {
            name: torch.tensor(array, device=device)
            for name, array in arrays.items()
            if name not in integers
        }
        self._outputs = tuple(tensor.name for tensor in graph.output)
        self._steps = self._plan([_Node.read(node, integers) for node in graph.node])
        self._state_dims = {
            tensor.name.removeprefix(STATE_PREFIX): tuple(
                dim.dim_value or -1 for dim in tensor.type.tensor_type.shape.dim
            )
            for tensor in graph.input
            if tensor.name.startswith(STATE_PREFIX)
        }
        # What comes before B is 1: the same memory as without.
        self.state_shapes = {
            name: dims[dims.index(-1) + 1 :] for name, dims in self._state_dims.items()
        }

    def __call__(
        self, features: Mapping[str, Tensor], state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Get the outputs, by their names in the graph, and the next state.

        Features, answer and states are [B, ...].
        """
        values = {**self._constants, **features}
        for name, dims in self._state_dims.items():
            values[STATE_PREFIX + name] = state[name].reshape(dims)
        for step in self._steps:
            values[step.output] = step.operation(*(values[name] for name in step.operands))
            for name in step.used_up:
                del values[name]
        answer = {name: values[name] for name in self._outputs}
        after = {
            name: answer.pop(NEXT_PREFIX + name).reshape(-1, *shape)
            for name, shape in self.state_shapes.items()
        }
        return answer, after

    def _plan(self, nodes: list["_Node"]) -> list[_Step]:
        """Turn nodes into steps that drop each value after its last use."""
        needed = set(self._outputs)
        steps = []
        for node in reversed(nodes):
            output = node.outputs[-1]
            used_up = {*node.operands, output} - needed
            needed |= used_up
            steps.append(_Step(node.operation(), node.operands, output, tuple(used_up)))
        return steps[::-1]


@dataclass
class _Node:
    """A node of the graph while it is read; a part of it that is left unread is refused."""

    op: str
    operands: tuple[str, ...]
    integers: list[list[int]]  # the inputs that are shapes, axes or bounds, in order
    attributes: dict[str, Any]
    outputs: tuple[str, ...]  # an empty name is none

    @classmethod
    def read(cls, node: onnx.NodeProto, integers: Mapping[str, list[int]]) -> "_Node":
        """Separate a node's tensors from its constant integers; an empty name is not an input."""
        return cls(
            op=node.op_type,
            operands=tuple(name for name in node.input if name and name not in integers),
            integers=[integers[name] for name in node.input if name in integers],
            attributes={a.name: helper.get_attribute_value(a) for a in node.attribute},
            outputs=tuple(node.output),
        )

    def operation(self) -> Operation:
        """Get the torch form of this node. Raises ModelError if there is none here."""
        make = _OPERATIONS.get(self.op)
        if make is None:
            raise ModelError(f"the torch form of the network knows no operation {self.op}")
        operation = make(self)
        self.require(not self.attributes and not self.integers and not any(self.outputs[:-1]))
        return operation

    def take(self, attribute: str, default: Any) -> Any:
        """Get an attribute, or ONNX's default."""
        return self.attributes.pop(attribute, default)

    def fold(self) -> list[int]:
        """Get the next input that is constant integers."""
        self.require(bool(self.integers))
        return self.integers.pop(0)

    def fold_one(self) -> int:
        """Get the next input that is one constant integer, 0 or more."""
        values = self.fold()
        self.require(len(values) == 1 and values[0] >= 0)
        return values[0]

    def require(self, is_known: bool) -> None:
        """Refuse a use that the operation's torch form does not cover."""
        if not is_known:
            raise ModelError(f"the torch form of the network knows no such {self.op}: {self}")


def _array(tensor: TensorProto, network: Network) -> NDArray[Any]:
    if tensor.data_location == TensorProto.EXTERNAL:
        return network.weights[tensor.name]
    array: NDArray[Any] = numpy_helper.to_array(tensor)
    return array


def _plain(operation: Operation) -> Callable[[_Node], Operation]:
    """Use a torch function as it is."""
    return lambda node: operation


def _concat(node: _Node) -> Operation:
    axis = node.take("axis", None)
    return lambda *tensors: torch.cat(tensors, axis)


def _conv(node: _Node) -> Operation:
    strides, dilations = node.take("strides", [1, 1]), node.take("dilations", [1, 1])
    groups, pads = node.take("group", 1), node.take("pads", [0, 0, 0, 0])
    node.require(pads[:2] == pads[2:])  # torch pads the same before and after
    node.take("kernel_shape", None)  # the weight's shape says it too

    def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.conv2d(x, weight, bias, strides, pads[:2], dilations, groups)

    return conv


def _gru(node: _Node) -> Operation:
    """Make one step of one layer: x [1, B, I] and state [1, B, H] to the next state [1, B, H]."""
    node.take("hidden_size", None)  # the weights' shapes say it too
    node.require(node.take("linear_before_reset", 0) == 1)
    node.require(len(node.operands) == 5 and len(node.outputs) == 2)  # the second: last state

    def gru(x: Tensor, weight: Tensor, recurrent: Tensor, biases: Tensor, h: Tensor) -> Tensor:
        input_bias, recurrent_bias = biases[0].chunk(2)
        # gates in the order z, r, h
        from_x = functional.linear(x[0], weight[0], input_bias).chunk(3, dim=1)
        from_h = functional.linear(h[0], recurrent[0], recurrent_bias).chunk(3, dim=1)
        update = torch.sigmoid(from_x[0] + from_h[0])
        reset = torch.sigmoid(from_x[1] + from_h[1])
        new = torch.tanh(from_x[2] + reset * from_h[2])
        return ((1 - update) * new + update * h[0])[None]

    return gru


def _reshape(node: _Node) -> Operation:
    shape = node.fold()
    return lambda x: x.reshape([n or x.shape[axis] for axis, n in enumerate(shape)])


def _transpose(node: _Node) -> Operation:
    perm = node.take("perm", None)
    return lambda x: x.permute(perm)


def _slice(node: _Node) -> Operation:
    start, end, axis = node.fold_one(), node.fold_one(), node.fold_one()
    part = (slice(None),) * axis + (slice(start, end),)
    return lambda x: x[part]


def _pad(node: _Node) -> Operation:
    pads = node.fold()
    rank = len(pads) // 2
    # ONNX: all befores, then all afters. torch: before and after of the last axis, and so on.
    by_axis = [n for axis in reversed(range(rank)) for n in (pads[axis], pads[rank + axis])]
    return lambda x: functional.pad(x, by_axis)


def _flatten(node: _Node) -> Operation:
    node.require(node.take("axis", 1) == 1)
    return lambda x: x.flatten(1)


_OPERATIONS: Mapping[str, Callable[[_Node], Operation]] = {
    "Add": _plain(torch.add),
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _flatten,
    "GRU": _gru,
    "Gemm": _plain(lambda a, b, c: torch.addmm(c, a, b)),
    "MatMul": _plain(torch.matmul),
    "Mul": _plain(torch.mul),
    "Pad": _pad,
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Tanh": _plain(torch.tanh),
    "Transpose": _transpose,
}
