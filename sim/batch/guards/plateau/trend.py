"""`method = "trend"` over many runs at once; see controller.guards.plateau.trend."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.guards.plateau import trend
from plateau_rule.controller.guards.plateau.student import quantile
from plateau_rule.sim.batch.guards.blocks import Blocks
from plateau_rule.sim.batch.guards.twin import Twin, in_order
from plateau_rule.sim.batch.history import Floats, Mask, Rows
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts

_NOT_FULL, _UNDECIDED, _DECIDED, _FLAT = range(4)  # what a level says, the stronger word last
_ANEW = 64  # means, after which a level's sums are made anew
_TINY, _HUGE = 1e-140, 1e140  # outside, squares lose bits


class ManyTrend(Blocks):
    """`plateau` by trend."""

    def __init__(self, scalar: trend.Trend, runs: int) -> None:
        super().__init__(runs)
        self._runs, self._max_rate, self._cooldown = runs, scalar.max_rate, scalar.cooldown
        self._t = quantile(scalar.confidence, trend.BLOCKS - 2)
        self._first = 0
        while trend.BLOCKS * trend.BLOCK << self._first < scalar.min_window:
            self._first += 1
        self._count = np.zeros(runs, dtype=np.int64)  # full blocks in this state
        self._levels: list[_Level] = []

    def enter(self, rows: Rows, watching: bool) -> None:
        """No block, no line."""
        self._empty(rows, watching, trend.BLOCK)
        self._count[rows] = 0
        for level in self._levels:
            level.says[rows] = _NOT_FULL

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Put full blocks on level 0, and every second time the mean of two on the level above."""
        rows, means = self._fill(values, trend.BLOCK, brought)
        if not len(rows):
            return
        self._room[rows] = trend.BLOCK
        counts, place = self._count[rows] + 1, 0
        self._count[rows] = counts
        # Before the next block is full there may be as many values as are to be waited for.
        self._mark(rows[counts * trend.BLOCK + (trend.BLOCK - 1) >= self._cooldown])
        while len(rows):
            if place == len(self._levels):
                self._levels.append(_Level(self._runs, trend.BLOCK << place, self._max_rate, self._t))
            level = self._levels[place]
            level.take(rows, counts, means, place >= self._first)
            merged = np.flatnonzero(counts & 1 == 0)
            rows, counts = rows[merged], counts[merged]
            means = 0.5 * level.before(rows, counts) + 0.5 * means[merged]
            counts, place = counts >> 1, place + 1

    def verdicts(self) -> Verdicts:
        """By the strongest word of any level."""
        if self._some_changed:
            rows = np.flatnonzero(self._changed)
            old = self._count[rows] * trend.BLOCK + (trend.BLOCK - self._room[rows]) >= self._cooldown
            self._some_changed = not old.all()
            rows = rows[old] if self._some_changed else rows
            self._changed[rows] = False
            strongest = np.full(len(rows), _NOT_FULL, dtype=np.int8)
            for level in self._levels[self._first :]:
                np.maximum(strongest, level.says[rows], out=strongest)
            self._found[rows] = _VERDICTS[strongest]
        return self._found


class _Level:
    """One level of block means in every run: the last ones, and what a line through them says.

    Sums over the last means go on from mean to mean, and decide as long as a bound on what rounding did to them leaves
    no doubt; elsewhere the line is fitted as the controller fits it.
    """

    def __init__(self, runs: int, width: int, rate: float, t: float) -> None:
        self._runs, self._width, self._max_rate, self._t = runs, width, rate, t
        self._flat_within = min(rate, trend.REACH / (width * trend.BLOCKS))
        self._table = np.zeros(trend.BLOCKS * runs)  # [place, run], flat: the mean numbered n at place (n - 1) % BLOCKS
        self._total, self._cross, self._square = np.zeros(runs), np.zeros(runs), np.zeros(runs)
        self._largest = np.zeros(runs)  # of the magnitudes that have entered the sums
        self.says = np.full(runs, _NOT_FULL, dtype=np.int8)

    def before(self, rows: Rows, counts: NDArray[np.int64]) -> Floats:
        """The mean before the last one."""
        found: Floats = self._table[(counts - 2) % trend.BLOCKS * self._runs + rows]
        return found

    def take(self, rows: Rows, counts: NDArray[np.int64], means: Floats, asked: bool) -> None:
        """Take the mean numbered `counts`, from 1, of these runs; asked: whether a line is wanted."""
        places = (counts - 1) % trend.BLOCKS * self._runs + rows
        gone = self._table[places]
        self._table[places] = means
        if not asked:
            return
        anew = (counts % _ANEW == 0) | (counts == trend.BLOCKS)
        steady = (counts > trend.BLOCKS) & ~anew
        if anew.any():
            self._sum_anew(rows[anew], counts[anew])
        if steady.all():
            self._go_on(rows, counts, gone, means)
        elif steady.any():
            self._go_on(rows[steady], counts[steady], gone[steady], means[steady])

    def _go_on(self, rows: Rows, counts: NDArray[np.int64], gone: Floats, means: Floats) -> None:
        total, half = self._total[rows], (trend.BLOCKS - 1) / 2
        self._cross[rows] = cross = self._cross[rows] - total + ((half + 1.0) * gone + half * means)
        self._total[rows] = total = total - gone + means
        self._square[rows] = square = self._square[rows] - gone * gone + means * means
        self._largest[rows] = largest = np.maximum(self._largest[rows], np.abs(means))
        # All of it in units of what the slope, times _SPREAD, is given in; see the controller's.
        unit = (self._width * _SPREAD / trend.BLOCKS) * np.abs(total)
        bound, flat_bound = self._max_rate * unit, self._flat_within * unit
        slope = np.abs(cross)
        rest = square - total * total / trend.BLOCKS - cross * cross / _SPREAD
        doubt = 1e-9 * largest * largest  # more than _ANEW steps can have lost of `rest`
        factor = self._t * (_SPREAD / (trend.BLOCKS - 2)) ** 0.5
        least, most = factor * np.sqrt(np.maximum(0.0, rest - doubt)), factor * np.sqrt(np.maximum(0.0, rest) + doubt)
        slack = (1e-10 + 1e-12 * self._max_rate * self._width * _SPREAD) * largest + 1e-12 * (bound + most)
        flat, not_flat = slope + most + slack < flat_bound, slope + least - slack > flat_bound
        decided, not_decided = slope - most - slack > bound, slope - least + slack < bound
        words = np.where(flat, np.int8(_FLAT), np.where(decided, np.int8(_DECIDED), np.int8(_UNDECIDED)))
        sure = (flat | not_flat) & (decided | not_decided) & (largest > _TINY) & (largest < _HUGE)
        sure &= np.abs(total) > 1e-9 * largest  # a mean of 0 has no shares
        if not sure.all():
            places = np.flatnonzero(~sure)
            words[places] = self._fitted(self._last(rows[places], counts[places]))
        self.says[rows] = words

    def _last(self, rows: Rows, counts: NDArray[np.int64]) -> Floats:
        """The last means [place, run], oldest first."""
        found: Floats = self._table[(counts + _ORDER) % trend.BLOCKS * self._runs + rows]
        return found

    def _sum_anew(self, rows: Rows, counts: NDArray[np.int64]) -> None:
        means = self._last(rows, counts)
        self._total[rows], self._cross[rows] = means.sum(axis=0), (_PLACES * means).sum(axis=0)
        self._square[rows], self._largest[rows] = (means * means).sum(axis=0), np.abs(means).max(axis=0)
        self.says[rows] = self._fitted(means)

    def _fitted(self, means: Floats) -> NDArray[np.int8]:
        """What the line through means [place, run] says, in the order of operations of the controller's `fitted`."""
        middle = in_order(means / trend.BLOCKS)
        size = np.abs(middle)
        deviation = (means - middle) / size
        cross, square = in_order(_PLACES * deviation), in_order(deviation * deviation)
        residue = square - cross * cross / _SPREAD
        error = np.where(residue > 0.0, np.sqrt(residue / ((trend.BLOCKS - 2) * _SPREAD)), residue * 0.0)
        falls = np.where(size == 0.0, 0.0, -cross / _SPREAD / self._width)
        error = np.where(size == 0.0, np.inf, self._t * error / self._width)
        flat = four_valued(falls, error, self._flat_within)[0]
        decided = four_valued(falls, error, self._max_rate)[1]
        return np.where(flat, np.int8(_FLAT), np.where(decided, np.int8(_DECIDED), np.int8(_UNDECIDED)))


_ORDER = np.arange(trend.BLOCKS)[:, None]
_PLACES = (np.arange(trend.BLOCKS) - (trend.BLOCKS - 1) / 2)[:, None]
_SPREAD = trend.BLOCKS * (trend.BLOCKS * trend.BLOCKS - 1) / 12
_VERDICTS = np.array([UNKNOWN, UNKNOWN, FALSE, TRUE], dtype=np.int8)


def four_valued(falls: Floats, error: Floats, bound: Floats | float) -> tuple[Mask, Mask]:
    """Where a fall with its error is flat, and where it is an improvement or a worsening; see the controller's."""
    flat = (falls + error < bound) & (falls - error > -bound)
    return flat, ~flat & ((falls - error >= bound) | (falls + error <= -bound))


TWIN = Twin(trend.Trend, lambda scalar, history, often: ManyTrend(scalar, history.runs), lambda scalar: 0)
