"""The house rules that a machine can check."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution, distributions
from pathlib import Path

import aioice
import aiortc
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from actors.aiortc_internals import JITTER_BUFFER

ROOT = Path(__file__).parent.parent
LAYERS = ["commands", "serve_app", "deployments", "actors", "recordings", "foundation"]
"""From the top down: a layer imports itself and what is below it."""
OWNERS = {
    "ray": (
        "commands/",
        "serve_app/",
        "deployments/directory.py",
        "deployments/gcs.py",
        "deployments/recovery.py",
        "deployments/stream_actors.py",
        "actors/stream.py",
    ),
    "fastapi": ("serve_app/",),
    "boto3": ("recordings/",),
    "redis": ("foundation/redis.py",),
    "torch": ("actors/denoiser/torch_",),
    "llvmlite": ("actors/denoiser/machine_code.py",),
    "onnxruntime": ("actors/denoiser/onnx_session.py",),
}
"""Which files may know a library."""
DENOISER_KNOWS = {"llvmlite", "numpy", "onnx", "onnxruntime", "torch", "actors"} | set(
    sys.stdlib_module_names
)


def sources() -> Iterator[Path]:
    """Find every module of the product."""
    for layer in LAYERS:
        yield from sorted((ROOT / layer).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Name every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """No layer knows one above it, and libraries stay where they belong."""
    name = str(path.relative_to(ROOT))
    above = LAYERS[: LAYERS.index(path.relative_to(ROOT).parts[0])]
    for module in imports(path):
        top = module.split(".")[0]
        assert top not in above, f"{name} imports {module}"
        if module.startswith("actors.denoiser.torch_"):
            # The engine does so only when it is asked for a GPU; a test of the engine sees to it.
            lazily = name == "actors/denoiser/engine.py"
            assert name.startswith(OWNERS["torch"]) or lazily, f"{name} imports {module}"
        if top in OWNERS:
            assert name.startswith(OWNERS[top]), f"{name} imports {module}"
        if name.startswith("actors/denoiser/"):
            assert top in DENOISER_KNOWS, f"{name} imports {module}"
            assert top != "actors" or module.startswith(("actors.denoiser", "actors.models")), name


def test_only_one_module_reaches_into_aiortc() -> None:
    """What aiortc and aioice keep private is used in actors/aiortc_internals.py alone."""
    private = set()
    for library in (aiortc, aioice):
        for path in Path(library.__path__[0]).rglob("*.py"):
            private |= private_names(ast.parse(path.read_text()))
    assert {JITTER_BUFFER, "_nominated"} <= private
    for layer in (*LAYERS, "tests", "bench"):
        for path in (ROOT / layer).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            # The denoiser knows no aiortc: its private names are its own.
            if name == "actors/aiortc_internals.py" or name.startswith("tests/denoiser/"):
                continue
            reached = reached_names(ast.parse(path.read_text())) & private
            assert not reached, f"{name} uses {reached} of aiortc"


def private_names(tree: ast.AST) -> set[str]:
    """Name the private attributes and methods of a module's classes, as others have to."""
    names = set()
    for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in ast.walk(owner):
            name = getattr(node, "attr", None) or getattr(node, "name", None) or ""
            if name.startswith("_") and not name.endswith("__"):
                names.add(f"_{owner.name}{name}" if name.startswith("__") else name)
    return names


def reached_names(tree: ast.AST) -> set[str]:
    """Name the attributes that a module uses of other objects, and those that a class inherits."""
    others: set[str] = set()
    own: set[str] = set()
    made: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) != "self":
            others.add(node.attr)
        elif isinstance(node, ast.Attribute):
            (made if isinstance(node.ctx, ast.Store) else own).add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            made.add(node.name)
        elif isinstance(node, ast.Constant) and "__" in str(node.value):  # for getattr
            others.add(str(node.value))
    return others | own - made


def test_a_cpu_stream_actor_loads_neither_torch_nor_the_edge() -> None:
    """What a stream's process imports is the media path and nothing above it."""
    loaded = _loaded_by("import actors.stream, actors.live_stream")
    assert "aiortc" in loaded
    assert not loaded & {"torch", "fastapi", "commands", "serve_app", "deployments"}


@pytest.mark.parametrize("entry", ["serve_app.ingress", "deployments.directory"])
def test_only_a_stream_actor_loads_the_media_path(entry: str) -> None:
    """Whoever calls actors is spared what it takes."""
    loaded = _loaded_by(f"import {entry}")
    assert "ray" in loaded
    assert not loaded & {"aiortc", "av", "llvmlite", "onnx", "onnxruntime", "soundfile"}


def _loaded_by(code: str) -> set[str]:
    """Name the packages that a program has loaded in the end."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {module.split(".")[0] for module in run.stdout.split()}


@pytest.mark.parametrize("entry", ["serve_app.settings", "commands.cli"])
def test_reading_settings_and_arguments_loads_no_model(entry: str) -> None:
    """Both know the models' names; neither waits for numpy or a runtime."""
    assert not _loaded_by(f"import {entry}") & {"numpy", "onnx", "onnxruntime", "torch"}


def test_onnxruntime_is_imported_in_one_place() -> None:
    """Tests and benchmarks, too, import it where its telemetry is off."""
    for path in sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]):
        assert not any(module.split(".")[0] == "onnxruntime" for module in imports(path)), path


def test_the_pages_load_nothing_from_elsewhere() -> None:
    """No page, script or style names another host: hushcast works without the internet."""
    for path in sorted((ROOT / "frontend").rglob("*")):
        if path.suffix in (".html", ".js", ".css"):
            foreign = re.findall(r"""(?:src|href|from|url)\W{1,4}(https?://[^\s"')]+)""",
                                 path.read_text())  # fmt: skip
            assert not foreign, f"{path}: {foreign}"


def test_what_is_pinned_is_pinned_with_its_extras() -> None:
    """pip takes the newest version of what a dependency wants with an extra unless the pin has it,
    and then refuses that for want of a hash."""
    for lock in ROOT.glob("requirements*.lock"):
        lines = re.findall(r"^([\w.-]+)(?:\[([\w,]+)\])?==", lock.read_text(), re.MULTILINE)
        pinned = {canonicalize_name(name): {*extras.split(",")} for name, extras in lines}
        for name in pinned.keys() & {canonicalize_name(each.name) for each in distributions()}:
            for text in distribution(name).requires or []:
                wanted = Requirement(text)
                needed = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
                if needed and canonicalize_name(wanted.name) in pinned:
                    missing = wanted.extras - pinned[canonicalize_name(wanted.name)]
                    assert not missing, f"{lock.name}: {name} needs {text}"
