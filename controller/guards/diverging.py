"""`diverging`: a metric has grown to a multiple of the best that this state has seen."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Annotated, Any, Self

from pydantic import Field

from plateau_rule.controller.guards.detector import RunningMean, Soonest, copy_of
from plateau_rule.controller.guards.word import Hint, Metric, Pick
from plateau_rule.controller.language.amounts import Amount
from plateau_rule.controller.language.values import LARGEST, Name, Table


class Diverging(Table):
    """The metric grows."""

    metric: Name = "loss"
    """The metric to watch."""
    window: Annotated[int, Field(ge=2, le=10**6)] = 200
    """Observations; the means of half windows are compared."""
    factor: Annotated[float, Field(gt=1, le=LARGEST)] = 1.25
    """True when the mean of the last half window reaches the state's best half window times this."""


class Growing:
    """`diverging`: the mean of the last half window has reached `factor` times the best one of this state.

    Of a negative best, the distance |best| * (factor - 1) is meant; a best of 0 has no multiple and stays unknown.
    """

    __slots__ = ("_best", "_count", "_mean", "knows", "needs", "spec")

    def __init__(self, spec: Diverging) -> None:
        self.spec = spec
        self.knows = self.needs = spec.window
        self._mean = RunningMean(spec.window - spec.window // 2)
        self._best: float | None = None
        self._count = 0  # values seen, up to the window

    def push(self, value: float) -> None:
        """Take the next finite value."""
        mean = self._mean.push(value)
        if self._count < self.spec.window:
            self._count += 1
        if mean is not None and (self._best is None or mean < self._best):
            self._best = mean

    def _bound(self) -> float | None:
        if self._best is None or self._best == 0 or self._count < self.spec.window:
            return None
        return self._best * self.spec.factor if self._best > 0 else self._best - self._best * (self.spec.factor - 1.0)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        bound, mean = self._bound(), self._mean.mean()
        return None if bound is None or mean is None else mean >= bound

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        bound = self._bound()
        if bound is None:
            return (
                "the best mean is 0"
                if self._best == 0
                else f"{self._count} of {self.spec.window} values of {self.spec.metric}"
            )
        return f"{self.spec.metric} {self._mean.mean():.6g}, diverging from {bound:.6g} on; best {self._best:.6g}"

    def distance(self) -> float:
        """Not in units that could be compared with others."""
        return inf

    def soonest(self) -> Soonest:
        """Either way with the next value, once there are enough; of a best of 0 there must first be a lower one."""
        room = max(1, self.spec.window - self._count)
        positive = self._best is None or self._best > 0
        return Soonest.of(self.verdict(), max(room, 2) if self._best == 0 else room, room, 1 if positive else inf)

    def contents(self) -> dict[str, Any]:
        """All that it remembers."""
        return {"values": list(self._mean.values), "best": self._best, "count": self._count}

    def restore(self, contents: dict[str, Any]) -> None:
        """Continue as the detector whose contents these are."""
        self._mean.restore(contents["values"])
        self._best = None if contents["best"] is None else float(contents["best"])
        self._count = int(contents["count"])

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)


class DivergingWord(Metric[Diverging]):
    """Watched for growth."""

    name = "diverging"
    description = "The metric grows."
    written = Diverging

    def detector(self, value: Diverging, steps: Callable[[Amount], int]) -> Growing:
        """Compares half windows."""
        return Growing(value)

    def hint(self, value: Diverging, steps: Callable[[Amount], int]) -> Hint:
        """Growth by far more than the factor in half a window."""
        return Hint(value.window, ratio=value.factor ** (4.0 / value.window))

    def example(self, pick: Pick) -> dict[str, Any]:
        """Short."""
        return {
            "metric": pick.one_of(pick.metrics),
            "window": pick.whole(2, 7),
            "factor": pick.one_of((1.25, 2.0)),
        }
