"""Previews: short sounds, cleaned beside the live streams of a process without delaying them."""

import asyncio
import logging
import os
import struct
import sys
from asyncio.subprocess import PIPE, Process
from enum import IntEnum

from actors.errors import NoCapacity, PreviewRefused
from actors.models import DEFAULT_MODEL, ModelName

log = logging.getLogger(__name__)

MAX_WAITING = 4
"""Previews of a process, with the one that is being made."""
RETRY_AFTER_S = 5
TIMEOUT_S = 20.0
"""For one preview; it takes about a second of the processor."""
IDLE_S = 60.0
"""How long the worker stays for the next preview. It takes 120 MB."""
REQUEST = struct.Struct("!16sd?I")
"""To the worker: the model; the attenuation limit in dB, infinite for none; whether the post-filter
is on; the WAV's length."""
ANSWER = struct.Struct("!BI")
"""An `Outcome`; the length of what follows, a WAV, a sentence or a traceback."""
BUSY = "Many previews are being made right now. Please try again in a moment."


class Outcome(IntEnum):
    """What became of a preview."""

    CLEANED = 0
    REFUSED = 1
    FAILED = 2


class PreviewFailed(Exception):
    """A bug: the worker's traceback is its message."""


class Previews:
    """Has previews made one after the other, by a worker process that comes when it is needed."""

    def __init__(self) -> None:
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._worker: Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a preview is being made or waits."""
        return self._waiting > 0

    async def make(
        self,
        wav: bytes,
        attenuation_limit_db: float | None,
        model: ModelName = DEFAULT_MODEL,
        *,
        post_filter: bool = False,
    ) -> bytes:
        """Clean a WAV. Raises PreviewRefused, NoCapacity if too many wait or it takes too long.

        Cancelling is safe.
        """
        if self._waiting >= MAX_WAITING:
            raise NoCapacity(BUSY, RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._turn:
                limit = float("inf") if attenuation_limit_db is None else attenuation_limit_db
                head = REQUEST.pack(model.encode(), limit, post_filter, len(wav))
                return await self._ask(head + wav)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the worker."""
        if self._idle is not None:
            self._idle.cancel()
        if (worker := self._worker) is not None:
            self._worker = None
            if worker.returncode is None:
                worker.kill()
            await worker.wait()

    async def _ask(self, request: bytes) -> bytes:
        if self._idle is not None:
            self._idle.cancel()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                outcome, body = await self._exchange(request)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            log.warning("a preview was not made: %r", error)
            await self.close()
            raise NoCapacity("The preview could not be made. Please try again.", 1) from error
        except BaseException:  # cancelled: the worker's next answer would be for nobody
            await self.close()
            raise
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._dismiss)
        if outcome is Outcome.REFUSED:
            raise PreviewRefused(body.decode())
        if outcome is Outcome.FAILED:
            raise PreviewFailed(body.decode())
        return body

    async def _exchange(self, request: bytes) -> tuple[Outcome, bytes]:
        worker = self._worker
        if worker is None or worker.returncode is not None:
            worker = self._worker = await self._start()
        assert worker.stdin and worker.stdout
        worker.stdin.write(request)
        await worker.stdin.drain()
        outcome, length = ANSWER.unpack(await worker.stdout.readexactly(ANSWER.size))
        return Outcome(outcome), await worker.stdout.readexactly(length)

    async def _start(self) -> Process:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = (sys.executable, "-m", "actors.preview_worker")
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, env=environment
        )

    def _dismiss(self) -> None:
        """Let the worker end: it reads the end of its requests."""
        if self._worker is not None and self._worker.stdin is not None:
            self._worker.stdin.close()
            self._worker = None
