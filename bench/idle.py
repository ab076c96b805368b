"""What the embedded SeaweedFS costs while nobody stores anything.

`python -m bench.idle [GOMEMLIMIT=... GOGC=...]` measures it as hushcast starts it, in turns with
the environment given.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import psutil

from commands.local.child import Child
from commands.local.guardian import Guardian
from commands.local.seaweed import SeaweedFS

SETTLE_S = 15.0
MEASURE_S = 30.0
TURNS = 2


def measure(environment: dict[str, str]) -> tuple[float, float]:
    """Start a server; get its share of a core, %, and its memory, MB, once it has settled."""
    with tempfile.TemporaryDirectory() as folder, Guardian() as guardian:
        part = SeaweedFS.prepare(Path(folder) / "data", Path(folder) / "log")
        command = part.command()
        child = Child(
            part.name, replace(command, environment=command.environment | environment), guardian
        )
        child.start()
        try:
            child.wait_until(part.answers)
            process = psutil.Process(child.pid)
            time.sleep(SETTLE_S)
            before = sum(process.cpu_times()[:2])
            time.sleep(MEASURE_S)
            used_s = sum(process.cpu_times()[:2]) - before
            return 100 * used_s / MEASURE_S, process.memory_info().rss / 2**20
        finally:
            child.stop()


def main() -> None:
    """Print the medians."""
    other = dict(argument.split("=", 1) for argument in sys.argv[1:])
    contestants: dict[str, dict[str, str]] = {"as started": {}}
    if other:
        contestants[" ".join(sys.argv[1:])] = other
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(TURNS):
        for name, environment in contestants.items():
            results[name].append(measure(environment))
    for name, measured in results.items():
        cpu, memory = (median(each) for each in zip(*measured, strict=True))
        print(f"{name}: {cpu:.1f} % of a core, {memory:.0f} MB")


if __name__ == "__main__":
    main()
