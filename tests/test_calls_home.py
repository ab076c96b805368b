"""hushcast sends nothing that its user did not ask for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

UNSHARE = ("unshare", "--net", "--mount", "--map-root-user")


@pytest.mark.parametrize("work", ["denoise", pytest.param("up", marks=pytest.mark.slow)])
def test_nothing_leaves_the_machine(work: str, tmp_path: Path) -> None:
    """No name is asked for, nobody is connected to, no proxy is used, no id is left at home."""
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs network namespaces")
    command = [*UNSHARE, sys.executable, "-m", "tests.cut_off", str(tmp_path), work]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert "control" in told["control"][0] and "203.0.113.1:80" in told["control"][-1]
    assert (told["sent"], told["asked"]) == ([], [])
    assert not [path for path in told["home"] if "Microsoft" in path]
