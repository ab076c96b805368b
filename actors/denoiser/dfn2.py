"""DeepFilterNet2 and its low-latency variant.

Schröter et al., "DeepFilterNet2: Towards Real-Time Speech Enhancement on Embedded Devices for
Full-Band Audio", IWAENC 2022.
"""

import math

from actors.denoiser.config import Config
from actors.denoiser.graph import Design, GraphBuilder, Network
from actors.denoiser.weights import Checkpoint, Layer, load_checkpoint
from actors.models import ModelName


def load(name: ModelName) -> Design:
    """Read the official checkpoint. Raises ModelError where there is none."""
    checkpoint = load_checkpoint(name)
    config = Config.read(checkpoint.options, filters_masked=True)
    return Design(config, lambda hops: Builder(checkpoint, config, hops).build())


class Builder(GraphBuilder):
    """Writes the network down in the order of the official modules."""

    def __init__(self, checkpoint: Checkpoint, config: Config, hops: int) -> None:
        super().__init__("step", config, hops)
        self._conv_ch = int(checkpoint.options["conv_ch"])
        self._enc = checkpoint.layers["enc"]
        self._erb_dec = checkpoint.layers["erb_dec"]
        self._df_dec = checkpoint.layers["df_dec"]

    def build(self) -> Network:
        feat_erb, feat_spec = self._features()
        e0, e1, e2, e3 = self._erb_path(feat_erb)
        c0 = self._spec_path(feat_spec)
        emb = self._embedding(e3, c0)
        gains = self._gains(emb, (e0, e1, e2, e3))
        coefs = self._coefs(emb, c0)
        return self._answer(gains, coefs, self._local_snr(emb, *self._enc["lsnr_fc"]))

    def _erb_path(self, feat_erb: str) -> tuple[str, str, str, str]:
        """Encode the ERB bands: [B, 1, T, 32] to [B, 64, T, 32], then 16, 8 and 8 wide."""
        nb_erb = self._config.nb_erb
        e0 = self._encode("erb_conv0", feat_erb, nb_erb)
        e1 = self._encode("erb_conv1", e0, nb_erb)
        e2 = self._encode("erb_conv2", e1, nb_erb // 2)
        e3 = self._encode("erb_conv3", e2, nb_erb // 4)
        return e0, e1, e2, e3

    def _spec_path(self, feat_spec: str) -> str:
        """Encode the lowest bins: [B, 2, T, 96] to [B, 64, T, 96]."""
        return self._encode("df_conv0", feat_spec, self._config.nb_df)

    def _encode(self, module: str, x: str, freqs: int) -> str:
        return self._causal_conv_relu(module, x, self._enc[module], freqs)

    def _embedding(self, e3: str, c0: str) -> str:
        """Join both paths in the encoder's GRU: [T, B, 256]."""
        c1 = self._encode("df_conv1", c0, self._config.nb_df)
        (fc_emb,) = self._enc["df_fc_emb"]
        linear_in, gru = self._enc["emb_gru"]
        config, width = self._config, linear_in.weights[0].shape[1]
        by_group = (-1, self._conv_ch * config.nb_erb // 4 // width, width)
        cemb = self._grouped_linear(self._freqs_outside(c1), fc_emb, by_group)
        emb = self._reshape(self._freqs_outside(e3), by_group)
        both = self._op("Concat", emb, self._op("Relu", cemb), axis=1)
        return self._emb_gru(self._linear_relu(both, linear_in, -1), gru)

    def _emb_gru(self, x: str, gru: Layer) -> str:
        """Run the encoder's GRU: [B*T, I] to [T, B, H]."""
        return self._gru("enc_gru", self._by_time(x, gru.weights[0].shape[2]), gru)

    def _gains(self, emb: str, skips: tuple[str, str, str, str]) -> str:
        """Decode the gains of the ERB bands: [B, T, 32]."""
        e0, e1, e2, e3 = skips
        dec, nb_erb = self._erb_dec, self._config.nb_erb
        *squeezed_gru, linear_out = dec["emb_gru"]
        x = self._squeezed_gru("erb_gru", emb, squeezed_gru)
        x = self._op("Relu", self._grouped_linear(x, linear_out, (-1, self._conv_ch)))
        x = self._unflatten(x, nb_erb // 4, self._conv_ch)
        x = self._op("Add", self._conv_relu(e3, dec["conv3p"]), x)
        x = self._causal_conv_relu("convt3", x, dec["convt3"], nb_erb // 4)
        x = self._op("Add", self._conv_relu(e2, dec["conv2p"]), x)
        x = self._doubling_conv_relu(x, dec["convt2"], nb_erb // 4)
        x = self._op("Add", self._conv_relu(e1, dec["conv1p"]), x)
        x = self._doubling_conv_relu(x, dec["convt1"], nb_erb // 2)
        x = self._op("Add", self._conv_relu(e0, dec["conv0p"]), x)
        (conv0_out,) = dec["conv0_out"]
        x = self._conv(self._with_context("conv0_out", x, nb_erb, conv0_out), conv0_out)
        return self._reshape(self._op("Sigmoid", x), (0, self._hops, nb_erb))

    def _coefs(self, emb: str, c0: str) -> str:
        """Decode the deep filter: [B, T, 96, 5, 2]. `df_fc_a` is of use to other variants only."""
        dec = self._df_dec
        x, shape = self._df_gru(emb), self._coefs_shape
        width = math.prod(shape) // self._hops
        x = self._op("Tanh", self._grouped_linear(x, dec["df_out"][0], (-1, width)))
        fir, pointwise = dec["df_convp"]
        pathway = self._fir("df_convp", c0, fir, self._config.nb_df)
        pathway = self._freqs_outside(self._conv_relu(pathway, [pointwise]))
        return self._op("Add", self._by_stream(x, shape[1:]), self._reshape(pathway, (-1, *shape)))

    def _df_gru(self, emb: str) -> str:
        """Decode the embedding for the deep filter: [T, B, H]."""
        return self._squeezed_gru("df_gru", emb, self._df_dec["df_gru"])

    def _squeezed_gru(self, name: str, emb: str, layers: list[Layer]) -> str:
        """Grouped linear layer, GRUs, and the former's output added to theirs: [T, B, H]."""
        squeezed = self._linear_relu(emb, layers[0], self._hops, -1)
        return self._op("Add", self._grus(name, squeezed, layers[1:]), squeezed)

    def _grus(self, name: str, x: str, layers: list[Layer]) -> str:
        """GRUs one after the other: [T, B, I] to [T, B, H]."""
        for number, layer in enumerate(layers):
            x = self._gru(f"{name}{number}", x, layer)
        return x

    def _doubling_conv_relu(self, x: str, layers: list[Layer], freqs: int) -> str:
        """Convolve transposed, then pointwise: [B, 64, T, F] to [B, 64, T, 2F]."""
        transposed, pointwise = layers
        return self._conv_relu(self._conv_transposed(x, transposed, freqs), [pointwise])
