"""A denoising model, loaded once per process for all of its streams."""

import importlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.denoiser.compiled_network import CompiledNetwork
from actors.denoiser.config import Config
from actors.denoiser.executor import Phase
from actors.denoiser.graph import Design, Network
from actors.denoiser.machine_code import can_compile
from actors.denoiser.onnx_session import Session
from actors.denoiser.weights import ModelError
from actors.models import DEFAULT_MODEL, MODELS, ModelName

log = logging.getLogger(__name__)

HOPS_AT_A_TIME = (1, 2)
"""Two are what a packet of 20 ms brings."""


@dataclass(frozen=True)
class Model:
    """A denoising model, loaded; any number of streams share it."""

    name: ModelName
    config: Config
    networks: Mapping[int, Network]
    """By how many hops of each stream they take at a time."""
    normalise_level: bool = False
    """Whether the network hears quiet sound louder than it is."""
    _sessions: dict[int, Session] = field(default_factory=dict, repr=False)
    _compiled: list[CompiledNetwork | None] = field(default_factory=list, repr=False)

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

    @property
    def padding_samples(self) -> int:
        """How much silence the official program puts after a clip before anything else."""
        return self.config.fft_size

    @property
    def ending(self) -> tuple[Phase, ...]:
        """What comes after that silence, hop by hop, until the last frame has come out."""
        asked = self.config.conv_lookahead
        return (Phase.SILENCE,) * asked + (Phase.NOTHING,) * (self.config.latency_hops - asked)

    def session(self, hops: int) -> Session:
        """Get a network, run by onnxruntime on the calling thread; any number may at a time."""
        with _loading:
            if hops not in self._sessions:
                network = self.networks[hops]
                self._sessions[hops] = Session(network.graph, network.weights)
            return self._sessions[hops]

    def compiled(self) -> CompiledNetwork | None:
        """Get the network as machine code; None if there is none for it, or for this processor.

        Any number of threads may run it at a time. Compiling takes about a second, once.
        """
        with _loading:
            if not self._compiled:
                self._compiled.append(self._compile())
            return self._compiled[0]

    def _compile(self) -> CompiledNetwork | None:
        if not can_compile():
            log.info("%s runs by onnxruntime: this processor has no fused multiply-add", self.name)
            return None
        try:
            return CompiledNetwork(self.networks)
        except ModelError as error:
            log.info("%s runs by onnxruntime: %s", self.name, error)
            return None


_loaded: dict[tuple[ModelName, bool], Model] = {}
_loading = threading.Lock()


def load_model(name: ModelName = DEFAULT_MODEL, *, normalise_level: bool = False) -> Model:
    """Get a model of `actors.models.MODELS`, loaded once per process; about 0.3 s the first time.

    `dfn2` is DeepFilterNet2, 50 ms of latency, `dfn3` DeepFilterNet3, 30 ms; `_ll` are their
    low-latency variants, 10 ms. With `normalise_level` quiet sound is denoised as well as loud
    sound; the output is then no longer the official program's, though close to it at usual levels
    (docs/benchmarks.md).

    Raises:
        ModelError: there is no such model; its official weights are missing, or altered.
    """
    with _loading:
        key = name, normalise_level
        if key not in _loaded:
            design = _design(name)
            networks = {hops: design.build(hops) for hops in HOPS_AT_A_TIME}
            _loaded[key] = Model(name, design.config, networks, normalise_level)
        return _loaded[key]


def _design(name: ModelName) -> Design:
    if name not in MODELS:
        raise ModelError(f"there is no model {name!r}; choose one of {', '.join(MODELS)}")
    design: Design = importlib.import_module(MODELS[name].module).load(name)
    return design
