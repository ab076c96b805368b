"""Where processes find the packages, and Ray its short-lived files."""

import os
import sysconfig
import tempfile
from pathlib import Path

_TEMP_PATH_CHARACTERS = 30
"""Ray's sockets lie some 70 characters below its folder, and may have 107 in all."""


def python_path() -> str:
    """Get a PYTHONPATH by which other processes find this very checkout or installation."""
    root = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root == sysconfig.get_path("purelib"):  # is found anyway, and has its place in the order
        return os.pathsep.join(filter(None, inherited))
    return os.pathsep.join(filter(None, [root, *(path for path in inherited if path != root)]))


def temp_folder() -> Path:
    """Make a folder for one run of Ray, with a name that is short enough for its sockets."""
    usual = tempfile.gettempdir()
    parent = usual if len(usual) <= _TEMP_PATH_CHARACTERS else "/tmp"
    return Path(tempfile.mkdtemp(prefix="hush-", dir=parent))
