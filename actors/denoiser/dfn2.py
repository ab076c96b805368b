"""DeepFilterNet2's network as one ONNX graph that carries its own state from hop to hop.

The three official graphs take a whole clip: zeros are padded before their first frame, and the
GRUs start at zero in each call. Here the same layers with the same weights take T frames of B
streams; what the official graphs look back on is an input, and what the next frame will look back
on an output. Network: Schröter et al., "DeepFilterNet2: Towards Real-Time Speech Enhancement on
Embedded Devices for Full-Band Audio", IWAENC 2022.

    step(feat_erb, feat_spec, *state) -> gains, coefs, lsnr, *state

| tensor | shape | what |
|---|---|---|
| feat_erb | [B, 1, T, nb_erb] | normalised ERB powers, dB |
| feat_spec | [B, 2, T, nb_df] | normalised spectrum, real and imaginary part |
| gains | [B, T, nb_erb] | of the ERB bands, 0..1 |
| coefs | [B, T, nb_df, df_order, 2] | the deep filter, complex |
| lsnr | [B, T] | local SNR, dB |

State begins with B too; that of a GRU is [1, B, 256], which is the same memory. T is fixed in a
graph: two frames at a time read the weights once and cost a quarter less than one after the other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from actors.denoiser.weights import Checkpoint, Layer

STATE_PREFIX = "state."
NEXT_PREFIX = "next."

WEIGHTS_LOCATION = "memory"

_EXTERNAL_BYTES = 4096
_OPSET = 17
_IR_VERSION = 8  # the IR version that came with this opset; any onnxruntime in use reads it

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """The stateful graph. Large weights stay outside of it, so that nobody has to copy them.

    They are the graph's external data, by the name of the initializer, at the location
    `WEIGHTS_LOCATION`, which is no file.
    """

    graph: bytes
    weights: Mapping[str, NDArray[np.float32]]


def build_network(checkpoint: Checkpoint, hops: int = 1) -> Network:
    """Build the stateful graph for this many hops of each stream at a time, T above."""
    builder = _Builder(checkpoint, hops)
    model: bytes = builder.build().SerializeToString()
    return Network(model, builder.weights)


class _Builder:
    """Writes the graph down, operation by operation, in the order of the official modules.

    Methods take and return names of tensors. B comes before T everywhere but around the GRUs.
    """

    def __init__(self, checkpoint: Checkpoint, hops: int) -> None:
        self._hops = hops
        self.weights: dict[str, NDArray[np.float32]] = {}
        self._config = checkpoint.config
        self._enc = checkpoint.layers["enc"]
        self._erb_dec = checkpoint.layers["erb_dec"]
        self._df_dec = checkpoint.layers["df_dec"]
        opset = helper.make_opsetid("", _OPSET)
        self._model = onnx.ModelProto(ir_version=_IR_VERSION, opset_import=[opset])
        self._graph = self._model.graph
        self._graph.name = "dfn2_step"

    def build(self) -> onnx.ModelProto:
        config = self._config
        feat_erb = self._input("feat_erb", (1, self._hops, config.nb_erb))
        feat_spec = self._input("feat_spec", (2, self._hops, config.nb_df))
        e0, e1, e2, e3 = self._erb_path(feat_erb)
        c0 = self._spec_path(feat_spec)
        emb = self._embedding(e3, c0)
        self._output("gains", self._gains(emb, (e0, e1, e2, e3)), (self._hops, config.nb_erb))
        self._output("coefs", self._coefs(emb, c0), self._coefs_shape)
        self._output("lsnr", self._lsnr(emb), (self._hops,))
        return self._model

    # The network

    def _erb_path(self, feat_erb: str) -> tuple[str, str, str, str]:
        """Encode the ERB bands: [B, 1, T, 32] to [B, 64, T, 32], then 16, 8 and 8 wide."""
        (conv0,) = self._enc["erb_conv0"]
        frames = self._with_context("erb_conv0", feat_erb, (1, self._config.nb_erb), conv0)
        e0 = self._conv_relu(frames, [conv0])
        e1 = self._conv_relu(e0, self._enc["erb_conv1"])
        e2 = self._conv_relu(e1, self._enc["erb_conv2"])
        e3 = self._conv_relu(e2, self._enc["erb_conv3"])
        return e0, e1, e2, e3

    def _spec_path(self, feat_spec: str) -> str:
        """Encode the lowest bins: [B, 2, T, 96] to [B, 64, T, 96]."""
        layers = self._enc["df_conv0"]
        frames = self._with_context("df_conv0", feat_spec, (2, self._config.nb_df), layers[0])
        return self._conv_relu(frames, layers)

    def _embedding(self, e3: str, c0: str) -> str:
        """Join both paths in the encoder's GRU: [T, B, 256]."""
        c1 = self._conv_relu(c0, self._enc["df_conv1"])
        (fc_emb,) = self._enc["df_fc_emb"]
        linear_in, gru = self._enc["emb_gru"]
        config, width = self._config, linear_in.weights[0].shape[1]
        by_group = (-1, config.conv_ch * config.nb_erb // 4 // width, width)
        cemb = self._grouped_linear(self._freqs_outside(c1), fc_emb, by_group)
        emb = self._reshape(self._freqs_outside(e3), by_group)
        both = self._op("Concat", emb, self._op("Relu", cemb), axis=1)
        x = self._op("Relu", self._grouped_linear(both, linear_in, (-1, config.emb_hidden_dim)))
        return self._gru("enc_gru", self._by_time(x), gru)

    def _lsnr(self, emb: str) -> str:
        """Estimate the local SNR in dB: [B, T]."""
        matmul, add = self._enc["lsnr_fc"]
        weight, bias = self._constant(*matmul.weights), self._constant(*add.weights)
        logit = self._op("Gemm", self._reshape(emb, (-1, matmul.weights[0].shape[0])), weight, bias)
        scale = self._constant(np.array(self._config.lsnr_max - self._config.lsnr_min, np.float32))
        scaled = self._op("Mul", self._op("Sigmoid", logit), scale)
        lsnr = self._op("Add", scaled, self._constant(np.array(self._config.lsnr_min, np.float32)))
        return self._by_stream(lsnr, ())

    def _gains(self, emb: str, skips: tuple[str, str, str, str]) -> str:
        """Decode the gains of the ERB bands: [B, T, 32]."""
        e0, e1, e2, e3 = skips
        dec, nb_erb = self._erb_dec, self._config.nb_erb
        linear_in, gru0, gru1, linear_out = dec["emb_gru"]
        x = self._squeezed_gru("erb_gru", emb, linear_in, [gru0, gru1])
        x = self._op("Relu", self._grouped_linear(x, linear_out, (-1, self._config.conv_ch)))
        x = self._unflatten(x, nb_erb // 4)
        x = self._op("Add", self._conv_relu(e3, dec["conv3p"]), x)
        x = self._conv_relu(x, dec["convt3"])
        x = self._op("Add", self._conv_relu(e2, dec["conv2p"]), x)
        x = self._doubling_conv_relu(x, dec["convt2"], nb_erb // 4)
        x = self._op("Add", self._conv_relu(e1, dec["conv1p"]), x)
        x = self._doubling_conv_relu(x, dec["convt1"], nb_erb // 2)
        x = self._op("Add", self._conv_relu(e0, dec["conv0p"]), x)
        x = self._conv(x, dec["conv0_out"][0])
        return self._reshape(self._op("Sigmoid", x), (0, self._hops, nb_erb))

    def _coefs(self, emb: str, c0: str) -> str:
        """Decode the deep filter: [B, T, 96, 5, 2]. `df_fc_a` is of use to other variants only."""
        dec = self._df_dec
        linear_in, gru0, gru1 = dec["df_gru"]
        x = self._squeezed_gru("df_gru", emb, linear_in, [gru0, gru1])
        shape = self._coefs_shape
        width = math.prod(shape) // self._hops
        x = self._op("Tanh", self._grouped_linear(x, dec["df_out"][0], (-1, width)))
        pathway = self._freqs_outside(self._df_pathway(c0, dec["df_convp"]))
        return self._op("Add", self._by_stream(x, shape[1:]), self._reshape(pathway, (-1, *shape)))

    def _df_pathway(self, c0: str, layers: list[Layer]) -> str:
        """Convolve over the last frames of c0: [B, 64, T, 96] to [B, 10, T, 96].

        The first convolution is an FIR filter in time. Its transposed form keeps sums of 10
        channels for the coming frames instead of the last frames' 64 channels: a sixth of the
        state to carry.
        """
        conv, pointwise = layers
        kernel = conv.weights[0]  # [10, 32, taps, 1], the newest frame's tap last
        nb_out, nb_in, taps, _ = kernel.shape
        groups = self._config.conv_ch // nb_in
        by_tap = kernel[:, :, ::-1, 0].reshape(groups, nb_out // groups, nb_in, taps)
        by_tap = by_tap.transpose(0, 3, 1, 2).reshape(-1, nb_in, 1, 1)
        x = self._op("Conv", c0, self._constant(by_tap), group=groups)
        width = nb_out // groups * self._config.nb_df
        shape = (groups, taps - 1, width)
        sums = self._state("df_convp", shape)
        pads = self._constant(np.array([0, 0, 0, 0, 0, 0, 1, 0]))
        frames = []
        for t in range(self._hops):
            frame = x if self._hops == 1 else self._slice(x, t, t + 1)
            frame = self._reshape(frame, (0, groups, taps, width))
            frame = self._op("Add", frame, self._op("Pad", sums, pads))
            done = self._slice(frame, 0, 1)
            frames.append(self._reshape(done, (0, nb_out, 1, self._config.nb_df)))
            sums = self._slice(frame, 1, taps)
        self._next_state("df_convp", sums, shape)
        x = frames[0] if self._hops == 1 else self._op("Concat", *frames, axis=2)
        return self._conv_relu(x, [pointwise])

    # Parts that several modules have

    def _squeezed_gru(self, name: str, emb: str, linear_in: Layer, grus: list[Layer]) -> str:
        """Grouped linear layer, GRUs, and the former's output added to theirs: [T, B, 256]."""
        shape = (self._hops, -1, self._config.emb_hidden_dim)
        squeezed = self._op("Relu", self._grouped_linear(emb, linear_in, shape))
        x = squeezed
        for number, gru in enumerate(grus):
            x = self._gru(f"{name}{number}", x, gru)
        return self._op("Add", x, squeezed)

    def _with_context(self, name: str, x: str, channels_freqs: Shape, conv: Layer) -> str:
        """Put the frames that a convolution looks back on before frame x."""
        channels, freqs = channels_freqs
        lookback = conv.weights[0].shape[2] - 1
        context = self._state(name, (channels, lookback, freqs))
        frames = self._op("Concat", context, x, axis=2)
        self._next_state(
            name,
            self._slice(frames, self._hops, lookback + self._hops),
            (channels, lookback, freqs),
        )
        return frames

    def _gru(self, name: str, x: str, layer: Layer) -> str:
        """Steps of a GRU: [T, B, 256] to [T, B, 256]. Its state is its last output."""
        weights = [self._constant(weight) for weight in layer.weights]
        width = (self._config.emb_hidden_dim,)
        h, y = self._state(name, width, time_first=True), NEXT_PREFIX + name
        steps = f"{name}_steps" if self._hops > 1 else ""
        gru = helper.make_node("GRU", [x, *weights, "", h], [steps, y], **layer.attributes)
        self._graph.node.append(gru)
        self._graph.output.append(_float_tensor(y, width, time_first=True))
        return self._reshape(steps, (self._hops, -1, *width)) if steps else y

    @property
    def _coefs_shape(self) -> Shape:
        return self._hops, self._config.nb_df, self._config.df_order, 2

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

    def _conv_relu(self, x: str, layers: list[Layer]) -> str:
        for layer in layers:
            x = self._conv(x, layer)
        return self._op("Relu", x)

    def _conv(self, x: str, layer: Layer) -> str:
        weights = [self._constant(weight) for weight in layer.weights]
        return self._op("Conv", x, *weights, **layer.attributes)

    def _doubling_conv_relu(self, x: str, layers: list[Layer], freqs: int) -> str:
        """Convolve transposed, then pointwise: [B, 64, T, F] to [B, 64, T, 2F]."""
        transposed, pointwise = layers
        return self._conv_relu(self._conv_transposed(x, transposed, freqs), [pointwise])

    def _conv_transposed(self, x: str, layer: Layer, freqs: int) -> str:
        """Double the frequencies [B, 64, T, F]: each is followed by a zero, then convolved.

        That is what a transposed convolution of stride 2 does. onnxruntime has no quick kernel for
        a depthwise one: this takes a fifth of its time. Of all ways to put zeros between numbers,
        a matrix product is the quickest.
        """
        assert layer.attributes["strides"] == [1, 2] and layer.attributes["pads"] == [0, 1, 0, 1]
        (kernel,) = layer.weights  # [64, 1, 1, 3]
        zero_after_each = np.zeros((freqs, 2 * freqs), np.float32)
        zero_after_each[range(freqs), range(0, 2 * freqs, 2)] = 1
        x = self._op("MatMul", x, self._constant(zero_after_each))
        flipped = self._constant(kernel[..., ::-1])
        return self._op("Conv", x, flipped, group=kernel.shape[0], pads=[0, 1, 0, 1])

    def _freqs_outside(self, x: str) -> str:
        """Turn [B, C, T, F] into [B, T, F, C]."""
        return self._op("Transpose", x, perm=[0, 2, 3, 1])

    def _unflatten(self, x: str, freqs: int) -> str:
        """Turn [T*B, F*C] into [B, C, T, F]."""
        shape = (self._hops, -1, freqs, self._config.conv_ch)
        return self._op("Transpose", self._reshape(x, shape), perm=[1, 3, 0, 2])

    def _by_time(self, x: str) -> str:
        """Turn [B*T, 256], hops of a stream side by side, into [T, B, 256]."""
        width = self._config.emb_hidden_dim
        if self._hops == 1:
            return self._reshape(x, (1, -1, width))
        return self._op("Transpose", self._reshape(x, (-1, self._hops, width)), perm=[1, 0, 2])

    def _by_stream(self, x: str, shape: Shape) -> str:
        """Turn [T*B, ...], streams side by side, into [B, T, *shape]."""
        if self._hops > 1:
            x = self._reshape(x, (self._hops, -1, math.prod(shape)))
            x = self._op("Transpose", x, perm=[1, 0, 2])
        return self._reshape(x, (-1, self._hops, *shape))

    # Writing the graph

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
            self.weights[name] = np.ascontiguousarray(value, np.float32)
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
        """Give the tensor that was made last its name as an output."""
        assert self._graph.node[-1].output[0] == x
        self._graph.node[-1].output[0] = name
        self._graph.output.append(_float_tensor(name, shape))


def _float_tensor(name: str, shape: Shape, *, time_first: bool = False) -> onnx.ValueInfoProto:
    leading = [1, "B"] if time_first else ["B"]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [*leading, *shape])
