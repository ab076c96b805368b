"""What a load test measured: numbers for programs, a table for people."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commands.load.crew import CrewResult, Started

FRAME_KEYS = ("expected", "received", "lost", "unsent", "late")


@dataclass
class Measured:
    """Everything that the processes reported."""

    publishers: list[Started] = field(default_factory=list)
    listeners: list[Started] = field(default_factory=list)
    publishing: list[CrewResult] = field(default_factory=list)
    listening: list[CrewResult] = field(default_factory=list)
    degraded: list[bool] = field(default_factory=list)
    """Of looks at the streams, one after the other, which saw a degraded one."""


def numbers(options: dict[str, Any], measured: Measured) -> dict[str, Any]:
    """Summarise what was measured: times in ms, counts of 20 ms frames, shares 0..1."""
    heard = [each for crew in measured.listening for each in crew.listeners]
    published = [each for crew in measured.publishing for each in crew.publishers]
    stats = [each.stats for each in published]
    mouth_to_ear = [latency for each in heard for latency in each.mouth_to_ear_s]
    started = measured.publishers + measured.listeners
    crews = measured.publishing + measured.listening
    silent = sum(each.first_sound_s is None for each in heard)
    failures = [each.failure for each in started if each.failure]
    failures += ["connected, but heard nothing"] * silent
    return {
        "options": options,
        "times_ms": {
            "publisher_answered": _spread(s.answered_s for s in _up(measured.publishers)),
            "publisher_connected": _spread(s.connected_s for s in _up(measured.publishers)),
            "listener_answered": _spread(s.answered_s for s in _up(measured.listeners)),
            "listener_connected": _spread(s.connected_s for s in _up(measured.listeners)),
            "first_sound": _spread(e.first_sound_s for e in heard if e.first_sound_s is not None),
            "mouth_to_ear": _spread(mouth_to_ear),
        },
        "mouth_to_ear_drift_ms": _drift([each.mouth_to_ear_s for each in heard]),
        "frames": {key: sum(getattr(e.frames, key) for e in heard) for key in FRAME_KEYS},
        "latency_found_for": sum(
            len(e.mouth_to_ear_s) / max(1, e.frames.received) for e in heard if e.measured
        )
        / max(1, sum(e.measured for e in heard)),
        "server": {
            "publishers_that_were_told": sum(bool(each) for each in stats),
            "late_hops": sum(int(each.get("late_hops", 0)) for each in stats),
            "worst_loss": max((each.get("loss", 0.0) for each in stats), default=0.0),
            "degraded": float(np.mean(measured.degraded)) if measured.degraded else 0.0,
            "refused_tries": sum(each.tries - 1 for each in started),
        },
        "injected": {
            "lost_to_server": sum(crew.datagrams.lost for crew in measured.publishing),
            "lost_to_listeners": sum(crew.datagrams.lost for crew in measured.listening),
        },
        "generator": {
            "worst_late_packet_ms": _ms(max((e.worst_lateness_s for e in published), default=0)),
            "worst_lag_ms": _ms(max((crew.worst_lag_s for crew in crews), default=0)),
        },
        "failures": failures,
    }


def passed(told: dict[str, Any], *, harmed: bool) -> bool:
    """Tell whether all peers connected and heard, and no frame is missing except on purpose."""
    frames = told["frames"]
    gaps = frames["unsent"] + (0 if harmed else frames["lost"])
    return not told["failures"] and not gaps and frames["received"] > 0


ROWS = {
    "publisher_answered": "publisher: POST to 201",
    "publisher_connected": "publisher: POST to connected",
    "listener_answered": "listener: POST to 201",
    "listener_connected": "listener: POST to connected",
    "first_sound": "listener: POST to first sound",
    "mouth_to_ear": "mouth to ear (no jitter buffer)",
}


def table(told: dict[str, Any]) -> str:
    """Format the numbers for people."""
    frames, server, generator = told["frames"], told["server"], told["generator"]
    lines = [f"{'ms':<34}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}{'n':>9}"]
    for key, title in ROWS.items():
        spread = told["times_ms"][key]
        if spread is not None:
            cells = "".join(f"{spread[column]:>9.1f}" for column in ("p50", "p95", "p99", "max"))
            lines.append(f"{title:<34}{cells}{spread['count']:>9}")
    lines += [
        f"frames: {frames['expected']} expected, {frames['received']} received, "
        f"{frames['lost']} lost on the way, {frames['unsent']} never sent, {frames['late']} late",
        f"latency found for {told['latency_found_for']:.0%} of the measured frames",
        f"server: {server['late_hops']} late hops, "
        f"{server['worst_loss']:.1%} lost from the worst publisher, "
        f"{server['refused_tries']} attempts refused, "
        f"{server['degraded']:.0%} of the time degraded",
        f"injected: {told['injected']['lost_to_server']} datagrams lost to the server, "
        f"{told['injected']['lost_to_listeners']} to listeners",
        f"this generator: packets late by up to {generator['worst_late_packet_ms']:.1f} ms, "
        f"event loop by {generator['worst_lag_ms']:.1f} ms",
    ]
    for failure in sorted(set(told["failures"])):
        lines.append(f"failed ({told['failures'].count(failure)}): {failure}")
    return "\n".join(lines)


def _up(started: Iterable[Started]) -> list[Started]:
    return [each for each in started if each.failure is None]


def _spread(seconds: Iterable[float]) -> dict[str, float] | None:
    values = np.array(list(seconds), np.float64)
    if not len(values):
        return None
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {
        "p50": _ms(p50),
        "p95": _ms(p95),
        "p99": _ms(p99),
        "max": _ms(values.max()),
        "count": len(values),
    }


def _drift(latencies: list[NDArray[np.float64]]) -> float:
    """Get by how many ms the median of the last tenth exceeds that of the first."""
    heard = [each for each in latencies if len(each)]
    if not heard:
        return 0.0
    first = np.concatenate([each[: len(each) // 10 + 1] for each in heard])
    last = np.concatenate([each[-(len(each) // 10 + 1) :] for each in heard])
    return _ms(np.median(last) - np.median(first))


def _ms(seconds: float) -> float:
    return round(1000 * float(seconds), 2)
