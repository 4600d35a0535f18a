"""`below` and `above` over many runs at once."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.level import Beside
from plateau_rule.sim.batch.guards.twin import Detectors, Twin
from plateau_rule.sim.batch.history import Floats, History, Mask
from plateau_rule.sim.batch.kleene import UNKNOWN, Verdicts, spelled
from plateau_rule.sim.batch.means import RunningMeans


class ManyBeside(Detectors):
    """`below` and `above`; see controller.guards.level.Beside."""

    def __init__(self, scalar: Beside, history: History) -> None:
        self._spec, self._below, self._history = scalar.spec, scalar.below, history
        self._means = RunningMeans(scalar.spec.window, history)

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the value into the means."""
        self._means.push(values, brought)

    def verdicts(self) -> Verdicts:
        """The means against the value."""
        known = self._history.seen >= self._spec.window
        if not known.any():
            return np.full(self._history.runs, UNKNOWN, dtype=np.int8)
        estimates, margin = self._means.estimates()
        found = spelled(estimates < self._spec.value if self._below else estimates > self._spec.value, known)
        rows = np.flatnonzero(known & ~(np.abs(estimates - self._spec.value) > margin))
        means = self._means.means(rows)
        found[rows] = spelled(means < self._spec.value if self._below else means > self._spec.value, known[rows])
        return found


TWIN = Twin(Beside, lambda scalar, history, often: ManyBeside(scalar, history), lambda scalar: scalar.spec.window)
