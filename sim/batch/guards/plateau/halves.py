"""`method = "halves"` over many runs at once; see controller.guards.plateau.halves."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.sim.batch.guards.twin import Detectors, Twin, in_order
from plateau_rule.sim.batch.history import Floats, History, Mask, Rows
from plateau_rule.sim.batch.kleene import UNKNOWN, Verdicts, spelled

_AT_ONCE = 1 << 22  # values that are summed anew in one piece
_TINY, _HUGE = 1e-290, 1e290  # outside, the bounds on rounding do not hold


class ManyHalves(Detectors):
    """`plateau` by halves; see controller.guards.plateau.halves.Halves.

    often: whether it is asked at every step, so that running sums pay. On entering a state nothing is to be done: the
    history knows what has been seen since, and the sums go on over the boundary.
    """

    def __init__(self, scalar: Halves, history: History, often: bool) -> None:
        self._history, self._often = history, often
        self._window, self._threshold = scalar.window, scalar.threshold
        self._first = scalar.window // 2
        self._second = scalar.window - self._first
        self._older, self._younger = np.zeros(history.runs), np.zeros(history.runs)
        self._since = 0
        self._fits = self._window <= history.depth
        # As the controller's bound, for sums that are made anew after `window` pushes, and twice that for good measure.
        n = self._second
        bound = 8.0 * UNIT_ROUNDOFF * (n * n + self._window * (n + 5)) * (1.0 + self._threshold)
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


TWIN = Twin(Halves, ManyHalves, lambda scalar: scalar.window)
