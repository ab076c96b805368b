"""One publisher and twenty listeners for most of an hour: nothing grows."""

import json
import os
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.app.test_faults import hosting
from tests.app.test_load import start
from tests.running import App

MB = 1024 * 1024
LISTENERS = 20
SAMPLE_S = 5.0


def stream_for(app: App, folder: Path, seconds: float, *, settled_s: float) -> float:
    """Run it, print what came of it, check the sound; get how many MB the actor grew.

    From `settled_s` on, each end measured over a tenth of the time.
    """
    told_to = folder / "load.json"
    process = start(
        app, *("--publishers", "1", "--listeners", str(LISTENERS)),
        *("--seconds", str(seconds), "--json", str(told_to)),
    )  # fmt: skip
    sizes: list[tuple[float, float]] = []
    actor: psutil.Process | None = None
    began = 0.0
    while process.poll() is None:
        time.sleep(SAMPLE_S)
        if actor is None:
            try:
                actor, began = hosting(app), time.monotonic()
            except ValueError:  # not yet
                continue
        try:
            sizes.append((time.monotonic() - began, actor.memory_info().rss / MB))
        except psutil.NoSuchProcess:
            break
    printed, errors = process.communicate(timeout=120)
    told = json.loads(told_to.read_text())
    settled = [rss for at, rss in sizes if settled_s <= at <= seconds]
    tenth = max(1, len(settled) // 10)
    first, last = np.mean(settled[:tenth]), np.mean(settled[-tenth:])
    drift_ms = told["mouth_to_ear_drift_ms"]
    print(f"\n{printed}")
    print(
        f"{seconds:.0f} s, load {os.getloadavg()[0]:.1f}: actor {first:.1f} -> {last:.1f} MB from "
        f"{settled_s:.0f} s on; mouth to ear moved by {drift_ms:+.1f} ms"
    )
    assert process.returncode == 0, printed + errors
    assert abs(drift_ms) <= 20
    return float(last - first)


@pytest.mark.slow
@pytest.mark.quiet
@pytest.mark.timeout(300)
def test_a_moment_with_twenty_listeners(app: App, tmp_path: Path) -> None:
    """Every frame arrives, and mouth to ear stays."""
    stream_for(app, tmp_path, 6, settled_s=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_forty_minutes_with_twenty_listeners(app: App, tmp_path: Path) -> None:
    """The actor grows by 2 MB at most from minute 10 to minute 40."""
    assert stream_for(app, tmp_path, 2400, settled_s=600) <= 2.0
