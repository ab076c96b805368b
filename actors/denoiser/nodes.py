"""A network's graph, read; two convolutions become one where that costs less."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from actors.denoiser.graph import Network
from actors.denoiser.views import BATCH
from actors.denoiser.weights import ModelError

Real = NDArray[np.float32]


@dataclass
class Node:
    """A node of the graph, with what it needs."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, node: onnx.NodeProto) -> Self:
        """Read a node of an ONNX graph."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        return cls(node.op_type, list(node.input), list(node.output), attributes)

    def conv(self) -> tuple[int, int, int]:
        """Get groups, stride and padding of the frequencies. Hops have neither.

        Raises ModelError for what no machine code is for.
        """
        of = self.attributes
        strides, pads = of.get("strides", [1, 1]), of.get("pads", [0, 0, 0, 0])
        good = strides[0] == 1 and pads[0] == pads[2] == 0 and pads[1] == pads[3]
        good = good and of.get("dilations", [1, 1]) == [1, 1] and "auto_pad" not in of
        if not good:
            raise ModelError("no machine code for such a Conv")
        return of.get("group", 1), strides[1], pads[1]


@dataclass
class Graph:
    """What a network's graph holds, by name. `BATCH` stands for B in shapes."""

    nodes: list[Node]
    constants: dict[str, NDArray[Any]]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]

    @classmethod
    def read(cls, network: Network) -> Self:
        """Read a network's graph and weights."""
        graph = onnx.load_from_string(network.graph).graph
        constants = {each.name: _array(each, network) for each in graph.initializer}
        nodes = _folded([Node.read(node) for node in graph.node], constants)
        inputs, outputs = (
            {tensor.name: _shape(tensor) for tensor in tensors}
            for tensors in (graph.input, graph.output)
        )
        return cls(nodes, constants, inputs, outputs)


def _folded(nodes: list[Node], constants: dict[str, NDArray[Any]]) -> list[Node]:
    """Join a convolution and the pointwise one after it where one dense kernel costs less."""
    uses = Counter(name for node in nodes for name in node.inputs)
    makers = {node.outputs[0]: node for node in nodes if node.op == "Conv"}
    gone = []
    for node in nodes:
        first = makers.get(node.inputs[0]) if node.op == "Conv" else None
        if not first or uses[first.outputs[0]] > 1 or len(first.inputs) > 2:
            continue
        kernel, pointwise = constants[first.inputs[1]], constants[node.inputs[1]]
        groups = first.attributes.get("group", 1)
        middle, nb_in, *taps = kernel.shape
        nb_out = len(pointwise)
        is_pointwise = pointwise.shape == (nb_out, middle, 1, 1)
        apart = middle * nb_in * math.prod(taps) + nb_out * middle
        if not is_pointwise or nb_out * nb_in * groups * math.prod(taps) >= apart:
            continue
        dense = as_matrix(kernel, groups).astype(np.float64)
        joined = pointwise[..., 0, 0].astype(np.float64) @ dense
        shape = (nb_out, *taps, nb_in * groups)
        name = f"{first.inputs[1]} {node.inputs[1]}"
        constants[name] = np.ascontiguousarray(
            joined.reshape(shape).transpose(0, 3, 1, 2), np.float32
        )
        node.inputs[:2] = [first.inputs[0], name]
        node.attributes = {**first.attributes, "group": 1}
        gone.append(first)
    return [node for node in nodes if not any(node is each for each in gone)]


def as_matrix(kernel: Real, groups: int) -> Real:
    """Write a kernel [C', C / groups, taps_t, taps_f] as a matrix [C', taps_t * taps_f * C]."""
    nb_out, nb_in, *taps = kernel.shape
    dense = np.zeros((nb_out, *taps, groups, nb_in), np.float32)
    for n, rows in enumerate(np.split(np.arange(nb_out), groups)):
        dense[rows, ..., n, :] = kernel[rows].transpose(0, 2, 3, 1)
    return dense.reshape(nb_out, -1)


def _array(tensor: TensorProto, network: Network) -> NDArray[Any]:
    if tensor.data_location == TensorProto.EXTERNAL:
        return network.weights[tensor.name]
    array: NDArray[Any] = numpy_helper.to_array(tensor)
    return array


def _shape(tensor: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value or BATCH for dim in tensor.type.tensor_type.shape.dim]
