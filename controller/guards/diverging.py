"""`diverging`: a metric has grown to a multiple of the best that this state has seen."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, Self

from pydantic import Field

from plateau_rule.controller.guards.detector import Detector, Mirrored, RunningMean, Soonest, copy_of
from plateau_rule.controller.guards.reading import OPEN, Reading, finite, measured
from plateau_rule.controller.guards.word import Feed, Hint, MetricWord, Pick
from plateau_rule.controller.language.values import LARGEST, MetricName, Since, Table


class Diverging(Table):
    """The metric grows; one of which more is better falls."""

    metric: MetricName = "loss"
    """The metric to watch."""
    window: Annotated[int, Field(ge=2, le=10**6)] = 200
    """Observations; the means of half windows are compared."""
    factor: Annotated[float, Field(gt=1, le=LARGEST)] = 1.25
    """True when the mean of the last half window reaches the state's best half window times this."""
    since: Since = "state"
    """`run` keeps the best, and the window, across states and loops."""


class Growing:
    """`diverging`: the mean of the last half window has reached `factor` times the best one of this state.

    Of a negative best, the distance |best| * (factor - 1) is meant; a best of 0 has no multiple and stays unknown. Of a
    metric of which more is better, the best divided by `factor` is meant, or that distance below a negative best.
    """

    __slots__ = ("_best", "_count", "_mean", "_sign", "knows", "needs", "spec")

    def __init__(self, spec: Diverging, sign: float = 1.0) -> None:
        self.spec, self._sign = spec, sign  # -1 where the values' signs were turned
        self.knows = self.needs = spec.window
        self._mean = RunningMean(spec.window - spec.window // 2)
        self._best: float | None = None
        self._count = 0  # values seen, up to the window

    @property
    def mirrored(self) -> bool:
        """Whether the values' signs were turned."""
        return self._sign < 0

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
        best, factor = self._best, self.spec.factor
        if best > 0:
            return best * factor
        return best - best * (factor - 1.0) if self._sign > 0 else best / factor

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        bound, mean = self._bound(), self._mean.mean()
        return None if bound is None or mean is None else mean >= bound

    def reading(self) -> Reading:
        """The newest mean, and the bound that it has to reach, which moves with the best."""
        spec, bound, count = self.spec, self._bound(), self._count
        if bound is None:
            text = "the best mean is 0" if self._best == 0 else f"{count} of {spec.window} values of {spec.metric}"
            return measured(None, None, None, OPEN, spec.metric, count, spec.window, "", text)
        mean, bound, best = (self._sign * float(value or 0.0) for value in (self._mean.mean(), bound, self._best))
        text = f"{spec.metric} {mean:.6g}, diverging from {bound:.6g} on; best {best:.6g}"
        reached = finite(bound)
        holds = (None, reached) if self.mirrored else (reached, None)
        return measured(mean, None, None, holds, spec.metric, count, spec.window, "", text)

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        return self.reading().text

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


class DivergingWord(MetricWord[Diverging]):
    """Watched for growth."""

    name = "diverging"
    description = "The metric grows; one of which more is better falls."
    written = Diverging
    two_ways = True

    def detector(self, value: Diverging, feed: Feed) -> Detector:
        """Compares half windows."""
        return Mirrored(Growing(value, -1.0)) if feed.rises else Growing(value)

    def hint(self, value: Diverging, feed: Feed) -> Hint:
        """Growth by far more than the factor in half a window."""
        return Hint(value.window, ratio=value.factor ** (4.0 / value.window))

    def example(self, pick: Pick) -> dict[str, Any]:
        """Short."""
        return {
            "metric": pick.one_of(pick.metrics),
            "window": pick.whole(2, 7),
            "factor": pick.one_of((1.25, 2.0)),
            "since": pick.one_of(("state", "run")),
        }
