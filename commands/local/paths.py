"""Where child processes find our packages, and where Ray keeps its temporary files."""

import os
import re
import sysconfig
import tempfile
from pathlib import Path

_TEMP_PATH_CHARACTERS = 28
"""Ray's socket paths are some 70 characters longer than its folder's; the limit is 107."""


def python_path() -> str:
    """Get a PYTHONPATH that lets other processes find this checkout or installation."""
    root = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root == sysconfig.get_path("purelib"):  # already on the path, in its place
        return os.pathsep.join(filter(None, inherited))
    return os.pathsep.join(filter(None, [root, *(path for path in inherited if path != root)]))


def temp_folder() -> Path:
    """Make a private folder for one run of Ray, with a plain name, short enough for its sockets."""
    usual = tempfile.gettempdir()
    plain = re.fullmatch(r"[A-Za-z0-9/_.-]+", usual) and len(usual) <= _TEMP_PATH_CHARACTERS
    parent = usual if plain else "/tmp"
    return Path(tempfile.mkdtemp(prefix="hush-", dir=parent))
