"""`patience` over many runs at once."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.patience import NoNewBest
from plateau_rule.sim.batch.guards.twin import SLACK, Detectors, Twin
from plateau_rule.sim.batch.history import Floats, History, Mask, Rows
from plateau_rule.sim.batch.kleene import Verdicts, spelled
from plateau_rule.sim.batch.means import RunningMeans


class ManyNoNewBest(Detectors):
    """`patience`; see controller.guards.patience.NoNewBest."""

    def __init__(self, scalar: NoNewBest, history: History) -> None:
        self._spec, self._history = scalar.spec, history
        self._means = RunningMeans(scalar.spec.smooth, history)
        self._best = np.full(history.runs, np.inf)  # infinite where there is none yet
        self._since = np.zeros(history.runs, dtype=np.int64)

    def enter(self, rows: Rows, watching: bool) -> None:
        """Forget the best."""
        self._best[rows] = np.inf
        self._since[rows] = 0

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the value into the means; `settle` follows."""
        self._means.push(values, brought)

    def settle(self, brought: Mask | None) -> None:
        """Compare the new means with the best, once the history has the values."""
        known = self._history.seen >= self._spec.smooth
        if brought is not None:
            known &= brought
        if not known.any():
            return
        estimates, margin = self._means.estimates()
        self._since += known
        # Exact means only where there may be a new best.
        worse = self._best - estimates <= self._spec.min_delta - (margin + SLACK * np.abs(self._best))
        rows = np.flatnonzero(known & ~worse)
        means = self._means.means(rows)
        better = self._best[rows] - means > self._spec.min_delta
        rows = rows[better]
        self._best[rows] = means[better]
        self._since[rows] = 0

    def verdicts(self) -> Verdicts:
        """Whether the best is old enough."""
        return spelled(self._since >= self._spec.steps, self._best < np.inf)


TWIN = Twin(NoNewBest, lambda scalar, history, often: ManyNoNewBest(scalar, history), lambda scalar: scalar.spec.smooth)
