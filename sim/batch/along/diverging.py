"""`diverging` along time; see controller.guards.diverging."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF
from plateau_rule.controller.guards.diverging import Growing
from plateau_rule.sim.batch.along.base import Along, Counts
from plateau_rule.sim.batch.along.means import SlidingMeans
from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts, spelled

_FEW, _CLOSE = 64, 1024  # looks in doubt, and means that may be the best one, that are worked out one by one
_SPELLED = {None: UNKNOWN, False: FALSE, True: TRUE}


class AlongGrowing(Along):
    """`diverging`: the means of half windows, and the lowest of them until each look."""

    of = Growing

    def __init__(self, scalar: Growing) -> None:
        super().__init__()
        self._empty, self._window, self._factor = scalar.copy(), scalar.spec.window, scalar.spec.factor
        self._half = scalar.spec.window - scalar.spec.window // 2
        self._means = SlidingMeans(self._half)
        self._known, self._off = 0, 0.0  # means that are worked out, and how far they may be off
        self._mean, self._best = np.empty(0), np.empty(0)  # [count - half]
        self._walker, self._walked = scalar.copy(), 0

    def see(self, values: Floats) -> None:
        """Take all values of the stay."""
        self.values = self._means.values = values

    def _work_out(self, count: int) -> None:
        upto = count - self._half + 1
        if upto <= self._known:
            return
        known = self._known
        if upto > len(self._mean):
            room = max(upto, len(self.values) - self._half + 1)
            for name in ("_mean", "_best"):
                grown = np.empty(room)
                grown[:known] = getattr(self, name)[:known]
                setattr(self, name, grown)
        means, off = self._means.estimates(np.arange(known + self._half, count + 1))
        self._mean[known:upto] = means
        best = np.minimum.accumulate(means)
        self._best[known:upto] = np.minimum(best, self._best[known - 1]) if known else best
        self._known, self._off = upto, max(self._off, off)

    def verdicts(self, counts: Counts) -> Verdicts:
        """The means against the best."""
        found = np.full(len(counts), UNKNOWN, dtype=np.int8)
        from_ = int(np.searchsorted(counts, self._window))
        if from_ == len(counts):
            return found
        ends = counts[from_:]
        self._work_out(int(ends[-1]))
        mean, best, factor, off = self._mean[ends - self._half], self._best[ends - self._half], self._factor, self._off
        with np.errstate(all="ignore"):
            below = best / factor if self._empty.mirrored else best - best * (factor - 1.0)
            bound = np.where(best > 0.0, best * factor, below)
            found[from_:] = spelled(mean >= bound, np.ones(len(ends), dtype=np.bool_))
            slack = off * (2.0 + factor) + 16.0 * UNIT_ROUNDOFF * (np.abs(bound) + np.abs(mean))
            sure = (np.abs(mean - bound) > slack) & (np.abs(best) > off) & (np.abs(bound) < np.inf)
        if not sure.all():
            places = np.flatnonzero(~sure)
            found[from_ + places] = self._asked(ends[places])
        return found

    def _asked(self, counts: Counts) -> list[int]:
        """What the controller's own says."""
        said = []
        for count in counts.tolist():
            detector = self._empty.copy()
            if len(counts) > _FEW:
                self._walk(count)
                detector = self._walker
            else:
                self.fill(detector, count)
            said.append(_SPELLED[detector.verdict()])
        return said

    def _walk(self, count: int) -> None:
        if count < self._walked:
            self._walker, self._walked = self._empty.copy(), 0
        for value in self.values[self._walked : count].tolist():
            self._walker.push(value)
        self._walked = count

    def fill(self, scalar: Growing, count: int) -> None:
        """It remembers the values of half a window, the best mean, and how many values came, up to the window."""
        best = None
        if count >= self._half:
            self._work_out(count)
            upto = count - self._half + 1
            close = np.flatnonzero(self._mean[:upto] <= self._best[upto - 1] + 2.0 * self._off)
            if not 0 < len(close) <= _CLOSE:
                self._walk(count)
                scalar.restore(self._walker.contents())
                return
            best = min(self._means.exact(close + self._half))
        values = self.values[max(0, count - self._half) : count].tolist()
        scalar.restore({"values": values, "best": best, "count": min(count, self._window)})
