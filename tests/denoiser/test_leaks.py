"""Streams come and go for a long time and leave nothing behind."""

import time

import numpy as np
import psutil
import pytest

from actors.denoiser import Engine, Model, Slot
from tests.denoiser.clips import noisy_clip

HOP = 480
STREAMS = 12
VOICE = noisy_clip("voice", 3.0)


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(5, marks=pytest.mark.slow),
        pytest.param(600, marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
    ],
)
def test_joining_and_leaving_leaves_no_memory(model: Model, seconds: int) -> None:
    """Thousands of streams, one after another, in batches of all sizes: memory stays flat."""
    dice = np.random.default_rng(1)
    engine = Engine(model, STREAMS)
    slots: list[Slot] = []
    joined, hops = 0, 0
    sizes: list[float] = []
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        if len(slots) < STREAMS and dice.random() < 0.3:
            slots.append(engine.join())
            joined += 1
        for slot in slots:
            start = int(dice.integers(0, len(VOICE) - 2000))
            slot.push(VOICE[start : start + int(dice.integers(0, 2000))])
        while batch := engine.step():
            hops += batch
        for slot in slots:
            slot.take()
        if slots and dice.random() < 0.3:
            engine.leave(slots.pop(int(dice.integers(0, len(slots)))))
        if now > began + seconds * (0.3 + 0.07 * len(sizes)):
            sizes.append(psutil.Process().memory_info().rss / 1e6)
    growth = max(sizes[-3:]) - max(sizes[:3])
    print(f"{joined} streams, {hops} hops, {sizes[0]:.1f} MB, then {growth:+.2f} MB in {seconds} s")
    assert joined > 10 * seconds and hops > 300 * seconds
    assert growth < 1.0
