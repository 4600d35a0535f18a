"""`method = "halves"` along time; see controller.guards.plateau.halves."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.sim.batch.along.base import Along, Counts
from plateau_rule.sim.batch.guards.twin import in_order
from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.batch.kleene import UNKNOWN, Verdicts, spelled

_AT_ONCE = 1 << 18  # values that are summed anew in one piece
_TINY, _HUGE = 1e-290, 1e290  # outside, the bounds on rounding do not hold


class AlongHalves(Along):
    """`plateau` by halves."""

    of = Halves

    def __init__(self, scalar: Halves) -> None:
        super().__init__()
        self._window, self._threshold = scalar.window, scalar.threshold
        self._first = scalar.window // 2
        self._second = scalar.window - self._first

    def verdicts(self, counts: Counts) -> Verdicts:
        """By fast sums where their error cannot matter, else by sums in the controller's order."""
        found = np.full(len(counts), UNKNOWN, dtype=np.int8)
        from_ = int(np.searchsorted(counts, self._window))
        if from_ == len(counts):
            return found
        ends = counts[from_:]
        with np.errstate(all="ignore"):
            older, younger, doubt = self._fast(ends)
            first = older / self._first
            size = np.abs(first)
            distance = first - younger / self._second - self._threshold * size
            margin = doubt * (1.0 + self._threshold) + _TINY
            found[from_:] = spelled(distance < 0.0, np.ones(len(ends), dtype=np.bool_))
            distance = np.abs(distance)
            sure = (distance > margin) & (size > margin) & (distance < _HUGE)
            if not sure.all():
                places = np.flatnonzero(~sure)
                found[from_ + places] = self._settled(ends[places])
        return found

    def _fast(self, ends: Counts) -> tuple[Floats, Floats, float]:
        """The sums of both halves before each of these places, and a bound on the error of either one's mean.

        A sum of n values of magnitude <= M, in whatever order, is off by at most n * n * M * UNIT_ROUNDOFF; so is the
        controller's own. Four times that covers both, in both halves, and what the comparison rounds.
        """
        start, stop = int(ends[0]) - self._window, int(ends[-1])
        part = self.values[start:stop]
        largest, at = max(float(part.max()), -float(part.min())), ends - start
        if len(ends) * self._window <= stop - start:
            edges = np.stack((at - self._window, at - self._second, at), axis=1).ravel()[:-1]
            if (np.diff(edges) > 0).all():  # no window touches another
                sums = np.add.reduceat(part, edges)
                return sums[0::3], sums[1::3], self._bound(self._second, largest)
        totals = np.concatenate(([0.0], np.cumsum(part)))
        middle = totals[at - self._second]
        return middle - totals[at - self._window], totals[at] - middle, self._bound(len(part), largest)

    def _bound(self, added: int, largest: float) -> float:
        """Of a mean of one half, where the error is that of a sum of so many values."""
        return 16.0 * UNIT_ROUNDOFF * (added * (added / self._first) + self._window) * largest

    def _settled(self, ends: Counts) -> Verdicts:
        windows = sliding_window_view(self.values, self._window)
        found = np.empty(len(ends), dtype=np.int8)
        most = max(1, _AT_ONCE // self._window)
        for piece in range(0, len(ends), most):
            table = windows[ends[piece : piece + most] - self._window].T
            older, younger = in_order(table[: self._first]), in_order(table[self._first :])
            first = older / self._first
            flat = (first - younger / self._second) / np.abs(first) < self._threshold
            known = (first != 0.0) & np.isfinite(older) & np.isfinite(younger)
            found[piece : piece + most] = spelled(flat, known)
        return found

    def fill(self, scalar: Halves, count: int) -> None:
        """Of all values, it remembers those in its window."""
        scalar.restore(self.values[max(0, count - self._window) : count].tolist())
