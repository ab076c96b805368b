"""The thread that decodes, denoises and encodes for all streams of a process, in batches."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from actors.denoiser import Device, Engine, EngineFull, Model, Slot, executor_on
from actors.overload import MAX_LATE_S, Overload

log = logging.getLogger(__name__)

Item = TypeVar("Item")

ACTIVE_S = 0.5
"""A lane that got nothing for longer is not counted among those that get sound."""
LOOK_INTERVAL_S = 0.02
"""How often it is looked whether sound waits too long."""


class SoundThread:
    """Works through what streams queue in their lanes, and runs an engine when a batch is due.

    It takes a lane's next item only once nothing in its slots waits for a batch. A backlog thus
    builds up in the lane, which drops and counts. While there is too much to do, lanes that may
    are told to pass their sound on undenoised, and of the others what is late is dropped.

    Attributes:
        model: what a stream begins with.
        models: this and the other ones that there are, by name.
    """

    def __init__(
        self, model: Model, streams: int, *, others: Sequence[Model] = (), device: Device = "cpu"
    ) -> None:
        """`streams` is how many may run at a time. Raises ModelError, see `executor_on`."""
        self.model = model
        self.models = {each.name: each for each in (model, *others)}
        self.changed = threading.Condition()
        self._streams = streams
        executor = executor_on(device)
        self._engines = {
            name: Engine(each, streams, executor=executor) for name, each in self.models.items()
        }
        self._overload = Overload()
        self._looked_at = 0.0
        self._rested_s = 0.0
        self._model_s = 0.0
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
            self._engine(slot).step()

    def reset(self, slot: Slot) -> None:
        """Reset a stream's denoiser. Call on this thread only."""
        self._engine(slot).reset(slot)

    def join(self, slot: Slot) -> None:
        """Take a slot into its model's engine. Call on this thread only. Raises EngineFull."""
        self._engine(slot).join(slot)

    def leave(self, slot: Slot) -> None:
        """Take it out again. Call on this thread only."""
        self._engine(slot).leave(slot)

    @property
    def overloaded(self) -> bool:
        """Whether there is too much to do."""
        return self._overload.over

    def _engine(self, slot: Slot) -> Engine:
        return self._engines[slot.model.name]

    def _run(self) -> None:
        try:
            while self._wait():
                self._look()
                for lane in list(self._lanes):
                    if lane.ready:
                        self._serve(lane, lane.take_up)
                self._run_batches()
                for lane in list(self._lanes):
                    if lane.has_output:
                        self._serve(lane, lane.pass_on)
        except Exception as error:  # the thread ends here, and its streams with it
            log.exception("the sound thread failed")
            with self.changed:
                self._error = error
            for lane in [*self._lanes, *self._opened]:
                lane.fail(error)

    def _run_batches(self) -> None:
        began = time.monotonic()
        for engine in self._engines.values():
            if engine.due_in_s == 0:
                engine.step()
        self._model_s += time.monotonic() - began

    def _wait(self) -> bool:
        """Wait until there is something to do; False once there never will be."""
        with self.changed:
            self._turns += 1
            while True:
                while self._opened:
                    self._take_in(self._opened.pop(0))
                due_in_s = self._due_in_s
                if due_in_s == 0 or any(lane.ready for lane in self._lanes):
                    return True
                if self._closing and not self._lanes:
                    return False
                self._resting, began = True, time.monotonic()
                self.changed.wait(due_in_s)
                self._resting = False
                self._rested_s += time.monotonic() - began

    @property
    def _due_in_s(self) -> float | None:
        """How long the next batch of any engine may wait; None while no hop waits."""
        due = [engine.due_in_s for engine in self._engines.values()]
        return min((each for each in due if each is not None), default=None)

    def _look(self) -> None:
        """Look whether there is too much to do, and let streams pass or be denoised again."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_INTERVAL_S:
            return
        self._looked_at = now
        for lane in self._lanes:
            lane.passes &= lane.may_pass
        passing = [lane for lane in self._lanes if lane.passes]
        room = self._overload.look(
            now,
            waits_s=_typical_wait_s(self._lanes, now),
            rested_s=self._rested_s,
            model_s=self._model_s,
            denoised=len(self._lanes) - len(passing),
            passing=len(passing),
        )
        if self._overload.over:
            for lane in self._lanes:
                lane.passes = lane.may_pass
        elif room and passing:
            self._overload.restored(now)
            for lane in passing[:room]:
                lane.passes = False

    def _take_in(self, lane: "Lane[Any]") -> None:
        try:
            if len(self._lanes) >= self._streams:
                raise EngineFull(f"all {self._streams} places are taken")
            self.join(lane.slot)
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
            for slot in lane.slots:
                self.leave(slot)


def _typical_wait_s(lanes: "Sequence[Lane[Any]]", now: float) -> float:
    """Tell how long sound waits in the median of the lanes that get some.

    Lanes take turns, so a publisher who sends more than a second in a second waits alone.
    """
    waits = sorted(lane.waits_s(now) for lane in lanes if now - lane.came_s < ACTIVE_S)
    return waits[(len(waits) - 1) // 2] if waits else 0.0


class Lane(Generic[Item]):
    """One stream's bounded queue to the sound thread.

    `push` never blocks. A full queue drops its oldest item and passes it to `dropped` on the
    caller's thread. The sound thread calls everything else: `work` with each item in order,
    `passed_on` once something has come out, `finished` once all items are done after `close`, and
    `failed` if one of these raises. In overload it drops what is late.

    Attributes:
        slot: where its sound is denoised at first;  slots: where it is now.
        may_pass: whether its sound may pass undenoised, set by any thread.
        passes: whether it should, now, set by the sound thread.
        came_s: when the latest item came, time.monotonic.
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
        self.slots = [self.slot]
        self.may_pass = False
        self.passes = False
        self.came_s = 0.0
        self.ended = False
        self._thread = thread
        self._capacity = capacity
        self._work = work
        self._passed_on = passed_on
        self._finished = finished
        self._dropped = dropped
        self._failed = failed
        self._queue: deque[tuple[float, Item]] = deque()  # with when it came
        self._closing = False
        self._worked = False  # since the last `pass_on`
        self._over = threading.Event()

    @property
    def waiting(self) -> int:
        """How many items are queued."""
        return len(self._queue)

    def push(self, item: Item) -> None:
        """Queue an item; a full queue drops its oldest."""
        with self._thread.changed:
            oldest = self._queue.popleft() if len(self._queue) >= self._capacity else None
            self.came_s = time.monotonic()
            self._queue.append((self.came_s, item))
            self._thread.changed.notify()
        if oldest is not None:
            self._dropped(oldest[1])

    def close(self) -> None:
        """Wait until everything queued is done. Call off the event loop."""
        with self._thread.changed:
            self._closing = True
            self._thread.changed.notify()
        self._over.wait()

    # -- what the thread calls

    def enter(self, slot: Slot) -> None:
        """Denoise in this slot, too. Raises EngineFull."""
        self._thread.join(slot)
        self.slots.append(slot)

    def leave(self, slot: Slot) -> None:
        """Denoise no more in this slot."""
        self.slots.remove(slot)
        self._thread.leave(slot)

    def waits_s(self, now: float) -> float:
        """Tell how long the oldest item has waited; 0 if there is none."""
        try:
            return now - self._queue[0][0]
        except IndexError:
            return 0.0

    @property
    def ready(self) -> bool:
        """Whether `take_up` has something to do."""
        if not (self._queue or self._closing):
            return False
        return not any(slot.waiting for slot in self.slots)

    @property
    def has_output(self) -> bool:
        """Whether `pass_on` has something to do: sound has left a slot, or goes through none."""
        return any(slot.has_output for slot in self.slots) if self.slots else self._worked

    def take_up(self) -> None:
        """Work on the next item, or finish if `close` was called and none is left."""
        if self._thread.overloaded:
            self._drop_what_is_late()
        with self._thread.changed:
            item = self._queue.popleft()[1] if self._queue else None
        if item is not None:
            self._worked = True
            self._work(item)
        else:
            self._finished()
            self._end()

    def _drop_what_is_late(self) -> None:
        """Drop what has waited too long, but for the last item: it carries on with the rest."""
        now = time.monotonic()
        while len(self._queue) > 1 and self.waits_s(now) > MAX_LATE_S:
            with self._thread.changed:
                _, item = self._queue.popleft()
            self._dropped(item)

    def pass_on(self) -> None:
        """Pass on what has come out."""
        self._worked = False
        self._passed_on()

    def fail(self, error: BaseException) -> None:
        """End with an error; drop what is queued."""
        self._end()
        self._failed(error)

    def _end(self) -> None:
        self.ended = True
        self._over.set()
