"""onnxruntime, imported here and nowhere else.

From its import on it calls a telemetry host and writes a device id below ~/.cache/Microsoft, unless
the environment says no first.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from onnxruntime import InferenceSession, IOBinding, OrtValue, SessionOptions  # noqa: E402

__all__ = ["IOBinding", "Session"]

_NO_WEIGHTS: Mapping[str, NDArray[np.float32]] = MappingProxyType({})


class Session(InferenceSession):  # type: ignore[misc]  # onnxruntime ships no types
    """A graph that runs on the calling thread; any number of threads may run it at a time.

    Weights that are not in the graph are read in place, and kept alive.
    """

    def __init__(
        self, graph: bytes, weights: Mapping[str, NDArray[np.float32]] = _NO_WEIGHTS
    ) -> None:
        self._weights = {
            name: OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()
        }
        options = SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_external_initializers(list(self._weights), list(self._weights.values()))
        super().__init__(graph, options, providers=["CPUExecutionProvider"])
