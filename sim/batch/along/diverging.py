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
        self._known = 0  # means that are worked out
        # [count - half]: each mean, how far it may be off, and between what the best one until then must lie.
        self._mean, self._off, self._low, self._high = (np.empty(0) for _ in range(4))
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
            for name in ("_mean", "_off", "_low", "_high"):
                grown = np.empty(room)
                grown[:known] = getattr(self, name)[:known]
                setattr(self, name, grown)
        mean, off = self._means.estimates(np.arange(known + self._half, count + 1))
        self._mean[known:upto], self._off[known:upto] = mean, off
        for best, least in ((self._low, mean - off), (self._high, mean + off)):
            np.minimum.accumulate(least, out=best[known:upto])
            if known:
                np.minimum(best[known:upto], best[known - 1], out=best[known:upto])
        self._known = upto

    def verdicts(self, counts: Counts) -> Verdicts:
        """The means against the best."""
        found = np.full(len(counts), UNKNOWN, dtype=np.int8)
        from_ = int(np.searchsorted(counts, self._window))
        if from_ == len(counts):
            return found
        ends = counts[from_:]
        self._work_out(int(ends[-1]))
        places = ends - self._half
        mean, off, low, high = (held[places] for held in (self._mean, self._off, self._low, self._high))
        with np.errstate(all="ignore"):
            bounds = [self._bound(best) for best in (low, high)]
            slack = off + 16.0 * UNIT_ROUNDOFF * (np.abs(bounds[0]) + np.abs(bounds[1]) + np.abs(mean))
            true, false = mean - slack > np.maximum(*bounds), mean + slack < np.minimum(*bounds)
            sure = (true | false) & ((low > 0.0) | (high < 0.0)) & (np.abs(bounds[0]) < np.inf)
        found[from_:] = spelled(true, np.ones(len(ends), dtype=np.bool_))
        if not sure.all():
            doubt = np.flatnonzero(~sure)
            found[from_ + doubt] = self._asked(ends[doubt])
        return found

    def _bound(self, best: Floats) -> Floats:
        """What a mean has to reach."""
        below = best / self._factor if self._empty.mirrored else best - best * (self._factor - 1.0)
        return np.where(best > 0.0, best * self._factor, below)

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
            close = np.flatnonzero(self._mean[:upto] - self._off[:upto] <= self._high[upto - 1])
            if not 0 < len(close) <= _CLOSE:
                self._walk(count)
                scalar.restore(self._walker.contents())
                return
            best = min(self._means.exact(close + self._half))
        values = self.values[max(0, count - self._half) : count].tolist()
        scalar.restore({"values": values, "best": best, "count": min(count, self._window)})
