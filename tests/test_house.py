"""The house rules that a machine can check."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ["commands", "serve_app", "deployments", "actors", "recordings", "foundation"]
"""From the top down: a layer imports itself and what is below it."""
OWNERS = {
    "ray": (
        "commands/",
        "serve_app/",
        "deployments/directory.py",
        "deployments/stream_actors.py",
        "actors/stream.py",
    ),
    "fastapi": ("serve_app/",),
    "boto3": ("recordings/",),
    "redis": ("foundation/redis.py",),
    "torch": ("actors/denoiser/torch_",),
}
"""Which files may know a library."""
DENOISER_KNOWS = {"numpy", "onnx", "onnxruntime", "torch", "actors"} | set(sys.stdlib_module_names)


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
            assert top != "actors" or module.startswith("actors.denoiser"), name


def test_a_cpu_stream_actor_loads_neither_torch_nor_the_edge() -> None:
    """What a stream's process imports is the media path and nothing above it."""
    code = "import sys, actors.stream; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {module.split(".")[0] for module in run.stdout.split()}
    assert "actors" in loaded
    assert not loaded & {"torch", "fastapi", "commands", "serve_app", "deployments"}


def test_the_pages_load_nothing_from_elsewhere() -> None:
    """No page, script or style names another host: hushcast works without the internet."""
    for path in sorted((ROOT / "frontend").rglob("*")):
        if path.suffix in (".html", ".js", ".css"):
            foreign = re.findall(r"""(?:src|href|from|url)\W{1,4}(https?://[^\s"')]+)""",
                                 path.read_text())  # fmt: skip
            assert not foreign, f"{path}: {foreign}"
