"""`hushcast doctor`: run every check, print a line for each finding."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from commands.doctor.cluster import check_nodes
from commands.doctor.findings import Finding
from commands.doctor.machine import check_gpu, check_model, check_spool, check_webrtc
from commands.doctor.network import check_tls, check_turn, check_udp
from commands.doctor.storage import check_redis, check_s3
from commands.local.child import StartFailed
from commands.local.data_dir import DataDirRefused
from commands.local.signals import Interrupted, Signals
from commands.local.storage import open_storage
from serve_app.settings import Settings

Check = Callable[[Settings], Iterator[Finding]]
WITHOUT_STORAGE: dict[str, Check] = {
    "model": check_model,
    "GPU": check_gpu,
    "spool": check_spool,
    "WebRTC": check_webrtc,
    "UDP": check_udp,
    "TURN": check_turn,
    "certificate": check_tls,
    "nodes": check_nodes,
}
CHECKS: dict[str, Check] = {**WITHOUT_STORAGE, "Redis": check_redis, "S3": check_s3}
LIMIT_S = 60.0
"""How long one check may take: a server can trickle, and no timeout of its client ends that."""
_SLICE_S = 0.05


def run(settings: Settings, signals: Signals) -> int:
    """Check what these settings need, print the findings; returns the exit code, 1 for a problem.

    Redis and S3 are those of the settings, those of a `hushcast up` running in the data directory,
    or else its own, started for the check.
    """
    healthy = True
    try:
        for finding in _findings(settings, signals):
            print(finding, flush=True)
            healthy = healthy and finding.ok
            signals.pause(0)
    except Interrupted:
        return signals.exit_code
    return 0 if healthy else 1


def _findings(settings: Settings, signals: Signals) -> Iterator[Finding]:
    """Run every check, with the settings of the running instance if there is one."""
    try:
        with open_storage(settings, signals, new=True) as complete:
            yield from findings_of(CHECKS, complete, signals)
    except (StartFailed, DataDirRefused) as problem:
        yield from findings_of(WITHOUT_STORAGE, settings, signals)
        to_do = "Wait until `hushcast up` is ready, or read the logs in its data directory."
        yield Finding("Redis and S3", str(problem), to_do)


def findings_of(
    checks: Mapping[str, Check], settings: Settings, signals: Signals
) -> Iterator[Finding]:
    """Run checks, whatever becomes of the one before. Raises Interrupted.

    Each runs in a daemon thread, so that one that hangs holds neither the others nor the process.
    """
    for what, check in checks.items():
        found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()
        threading.Thread(target=_check, args=(what, check, settings, found), daemon=True).start()
        yield from _in_time(what, found, signals)


def _check(
    what: str, check: Check, settings: Settings, found: "queue.SimpleQueue[Finding | None]"
) -> None:
    """Put what a check finds, and None at its end."""
    try:
        for finding in check(settings):
            found.put(finding)
    except Exception as error:  # noqa: BLE001
        told = f"the check failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        to_do = "Are its settings right, and is it what they say? If so, please report this."
        found.put(Finding(what, told, to_do))
    found.put(None)


def _in_time(
    what: str, found: "queue.SimpleQueue[Finding | None]", signals: Signals
) -> Iterator[Finding]:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        signals.pause(0)
        with suppress(queue.Empty):
            finding = found.get(timeout=_SLICE_S)
            if finding is None:
                return
            yield finding
    to_do = "Are its settings right, and is it healthy? Is this machine overloaded?"
    yield Finding(what, f"the check did not end in {LIMIT_S:g} s", to_do)
