"""A denoising model, loaded once per process for all of its streams."""

import threading
from dataclasses import dataclass
from functools import cached_property

import onnxruntime

from actors.denoiser.dfn2 import Network, build_network
from actors.denoiser.weights import Config, ModelName, load_checkpoint


@dataclass(frozen=True)
class Model:
    """A denoising model, loaded; any number of streams share it."""

    name: ModelName
    config: Config
    network: Network
    normalise_level: bool = False
    """Whether the network hears quiet sound louder than it is."""

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return self.config.sr

    @property
    def hop_samples(self) -> int:
        """New samples per step."""
        return self.config.hop_size

    @property
    def latency_samples(self) -> int:
        """From a sample going in to the same moment coming out."""
        return self.config.latency_hops * self.config.hop_size

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """The network, run by onnxruntime on the calling thread; any number may at a time."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_external_initializers(list(self._weights), list(self._weights.values()))
        return onnxruntime.InferenceSession(
            self.network.graph, options, providers=["CPUExecutionProvider"]
        )

    @cached_property
    def _weights(self) -> dict[str, onnxruntime.OrtValue]:
        # The session reads these in place, so they have to live as long.
        weights = self.network.weights.items()
        return {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in weights}


_loaded: dict[tuple[ModelName, bool], Model] = {}
_loading = threading.Lock()


def load_model(name: ModelName = "dfn2", *, normalise_level: bool = False) -> Model:
    """Get the model, loaded once per process; about 0.2 s the first time.

    `dfn2` is DeepFilterNet2, 50 ms of latency; `dfn2_ll` its low-latency variant, 10 ms. With
    `normalise_level` quiet sound is denoised as well as loud sound; it is not the official
    program's output any more, though close to it at usual levels (docs/benchmarks.md).

    Raises:
        ModelError: the official weights are not installed, or not the official ones.
    """
    with _loading:
        key = name, normalise_level
        if key not in _loaded:
            checkpoint = load_checkpoint(name)
            network = build_network(checkpoint)
            _loaded[key] = Model(name, checkpoint.config, network, normalise_level)
        return _loaded[key]
