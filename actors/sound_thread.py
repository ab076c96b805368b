"""The thread that decodes, denoises and encodes for all streams of a process, in batches."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from actors.denoiser import Device, Engine, EngineFull, Model, Slot, executor_on

log = logging.getLogger(__name__)

Item = TypeVar("Item")


class SoundThread:
    """Works through what streams queue in their lanes, and runs the engine when a batch is due.

    It takes a lane's next item only once nothing in its slot waits for a batch. A backlog thus
    builds up in the lane, which drops and counts.
    """

    def __init__(self, model: Model, streams: int, *, device: Device = "cpu") -> None:
        """`streams` is how many may run at a time. Raises ModelError, see `executor_on`."""
        self.model = model
        self.changed = threading.Condition()
        self._engine = Engine(model, streams, executor=executor_on(device))
        self._opened: list[Lane[Any]] = []  # not yet seen by the thread
        self._lanes: list[Lane[Any]] = []
        self._closing = False
        self._turns = 0
        self._resting = True
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sound", daemon=True)

    def start(self) -> None:
        """Start working. The caller must call `close`."""
        self._thread.start()

    def close(self) -> None:
        """Wait until all lanes are closed, then end the thread."""
        with self.changed:
            self._closing = True
            self.changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread works; False after an error that ended all its streams."""
        return self._error is None

    @property
    def progress(self) -> int | None:
        """How often it has looked for work; None while it waits for some, or is over."""
        return None if self._resting or not self._thread.is_alive() else self._turns

    def open(self, lane: "Lane[Any]") -> None:
        """Serve a lane from now on."""
        with self.changed:
            if self._error is None:
                self._opened.append(lane)
                self.changed.notify()
                return
        lane.fail(self._error)

    def run_out(self, slot: Slot) -> None:
        """Run batches until nothing in this slot waits. Call on this thread only."""
        while slot.waiting:
            self._engine.step()

    def reset(self, slot: Slot) -> None:
        """Reset a stream's denoiser. Call on this thread only."""
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
        except Exception as error:  # the thread ends here, and its streams with it
            log.exception("the sound thread failed")
            with self.changed:
                self._error = error
            for lane in [*self._lanes, *self._opened]:
                lane.fail(error)

    def _wait(self) -> bool:
        """Wait until there is something to do; False once there never will be."""
        with self.changed:
            self._turns += 1
            while True:
                while self._opened:
                    self._take_in(self._opened.pop(0))
                due_in_s = self._engine.due_in_s
                if due_in_s == 0 or any(lane.ready for lane in self._lanes):
                    return True
                if self._closing and not self._lanes:
                    return False
                self._resting = True
                self.changed.wait(due_in_s)
                self._resting = False

    def _take_in(self, lane: "Lane[Any]") -> None:
        try:
            self._engine.join(lane.slot)
        except EngineFull as error:
            lane.fail(error)
        else:
            self._lanes.append(lane)

    def _serve(self, lane: "Lane[Any]", step: Callable[[], None]) -> None:
        """Do one step for one stream; an error ends that stream only."""
        try:
            step()
        except Exception as error:
            log.exception("%s failed", lane.name)
            lane.fail(error)
        if lane.ended:
            self._lanes.remove(lane)
            self._engine.leave(lane.slot)


class Lane(Generic[Item]):
    """One stream's bounded queue to the sound thread.

    `push` never blocks. A full queue drops its oldest item and passes it to `dropped` on the
    caller's thread. The sound thread calls everything else: `work` with each item in order,
    `passed_on` after each batch, `finished` once all items are done after `close`, and `failed`
    if one of these raises.
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
        """Queue an item; a full queue drops its oldest."""
        with self._thread.changed:
            oldest = self._queue.popleft() if len(self._queue) >= self._capacity else None
            self._queue.append(item)
            self._thread.changed.notify()
        if oldest is not None:
            self._dropped(oldest)

    def close(self) -> None:
        """Wait until everything queued is done. Call off the event loop."""
        with self._thread.changed:
            self._closing = True
            self._thread.changed.notify()
        self._over.wait()

    # -- what the thread calls

    @property
    def ready(self) -> bool:
        """Whether `take_up` has something to do."""
        return not self.slot.waiting and (bool(self._queue) or self._closing)

    def take_up(self) -> None:
        """Work on the next item, or finish if `close` was called and none is left."""
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
        """Pass on a batch's output."""
        if not self.ended:
            self._passed_on()

    def fail(self, error: BaseException) -> None:
        """End with an error; drop what is queued."""
        self._end()
        self._failed(error)

    def _end(self) -> None:
        self.ended = True
        self._over.set()
