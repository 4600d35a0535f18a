"""Running means of many runs at once, exact and rounded once, as the controller's `RunningMean` gives them.

Sums are kept as unevaluated pairs of floats, about 106 bits (Dekker 1971, "A floating-point technique for extending the
available precision"), beside a bound on what they have lost, which is 0 as long as a sum's bits fit. A mean is given
where the pair shows to which float it rounds; elsewhere the controller's own RunningMean is asked.
"""

from __future__ import annotations

from math import fsum, inf

import numpy as np

from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF, RunningMean
from plateau_rule.sim.batch.history import Floats, History, Mask, Rows

_SPLITTER = 2.0**27 + 1.0
_TINY, _HUGE = 1e-280, 1e290  # outside, parts of floats and their products lose bits


def two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Add: the sum, rounded, and what rounding took away (Knuth, TAOCP 2, 4.2.2, theorem B)."""
    total = a + b
    seen = total - a
    return total, (a - (total - seen)) + (b - seen)


def _split(a: Floats) -> tuple[Floats, Floats]:
    """Two halves of the bits of a float (Dekker 1971); their products are exact."""
    head = a * _SPLITTER
    head = head - (head - a)
    return head, a - head


class RunningMeans:
    """The mean of `size` values of each run: the last ones, or those that came `delay` values before them.

    The sums go on when a run enters a state, since starting one anew would cost more than it saves: a mean is one of
    values of that state alone as soon as `size` of them have been seen in it, and is not asked for before.

    Args:
        size: values in a mean.
        history: where the values are kept, at least delay + size of them.
        delay: how many values came after the newest of the mean.
    """

    def __init__(self, size: int, history: History, delay: int = 0) -> None:
        self.size, self._delay, self._history = size, delay, history
        self._high, self._low = np.zeros(history.runs), np.zeros(history.runs)
        self._lost = np.zeros(history.runs)  # bound on |sum - (high + low)|
        self._size_head, self._size_tail = (float(part) for part in _split(np.float64(size)))  # type: ignore[arg-type]

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the next value of each run, before the history takes it."""
        if self.size == 1:
            return
        coming = self._history.back(self._delay) if self._delay else values
        leaving = self._history.back(self._delay + self.size)
        if brought is not None:
            coming, leaving = np.where(brought, coming, 0.0), np.where(brought, leaving, 0.0)
        change, part = two_sum(np.asarray(coming), np.negative(leaving))
        total, rest = two_sum(self._high, change)
        rest, lost = two_sum(rest, part)
        low, lost_again = two_sum(self._low, rest)
        self._high, self._low = two_sum(total, low)
        self._lost += np.abs(lost)
        self._lost += np.abs(lost_again)

    def estimates(self) -> tuple[Floats, Floats]:
        """The means as they come, and how far they may be off."""
        if self.size == 1:
            return self._single(), np.zeros(self._history.runs)
        return self._high / self.size, self._history.largest * (8.0 * UNIT_ROUNDOFF) + self._lost

    def _single(self) -> Floats:
        return np.array(np.broadcast_to(self._history.back(self._delay + 1), self._history.runs))

    def means(self, rows: Rows) -> Floats:
        """The mean of the newest `size` values of these runs, which must have seen that many, rounded once."""
        if self.size == 1:
            return self._single()[rows]
        high, low, lost = self._high[rows], self._low[rows], self._lost[rows]
        middle = high / self.size
        difference, missed = self._less(high, middle)
        rest = (difference - missed + low) / self.size
        doubt = lost / self.size + (16.0 * UNIT_ROUNDOFF) * (np.abs(rest) + UNIT_ROUNDOFF * np.abs(middle))
        means, above = middle + (rest - doubt), middle + (rest + doubt)
        size = np.abs(middle)
        sure = (means == above) & (size < _HUGE) & ((size > _TINY) | (self._history.largest[rows] == 0.0))
        if not sure.all():
            self._settle(means, above, rows, np.flatnonzero(~sure))
        return means

    def _less(self, high: Floats, mean: Floats) -> tuple[Floats, Floats]:
        """What high - size * mean is, as a difference of two floats, where `mean` is nearly high / size."""
        head, tail = _split(mean)
        product = mean * self.size
        missed = head * self._size_head - product
        missed = ((missed + head * self._size_tail) + tail * self._size_head) + tail * self._size_tail
        return high - product, missed

    def _settle(self, means: Floats, above: Floats, rows: Rows, places: Rows) -> None:
        """Where rounding is in doubt, which is nearly always half way between two floats."""
        which, below, above = rows[places], means[places], above[places]
        high = self._high[which]
        settled = (self._lost[which] == 0.0) & (np.nextafter(below, inf) == above)
        settled &= (np.abs(high) < _HUGE) & (np.abs(below) > _TINY)
        # Twice the sum, less the multiples of both candidates, bit by bit.
        (one, one_missed), (other, other_missed) = self._less(high, below), self._less(high, above)
        distance, lost = two_sum(one, other)
        settled &= lost == 0.0
        for part in (-one_missed, -other_missed, 2.0 * self._low[which]):
            distance, lost = two_sum(distance, part)
            settled &= lost == 0.0
        odd = below.view(np.int64) & 1 == 1
        means[places] = np.where((distance > 0.0) | ((distance == 0.0) & odd), above, below)
        for place in np.flatnonzero(~settled).tolist():
            means[places[place]] = self._asked(int(which[place]))

    def _asked(self, row: int) -> float:
        """The mean by the controller's detector; the sum begins anew."""
        values = self._history.window(self._delay + self.size, np.array([row]))[: self.size, 0].tolist()
        exact = RunningMean(self.size)
        exact.restore(values)
        high = _sum(values)
        self._high[row], self._low[row] = high, (low := _sum([*values, -high]))
        self._lost[row] = abs(_sum([*values, -high, -low])) * (1.0 + 4.0 * UNIT_ROUNDOFF) if abs(high) < inf else inf
        mean = exact.mean()
        return 0.0 if mean is None else mean


def _sum(values: list[float]) -> float:
    try:
        return fsum(values)
    except OverflowError:
        return inf
