"""`method = "trend"`: whether the loss still improves, decided where, and as soon as, its noise lets one be sure.

Means of blocks of losses are kept on a ladder of scales: level j holds the last 16 means of 5 * 2**j losses each. On
each level a line is fitted to the 16 means. Its slope, with the error that Student's t gives it, says one of four
things: the loss is flat, improves, worsens, or it cannot be told yet. Short levels tell when the noise is low, long
ones when it is high; in the means of long blocks the correlation of neighbouring losses no longer matters.

A loss that falls at a steady relative rate is a curve, and a line through L losses of it reads 6 / L at most, however
fast it falls. So L losses are called flat only where the line falls and rises by less than 4 / L, too.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from math import inf, sqrt
from typing import Any, NamedTuple, Self

from plateau_rule.controller.guards.detector import Soonest, copy_of
from plateau_rule.controller.guards.plateau.student import quantile
from plateau_rule.controller.guards.reading import Reading, finite, measured

PER = 1000.0  # losses that a fall is told for, where the file does not say
BLOCKS = 16  # means on a level
BLOCK = 5  # losses in a block of level 0
REACH = 4.0  # rate times losses up to which a line tells the rate from twice the rate
_PLACES = tuple(place - (BLOCKS - 1) / 2 for place in range(BLOCKS))
_SPREAD = BLOCKS * (BLOCKS * BLOCKS - 1) / 12  # the sum of their squares
LARGEST = sys.float_info.max  # of a mean


def unit_of(per: float) -> str:
    """The unit of a fall that is told for so many losses."""
    return f"% per {per:.6g} losses" if per != 1 else "% per loss"


class Slope(NamedTuple):
    """What a line through a level's means says; both rates are shares of the mean for each loss."""

    falls: float
    error: float  # on either side, at the confidence asked
    losses: int  # that it was fitted to
    verdict: str  # flat, improving, worsening or undecided


def fitted(means: Sequence[float], width: int, t: float) -> tuple[float, float]:
    """The fall for each loss, relative to the mean, of a line through means of `width` losses; and t times its error.

    Least squares, with the residuals' standard deviation on two degrees of freedom less than there are means. Not a
    number, or infinite, where the means have no ratio that a float could hold.
    """
    middle = 0.0
    for mean in means:
        middle += mean / BLOCKS  # divided first: a sum of large losses would overflow
    size = abs(middle)
    if not size:
        return 0.0, inf
    cross = square = 0.0
    for place, mean in zip(_PLACES, means, strict=True):
        deviation = (mean - middle) / size
        cross += place * deviation
        square += deviation * deviation
    residue = square - cross * cross / _SPREAD
    error = sqrt(residue / ((BLOCKS - 2) * _SPREAD)) if residue > 0.0 else residue * 0.0
    return -cross / _SPREAD / width, t * error / width


class Trend:
    """The loss improves, and worsens, at less than a rate: with confidence.

    A loss that improves faster is no plateau, and one that worsens faster is none either; what cannot be told yet is
    unknown.

    Args:
        max_rate: relative change for each value, above 0; a larger one fires earlier or at the same value, never later.
        confidence: above 0.5, below 1; a smaller one fires earlier or at the same value.
        min_window: the least number of values that it decides on, and better no less than a period of the data's order;
            a smaller one fires earlier or at the same value.
        cooldown: it decides from this many values on; a smaller one fires earlier or at the same value.
        per: the number of values that a fall is told for.
    """

    __slots__ = (
        "_decided",
        "_first",
        "_levels",
        "_open",
        "_room",
        "_seen",
        "_slopes",
        "_t",
        "_verdict",
        "confidence",
        "cooldown",
        "knows",
        "max_rate",
        "min_window",
        "needs",
        "per",
    )

    def __init__(
        self,
        max_rate: float,
        confidence: float = 0.998,
        min_window: int = 160,
        cooldown: int = 200,
        per: float = PER,
    ) -> None:
        self.max_rate, self.confidence, self.per = max_rate, confidence, per
        self.min_window, self.cooldown = min_window, cooldown
        self._first = 0  # the shortest level that is asked
        while BLOCKS * BLOCK << self._first < min_window:
            self._first += 1
        self.knows = self.needs = max(BLOCKS * BLOCK << self._first, cooldown)
        self._t = quantile(confidence, BLOCKS - 2)
        self._seen = 0
        self._room = BLOCK  # values until the open block is full
        self._open = 0.0  # its mean, once it is full
        self._levels: list[deque[float]] = []
        self._slopes: list[Slope | None] = []  # one a level; None where the level has changed, or is not full
        self._verdict: bool | None = None
        self._decided = True  # whether the verdict is that of the levels as they are

    def push(self, value: float) -> None:
        """Take the next finite value."""
        self._seen += 1
        self._open += value / BLOCK
        self._room -= 1
        if not self._room:
            self._close()

    def _close(self) -> None:
        """Put the open block's mean on level 0, and every second time the mean of two on the level above."""
        mean, count = min(max(self._open, -LARGEST), LARGEST), self._seen // BLOCK
        self._room, self._open, self._decided = BLOCK, 0.0, False
        level = 0
        while True:
            if level == len(self._levels):
                self._levels.append(deque(maxlen=BLOCKS))
                self._slopes.append(None)
            means = self._levels[level]
            means.append(mean)
            self._slopes[level] = None
            if count & 1:
                return
            mean = 0.5 * means[-2] + 0.5 * mean
            count >>= 1
            level += 1

    def slope(self, level: int) -> Slope | None:
        """What a level says, or None while it is not full."""
        found = self._slopes[level]
        if found is None and len(self._levels[level]) == BLOCKS:
            width = BLOCK << level
            falls, error = fitted(self._levels[level], width, self._t)
            verdict = four_valued(falls, error, self.max_rate)
            if verdict == "flat":
                verdict = four_valued(falls, error, self._flat_within(width * BLOCKS))
                verdict = "flat" if verdict == "flat" else "undecided"
            found = self._slopes[level] = Slope(falls, error, width * BLOCKS, verdict)
        return found

    def _flat_within(self, losses: int) -> float:
        """The rate under which this many losses are flat."""
        return min(self.max_rate, REACH / losses)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        if self._seen < self.cooldown:
            return None
        if not self._decided:
            self._decided, self._verdict = True, self._ask()
        return self._verdict

    def _ask(self) -> bool | None:
        verdict = None
        for level in range(self._first, len(self._levels)):
            slope = self.slope(level)
            if slope is None:
                break
            if slope.verdict == "flat":
                return True
            if slope.verdict != "undecided":
                verdict = False
        return verdict

    def reading(self) -> Reading:
        """The fall by the strongest level, with its error, and the rate within which it is flat."""
        seen, unit, size = self._seen, unit_of(self.per), 100.0 * self.per
        holds = (-size * self.max_rate, size * self.max_rate)
        if seen < self.cooldown:
            text = f"cooldown: {seen} of {self.cooldown} losses"
            return measured(None, None, None, holds, unit, seen, self.knows, "", text)
        if seen < self.knows:
            return measured(None, None, None, holds, unit, seen, self.knows, "", f"{seen} of {self.knows} losses")
        slopes = [found for level in range(self._first, len(self._levels)) if (found := self.slope(level))]
        order = ("flat", "improving", "worsening", "undecided")
        first = min(slopes, key=lambda slope: (order.index(slope.verdict), slope.error))
        # What is added to a zero takes its sign away.
        low, high = size * (first.falls - first.error) + 0.0, size * (first.falls + first.error) + 0.0
        within = size * self._flat_within(first.losses)
        text = (
            f"{first.verdict}: falls {low:.3g}% to {high:.3g}{unit}, by the last {first.losses}; "
            f"flat within {within:.3g}%"
        )
        value, holds = finite(size * first.falls), (-within, within)
        return measured(value, finite(low), finite(high), holds, unit, seen, self.knows, first.verdict, text)

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        return self.reading().text

    def distance(self) -> float:
        """Not known: it says what it is sure of, and not how nearly it is."""
        return inf

    def soonest(self) -> Soonest:
        """Any way when a block is full, once there are enough; what the blocks allow is not worked out."""
        room = max(self._room, self.knows - self._seen)
        return Soonest.of(self.verdict(), room, room, room)

    def contents(self) -> dict[str, Any]:
        """All that it remembers."""
        return {"seen": self._seen, "open": self._open, "levels": [list(means) for means in self._levels]}

    def restore(self, contents: dict[str, Any]) -> None:
        """Continue as the detector whose contents these are."""
        seen, levels = int(contents["seen"]), [list(map(float, means)) for means in contents["levels"]]
        held = [min(BLOCKS, seen // BLOCK >> level) for level in range((seen // BLOCK).bit_length())]
        if [len(means) for means in levels] != held:
            raise ValueError(f"levels of {[len(means) for means in levels]} means; {seen} values make {held}")
        self._seen, self._open, self._room = seen, float(contents["open"]), BLOCK - seen % BLOCK
        self._levels = [deque(means, BLOCKS) for means in levels]
        self._slopes = [None] * len(levels)
        self._verdict, self._decided = None, False

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)


def four_valued(falls: float, error: float, bound: float) -> str:
    """What a fall with its error says against a bound: flat, improving, worsening or undecided."""
    if falls + error < bound and falls - error > -bound:
        return "flat"
    if falls - error >= bound:
        return "improving"
    if falls + error <= -bound:
        return "worsening"
    return "undecided"
