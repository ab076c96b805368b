"""DeepFilterNet3 and its low-latency variant.

Schröter et al., "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement", Interspeech
2023. The network is that of DeepFilterNet2 but for what is here. Its deep filter reads noisy
frames, which need not wait for the gains; these apply to the bins above `nb_df`.
"""

from actors.denoiser import dfn2
from actors.denoiser.config import Config
from actors.denoiser.graph import Design
from actors.denoiser.weights import Layer, load_checkpoint
from actors.models import ModelName


def load(name: ModelName) -> Design:
    """Read the official checkpoint. Raises ModelError where there is none."""
    checkpoint = load_checkpoint(name)
    config = Config.read(checkpoint.options, filters_masked=False)
    return Design(config, lambda hops: _Builder(checkpoint, config, hops).build())


class _Builder(dfn2.Builder):
    def _embedding(self, e3: str, c0: str) -> str:
        """Add both paths up for the encoder's GRU, and widen what it makes of them: [T, B, 512]."""
        c1 = self._encode("df_conv1", c0, self._config.nb_df)
        (fc_emb,) = self._enc["df_fc_emb"]
        linear_in, gru, linear_out = self._enc["emb_gru"]
        cemb = self._linear_relu(self._freqs_outside(c1), fc_emb, -1)
        emb = self._reshape(self._freqs_outside(e3), (-1, self._conv_ch * self._config.nb_erb // 4))
        x = self._linear_relu(self._op("Add", emb, cemb), linear_in, -1)
        return self._linear_relu(self._emb_gru(x, gru), linear_out, self._hops, -1)

    def _squeezed_gru(self, name: str, emb: str, layers: list[Layer]) -> str:
        """Grouped linear layer and GRUs: [T, B, 512] to [T, B, H]."""
        squeezed = self._linear_relu(emb, layers[0], self._hops, -1)
        return self._grus(name, squeezed, layers[1:])

    def _df_gru(self, emb: str) -> str:
        (skip,) = self._df_dec["df_skip"]
        x = super()._df_gru(emb)
        groups, _, nb_out = skip.weights[0].shape
        shape = (self._hops, -1, groups * nb_out)
        return self._op("Add", x, self._grouped_linear(emb, skip, shape))
