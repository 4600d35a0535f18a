"""What the steps of one stay in a state have counted, by every meter, as a function of the time in the state.

While no ramp moves a knob that a meter counts, each step counts as much as the one before it. So a stay is a few
stretches, most often one, and what was counted is worked out and not added up: a step costs nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

Counted = tuple[int, ...]  # by each meter
Values = Callable[[int, Counted], tuple[Any, ...]]


class StayTally:
    """What is counted in a stay; it never changes.

    Args:
        meters: how many there are.
        values: of the knobs that are counted, by the time in the state and by what was counted in it before. Each goes
            one way, and stays where it has got to once `last` says so.
        prices: of a step, by each meter, with such values.
        last: whether the values stay as they are, by the same as `values`.
    """

    __slots__ = ("_counted", "_prices", "_times")

    def __init__(
        self,
        meters: int,
        values: Values,
        prices: Callable[[tuple[Any, ...]], Counted],
        last: Callable[[int, Counted], bool],
    ) -> None:
        self._times: list[int] = []
        self._counted: list[Counted] = []
        self._prices: list[Counted] = []
        time: int | None = 0
        counted = (0,) * meters
        while time is not None:
            now = prices(values(time, counted))
            self._times.append(time)
            self._counted.append(counted)
            self._prices.append(now)
            change = None if last(time, counted) else _first_change(values, time, counted, now, last)
            if change is not None:
                counted = _after(counted, now, change - time)
            time = change

    def at(self, meter: int, time: int) -> int:
        """What a meter counts in so many steps in the state."""
        place = bisect_right(self._times, time) - 1 if len(self._times) > 1 else 0
        return self._counted[place][meter] + self._prices[place][meter] * (time - self._times[place])

    def steps(self, meter: int, count: int) -> int:
        """The least number of steps in the state in which a meter counts so much."""
        if count <= 0:
            return 0
        place = len(self._times) - 1
        if place:
            place = bisect_right([counted[meter] for counted in self._counted], count - 1) - 1
        left, price = count - self._counted[place][meter], self._prices[place][meter]
        return self._times[place] - (-left // price)

    def extremes(self, meter: int) -> tuple[int, int]:
        """The lowest and the highest price of a step."""
        prices = [price[meter] for price in self._prices]
        return min(prices), max(prices)


def _after(counted: Counted, prices: Counted, steps: int) -> Counted:
    return tuple(before + price * steps for before, price in zip(counted, prices, strict=True))


def _first_change(
    values: Values, start: int, counted: Counted, prices: Counted, last: Callable[[int, Counted], bool]
) -> int | None:
    """The first time after `start` at which a value is another one; None where it never is."""

    def at(time: int) -> Counted:
        return _after(counted, prices, time - start)

    now = values(start, counted)
    low, leap = start, 1  # values never come back: what is as it was at a later time was so before it
    while values(start + leap, at(start + leap)) == now:
        low = start + leap
        if last(low, at(low)):
            return None
        leap *= 2
    high = start + leap
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if values(middle, at(middle)) == now else (low, middle)
    return high
