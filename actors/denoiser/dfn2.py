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
    return Design(config, lambda hops: _Builder(checkpoint, config, hops).build())


class _Builder(GraphBuilder):
    """Writes the network down in the order of the official modules."""

    def __init__(self, checkpoint: Checkpoint, config: Config, hops: int) -> None:
        super().__init__("dfn2_step", config, hops)
        self._conv_ch = int(checkpoint.options["conv_ch"])
        self._emb_width = int(checkpoint.options["emb_hidden_dim"])
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
        by_group = (-1, self._conv_ch * config.nb_erb // 4 // width, width)
        cemb = self._grouped_linear(self._freqs_outside(c1), fc_emb, by_group)
        emb = self._reshape(self._freqs_outside(e3), by_group)
        both = self._op("Concat", emb, self._op("Relu", cemb), axis=1)
        x = self._op("Relu", self._grouped_linear(both, linear_in, (-1, self._emb_width)))
        return self._gru("enc_gru", self._by_time(x, self._emb_width), gru)

    def _gains(self, emb: str, skips: tuple[str, str, str, str]) -> str:
        """Decode the gains of the ERB bands: [B, T, 32]."""
        e0, e1, e2, e3 = skips
        dec, nb_erb = self._erb_dec, self._config.nb_erb
        linear_in, gru0, gru1, linear_out = dec["emb_gru"]
        x = self._squeezed_gru("erb_gru", emb, linear_in, [gru0, gru1])
        x = self._op("Relu", self._grouped_linear(x, linear_out, (-1, self._conv_ch)))
        x = self._unflatten(x, nb_erb // 4, self._conv_ch)
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
        fir, pointwise = dec["df_convp"]
        pathway = self._fir("df_convp", c0, fir, self._config.nb_df)
        pathway = self._freqs_outside(self._conv_relu(pathway, [pointwise]))
        return self._op("Add", self._by_stream(x, shape[1:]), self._reshape(pathway, (-1, *shape)))

    def _squeezed_gru(self, name: str, emb: str, linear_in: Layer, grus: list[Layer]) -> str:
        """Grouped linear layer, GRUs, and the former's output added to theirs: [T, B, 256]."""
        shape = (self._hops, -1, self._emb_width)
        squeezed = self._op("Relu", self._grouped_linear(emb, linear_in, shape))
        x = squeezed
        for number, gru in enumerate(grus):
            x = self._gru(f"{name}{number}", x, gru)
        return self._op("Add", x, squeezed)

    def _doubling_conv_relu(self, x: str, layers: list[Layer], freqs: int) -> str:
        """Convolve transposed, then pointwise: [B, 64, T, F] to [B, 64, T, 2F]."""
        transposed, pointwise = layers
        return self._conv_relu(self._conv_transposed(x, transposed, freqs), [pointwise])
