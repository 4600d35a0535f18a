"""`patience`: no new best of a metric for a while."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field

from plateau_rule.controller.guards.detector import Detector, Mirrored, RunningMean, Soonest, copy_of
from plateau_rule.controller.guards.reading import Reading, measured
from plateau_rule.controller.guards.word import Advice, Feed, Hint, MetricWord, Pick
from plateau_rule.controller.language.values import LARGEST, MetricName, Since, Table, Window

VALUES = "values without a new best"


class Patience(Table):
    """No new best of the metric for a while."""

    metric: MetricName = "loss"
    """The metric to watch."""
    steps: Window
    """Observations without a new best."""
    min_delta: Annotated[float, Field(ge=0, le=LARGEST)] = 0.0
    """How much better than the best a value must be to count as a new one."""
    smooth: Window = 1
    """The metric is averaged over this many observations first."""
    since: Since = "state"
    """`run` keeps the best, and the count since it, across states and loops."""


class NoNewBest:
    """`patience`: the smoothed metric has seen no new best by more than `min_delta` for `steps` values."""

    __slots__ = ("_best", "_mean", "_sign", "_since", "knows", "needs", "spec")

    def __init__(self, spec: Patience, sign: float = 1.0) -> None:
        self.spec, self._sign = spec, sign  # -1 where the values' signs were turned
        self.knows, self.needs = spec.smooth, spec.smooth + spec.steps
        self._mean = RunningMean(spec.smooth)
        self._best: float | None = None
        self._since = 0

    def push(self, value: float) -> None:
        """Take the next finite value."""
        mean = self._mean.push(value)
        if mean is None:
            return
        if self._best is None or self._best - mean > self.spec.min_delta:
            self._best, self._since = mean, 0
        else:
            self._since += 1

    def verdict(self) -> bool | None:
        """True, false, or None for unknown."""
        return None if self._best is None else self._since >= self.spec.steps

    def reading(self) -> Reading:
        """For how many values there was no new best, and for how many there must be none."""
        spec, since, seen, holds = self.spec, self._since, len(self._mean.values), (self.spec.steps, None)
        if self._best is None:
            text = f"{seen} of {spec.smooth} values to smooth over"
            return measured(None, None, None, holds, VALUES, seen, spec.smooth, "", text)
        text = f"no new best for {since} values, patience {spec.steps}; best {self._sign * self._best:.6g}"
        return measured(since, None, None, holds, VALUES, since, spec.steps, "", text)

    def describe(self) -> str:
        """The value, the threshold and, where unknown, why."""
        return self.reading().text

    def distance(self) -> float:
        """For how many more values there must be no new best."""
        return float(self.spec.steps - self._since)

    def soonest(self) -> Soonest:
        """A new best is one value away, and as many without one as patience still has."""
        room = max(1, self.spec.smooth - len(self._mean.values))
        if self._best is None:
            return Soonest(room + self.spec.steps, room, 0)
        return Soonest.of(self.verdict(), self.spec.steps - self._since, room)

    def contents(self) -> dict[str, Any]:
        """All that it remembers."""
        return {"values": list(self._mean.values), "best": self._best, "since": self._since}

    def restore(self, contents: dict[str, Any]) -> None:
        """Continue as the detector whose contents these are."""
        self._mean.restore(contents["values"])
        self._best = None if contents["best"] is None else float(contents["best"])
        self._since = int(contents["since"])

    def copy(self) -> Self:
        """Another one that goes on alike."""
        return copy_of(self)


class PatienceWord(MetricWord[Patience]):
    """Watched for new bests."""

    name = "patience"
    description = "The metric has seen no new best for a while."
    written = Patience
    two_ways = True

    def detector(self, value: Patience, feed: Feed) -> Detector:
        """Counts values since the best."""
        return Mirrored(NoNewBest(value, -1.0)) if feed.rises else NoNewBest(value)

    def advice(self, value: Patience) -> Advice:
        """Its length, or what counts as a new best."""
        return Advice(
            "lower steps of patience, or raise its min_delta", "raise steps of patience, or lower its min_delta"
        )

    def hint(self, value: Patience, feed: Feed) -> Hint:
        """Each value a new best."""
        return Hint(value.smooth + value.steps, ratio=1.0 + max(1e-3, min(1.0, value.min_delta)))

    def example(self, pick: Pick) -> dict[str, Any]:
        """Short."""
        return {
            "metric": pick.one_of(pick.metrics),
            "steps": pick.whole(1, 6),
            "min_delta": pick.one_of((0.0, 0.125, 1.0)),
            "smooth": pick.whole(1, 6),
            "since": pick.one_of(("state", "run")),
        }
