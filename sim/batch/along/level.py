"""`below` and `above` along time; see controller.guards.level."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF
from plateau_rule.controller.guards.level import Beside
from plateau_rule.sim.batch.along.base import Along, Counts
from plateau_rule.sim.batch.along.means import SlidingMeans
from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts, spelled


class AlongBeside(Along):
    """`below` and `above`."""

    of = Beside

    def __init__(self, scalar: Beside) -> None:
        super().__init__()
        self._spec, self._below = scalar.spec, scalar.below
        self._means = SlidingMeans(scalar.spec.window)

    def see(self, values: Floats) -> None:
        """Take all values of the stay."""
        self.values = self._means.values = values

    def verdicts(self, counts: Counts) -> Verdicts:
        """The means against the value."""
        found, value = np.full(len(counts), UNKNOWN, dtype=np.int8), self._spec.value
        from_ = int(np.searchsorted(counts, self._spec.window))
        if from_ == len(counts):
            return found
        ends = counts[from_:]
        means, off = self._means.estimates(ends)
        found[from_:] = spelled(means < value if self._below else means > value, np.ones(len(ends), dtype=np.bool_))
        with np.errstate(all="ignore"):
            doubt = ~(np.abs(means - value) > off + 8.0 * UNIT_ROUNDOFF * abs(value))
        if off.any() and doubt.any():
            places = np.flatnonzero(doubt)
            exact = self._means.exact(ends[places])
            said = [TRUE if (mean < value if self._below else mean > value) else FALSE for mean in exact]
            found[from_ + places] = said
        return found

    def fill(self, scalar: Beside, count: int) -> None:
        """It remembers the values in its window."""
        scalar.restore(self.values[max(0, count - self._spec.window) : count].tolist())
