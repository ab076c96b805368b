"""A network of the family as one ONNX graph that carries its own state from hop to hop.

The official graphs take a whole clip: zeros are padded before their first frame, and the GRUs start
at zero in each call. Here the same layers and weights take T frames of B streams. What the
official graphs look back on is an input; what the next frame will look back on, an output.

    step(feat_erb, feat_spec, *state) -> gains, coefs, lsnr, *state

| tensor | shape | what |
|---|---|---|
| feat_erb | [B, 1, T, nb_erb] | normalised ERB powers, dB |
| feat_spec | [B, 2, T, nb_df] | normalised spectrum, real and imaginary part |
| gains | [B, T, nb_erb] | of the ERB bands, 0..1 |
| coefs | [B, T, nb_df, df_order, 2] | the deep filter, complex |
| lsnr | [B, T] | local SNR, dB |

State begins with B too; that of a GRU is [1, B, H], which is the same memory. T is fixed in a
graph: two frames at a time read the weights once and cost a quarter less than one after the other.

A module of the family has a function `load`, which gets the model's name and returns its `Design`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from actors.denoiser.config import Config
from actors.denoiser.weights import Layer

STATE_PREFIX = "state."
NEXT_PREFIX = "next."

WEIGHTS_LOCATION = "memory"

_EXTERNAL_BYTES = 4096
_OPSET = 17
_IR_VERSION = 8  # the IR version that came with this opset; any onnxruntime in use reads it

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """The stateful graph. Large weights stay outside it, so that they are never copied.

    They are the graph's external data, by the name of the initializer, at the location
    `WEIGHTS_LOCATION`, which is no file.
    """

    graph: bytes
    weights: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Design:
    """A model as its module describes it."""

    config: Config
    build: Callable[[int], Network]
    """Builds the graph for this many hops of each stream at a time, T above."""


class GraphBuilder:
    """Writes a graph down, operation by operation; a network's own class says which ones.

    Methods take and return names of tensors. B comes before T everywhere but around the GRUs.
    """

    def __init__(self, name: str, config: Config, hops: int) -> None:
        self._config = config
        self._hops = hops
        self._weights: dict[str, NDArray[np.float32]] = {}
        opset = helper.make_opsetid("", _OPSET)
        self._model = onnx.ModelProto(ir_version=_IR_VERSION, opset_import=[opset])
        self._graph = self._model.graph
        self._graph.name = name

    def _features(self) -> tuple[str, str]:
        """Declare what the network hears: `feat_erb` and `feat_spec`."""
        config = self._config
        feat_erb = self._input("feat_erb", (1, self._hops, config.nb_erb))
        return feat_erb, self._input("feat_spec", (2, self._hops, config.nb_df))

    def _answer(self, gains: str, coefs: str, lsnr: str) -> Network:
        """Declare what the network says, and get it."""
        self._output("gains", gains, (self._hops, self._config.nb_erb))
        self._output("coefs", coefs, self._coefs_shape)
        self._output("lsnr", lsnr, (self._hops,))
        return Network(self._model.SerializeToString(), self._weights)

    @property
    def _coefs_shape(self) -> Shape:
        return self._hops, self._config.nb_df, self._config.df_order, 2

    # Layers

    def _with_context(self, name: str, x: str, freqs: int, conv: Layer) -> str:
        """Put the frames that a convolution looks back on, if any, before the frames x."""
        _, channels, taps, _ = conv.weights[0].shape
        lookback = taps - 1
        if not lookback:
            return x
        shape = (channels * conv.attributes.get("group", 1), lookback, freqs)
        frames = self._op("Concat", self._state(name, shape), x, axis=2)
        newest = self._slice(frames, self._hops, lookback + self._hops)
        self._next_state(name, newest, shape)
        return frames

    def _fir(self, name: str, x: str, conv: Layer, freqs: int) -> str:
        """Convolve over the last frames: [B, C, T, F] to [B, C', T, F], for C' much less than C.

        The transposed form of an FIR filter keeps sums of C' channels for the coming frames instead
        of the last frames' C channels.
        """
        kernel = conv.weights[0]  # [C', C / groups, taps, 1], the newest frame's tap last
        nb_out, nb_in, taps, _ = kernel.shape
        groups = conv.attributes["group"]
        by_tap = kernel[:, :, ::-1, 0].reshape(groups, nb_out // groups, nb_in, taps)
        by_tap = by_tap.transpose(0, 3, 1, 2).reshape(-1, nb_in, 1, 1)
        x = self._op("Conv", x, self._constant(by_tap), group=groups)
        width = nb_out // groups * freqs
        shape = (groups, taps - 1, width)
        sums = self._state(name, shape)
        pads = self._constant(np.array([0, 0, 0, 0, 0, 0, 1, 0]))
        frames = []
        for t in range(self._hops):
            frame = x if self._hops == 1 else self._slice(x, t, t + 1)
            frame = self._reshape(frame, (0, groups, taps, width))
            frame = self._op("Add", frame, self._op("Pad", sums, pads))
            done = self._slice(frame, 0, 1)
            frames.append(self._reshape(done, (0, nb_out, 1, freqs)))
            sums = self._slice(frame, 1, taps)
        self._next_state(name, sums, shape)
        return frames[0] if self._hops == 1 else self._op("Concat", *frames, axis=2)

    def _gru(self, name: str, x: str, layer: Layer) -> str:
        """Steps of a GRU: [T, B, I] to [T, B, H]. Its state is its last output."""
        weights = [self._constant(weight) for weight in layer.weights]
        width = layer.weights[1].shape[-1:]
        h, y = self._state(name, width, time_first=True), NEXT_PREFIX + name
        steps = f"{name}_steps" if self._hops > 1 else ""
        gru = helper.make_node("GRU", [x, *weights, "", h], [steps, y], **layer.attributes)
        self._graph.node.append(gru)
        self._graph.output.append(_float_tensor(y, width, time_first=True))
        return self._reshape(steps, (self._hops, -1, *width)) if steps else y

    def _grouped_linear(self, x: str, layer: Layer, shape: Shape) -> str:
        """Multiply each group of inputs with a matrix of its own.

        G*I numbers of each stream and hop go in, in any shape; G*H come out, in this shape.
        """
        (weight,) = layer.weights
        groups, nb_in, _ = weight.shape
        x = self._op("Transpose", self._reshape(x, (-1, groups, nb_in)), perm=[1, 0, 2])
        x = self._op("MatMul", x, self._constant(weight))  # [G, B*T, H]
        x = self._op("Transpose", x, perm=[1, 0, 2])
        return self._reshape(x, shape)

    def _linear_relu(self, x: str, layer: Layer, *leading: int) -> str:
        """Grouped linear layer and ReLU: what comes out is [*leading, G*H]."""
        groups, _, nb_out = layer.weights[0].shape
        return self._op("Relu", self._grouped_linear(x, layer, (*leading, groups * nb_out)))

    def _local_snr(self, emb: str, matmul: Layer, add: Layer) -> str:
        """Estimate the local SNR in dB: [T, B, I] to [B, T]."""
        weight, bias = self._constant(*matmul.weights), self._constant(*add.weights)
        logit = self._op("Gemm", self._reshape(emb, (-1, matmul.weights[0].shape[0])), weight, bias)
        scale = self._constant(np.array(self._config.lsnr_max - self._config.lsnr_min, np.float32))
        scaled = self._op("Mul", self._op("Sigmoid", logit), scale)
        lsnr = self._op("Add", scaled, self._constant(np.array(self._config.lsnr_min, np.float32)))
        return self._by_stream(lsnr, ())

    def _causal_conv_relu(self, name: str, x: str, layers: list[Layer], freqs: int) -> str:
        """Convolve the frames x and those before that the first layer looks back on; then ReLU."""
        return self._conv_relu(self._with_context(name, x, freqs, layers[0]), layers)

    def _conv_relu(self, x: str, layers: list[Layer]) -> str:
        for layer in layers:
            x = self._conv(x, layer)
        return self._op("Relu", x)

    def _conv(self, x: str, layer: Layer) -> str:
        weights = [self._constant(weight) for weight in layer.weights]
        return self._op("Conv", x, *weights, **layer.attributes)

    def _conv_transposed(self, x: str, layer: Layer, freqs: int) -> str:
        """Double the frequencies [B, C, T, F] depthwise: put a zero after each, then convolve.

        That is what a transposed convolution of stride 2 does. onnxruntime has no quick kernel for
        a depthwise one: this takes a fifth of its time. Of all ways to put zeros between numbers,
        a matrix product is the quickest.
        """
        assert layer.attributes["strides"] == [1, 2] and layer.attributes["pads"] == [0, 1, 0, 1]
        (kernel,) = layer.weights  # [C, 1, 1, 3]
        zero_after_each = np.zeros((freqs, 2 * freqs), np.float32)
        zero_after_each[range(freqs), range(0, 2 * freqs, 2)] = 1
        x = self._op("MatMul", x, self._constant(zero_after_each))
        flipped = self._constant(kernel[..., ::-1])
        return self._op("Conv", x, flipped, group=kernel.shape[0], pads=[0, 1, 0, 1])

    # Layouts

    def _freqs_outside(self, x: str) -> str:
        """Turn [B, C, T, F] into [B, T, F, C]."""
        return self._op("Transpose", x, perm=[0, 2, 3, 1])

    def _unflatten(self, x: str, freqs: int, channels: int) -> str:
        """Turn [T*B, F*C] into [B, C, T, F]."""
        shape = (self._hops, -1, freqs, channels)
        return self._op("Transpose", self._reshape(x, shape), perm=[1, 3, 0, 2])

    def _by_time(self, x: str, width: int) -> str:
        """Turn [B*T, H], hops of a stream side by side, into [T, B, H]."""
        if self._hops == 1:
            return self._reshape(x, (1, -1, width))
        return self._op("Transpose", self._reshape(x, (-1, self._hops, width)), perm=[1, 0, 2])

    def _by_stream(self, x: str, shape: Shape) -> str:
        """Turn [T*B, ...], streams side by side, into [B, T, *shape]."""
        if self._hops > 1:
            x = self._reshape(x, (self._hops, -1, math.prod(shape)))
            x = self._op("Transpose", x, perm=[1, 0, 2])
        return self._reshape(x, (-1, self._hops, *shape))

    # Operations

    def _op(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"{op}{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def _reshape(self, x: str, shape: Shape) -> str:
        """Reshape; 0 keeps the dimension."""
        return self._op("Reshape", x, self._constant(np.array(shape)))

    def _slice(self, x: str, start: int, end: int) -> str:
        """Take frames of [B, C, T, F]."""
        bounds = [self._constant(np.array([value])) for value in (start, end, 2)]
        return self._op("Slice", x, *bounds)

    def _constant(self, value: NDArray[np.float32] | NDArray[np.int64]) -> str:
        name = f"constant{len(self._graph.initializer)}"
        if value.dtype == np.float32 and value.nbytes >= _EXTERNAL_BYTES:
            self._weights[name] = np.ascontiguousarray(value, np.float32)
            tensor = TensorProto(name=name, dims=value.shape, data_type=TensorProto.FLOAT)
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=WEIGHTS_LOCATION)
        else:
            tensor = numpy_helper.from_array(value, name)
        self._graph.initializer.append(tensor)
        return name

    def _state(self, name: str, shape: Shape, *, time_first: bool = False) -> str:
        self._graph.input.append(_float_tensor(STATE_PREFIX + name, shape, time_first=time_first))
        return STATE_PREFIX + name

    def _next_state(self, name: str, x: str, shape: Shape) -> None:
        self._output(NEXT_PREFIX + name, x, shape)

    def _input(self, name: str, shape: Shape) -> str:
        self._graph.input.append(_float_tensor(name, shape))
        return name

    def _output(self, name: str, x: str, shape: Shape) -> None:
        """Give a tensor that nobody has read yet its name as an output."""
        node = next(node for node in self._graph.node if x in node.output)
        node.output[list(node.output).index(x)] = name
        self._graph.output.append(_float_tensor(name, shape))


def _float_tensor(name: str, shape: Shape, *, time_first: bool = False) -> onnx.ValueInfoProto:
    leading = [1, "B"] if time_first else ["B"]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [*leading, *shape])
