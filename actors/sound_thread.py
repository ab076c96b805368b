"""One thread that decodes, denoises and encodes for all streams of a process, in batches."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from actors.denoiser import Device, Engine, EngineFull, Model, Slot, executor_on

log = logging.getLogger(__name__)

Item = TypeVar("Item")


class SoundThread:
    """Takes what streams queue in their lanes, and runs the engine when a batch is due.

    A lane's next item is taken when nothing of its slot waits for a batch any more: what is too
    much stays in the lane, where it is counted.
    """

    def __init__(self, model: Model, streams: int, *, device: Device = "cpu") -> None:
        """`streams` is how many there may be at a time. Raises ModelError, see `executor_on`."""
        self.model = model
        self.changed = threading.Condition()
        self._engine = Engine(model, streams, executor=executor_on(device))
        self._opened: list[Lane[Any]] = []  # not seen by the thread yet
        self._lanes: list[Lane[Any]] = []
        self._closing = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sound", daemon=True)

    def start(self) -> None:
        """Begin to work. Whoever starts it calls `close`."""
        self._thread.start()

    def close(self) -> None:
        """End the thread when all lanes are closed, and wait for it."""
        with self.changed:
            self._closing = True
            self.changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether it works; False after an error that ended all of its streams."""
        return self._error is None

    def open(self, lane: "Lane[Any]") -> None:
        """Serve a lane from now on."""
        with self.changed:
            if self._error is None:
                self._opened.append(lane)
                self.changed.notify()
                return
        lane.fail(self._error)

    def run_out(self, slot: Slot) -> None:
        """Run batches until nothing of this slot waits. Only on this thread."""
        while slot.waiting:
            self._engine.step()

    def reset(self, slot: Slot) -> None:
        """Let a stream's sound begin anew. Only on this thread."""
        self._engine.reset(slot)

    def _run(self) -> None:
        try:
            while self._wait():
                for lane in list(self._lanes):
                    self._serve(lane, lane.take_up)
                if self._engine.due_in_s == 0:
                    self._engine.step()
                for lane in list(self._lanes):
                    self._serve(lane, lane.pass_on)
        except Exception as error:  # the end of the thread's life: its streams end with it
            log.exception("the sound thread ended by an error")
            with self.changed:
                self._error = error
            for lane in [*self._lanes, *self._opened]:
                lane.fail(error)

    def _wait(self) -> bool:
        """Wait until there is something to do; False when that is over."""
        with self.changed:
            while True:
                while self._opened:
                    self._take_in(self._opened.pop(0))
                due_in_s = self._engine.due_in_s
                if due_in_s == 0 or any(lane.ready for lane in self._lanes):
                    return True
                if self._closing and not self._lanes:
                    return False
                self.changed.wait(due_in_s)

    def _take_in(self, lane: "Lane[Any]") -> None:
        try:
            self._engine.join(lane.slot)
        except EngineFull as error:
            lane.fail(error)
        else:
            self._lanes.append(lane)

    def _serve(self, lane: "Lane[Any]", step: Callable[[], None]) -> None:
        """Do one step for one stream; its error ends it, and nobody else."""
        try:
            step()
        except Exception as error:
            log.exception("%s ended by an error", lane.name)
            lane.fail(error)
        if lane.ended:
            self._lanes.remove(lane)
            self._engine.leave(lane.slot)


class Lane(Generic[Item]):
    """One stream's bounded queue to the sound thread.

    `push` never blocks. A full queue drops its oldest item and hands it to `dropped`, on the
    caller's thread; everything else is called on the sound thread: `work` with each item in
    order, `passed_on` after each batch, `finished` when all is worked off after `close`, `failed`
    when one of these raised.
    """

    def __init__(
        self,
        thread: SoundThread,
        name: str,
        *,
        capacity: int,
        work: Callable[[Item], None],
        passed_on: Callable[[], None],
        finished: Callable[[], None],
        dropped: Callable[[Item], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.slot = Slot(thread.model)
        self.ended = False
        self._thread = thread
        self._capacity = capacity
        self._work = work
        self._passed_on = passed_on
        self._finished = finished
        self._dropped = dropped
        self._failed = failed
        self._queue: deque[Item] = deque()
        self._closing = False
        self._over = threading.Event()

    @property
    def waiting(self) -> int:
        """How many items are queued."""
        return len(self._queue)

    def push(self, item: Item) -> None:
        """Queue an item; the oldest goes when the queue is full."""
        with self._thread.changed:
            oldest = self._queue.popleft() if len(self._queue) >= self._capacity else None
            self._queue.append(item)
            self._thread.changed.notify()
        if oldest is not None:
            self._dropped(oldest)

    def close(self) -> None:
        """Have all that is queued worked off, and wait. Call it off the event loop."""
        with self._thread.changed:
            self._closing = True
            self._thread.changed.notify()
        self._over.wait()

    # -- what the thread calls

    @property
    def ready(self) -> bool:
        """Whether there is something to take up."""
        return not self.slot.waiting and (bool(self._queue) or self._closing)

    def take_up(self) -> None:
        """Work on the next item, or finish when there is none after `close`."""
        if not self.ready:
            return
        with self._thread.changed:
            item = self._queue.popleft() if self._queue else None
        if item is not None:
            self._work(item)
        else:
            self._finished()
            self._end()

    def pass_on(self) -> None:
        """Pass on what a batch made."""
        if not self.ended:
            self._passed_on()

    def fail(self, error: BaseException) -> None:
        """End it by an error; what is queued is left."""
        self._end()
        self._failed(error)

    def _end(self) -> None:
        self.ended = True
        self._over.set()
