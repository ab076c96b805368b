"""How many streams one GPU denoises: the time of a step with B streams in it, sound to sound.

    python -m bench.denoiser_gpu [--model dfn2] [--steps 500]

A step is a hop of each stream, 10 ms of sound: from numpy to the GPU, through the whole pipeline,
and back to numpy. It has to take less than 10 ms nearly always, or hops are late.
"""

import argparse
import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from actors.denoiser import Device, Model, load_model
from actors.denoiser.executor import Batch, Phase
from actors.denoiser.torch_executor import TorchExecutor
from actors.models import DEFAULT_MODEL, MODELS

BATCHES = (64, 128, 256, 512, 1024, 2048)
LIMIT_MS = 10.0
_WARM_UP_STEPS = 20


class Figure(NamedTuple):
    """Step times with this many streams."""

    batch: int
    p50_ms: float
    p99_ms: float


def measure(
    model: Model, device: Device, batches: Iterable[int] = BATCHES, steps: int = 500
) -> list[Figure]:
    """Measure steps of each batch size, one after the other, without a pause."""
    sizes = sorted(batches)
    executor = TorchExecutor(model, sizes[-1], device)
    return [_measure(executor, size, model.hop_samples, steps) for size in sizes]


def streams_per_gpu(figures: Iterable[Figure]) -> int:
    """Get the largest batch that was in time, itself and all smaller ones; 0 if none was."""
    most = 0
    for figure in figures:
        if figure.p99_ms >= LIMIT_MS:
            break
        most = figure.batch
    return most


def _measure(executor: TorchExecutor, size: int, hop_samples: int, steps: int) -> Figure:
    dice = np.random.default_rng(1)
    batch = Batch(
        slots=np.arange(size),
        hops=dice.normal(0, 0.1, (size, 1, hop_samples)).astype(np.float32),
        phases=np.full(size, Phase.SOUND, np.int8),
        noisy_share=np.zeros(size, np.float32),
    )
    times = []
    for _ in range(_WARM_UP_STEPS + steps):
        began = time.perf_counter()
        executor.run(batch)
        times.append(1000 * (time.perf_counter() - began))
    p50, p99 = np.percentile(times[_WARM_UP_STEPS:], (50, 99))
    return Figure(size, float(p50), float(p99))


def table(figures: list[Figure]) -> str:
    """Write figures as Markdown."""
    lines = ["| streams | p50 ms | p99 ms |", "|---|---|---|"]
    lines += [f"| {batch} | {p50:.2f} | {p99:.2f} |" for batch, p50, p99 in figures]
    most = streams_per_gpu(figures)
    return "\n".join([*lines, "", f"streams per GPU at p99 < {LIMIT_MS:.0f} ms: {most}"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default=DEFAULT_MODEL)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    args = parser.parse_args()
    print(table(measure(load_model(args.model), args.device, steps=args.steps)))


if __name__ == "__main__":
    main()
