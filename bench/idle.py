"""What a hushcast that nobody uses costs, process by process, and how long it takes to start.

`python -m bench.idle [--seconds 60]` starts `hushcast up`, lets it settle, and prints the share of
a core and the memory (PSS) of each of its processes.
"""

import argparse
import os
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import psutil

from tests.running import running_app

SETTLE_S = 30.0


def name_of(process: psutil.Process) -> str:
    """Name what a process is for: Ray's by their own titles, others by their command."""
    words = process.cmdline()
    if not words:
        return process.name()
    if words[0].startswith("ray::"):
        return " ".join(words)
    known = [Path(word).name for word in words if not word.startswith("-")]
    if known[0].startswith("python") and len(known) > 1:
        module = words[words.index("-m") + 1] if "-m" in words else known[1]
        return f"python {module}"
    return known[0]


def family(pid: int) -> list[psutil.Process]:
    """List a process and all that it started, also what has been orphaned in its session."""
    root = psutil.Process(pid)
    found = {each.pid: each for each in [root, *root.children(recursive=True)]}
    groups = {os.getsid(each) for each in found}
    for each in psutil.process_iter():
        try:
            if os.getsid(each.pid) in groups:
                found.setdefault(each.pid, each)
        except (ProcessLookupError, PermissionError):
            continue
    return [each for each in found.values() if each.pid != os.getpid()]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with running_app(Path(folder)) as app:
            print(f"ready after {time.monotonic() - began:.1f} s")
            time.sleep(SETTLE_S)
            before = {
                each.pid: (each, sum(each.cpu_times()[:2])) for each in family(app.process.pid)
            }
            time.sleep(seconds)
            cpu, memory, count = defaultdict[str, float](float), Counter[str](), Counter[str]()
            for process, used in before.values():
                try:
                    name = name_of(process)
                    cpu[name] += sum(process.cpu_times()[:2]) - used
                    memory[name] += process.memory_full_info().pss
                    count[name] += 1
                except psutil.NoSuchProcess:
                    continue
    for name, used in sorted(cpu.items(), key=lambda each: -each[1]):
        print(
            f"{100 * used / seconds:5.1f} %  {memory[name] / 2**20:6.0f} MB  {count[name]} x {name}"
        )
    print(f"{100 * sum(cpu.values()) / seconds:5.1f} %  {memory.total() / 2**20:6.0f} MB  in all")


if __name__ == "__main__":
    main()
