"""Loads the model once per process and runs its network for a batch of streams."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from actors.denoiser.dfn2 import NEXT_PREFIX, STATE_PREFIX, Network, build_network
from actors.denoiser.features import Features
from actors.denoiser.weights import Config, ModelName, load_checkpoint

NetworkState = Mapping[str, NDArray[np.float32]]
"""The network's memory of B streams: named arrays [B, ...]."""


class Answer(NamedTuple):
    """What the network says of one frame of B streams, and its state after it."""

    gains: NDArray[np.float32]  # [B, nb_erb]
    coefs: NDArray[np.float32]  # [B, nb_df, df_order, 2]
    lsnr: NDArray[np.float32]  # [B], dB
    state: NetworkState


class Engine:
    """Runs the stateful network on the calling thread. Weights are shared, states are not.

    May be used by several threads at a time.
    """

    def __init__(self, network: Network) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # onnxruntime reads these in place: they have to live as long as the session.
        self._weights = [
            onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in network.weights.values()
        ]
        options.add_external_initializers(list(network.weights), self._weights)
        self._session = onnxruntime.InferenceSession(
            network.graph, options, providers=["CPUExecutionProvider"]
        )
        self._state_shapes: dict[str, tuple[int, ...]] = {
            tensor.name.removeprefix(STATE_PREFIX): tuple(tensor.shape[1:])
            for tensor in self._session.get_inputs()
            if tensor.name.startswith(STATE_PREFIX)
        }
        names = ["gains", "coefs", "lsnr"]
        self._outputs = names + [NEXT_PREFIX + name for name in self._state_shapes]

    def initial_state(self, batch: int) -> NetworkState:
        """Make the state of streams that have heard nothing yet."""
        return {
            name: np.zeros((batch, *shape), np.float32)
            for name, shape in self._state_shapes.items()
        }

    def step(self, features: Features, state: NetworkState) -> Answer:
        """Run the network for one frame of B streams."""
        feed = {STATE_PREFIX + name: array for name, array in state.items()}
        feed["feat_erb"] = features.erb
        feed["feat_spec"] = features.spec
        gains, coefs, lsnr, *after = self._session.run(self._outputs, feed)
        return Answer(gains, coefs, lsnr[:, 0], dict(zip(self._state_shapes, after, strict=True)))


@dataclass(frozen=True)
class Model:
    """A denoising model, loaded; any number of streams share it."""

    name: ModelName
    config: Config
    engine: Engine

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


_loaded: dict[ModelName, Model] = {}
_loading = threading.Lock()


def load_model(name: ModelName = "dfn2") -> Model:
    """Get the model, loaded once per process; about 0.2 s the first time.

    `dfn2` is DeepFilterNet2, 50 ms of latency; `dfn2_ll` its low-latency variant, 10 ms.

    Raises:
        ModelError: the official weights are not installed, or not the official ones.
    """
    with _loading:
        if name not in _loaded:
            _loaded[name] = _load(name)
        return _loaded[name]


def _load(name: ModelName) -> Model:
    checkpoint = load_checkpoint(name)
    return Model(name, checkpoint.config, Engine(build_network(checkpoint)))
