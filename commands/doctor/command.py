"""`hushcast doctor`: run every check, print a line for each finding."""

from collections.abc import Callable, Iterator

from commands.doctor.findings import Finding
from commands.doctor.machine import check_gpu, check_model, check_webrtc
from commands.doctor.network import check_tls, check_turn, check_udp
from commands.doctor.storage import check_redis, check_s3
from commands.local.child import StartFailed
from commands.local.data_dir import DataDirRefused
from commands.local.signals import Interrupted, Signals
from commands.local.storage import open_storage
from serve_app.settings import Settings

Check = Callable[[Settings], Iterator[Finding]]
WITHOUT_STORAGE: tuple[Check, ...] = (
    check_model,
    check_gpu,
    check_webrtc,
    check_udp,
    check_turn,
    check_tls,
)
CHECKS: tuple[Check, ...] = (*WITHOUT_STORAGE, check_redis, check_s3)


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
        with open_storage(settings, signals) as complete:
            for check in CHECKS:
                yield from check(complete)
    except (StartFailed, DataDirRefused) as problem:
        for check in WITHOUT_STORAGE:
            yield from check(settings)
        to_do = "Wait until `hushcast up` is ready, or read the logs in its data directory."
        yield Finding("Redis and S3", str(problem), to_do)
