"""Which build of hushcast this is."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PARTS = "commands serve_app deployments actors recordings foundation frontend".split()
"""The folders that an installation and a checkout have in common."""
HASH_CHARACTERS = 10


@cache
def this_release() -> str:
    """Name the code that this process was started from, such as `0.2.0+1f6a0c93be`.

    Not the version alone: between two versions there is new code too, and `serve deploy` replaces
    only what has another name.
    """
    try:
        number = version("hushcast")
    except PackageNotFoundError:  # run from a checkout that was not installed
        number = "0"
    return f"{number}+{hash_of(Path(__file__).parents[1])}"


def hash_of(root: Path) -> str:
    """Hash the code below a folder: names and contents, of nothing that Python makes from them."""
    digest = hashlib.sha256()
    for part in PARTS:
        for path in sorted((root / part).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(root)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:HASH_CHARACTERS]
