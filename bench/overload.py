"""What an overload costs those who were there before, and how soon after it all is as before.

    python -m bench.overload [--steady 12] [--more 16] [--seconds 60] [--actors 2]

So many publishers with a listener each stream throughout; `--more` come for a while. hushcast is
started here, on loopback, with as many streams as it is told to take. As root the generators run in
the real-time class: on the same cores they would else be late themselves, and measure that.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.status import StatusStore, StreamState
from commands.local.valkey import Valkey
from foundation.redis import connect
from tests.running import running_app
from tests.servers import running
from tests.waiting import until

LOOK_S = 0.25
BEFORE_S, AFTER_S = 15.0, 90.0
"""How long the steady streams are alone before, and at least afterwards."""


@dataclass
class Seen:
    """What every look at the streams saw: when, how many were live, and how many degraded."""

    looks: list[tuple[float, int, int]] = field(default_factory=list)

    async def watch(self, redis_url: str) -> None:
        """Look until cancelled."""
        async with connect(redis_url) as redis:
            store = StatusStore(redis)
            while True:
                streams = await store.read_many(sorted(await store.streaming()))
                live = [each for each in streams if each.state is StreamState.LIVE]
                degraded = sum(each.degraded for each in live)
                self.looks.append((time.monotonic(), len(live), degraded))
                await asyncio.sleep(LOOK_S)


def load(url: str, pairs: int, seconds: float, report: Path) -> "subprocess.Popen[bytes]":
    """Begin a load of so many publishers, each with a listener."""
    command = [sys.executable, "-m", "commands.cli", "load", "--url", url]
    command += ["--publishers", str(pairs), "--listeners", str(pairs), "--undenoised-on-overload"]
    command += ["--seconds", str(seconds), "--json", str(report)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=_first_of_all)


def _first_of_all() -> None:
    """Run before everything else on this machine, and what this process starts as well."""
    if os.geteuid() == 0:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


async def measure(options: argparse.Namespace, url: str, redis_url: str, folder: Path) -> None:
    """Load, overload, and see how it ends."""
    seen = Seen()
    watching = asyncio.create_task(seen.watch(redis_url))
    length_s = BEFORE_S + options.seconds + AFTER_S
    steady = load(url, options.steady, length_s, folder / "steady.json")
    await _until_live(seen, options.steady)
    await asyncio.sleep(BEFORE_S)
    more = load(url, options.more, options.seconds, folder / "more.json")
    everybody = options.steady + options.more
    await _until_live(seen, everybody)
    await asyncio.to_thread(more.wait)
    assert await asyncio.to_thread(steady.wait) in (0, 1)
    watching.cancel()
    during = [look for look in seen.looks if look[1] >= everybody]
    ended = during[-1][0]
    after = [look for look in seen.looks if look[0] > ended and look[1] >= options.steady]
    last = max((at for at, _, degraded in after if degraded), default=ended)
    share = sum(look[2] for look in during) / sum(look[1] for look in during)
    print(f"{everybody} streams: {share:.0%} of their time degraded")
    print(f"after it no stream was degraded from {last - ended:.1f} s on, of {options.steady}")
    for name in ("steady", "more"):
        _print(name, json.loads((folder / f"{name}.json").read_text()))


def _print(name: str, told: dict[str, Any]) -> None:
    late = told["times_ms"]["mouth_to_ear"]
    print(f"{name}: mouth to ear {json.dumps(late)}, {json.dumps(told['frames'])}")
    print(f"{name}: server {json.dumps(told['server'])}, generator {json.dumps(told['generator'])}")


async def _until_live(seen: Seen, count: int) -> None:
    await until(lambda: bool(seen.looks) and seen.looks[-1][1] >= count, timeout_s=120)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steady", type=int, default=12)
    parser.add_argument("--more", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--actors", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    places = -(-(options.steady + options.more) // options.actors)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        valkey = Valkey.prepare(folder / "valkey", folder / "valkey.log")
        stack.enter_context(running(valkey))
        environment = {
            "HUSHCAST_REDIS_URL": valkey.url,
            "HUSHCAST_STREAMS_PER_ACTOR": str(places),
            "HUSHCAST_LIMITS": "streams=1000 offers=100000/minute",
        }
        app = stack.enter_context(running_app(folder / "data", **environment))
        asyncio.run(measure(options, app.url, valkey.url, folder))


if __name__ == "__main__":
    main()
