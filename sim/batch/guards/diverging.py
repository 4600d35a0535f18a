"""`diverging` over many runs at once."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.diverging import Growing
from plateau_rule.sim.batch.guards.twin import Detectors, Twin
from plateau_rule.sim.batch.history import Floats, History, Mask, Rows
from plateau_rule.sim.batch.kleene import UNKNOWN, Verdicts, spelled
from plateau_rule.sim.batch.means import RunningMeans


class ManyGrowing(Detectors):
    """`diverging`; see controller.guards.diverging.Growing."""

    def __init__(self, scalar: Growing, history: History) -> None:
        self._spec, self._history = scalar.spec, history
        self._half = scalar.spec.window - scalar.spec.window // 2
        self._means = RunningMeans(self._half, history)
        self._best = np.full(history.runs, np.inf)
        self._mirrored = scalar.mirrored

    def enter(self, rows: Rows, watching: bool) -> None:
        """Forget the best."""
        self._best[rows] = np.inf

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the value into the means; `settle` follows."""
        self._means.push(values, brought)

    def settle(self, brought: Mask | None) -> None:
        """Compare the new means with the best, once the history has the values."""
        known = self._history.seen >= self._half
        if brought is not None:
            known &= brought
        if known.any():
            estimates, margin = self._means.estimates()
            rows = np.flatnonzero(known & ~(estimates - margin > self._best))
            self._best[rows] = np.minimum(self._best[rows], self._means.means(rows))

    def verdicts(self) -> Verdicts:
        """The means against the best."""
        best, factor = self._best, self._spec.factor
        known = (self._history.seen >= self._spec.window) & (best != 0.0) & (best < np.inf)
        if not known.any():
            return np.full(self._history.runs, UNKNOWN, dtype=np.int8)
        below = best / factor if self._mirrored else best - best * (factor - 1.0)
        bound = np.where(best > 0.0, best * factor, below)
        estimates, margin = self._means.estimates()
        found = spelled(estimates >= bound, known)
        rows = np.flatnonzero(known & ~(np.abs(estimates - bound) > margin))
        found[rows] = spelled(self._means.means(rows) >= bound[rows], known[rows])
        return found


TWIN = Twin(
    Growing,
    lambda scalar, history, often: ManyGrowing(scalar, history),
    lambda scalar: scalar.spec.window - scalar.spec.window // 2,
)
