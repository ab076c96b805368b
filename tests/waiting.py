"""Waiting for conditions: never for a fixed time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], bool | Awaitable[bool]],
    *,
    timeout_s: float = 30.0,
    interval_s: float = 0.01,
) -> float:
    """Wait until a condition holds; returns the seconds that took.

    Raises TimeoutError, generously late: a test that needs to be quick measures the result.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        if holds:
            return loop.time() - began
        if loop.time() - began > timeout_s:
            raise TimeoutError(f"not within {timeout_s} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(interval_s)
