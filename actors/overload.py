"""When a sound thread has too much to do, and when there is room again. No thread and no clock."""

BEHIND_S = 0.06
"""Sound that waits for longer is behind. Batches and packets that come at once stay below."""
PATIENCE_S = 0.2
"""Being behind for this long is overload; shorter, it is made up for."""
MAX_LATE_S = 0.1
"""In overload sound that waits for longer is given up."""
ROOM = 0.8
"""How busy the thread may become when streams are denoised again."""
CALM_S = 1.0
MAX_CALM_S = 32.0
"""How long it is watched before: doubled each time that it was too soon, until streams leave."""
SOON_S = 10.0


class Overload:
    """Watches how long sound waits and how much time is left, and says what follows.

    All times are in seconds, moments on any steady clock.

    Attributes:
        over: whether streams that may should pass undenoised, and others lose what is late.
    """

    def __init__(self) -> None:
        self.over = False
        self._behind_since: float | None = None
        self._watched_from = (0.0, 0.0, 0.0)  # a moment, and the thread's times until then
        self._calm_s = CALM_S
        self._restored_at = -SOON_S
        self._streams = 0
        self._cost = 0.0  # share of the thread's time that a stream's model takes

    def look(
        self,
        now: float,
        *,
        waits_s: float,
        rested_s: float,
        model_s: float,
        denoised: int,
        passing: int,
    ) -> int:
        """Look at a thread whose oldest sound waits.

        It has rested for `rested_s` in all, and spent `model_s` on models for `denoised` streams;
        others pass. Returns how many of these can be denoised again.
        """
        before, self._streams = self._streams, denoised + passing
        if self._streams < before:
            self._calm_s = CALM_S
        if waits_s > BEHIND_S:
            self._fall_behind(now)
            self._watched_from = now, rested_s, model_s
            return 0
        self.over, self._behind_since = False, None
        since, rested_before_s, model_before_s = self._watched_from
        watched_s = now - since
        if watched_s < self._calm_s:
            return 0
        busy = 1 - (rested_s - rested_before_s) / watched_s
        self._watched_from = now, rested_s, model_s
        if denoised:
            self._cost = (model_s - model_before_s) / watched_s / denoised
        if now - self._restored_at > 2 * MAX_CALM_S:
            self._calm_s = CALM_S
        if busy >= ROOM:
            return 0
        room = int((ROOM - busy) / self._cost) if self._cost else 0
        # What a stream took before may have been a stall's doing: where all pass, one is tried.
        return room if denoised else max(1, room)

    def restored(self, now: float) -> None:
        """Note that streams are denoised again."""
        self._restored_at = now

    def _fall_behind(self, now: float) -> None:
        if self._behind_since is None:
            self._behind_since = now
        if self.over or now - self._behind_since < PATIENCE_S:
            return
        self.over = True
        if now - self._restored_at < SOON_S:
            self._calm_s = min(MAX_CALM_S, 2 * self._calm_s)
