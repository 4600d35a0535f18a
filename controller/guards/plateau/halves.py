"""`method = "halves"`: the rule as published, decision for decision, at O(1) for each loss."""

from __future__ import annotations

from math import inf, isfinite
from typing import Self

from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF, Soonest, copy_of
from plateau_rule.controller.guards.reading import Reading, finite, measured

# What rounds below _TINY, and what could overflow, is left to exact sums: there the margin is larger than _HUGE.
_TINY, _HUGE = 1e-290, 1e290
UNIT = "% over the window"


class Halves:
    """The rule as published: the means of the older and the newer half of a window, compared.

    true when (mean of first half - mean of second half) / |mean of first half| < threshold. A loss that rises is true.

    Decisions equal those of summing both halves anew with plain additions in order of arrival; a half whose mean is 0,
    or whose sum no float can hold, is unknown. Running sums decide as long as their rounding error, which is bounded,
    cannot matter; otherwise the halves are summed anew.

    Args:
        window: number of values, at least 2; of an odd window the first half is the shorter one; a longer one fires
            later on average.
        threshold: relative; a larger one fires earlier or at the same value, never later.
    """

    __slots__ = (
        "_error",
        "_first",
        "_largest",
        "_older",
        "_place",
        "_ring",
        "_since",
        "_younger",
        "knows",
        "needs",
        "threshold",
        "window",
    )

    def __init__(self, window: int, threshold: float) -> None:
        self.window, self.threshold = window, threshold
        self.knows = self.needs = window
        self._first = window // 2
        self._ring: list[float] = []
        self._place = 0  # where the oldest value stands, once the ring is full
        self._older = self._younger = 0.0  # running sums of the two halves
        self._largest = 0.0  # largest magnitude since the sums were made anew
        self._since = 0  # values since then
        # A sum of n values of magnitude <= M is off by at most n*n*M*u; each update adds at most (n + 5)*M*u to that.
        longer = window - self._first
        self._error = 4.0 * UNIT_ROUNDOFF * (longer * longer + window * (longer + 5)) * (1.0 + threshold)

    def push(self, value: float) -> None:
        """Take the next finite value."""
        ring = self._ring
        if len(ring) < self.window:
            ring.append(value)
            if len(ring) == self.window:
                self._sum_anew()
            return
        place = self._place
        middle = place + self._first
        leaving, crossing = ring[place], ring[middle if middle < self.window else middle - self.window]
        ring[place] = value
        self._place = place + 1 if place + 1 < self.window else 0
        self._since += 1
        if self._since >= self.window:
            self._sum_anew()
            return
        self._older += crossing - leaving
        self._younger += value - crossing
        if value > self._largest:
            self._largest = value
        elif -value > self._largest:
            self._largest = -value

    def _sum_anew(self) -> None:
        values = self._in_order()
        self._older, self._younger = plain_sum(values[: self._first]), plain_sum(values[self._first :])
        self._largest = max(map(abs, values))
        self._since = 0

    def _in_order(self) -> list[float]:
        return self._ring[self._place :] + self._ring[: self._place]

    def improvement(self) -> float | None:
        """The relative improvement, or None where the window is not full, a sum overflows, or the first mean is 0."""
        if len(self._ring) < self.window:
            return None
        self._sum_anew()
        return self._relative(self._older, self._younger)

    def _relative(self, older: float, younger: float) -> float | None:
        """The improvement by the sums of the two halves."""
        first = older / self._first
        if first == 0 or not (isfinite(first) and isfinite(younger)):
            return None
        return (first - younger / (self.window - self._first)) / abs(first)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        if len(self._ring) < self.window:
            return None
        first = self._older / self._first
        size = abs(first)
        distance = first - self._younger / (self.window - self._first) - self.threshold * size
        margin = self._largest * self._error + _TINY
        if size > margin:
            if margin < distance < _HUGE:
                return False
            if -_HUGE < distance < -margin:
                return True
        if not self._largest:
            return None
        exact = self.improvement()
        return None if exact is None else exact < self.threshold

    def reading(self) -> Reading:
        """The improvement, and the threshold under which it is flat."""
        seen, window, holds = len(self._ring), self.window, (None, 100 * self.threshold)
        if seen < window:
            return measured(None, None, None, holds, UNIT, seen, window, "", f"{seen} of {window} losses")
        values, first = self._in_order(), self._first
        exact = self._relative(plain_sum(values[:first]), plain_sum(values[first:]))
        if exact is None:
            text = "the mean of the first half is 0, or a sum is too large for a float"
            return measured(None, None, None, holds, UNIT, seen, window, "", text)
        says, value, least = "worsened" if exact < 0 else "improved", 100 * exact, holds[1]
        text = f"{says} by {abs(value):.4g} % over {window} losses, flat under {least:.4g} %"
        return measured(finite(value), None, None, holds, UNIT, seen, window, says, text)

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        return self.reading().text

    def distance(self) -> float:
        """By how much it improves more than the threshold; negative where it is true."""
        improvement = self.improvement()
        return inf if improvement is None else improvement - self.threshold

    def soonest(self) -> Soonest:
        """Either way with the next value, once the window is full and the first half's mean is one to compare with."""
        values, younger = self._in_order(), self.window - self._first
        room = max(1, self.window - len(values))
        while room <= younger and not self._compares(values[len(values) + room - self.window :][: self._first]):
            room += 1  # up to where a value to come is in the first half
        return Soonest.of(self.verdict(), room, room, 1)

    def _compares(self, older: list[float]) -> bool:
        total = plain_sum(older)
        return total / self._first != 0 and isfinite(total)

    def contents(self) -> list[float]:
        """The values of the window, in order of arrival."""
        return self._in_order()

    def restore(self, contents: list[float]) -> None:
        """Continue as the detector whose contents these are."""
        if len(contents) > self.window:
            raise ValueError(f"{len(contents)} values for a window of {self.window}")
        self._ring, self._place, self._since = list(map(float, contents)), 0, 0
        self._older = self._younger = self._largest = 0.0
        if len(self._ring) == self.window:
            self._sum_anew()

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)


def plain_sum(values: list[float]) -> float:
    """The sum by plain additions, in order."""
    total = 0.0
    for value in values:  # the builtin sum() compensates from Python 3.12 on, and would differ
        total += value
    return total
