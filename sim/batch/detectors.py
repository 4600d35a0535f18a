"""The controller's detectors over many runs at once: the same verdicts, value by value.

Each is made from the controller's own detector, as it stands on entering a state, and shares a History with the others
that watch the same metric. Where a faster sum could decide differently from the controller's, a bound on its rounding
error tells, and the exact one decides.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.detectors import gap
from plateau_rule.controller.detectors import windows as one
from plateau_rule.sim.batch.history import Floats, History, Mask, Rows
from plateau_rule.sim.batch.means import RunningMeans

FALSE, UNKNOWN, TRUE = 0, 1, 2  # in Kleene's logic: all = minimum, any = maximum, not = 2 - verdict
Verdicts = NDArray[np.int8]
_AT_ONCE = 1 << 22  # values that are summed anew in one piece
_FEW = 100  # columns, for which a loop over the rows is slower
_TINY, _HUGE = 1e-290, 1e290  # outside, the bounds on rounding do not hold
_SLACK = 8.0 * one.UNIT_ROUNDOFF  # more than a few roundings of a number lose, relative to it


class Detectors:
    """One detector in every run; what a kind of detector does not need to do at a moment, it leaves out."""

    answer: Verdicts | None = None  # the verdicts, once they were asked for, until something changes

    def answers(self) -> Verdicts:
        """The verdicts, worked out once however many guards ask."""
        if self.answer is None:
            self.answer = self.verdicts()
        return self.answer

    def enter(self, rows: Rows, watching: bool) -> None:
        """These runs enter a state: the detector is empty; watching: whether that state asks it."""

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the next finite value of each run, or of those that brought one, before the history takes it."""

    def settle(self, brought: Mask | None) -> None:
        """The history has taken the values."""

    def verdicts(self) -> Verdicts:
        """FALSE, UNKNOWN or TRUE for each run; without meaning where it is not watched."""
        raise NotImplementedError


def spelled(true: Mask, known: Mask) -> Verdicts:
    """Verdicts of what is true, and of what is known at all."""
    found: Verdicts = np.where(known, true.view(np.int8) * np.int8(TRUE), np.int8(UNKNOWN))
    return found


def in_order(parts: Floats) -> Floats:
    """The sum of the rows of a table, added first to last; numpy's own sum may add in another order."""
    if parts.shape[1] < _FEW:
        accumulated: Floats = np.add.accumulate(parts, axis=0)[-1]
        return accumulated
    total: Floats = parts[0].copy()
    for row in parts[1:]:
        total += row
    return total


class Halves(Detectors):
    """`plateau` by halves; see controller.detectors.windows.Halves.

    often: whether it is asked at every step, so that running sums pay. On entering a state nothing is to be done: the
    history knows what has been seen since, and the sums go on over the boundary.
    """

    def __init__(self, scalar: one.Halves, history: History, often: bool) -> None:
        self._history, self._often = history, often
        self._window, self._threshold = scalar.window, scalar.threshold
        self._first = scalar.window // 2
        self._second = scalar.window - self._first
        self._older, self._younger = np.zeros(history.runs), np.zeros(history.runs)
        self._since = 0
        self._fits = self._window <= history.depth
        # As the controller's bound, for sums that are made anew after `window` pushes, and twice that for good measure.
        n = self._second
        bound = 8.0 * one.UNIT_ROUNDOFF * (n * n + self._window * (n + 5)) * (1.0 + self._threshold)
        self._per_magnitude = bound

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Move the running sums on."""
        if not (self._often and self._fits):
            return
        crossing, leaving = self._history.back(self._second), self._history.back(self._window)
        for total, coming, going in ((self._older, crossing, leaving), (self._younger, values, crossing)):
            change = coming - going
            if brought is None:
                total += change
            else:
                np.add(total, change, out=total, where=brought)
        self._since += 1

    def _sum_anew(self) -> None:
        self._since = 0
        for start, rows in _pieces(self._history.runs, self._window):
            older, younger = self._plain_sums(rows)
            self._older[start : start + len(rows)], self._younger[start : start + len(rows)] = older, younger

    def _plain_sums(self, rows: Rows) -> tuple[Floats, Floats]:
        """Both halves, added in order of arrival."""
        window = self._history.window(self._window, rows)
        return in_order(window[: self._first]), in_order(window[self._first :])

    def verdicts(self) -> Verdicts:
        """By the running sums where their error cannot matter, else by sums made anew."""
        known = self._history.seen >= self._window
        if not (self._fits and known.any()):
            return np.full(self._history.runs, UNKNOWN, dtype=np.int8)
        if not self._often:
            found = np.full(self._history.runs, UNKNOWN, dtype=np.int8)
            self._settle(found, np.flatnonzero(known))
            return found
        if self._since >= self._window:
            self._sum_anew()
        first = self._older / self._first
        size = np.abs(first)
        distance = first - self._younger / self._second - self._threshold * size
        margin = self._history.largest * self._per_magnitude + _TINY
        found = spelled(distance < 0.0, known)
        distance = np.abs(distance)
        sure = (distance > margin) & (size > margin) & (distance < _HUGE)
        if not sure.all():
            self._settle(found, np.flatnonzero(known & ~sure))
        return found

    def _settle(self, found: Verdicts, rows: Rows) -> None:
        for _, places in _pieces(len(rows), self._window):
            some = rows[places]
            older, younger = self._plain_sums(some)
            first = older / self._first
            flat = (first - younger / self._second) / np.abs(first) < self._threshold
            known = (first != 0.0) & np.isfinite(older) & np.isfinite(younger)
            found[some] = spelled(flat, known)


def _pieces(count: int, size: int) -> list[tuple[int, Rows]]:
    """0 to count in pieces, so that `size` values for each fit into memory at once."""
    most = max(1, _AT_ONCE // size)
    return [(start, np.arange(start, min(count, start + most))) for start in range(0, count, most)]


class NoNewBest(Detectors):
    """`patience`; see controller.detectors.windows.NoNewBest."""

    def __init__(self, scalar: one.NoNewBest, history: History) -> None:
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
        worse = self._best - estimates <= self._spec.min_delta - (margin + _SLACK * np.abs(self._best))
        rows = np.flatnonzero(known & ~worse)
        means = self._means.means(rows)
        better = self._best[rows] - means > self._spec.min_delta
        rows = rows[better]
        self._best[rows] = means[better]
        self._since[rows] = 0

    def verdicts(self) -> Verdicts:
        """Whether the best is old enough."""
        return spelled(self._since >= self._spec.steps, self._best < np.inf)


class Beside(Detectors):
    """`below` and `above`; see controller.detectors.windows.Beside."""

    def __init__(self, scalar: one.Beside, history: History) -> None:
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


class Growing(Detectors):
    """`diverging`; see controller.detectors.windows.Growing."""

    def __init__(self, scalar: one.Growing, history: History) -> None:
        self._spec, self._history = scalar.spec, history
        self._half = scalar.spec.window - scalar.spec.window // 2
        self._means = RunningMeans(self._half, history)
        self._best = np.full(history.runs, np.inf)

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
        bound = np.where(best > 0.0, best * factor, best - best * (factor - 1.0))
        estimates, margin = self._means.estimates()
        found = spelled(estimates >= bound, known)
        rows = np.flatnonzero(known & ~(np.abs(estimates - bound) > margin))
        found[rows] = spelled(self._means.means(rows) >= bound[rows], known[rows])
        return found


class Apart(Detectors):
    """`gap`; see controller.detectors.gap.Apart. The history is one of blocks; a block may be a single value."""

    def __init__(self, scalar: gap.Apart, history: History) -> None:
        self._value, self._needs, self._history = scalar.value, scalar.needs // scalar.block, history
        stretch = self._needs // 2
        self._older, self._newer = RunningMeans(stretch, history, delay=stretch), RunningMeans(stretch, history)

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the value into the means."""
        self._older.push(values, brought)
        self._newer.push(values, brought)

    def verdicts(self) -> Verdicts:
        """The distance of the means against the value."""
        known = self._history.seen >= self._needs
        if not known.any():
            return np.full(self._history.runs, UNKNOWN, dtype=np.int8)
        (older, margin), (newer, more) = self._older.estimates(), self._newer.estimates()
        apart = np.abs(older - newer)
        found = spelled(apart <= self._value, known)
        rows = np.flatnonzero(known & ~(np.abs(apart - self._value) > margin + more))
        exact = np.abs(self._older.means(rows) - self._newer.means(rows))
        found[rows] = spelled(exact <= self._value, known[rows])
        return found


class Each(Detectors):
    """Any other detector: the controller's own, one for each run that watches it; exact, and no faster."""

    def __init__(self, scalar: one.Detector, history: History) -> None:
        self._empty = scalar
        self._detectors: list[one.Detector | None] = [None] * history.runs

    def enter(self, rows: Rows, watching: bool) -> None:
        """A new detector, or none."""
        for row in rows.tolist():
            self._detectors[row] = deepcopy(self._empty) if watching else None

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the value of each run."""
        for row, (detector, value) in enumerate(zip(self._detectors, values.tolist(), strict=True)):
            if detector is not None and (brought is None or brought[row]):
                detector.push(value)

    def verdicts(self) -> Verdicts:
        """Ask each."""
        spell = {None: UNKNOWN, False: FALSE, True: TRUE}
        asked = (UNKNOWN if d is None else spell[d.verdict()] for d in self._detectors)
        return np.fromiter(asked, dtype=np.int8, count=len(self._detectors))
