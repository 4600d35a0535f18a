"""Means of the last values along time: quickly, with a bound on their error; and exact, as the controller has them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF, RunningMean
from plateau_rule.sim.batch.along.base import Counts
from plateau_rule.sim.batch.history import Floats

_HUGE = 1e290  # beyond, a sum may have overflown on the way
_AT_ONCE = 1 << 15  # values whose sums go on from each other; more of them round more


class SlidingMeans:
    """The mean of the last `size` values after each count of values."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: Floats = np.empty(0)
        self._exact, self._at = RunningMean(size), 0  # and after how many values it stands

    def estimates(self, ends: Counts) -> tuple[Floats, Floats]:
        """The means after so many values, and how far each may be off; NaN where a sum was too large for a float.

        Args:
            ends: [look], rising, each at least `size`.
        """
        size = self.size
        if size == 1:
            return self.values[ends - 1], np.zeros(len(ends))
        start, stop = int(ends[0]) - size, int(ends[-1])
        with np.errstate(all="ignore"):
            if len(ends) * size <= stop - start:
                part = sliding_window_view(self.values, size)[ends - size]
                return _sane(part.sum(axis=1) / size), _bound(size, size, np.abs(part).max(axis=1))
            found, off, done = np.empty(len(ends)), np.empty(len(ends)), 0
            while done < len(ends):
                first = int(ends[done]) - size
                after = int(np.searchsorted(ends, first + size + _AT_ONCE, "right"))
                at = ends[done:after] - first
                part = self.values[first : first + int(at[-1])]
                totals = np.concatenate(([0.0], np.cumsum(part)))
                found[done:after] = (totals[at] - totals[at - size]) / size
                off[done:after] = _bound(len(part), size, np.abs(part).max())
                done = after
            return _sane(found), off

    def exact(self, ends: Counts) -> Iterator[float]:
        """The means after so many values, rounded once; quick where these counts follow on each other."""
        for end in ends.tolist():
            if not self._at <= end < self._at + self.size or self._at < self.size:
                self._exact.restore(self.values[end - self.size : end].tolist())
            else:
                for value in self.values[self._at : end].tolist():
                    self._exact.push(value)
            self._at = end
            mean = self._exact.mean()
            yield 0.0 if mean is None else mean


def _bound(added: int, size: int, largest: Floats) -> Floats:
    """How far a mean may be off, and more: a sum of n values of magnitude <= M by n * n * M * UNIT_ROUNDOFF."""
    return 16.0 * UNIT_ROUNDOFF * (added * (added / size) + 1.0) * largest + 1e-300


def _sane(means: Floats) -> Floats:
    return np.where(np.abs(means) < _HUGE, means, np.nan)
