"""When a sound thread has too much to do: a moment is made up for, more is answered by plan."""

from actors.overload import BEHIND_S, CALM_S, PATIENCE_S, Overload

STEP_S = 0.02
MODEL = 0.05


class Watched:
    """An overload that looks every 20 ms at a thread of our making.

    A stream's model takes 5 % of its time.
    """

    def __init__(self) -> None:
        self.overload = Overload()
        self.now = self.rested_s = self.model_s = 0.0

    def watch(
        self, seconds: float, *, waits_s: float, busy: float, denoised: int, streams: int = 20
    ) -> int:
        """Let some time pass; returns for how many streams there was room in it."""
        end, room = self.now + seconds, 0
        while self.now < end:
            self.now += STEP_S
            self.rested_s += STEP_S * (1 - busy)
            self.model_s += STEP_S * MODEL * denoised
            room += self.overload.look(
                self.now,
                waits_s=waits_s,
                rested_s=self.rested_s,
                model_s=self.model_s,
                denoised=denoised,
                passing=streams - denoised,
            )
        return room


def test_a_moment_is_no_overload() -> None:
    """Neither is a long time of being busy as long as nothing waits."""
    watched = Watched()
    watched.watch(PATIENCE_S - STEP_S, waits_s=0.5, busy=1.0, denoised=8)
    assert not watched.overload.over
    watched.watch(10, waits_s=BEHIND_S, busy=1.0, denoised=8)
    watched.watch(PATIENCE_S - STEP_S, waits_s=0.5, busy=1.0, denoised=8)
    assert not watched.overload.over
    watched.watch(2 * STEP_S, waits_s=0.5, busy=1.0, denoised=8)
    assert watched.overload.over
    watched.watch(STEP_S, waits_s=0.0, busy=0.5, denoised=8)
    assert not watched.overload.over


def test_streams_come_back_as_there_is_room() -> None:
    """By what a model takes: one is tried, ten at 5 % beside 29 % for the rest."""
    watched = Watched()
    watched.watch(1, waits_s=0.2, busy=1.0, denoised=20)
    assert watched.watch(CALM_S - 2 * STEP_S, waits_s=0.0, busy=0.29, denoised=0) == 0
    assert watched.watch(4 * STEP_S, waits_s=0.0, busy=0.29, denoised=0) == 1
    watched.overload.restored(watched.now)
    assert watched.watch(1.1, waits_s=0.0, busy=0.34, denoised=1) == 9
    watched.watch(1.1, waits_s=0.0, busy=0.8, denoised=10)
    assert watched.watch(10, waits_s=0.0, busy=0.8, denoised=10) == 0
    assert watched.watch(1.1, waits_s=0.0, busy=0.74, denoised=10) == 1


def test_what_was_learnt_before_counts() -> None:
    """Who was denoised for a while comes back at once after a short overload, if there is room."""
    watched = Watched()
    watched.watch(5, waits_s=0.0, busy=0.75, denoised=12)
    watched.watch(1, waits_s=0.2, busy=1.0, denoised=12)
    assert watched.watch(CALM_S + 3 * STEP_S, waits_s=0.0, busy=0.15, denoised=0) == 12


def test_a_lone_stream_comes_back_after_a_stall() -> None:
    """It seemed to take all of the time: that was the machine's doing, not the stream's."""
    watched = Watched()
    watched.watch(8, waits_s=0.4, busy=0.1, denoised=1)
    assert watched.overload.over
    assert watched.watch(CALM_S + 3 * STEP_S, waits_s=0.0, busy=0.02, denoised=0) == 1


def test_who_comes_back_too_soon_waits_longer_the_next_time() -> None:
    """It is tried less and less often while it fails, and as before after a good minute."""
    watched = Watched()
    for _ in range(3):
        watched.watch(0.5, waits_s=0.2, busy=1.0, denoised=10)
        waited = watched.now
        while not watched.watch(STEP_S, waits_s=0.0, busy=0.2, denoised=0):
            assert watched.now - waited < 20
        waited = watched.now - waited
        watched.overload.restored(watched.now)
    assert waited > 3 * CALM_S
    watched.watch(0.5, waits_s=0.2, busy=1.0, denoised=10)
    assert not watched.watch(2 * CALM_S, waits_s=0.0, busy=0.2, denoised=0)
    assert watched.watch(2 * STEP_S, waits_s=0.0, busy=0.2, denoised=0, streams=19), "one has left"
    watched.overload.restored(watched.now)
    watched.watch(70, waits_s=0.0, busy=0.9, denoised=10)
    watched.watch(0.5, waits_s=0.2, busy=1.0, denoised=10)
    assert watched.watch(CALM_S + 3 * STEP_S, waits_s=0.0, busy=0.2, denoised=0)
