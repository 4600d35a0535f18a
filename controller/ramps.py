"""A knob's way from one value to another while a state lasts."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, copysign, floor, inf, sqrt
from typing import NamedTuple

from plateau_rule.controller.language.amounts import Amount
from plateau_rule.controller.language.curriculum import FULL
from plateau_rule.controller.tally import StayTally


@dataclass(frozen=True, slots=True)
class BoundRamp:
    """A knob's way from one value to another, as a pure function of the time in the state."""

    start: float
    end: float
    over: Amount
    shape: str
    multiple_of: float | None
    rungs: tuple[float, ...] | None

    @property
    def is_unmeasured(self) -> bool:
        """Whether it leads to `full` and no limit says where that is, so that only its ends are known."""
        return self.end == inf and self.start != inf

    def value(self, time: int, over: int) -> float | str:
        """The knob after so much time in the state, of the time that the ramp takes: what it passed last."""
        share = time / over
        if share >= 1.0:
            value = self.end
        elif self.end == inf:  # no trainer and no limit: there is nothing to measure the way on
            value = self.start
        elif self.shape == "linear":
            value = self.start + (self.end - self.start) * share
        else:
            low, high = copysign(self.start**2, self.start), copysign(self.end**2, self.end)
            square = low + (high - low) * share
            value = copysign(sqrt(abs(square)), square)
        falls = self.end < self.start
        if self.rungs is not None and falls:
            value = min((rung for rung in self.rungs if value <= rung <= self.start), default=self.start)
        elif self.rungs is not None:
            value = max((rung for rung in self.rungs if self.start <= rung <= value), default=self.start)
        elif self.multiple_of is not None and value != self.end and falls:
            value = min(self.start, ceil(value / self.multiple_of) * self.multiple_of)
        elif self.multiple_of is not None and value != self.end:
            value = max(self.start, floor(value / self.multiple_of) * self.multiple_of)
        if value == inf:
            return FULL
        return int(value) if float(value).is_integer() else value


class MeasuredRamp(NamedTuple):
    """A ramp in one stay in a state, with all that its values depend on.

    Attributes:
        ramp: as it is bound.
        steps: how long it takes.
        over: the same by the meter that it is measured with, in whole units.
        meter: the place of that meter; None where it is measured in steps.
        tally: what the meters count in the stay; None where there are none.
    """

    ramp: BoundRamp
    steps: int
    over: int
    meter: int | None = None
    tally: StayTally | None = None

    def value(self, time: int) -> float | str:
        """The knob after so many steps in the state."""
        if self.meter is None or self.tally is None:
            return self.ramp.value(time, self.steps)
        return self.ramp.value(self.tally.at(self.meter, time), self.over)
