"""Joins in virtual time: one after another, with pauses, and refused in time."""

import asyncio
import time
from collections import Counter

import pytest

from actors import admission
from actors.admission import MAX_WAITING, RESTS_FOR, Admission
from actors.errors import NoCapacity, OfferRefused
from tests.virtual_time import run

JOIN_S = 0.01


class Door:
    """An admission whose joins take 10 ms each."""

    def __init__(self, limit: int = 1000) -> None:
        self.admission = Admission(limit, listening=lambda: self.listening)
        self.listening = 0
        self.at_once = 0
        self.busiest = 0

    async def join(self) -> str:
        """Join, as a listener does."""
        return await self.admission.join(self._answer)

    async def _answer(self) -> str:
        self.at_once += 1
        self.busiest = max(self.busiest, self.at_once)
        self.listening += 1
        await asyncio.sleep(JOIN_S)
        self.at_once -= 1
        return "answer"


async def outcomes(door: Door, joins: int) -> Counter[str]:
    """Have many join at once; counts answers and refusals."""
    found = await asyncio.gather(*(door.join() for _ in range(joins)), return_exceptions=True)
    return Counter(str(each) for each in found)


def test_a_storm_comes_in_one_after_another_or_is_told_to_come_back() -> None:
    """Two thirds of the time are left for those who are in; who cannot wait is refused at once."""

    async def storm() -> None:
        door = Door()
        began = asyncio.get_running_loop().time()
        told = await outcomes(door, 500)
        took_s = asyncio.get_running_loop().time() - began
        assert told["answer"] == door.listening == MAX_WAITING + 1
        assert sum(told.values()) == 500 and len(told) == 2
        assert door.busiest == 1
        assert took_s > MAX_WAITING * JOIN_S * (1 + RESTS_FOR)

    run(storm())


def test_who_is_refused_is_told_when_to_come_back_and_not_all_at_once() -> None:
    """Otherwise the storm would be the same again."""

    async def storm() -> None:
        door = Door()
        found = await asyncio.gather(*(door.join() for _ in range(500)), return_exceptions=True)
        waits = {each.retry_after_s for each in found if isinstance(each, NoCapacity)}
        assert len(waits) > 2 and min(waits) >= 1

    run(storm())


def test_an_actor_refuses_more_listeners_than_it_can_carry() -> None:
    """Those who wait count; a place that becomes free is given again."""

    async def fill() -> None:
        door = Door(limit=20)
        told = await outcomes(door, 30)
        assert told["answer"] == door.listening == 20
        with pytest.raises(NoCapacity, match="As many people are listening") as refused:
            await door.join()
        assert refused.value.retry_after_s >= 10
        door.listening -= 1
        assert await door.join() == "answer"

    run(fill())


def test_a_refused_offer_keeps_nobody_waiting() -> None:
    """It fails as it would alone, and the next one joins."""

    async def refuse() -> None:
        door = Door()

        async def answer() -> str:
            raise OfferRefused("The offer has no audio.")

        with pytest.raises(OfferRefused):
            await door.admission.join(answer)
        assert await door.join() == "answer"

    run(refuse())


async def test_while_the_event_loop_is_late_nobody_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is in before that is known; others are refused until the loop is on time again."""
    monkeypatch.setattr(admission, "MAX_WAIT_S", 0.3)
    door, busy = Door(), True

    async def overload() -> None:
        while busy:
            time.sleep(0.1)  # noqa: ASYNC251
            await asyncio.sleep(0)

    overloading = asyncio.create_task(overload())
    assert await door.join() == "answer"
    with pytest.raises(NoCapacity, match="joining right now"):
        await door.join()
    busy = False
    await overloading
    assert await door.join() == "answer"
