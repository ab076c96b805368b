"""Everything hostile at once, from one address and from many, while people stream and listen."""

import json
import subprocess
import sys
from typing import Any

import pytest


def attacked(seconds: float, addresses: int) -> dict[str, Any]:
    """Attack an instance in a network of its own; returns and prints what was measured."""
    command = [*"unshare --net --map-root-user".split(), sys.executable, "-m"]
    command += ["tests.security.hostile", str(seconds), str(addresses)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}{ran.stderr[-4000:]}"
    print(f"\n{ran.stdout}")
    found: dict[str, Any] = json.loads(ran.stdout)
    assert found["lost"] == 0 < found["frames"]
    assert found["bytes_to_the_sink"] == 0
    assert {"reflect 201", "bomb 400", "spray 401", "garbage"} <= found["attack"].keys()
    return found


@pytest.mark.slow
@pytest.mark.quiet
def test_a_short_attack_costs_nobody_a_frame() -> None:
    """Reflection offers, bombs, garbage, guesses, slow requests, sockets."""
    found = attacked(5, 3)
    assert found["logs_mb"] < 5 and found["valkey_mb"] < 5


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("addresses", [1, 50])
def test_ten_minutes_of_attack(addresses: int) -> None:
    """The same for longer: newcomers start within a second, and memory does not grow any more.

    What a process uses for the first time it keeps: a minute of attack before shows the level.
    """
    found = attacked(600, addresses)
    assert found["memory_mb"]["after"] < 1.05 * found["memory_mb"]["warm"]
    assert found["start_p95_s"] < 1
    assert found["logs_mb"] < 50 and found["valkey_mb"] < 50
