"""`hushcast deploy`: `serve deploy` that knows new code, and waits until it serves."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from commands.local.signals import Interrupted, Signals
from foundation.release import this_release

T = TypeVar("T")

CONFIG = Path(__file__).parents[1] / "serve_app" / "serve.yaml"
START_LIMIT_S = 180.0
"""How long the head may take to answer: its dashboard comes last."""
LIMIT_S = 300.0
ASK_INTERVAL_S = 1.0


def run(config: str | None, address: str, signals: Signals) -> int:
    """Deploy the code of this machine on the cluster; returns the exit code.

    0 once it serves, 1 if it does not: it was refused, failed, or is not there after 5 minutes.
    """
    try:
        file = Path(config) if config else CONFIG
        orders = with_release(yaml.safe_load(file.read_text()), this_release())
        client = _patiently(lambda: ServeSubmissionClient(address), address, signals)
        _patiently(lambda: client.deploy_applications(orders), address, signals)
        [application, *_] = orders["applications"]
        print(f"deploying hushcast {application['args']['settings']['release']}", flush=True)
        details = partial(_patiently, client.get_serve_details, address, signals)
        return _wait(details, application["name"], signals)
    except Interrupted:
        return 0
    except (OSError, RuntimeError, ValueError, yaml.YAMLError) as problem:
        print(problem, file=sys.stderr)
        return 1


def with_release(config: dict[str, Any], release: str) -> dict[str, Any]:
    """Name the release in a Serve config, unless it does so itself.

    Serve compares nothing else: while the config is the same, new code changes nothing.
    """
    for application in config["applications"]:
        settings = application.setdefault("args", {}).setdefault("settings", {})
        settings.setdefault("release", release)
    return config


def _patiently(call: Callable[[], T], address: str, signals: Signals) -> T:
    """Call the head until it answers. Raises OSError if it does not.

    A call may come twice: each says what there should be, not what to do.
    """
    waited_s = 0.0
    while True:
        try:
            return call()
        except OSError:  # the ConnectionError of `requests` is one
            if waited_s >= START_LIMIT_S:
                raise
            if not waited_s:
                print(f"waiting for the head at {address}", flush=True)
            signals.pause(ASK_INTERVAL_S)
            waited_s += ASK_INTERVAL_S


def _wait(details: Callable[[], dict[str, Any]], name: str, signals: Signals) -> int:
    """Print what Serve says until the application runs, or cannot."""
    said, waited_s = "", 0.0
    while waited_s < LIMIT_S:
        signals.pause(ASK_INTERVAL_S)
        waited_s += ASK_INTERVAL_S
        told = details()["applications"][name]
        if told["status"] != said:
            said = told["status"]
            print(f"{waited_s:5.0f} s  {name} is {said.lower()}", flush=True)
        if said == "RUNNING":
            return 0
        if said in ("DEPLOY_FAILED", "UNHEALTHY"):
            print(told["message"], file=sys.stderr)
            return 1
    print(f"it does not serve after {LIMIT_S:.0f} s: {told['message']}", file=sys.stderr)
    return 1
