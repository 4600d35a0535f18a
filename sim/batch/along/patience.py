"""`patience` along time; see controller.guards.patience."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF
from plateau_rule.controller.guards.patience import NoNewBest
from plateau_rule.sim.batch.along.base import Along, Counts
from plateau_rule.sim.batch.along.means import SlidingMeans
from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.batch.kleene import UNKNOWN, Verdicts, spelled


class AlongNoNewBest(Along):
    """`patience`: after which counts of values a new best came, and what it was."""

    of = NoNewBest

    def __init__(self, scalar: NoNewBest) -> None:
        super().__init__()
        self._spec = scalar.spec
        self._means = SlidingMeans(scalar.spec.smooth)
        self._done = scalar.spec.smooth - 1  # values that were gone through
        self._counts = list[int]()  # after how many values each new best came
        self._bests = list[float]()

    def see(self, values: Floats) -> None:
        """Take all values of the stay."""
        self.values = self._means.values = values

    def _work_out(self, count: int) -> None:
        """Go through the means; only those that may be a new best are asked for exactly."""
        if count <= self._done:
            return
        first, delta = self._done + 1, self._spec.min_delta
        means, off = self._means.estimates(np.arange(first, count + 1))
        self._done = count
        best, least = (self._bests[-1], self._least(self._bests[-1])) if self._bests else (np.inf, np.inf)
        for at, (mean, lowest) in enumerate(zip(means.tolist(), (means - off).tolist(), strict=True), first):
            if lowest > least:  # surely no new best
                continue
            value = mean if lowest == mean else next(self._means.exact(np.array([at])))
            if not self._bests or best - value > delta:
                self._counts.append(at)
                self._bests.append(value)
                best, least = value, self._least(value)

    def _least(self, best: float) -> float:
        """What a mean must be above so that it is surely no new best."""
        delta = self._spec.min_delta
        return best - delta + 16.0 * UNIT_ROUNDOFF * (abs(best) + delta)

    def verdicts(self, counts: Counts) -> Verdicts:
        """Whether the best is old enough."""
        found = np.full(len(counts), UNKNOWN, dtype=np.int8)
        from_ = int(np.searchsorted(counts, self._spec.smooth))
        if from_ == len(counts):
            return found
        ends = counts[from_:]
        self._work_out(int(ends[-1]))
        came = np.array(self._counts)
        since = ends - came[np.searchsorted(came, ends, "right") - 1]
        found[from_:] = spelled(since >= self._spec.steps, np.ones(len(ends), dtype=np.bool_))
        return found

    def fill(self, scalar: NoNewBest, count: int) -> None:
        """It remembers the values that are averaged, the best, and how long ago that came."""
        self._work_out(count)
        place = int(np.searchsorted(np.array(self._counts), count, "right")) - 1
        known = count >= self._spec.smooth
        scalar.restore(
            {
                "values": self.values[max(0, count - self._spec.smooth) : count].tolist(),
                "best": self._bests[place] if known else None,
                "since": count - self._counts[place] if known else 0,
            }
        )
