"""What `below` and `above` have in common: the mean of the last values of a metric against a fixed value."""

from __future__ import annotations

from math import inf
from typing import Any, Self

from plateau_rule.controller.guards.detector import RunningMean, Soonest, copy_of
from plateau_rule.controller.guards.reading import Reading, measured
from plateau_rule.controller.guards.word import Feed, Hint, MetricWord, Pick
from plateau_rule.controller.language.values import Finite, MetricName, Table, Window


class Level(Table):
    """The mean of the last values against a fixed value."""

    metric: MetricName = "loss"
    """The metric to watch."""
    value: Finite
    """The value to compare with."""
    window: Window = 1
    """Observations in the mean."""


class Beside:
    """`below` and `above`: the mean of the last values against a fixed value."""

    __slots__ = ("_mean", "below", "knows", "needs", "spec")

    def __init__(self, spec: Level, below: bool) -> None:
        self.spec, self.below = spec, below
        self.knows = self.needs = spec.window
        self._mean = RunningMean(spec.window)

    def push(self, value: float) -> None:
        """Take the next finite value."""
        self._mean.push(value)

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        mean = self._mean.mean()
        if mean is None:
            return None
        return mean < self.spec.value if self.below else mean > self.spec.value

    def reading(self) -> Reading:
        """The mean, and the value that it has to pass."""
        spec, mean, seen = self.spec, self._mean.mean(), len(self._mean.values)
        holds = (None, spec.value) if self.below else (spec.value, None)
        if mean is None:
            text = f"{seen} of {spec.window} values of {spec.metric}"
        else:
            text = f"{spec.metric} {mean:.6g}, {'below' if self.below else 'above'} {spec.value:.6g} needed"
        return measured(mean, None, None, holds, spec.metric, seen, spec.window, "", text)

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        return self.reading().text

    def distance(self) -> float:
        """How far the mean lies on the wrong side; negative where it is true."""
        mean = self._mean.mean()
        if mean is None:
            return inf
        return mean - self.spec.value if self.below else self.spec.value - mean

    def soonest(self) -> Soonest:
        """Either way with the next value, once the window is full."""
        room = max(1, self.spec.window - len(self._mean.values))
        return Soonest.of(self.verdict(), room, room)

    def contents(self) -> list[float]:
        """The values of the window, in order of arrival."""
        return list(self._mean.values)

    def restore(self, contents: list[float]) -> None:
        """Continue as the detector whose contents these are."""
        self._mean.restore(contents)

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)


class LevelWord(MetricWord[Level]):
    """Watched from one side; under: whether the mean must be below the value."""

    written = Level
    under: bool

    def detector(self, value: Level, feed: Feed) -> Beside:
        """Compares the mean."""
        return Beside(value, self.under)

    def hint(self, value: Level, feed: Feed) -> Hint:
        """The value."""
        return Hint(value.window, levels=(value.value,))

    def example(self, pick: Pick) -> dict[str, Any]:
        """A value that the metric may pass, and a short window."""
        return {"metric": pick.one_of(pick.metrics), "value": pick.level(), "window": pick.whole(1, 6)}
