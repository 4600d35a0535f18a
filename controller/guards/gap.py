"""`gap`: over two stretches of time, one after the other, a metric has about the same mean.

It is the rule of the incremental Fourier neural operator, iFNO (George et al. 2024, "Incremental Spatial and Spectral
Learning of Neural Operators"): a mode is added when the losses of two epochs differ by no more than a constant, 1e-3 by
default. There the two epochs may lie on either side of a raise; here, as everywhere, a state forgets the losses of the
state before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from math import ceil, inf
from typing import Annotated, Any, Self

from pydantic import Field

from plateau_rule.controller.errors import Fault
from plateau_rule.controller.guards.detector import RunningMean, Soonest, copy_of
from plateau_rule.controller.guards.reading import Reading, finite, measured
from plateau_rule.controller.guards.word import Advice, AmountAsked, Feed, Hint, MetricWord, Path, Pick
from plateau_rule.controller.language.faults import empty_faults, rest_faults
from plateau_rule.controller.language.values import LARGEST, Duration, MetricName, Table

APART = "apart"  # what the distance of the two means counts
MOST_BLOCKS = 64  # in a stretch: what a snapshot may hold
LARGEST_MEAN = sys.float_info.max


class Gap(Table):
    """The metric is about the same over two stretches of time, one after the other."""

    metric: MetricName = "loss"
    """The metric to watch."""
    over: Duration
    """How long a stretch is: `1 epoch` compares the means of the last two epochs."""
    value: Annotated[float, Field(ge=0, le=LARGEST)]
    """True when the two means differ, up or down, by no more than this."""


class Apart:
    """|mean of the last `stretch` values - mean of as many before them| <= value.

    A stretch is kept as the means of at most 64 equal blocks: of single values where there are no more than 64 of them,
    else of the fewest values that divide it so. The stretches move on whenever a block is full; in between, what was
    said holds. The mean of a stretch is that of its blocks, exact and rounded once.

    Args:
        stretch: number of values, at least 1.
        value: absolute, at least 0.
    """

    __slots__ = ("_newer", "_older", "_open", "_room", "block", "knows", "needs", "value")

    def __init__(self, stretch: int, value: float) -> None:
        self.value = value
        self.knows = self.needs = 2 * stretch
        self.block = next(n for n in range(1, stretch + 1) if stretch % n == 0 and stretch // n <= MOST_BLOCKS)
        self._open, self._room = 0.0, self.block  # the open block's mean, once it is full; and values until then
        self._older, self._newer = (RunningMean(stretch // self.block) for _ in range(2))

    def push(self, value: float) -> None:
        """Take the next finite value."""
        self._open += value / self.block  # divided first: a sum of large losses would overflow
        self._room -= 1
        if not self._room:
            self._move_on(min(max(self._open, -LARGEST_MEAN), LARGEST_MEAN))
            self._open, self._room = 0.0, self.block

    def _move_on(self, mean: float) -> None:
        newer = self._newer
        if len(newer.values) == newer.size:
            self._older.push(newer.values[0])
        newer.push(mean)

    @property
    def seen(self) -> int:
        """How many values are in the two stretches and the open block."""
        return self.block * (len(self._older.values) + len(self._newer.values) + 1) - self._room

    def _means(self) -> tuple[float, float] | None:
        older, newer = self._older.mean(), self._newer.mean()
        return None if older is None or newer is None else (older, newer)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        means = self._means()
        return None if means is None else abs(means[0] - means[1]) <= self.value

    def reading(self) -> Reading:
        """How far the two means are apart, and how far they may be."""
        means, holds = self._means(), (None, self.value)
        if means is None:
            text = f"{self.seen} of {self.needs} values"
            return measured(None, None, None, holds, APART, self.seen, self.needs, "", text)
        older, newer = means
        apart = abs(older - newer)
        text = f"{older:.6g}, then {newer:.6g}, {apart:.3g} apart; at most {self.value:.3g} needed"
        return measured(finite(apart), None, None, holds, APART, self.seen, self.needs, "", text)

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        return self.reading().text

    def distance(self) -> float:
        """Not in units that could be compared with others."""
        return inf

    def soonest(self) -> Soonest:
        """Either way when a block is full, once both stretches are."""
        missing = 2 * self._newer.size - len(self._older.values) - len(self._newer.values) - 1
        room = self._room + max(0, missing) * self.block
        return Soonest.of(self.verdict(), room, room)

    def contents(self) -> list[Any]:
        """The means of the blocks of both stretches, in order of arrival; then [mean so far, values] of an open one."""
        open_block = [] if self._room == self.block else [[self._open, self.block - self._room]]
        return [*self._older.values, *self._newer.values, *open_block]

    def restore(self, contents: list[Any]) -> None:
        """Continue as the detector whose contents these are."""
        means = contents[:-1] if contents and isinstance(contents[-1], list) else contents
        so_far, count = contents[-1] if len(means) < len(contents) else (0.0, 0)
        if len(means) > 2 * self._newer.size or not 0 <= count < self.block:
            expected = f"{2 * self._newer.size} blocks of {self.block}"
            raise ValueError(f"{len(means)} blocks and {count} values; two stretches are {expected}")
        self._older, self._newer = RunningMean(self._older.size), RunningMean(self._newer.size)
        for mean in means:
            self._move_on(float(mean))
        self._open, self._room = float(so_far), self.block - int(count)

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)


class GapWord(MetricWord[Gap]):
    """Watched over two stretches."""

    name = "gap"
    description = "The metric is about the same over two stretches of time."
    written = Gap
    on_timed = True

    def faults(self, value: Gap, path: Path, knobs: Collection[str]) -> Iterator[Fault]:
        """A stretch without end, or without length."""
        yield from rest_faults(value.over, (*path, "over"))
        yield from empty_faults(value.over, (*path, "over"), "stretches that last")

    def amounts(self, value: Gap) -> Iterator[AmountAsked]:
        """The stretch."""
        yield AmountAsked(value.over, ("over",))

    def per_point(self, value: dict[str, Any], spacing: int, steps: Callable[[str], int]) -> dict[str, Any] | None:
        """As many fewer values."""
        with suppress(ValueError, KeyError):  # binding says which amount cannot be resolved
            return {**value, "over": f"{max(1, round(steps(value['over']) / spacing))} steps"}
        return None

    def detector(self, value: Gap, feed: Feed) -> Apart:
        """Compares the two means; of a metric that comes now and then, those of as many values as come in the time."""
        return Apart(max(1, ceil(feed.values(value.over))), value.value)

    def advice(self, value: Gap) -> Advice:
        """The distance that is allowed."""
        return Advice("raise value of gap", "lower value of gap")

    def hint(self, value: Gap, feed: Feed) -> Hint:
        """A fall of more than the distance."""
        return Hint(self.detector(value, feed).needs, ratio=1.0 + min(1.0, value.value + 1e-3))

    def example(self, pick: Pick) -> dict[str, Any]:
        """Short stretches."""
        return {
            "metric": pick.one_of(pick.timed),
            "over": pick.amount(5),
            "value": pick.one_of((0.0, 0.125, 1.0)),
        }
