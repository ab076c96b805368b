"""`hushcast drain`: empty a node of the cluster, so that it can be taken away."""

import argparse
import asyncio
import sys
import time

from commands.local.child import StartFailed
from commands.local.data_dir import DataDirRefused
from commands.local.signals import Interrupted, Signals
from commands.local.storage import open_storage
from deployments.drain import Drains, Left
from foundation.redis import RedisUnavailable, answer, connect
from serve_app.settings import Settings

POLL_S = 0.5
ANSWER_LIMIT_S = 15.0
"""How long the stream directory may take to say what is left on a node."""
SETTLED_S = 5.0
"""How long it may take to see who is there."""
OVERDUE_S = 30.0


class NotDrained(Exception):
    """The node is not empty; the message says why and what to do."""


def run(options: argparse.Namespace, settings: Settings, signals: Signals) -> int:
    """Mark a node and wait until it is empty, or take the mark back; returns the exit code.

    1 with a sentence if there is no such node, it is not empty in time, or nobody answers.
    """
    try:
        if settings.redis_url is not None:
            signals.run(answer(settings.redis_url))
        with open_storage(settings, signals, objects=False) as complete:
            signals.run(_act(options, complete))
    except Interrupted:
        print(
            f"{options.node} goes on being drained; `hushcast drain {options.node} --back` ends it"
        )
        return signals.exit_code
    except (RedisUnavailable, StartFailed, DataDirRefused, NotDrained) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


async def _act(options: argparse.Namespace, settings: Settings) -> None:
    assert settings.redis_url is not None
    async with connect(settings.redis_url) as redis:
        drains = Drains(redis)
        if options.back:
            await drains.end(options.node)
            print(f"{options.node} takes streams again")
        else:
            await drain(drains, options.node, options.within)


async def drain(drains: Drains, node: str, within_s: float) -> None:
    """Mark a node and wait until nothing is left on it. Raises NotDrained or RedisUnavailable."""
    began = time.time()
    await drains.begin(node, began + within_s)
    told = ""
    while (left := await drains.left(node)) is None or not _is_empty(left, began):
        if left is None and time.time() - began > ANSWER_LIMIT_S:
            await drains.end(node)
            raise NotDrained("The stream directory does not answer. Does hushcast use this Redis?")
        if left is not None and left.actors is None:
            await drains.end(node)
            raise NotDrained(f"There is no node {node}. Give its address, or its id in Ray.")
        if time.time() - began > within_s + OVERDUE_S:
            raise NotDrained(f"{node} is not empty: {told}. It takes nothing new.")
        if left is not None and (now := f"{left.streams} streams, {left.actors} actors") != told:
            told = now
            print(f"{node}: {told}", flush=True)
        await asyncio.sleep(POLL_S)
    print(f"{node} is empty, and its recordings are stored")


def _is_empty(left: Left, began: float) -> bool:
    return left.actors == 0 and left.told_at - began > SETTLED_S
