"""Code has one name wherever it is installed, and other code another."""

import shutil
from pathlib import Path

from foundation.release import PARTS, hash_of, this_release

ROOT = Path(__file__).parents[2]


def test_a_release_is_named_by_its_code(tmp_path: Path) -> None:
    """A copy elsewhere, without what Python compiled, has the same name; a changed line another."""
    for part in PARTS:
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    assert this_release().endswith(f"+{hash_of(tmp_path)}")
    changed = tmp_path / "actors" / "stream.py"
    changed.write_text(changed.read_text() + "\n")
    assert hash_of(tmp_path) != hash_of(ROOT)


def test_a_file_that_moved_is_another_release(tmp_path: Path) -> None:
    """Names count besides contents."""
    for name in ("actors", "recordings"):
        (tmp_path / name).mkdir()
    code = tmp_path / "actors" / "names.py"
    code.write_text("A = 1\n")
    before = hash_of(tmp_path)
    code.rename(tmp_path / "recordings" / "names.py")
    assert hash_of(tmp_path) != before
