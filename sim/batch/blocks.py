"""`trend`, `returns` and long `gap`s over many runs at once; see controller.detectors.

Blocks fill at different steps in different runs. Only the runs in which one has just filled are touched, and lines are
fitted only when a guard asks.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.detectors import gap, returns, trend
from plateau_rule.controller.detectors.student import quantile
from plateau_rule.sim.batch.detectors import FALSE, TRUE, UNKNOWN, Apart, Detectors, Verdicts, in_order
from plateau_rule.sim.batch.history import Floats, History, Mask, Rows

_LARGEST = sys.float_info.max
_NEVER = 1 << 62  # the room of an open block that is not to be filled
_NOT_FULL, _UNDECIDED, _DECIDED, _FLAT = range(4)  # what a level says, the stronger word last
_ANEW = 64  # means, after which a level's sums are made anew
_TINY, _HUGE = 1e-140, 1e140  # outside, squares lose bits


class _Blocks(Detectors):
    """What both have in common: an open block in each run, and a verdict that holds until the next one is full."""

    def __init__(self, runs: int) -> None:
        self._open = np.zeros(runs)  # the open block's mean, once it is full
        self._room = np.full(runs, _NEVER)  # values until then
        self._found = np.full(runs, UNKNOWN, dtype=np.int8)
        self._changed = np.zeros(runs, dtype=np.bool_)  # a block was filled since the verdict
        self._some_changed = False

    def _empty(self, rows: Rows, watching: bool, width: int) -> None:
        self._changed[rows] = False
        self._open[rows], self._room[rows] = 0.0, width if watching else _NEVER
        self._found[rows] = UNKNOWN

    def _fill(self, values: Floats, width: Floats | int, brought: Mask | None) -> tuple[Rows, Floats]:
        """Add a value to each open block: where it is full now, and its mean.

        values: 0 where none was brought, and in runs that do not watch anything, so that what they add does not matter.
        """
        self._open += values / width
        self._room -= 1 if brought is None else brought
        rows = np.flatnonzero(self._room == 0)
        means = np.minimum(np.maximum(self._open[rows], -_LARGEST), _LARGEST)
        self._open[rows] = 0.0
        return rows, means

    def _mark(self, rows: Rows) -> None:
        """These runs have a verdict to be worked out."""
        self._changed[rows] = True
        self._some_changed |= len(rows) > 0


class Gaps(_Blocks):
    """`gap` over stretches so long that they are kept as blocks of several values."""

    def __init__(self, scalar: gap.Apart, runs: int) -> None:
        super().__init__(runs)
        self._width = scalar.block
        self._history = History(runs, scalar.needs // scalar.block)  # of the blocks' means
        self._gap = Apart(scalar, self._history)

    def enter(self, rows: Rows, watching: bool) -> None:
        """No block."""
        self._empty(rows, watching, self._width)
        self._history.enter(rows)

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Add a value to each open block; the means of those that are full move the stretches on."""
        rows, means = self._fill(values, self._width, brought)
        if len(rows):
            self._room[rows] = self._width
            full, moved = np.zeros(self._history.runs, dtype=np.bool_), np.zeros(self._history.runs)
            full[rows], moved[rows] = True, means
            self._gap.push(moved, full)
            self._history.push(moved, full)

    def verdicts(self) -> Verdicts:
        """Those of the blocks."""
        return self._gap.verdicts()


class Trends(_Blocks):
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
        # All of it in units of what the slope, times _SPREAD, is given in; see detectors.trend.
        bound = (self._max_rate * self._width * _SPREAD / trend.BLOCKS) * np.abs(total)
        slope = np.abs(cross)
        rest = square - total * total / trend.BLOCKS - cross * cross / _SPREAD
        doubt = 1e-9 * largest * largest  # more than _ANEW steps can have lost of `rest`
        factor = self._t * (_SPREAD / (trend.BLOCKS - 2)) ** 0.5
        least, most = factor * np.sqrt(np.maximum(0.0, rest - doubt)), factor * np.sqrt(np.maximum(0.0, rest) + doubt)
        slack = (1e-10 + 1e-12 * self._max_rate * self._width * _SPREAD) * largest + 1e-12 * (bound + most)
        flat, not_flat = slope + most + slack < bound, slope + least - slack > bound
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
        """What the line through means [place, run] says, in the order of operations of detectors.trend.fitted."""
        middle = in_order(means / trend.BLOCKS)
        size = np.abs(middle)
        deviation = (means - middle) / size
        cross, square = in_order(_PLACES * deviation), in_order(deviation * deviation)
        residue = square - cross * cross / _SPREAD
        error = np.where(residue > 0.0, np.sqrt(residue / ((trend.BLOCKS - 2) * _SPREAD)), residue * 0.0)
        falls = np.where(size == 0.0, 0.0, -cross / _SPREAD / self._width)
        error = np.where(size == 0.0, np.inf, self._t * error / self._width)
        flat, decided = four_valued(falls, error, self._max_rate)
        return np.where(flat, np.int8(_FLAT), np.where(decided, np.int8(_DECIDED), np.int8(_UNDECIDED)))


_ORDER = np.arange(trend.BLOCKS)[:, None]
_PLACES = (np.arange(trend.BLOCKS) - (trend.BLOCKS - 1) / 2)[:, None]
_SPREAD = trend.BLOCKS * (trend.BLOCKS * trend.BLOCKS - 1) / 12
_VERDICTS = np.array([UNKNOWN, UNKNOWN, FALSE, TRUE], dtype=np.int8)


def four_valued(falls: Floats, error: Floats, bound: Floats | float) -> tuple[Mask, Mask]:
    """Where a fall with its error is flat, and where it is an improvement or a worsening; see detectors.trend."""
    flat = (falls + error < bound) & (falls - error > -bound)
    return flat, ~flat & ((falls - error >= bound) | (falls + error <= -bound))


class Yields(_Blocks):
    """`plateau` by returns."""

    def __init__(self, scalar: returns.Returns, runs: int) -> None:
        super().__init__(runs)
        self._share = scalar.share
        self._width = np.full(runs, float(returns.BLOCK))
        self._count = np.zeros(runs, dtype=np.int64)
        self._means = np.zeros((2 * returns.BLOCKS, runs))

    def enter(self, rows: Rows, watching: bool) -> None:
        """No block, and the smallest width."""
        self._empty(rows, watching, returns.BLOCK)
        self._width[rows], self._count[rows] = returns.BLOCK, 0

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Keep the means of full blocks; where there are too many, merge neighbours."""
        rows, means = self._fill(values, self._width, brought)
        if not len(rows):
            return
        counts = self._count[rows]
        self._means[counts, rows] = means
        self._count[rows] = counts + 1
        self._mark(rows[counts >= returns.BLOCKS - 1])
        merged = rows[counts == 2 * returns.BLOCKS - 1]
        if len(merged):
            table = self._means[:, merged]
            self._means[: returns.BLOCKS, merged] = 0.5 * table[0::2] + 0.5 * table[1::2]
            self._count[merged] = returns.BLOCKS
            self._width[merged] *= 2.0
        self._room[rows] = self._width[rows].astype(np.int64)

    def verdicts(self) -> Verdicts:
        """What the blocks say."""
        if not self._some_changed:
            return self._found
        rows = np.flatnonzero(self._changed)
        counts = self._count[rows]
        for count in np.flatnonzero(np.bincount(counts)).tolist():
            some = rows[counts == count]
            means = self._means[:count].take(some, axis=1)
            old = count * self._width[some] >= returns.NOTHING_FROM
            found = _judged(means, self._share, old)
            self._found[some] = np.where((means == 0.0).all(axis=0), np.int8(UNKNOWN), found)
        self._changed[rows], self._some_changed = False, False
        return self._found


def _judged(means: Floats, share: float, may_be_nothing: Mask) -> Verdicts:
    """The verdicts of controller.detectors.returns.judged for block means [block, run], in its order of operations."""
    count = len(means)
    y = means / np.abs(means).max(axis=0)
    half, eighth = count // 2, count // 8
    before = half - eighth // 2
    last = in_order(y[-eighth:]) / eighth
    gain = in_order(y[before : before + eighth]) / eighth - last
    a, b, c = y[:-2], y[1:-1], y[2:]
    middle_of_three = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    total = np.maximum(y[0], middle_of_three.max(axis=0)) - last
    later = y[count - half :]
    second = later[:-2] - 2.0 * later[1:-1] + later[2:]
    rough = in_order(second * second)
    block_error = quantile(returns.CONFIDENCE, (half - 2) // 2) * np.sqrt(rough / (6.0 * (half - 2)))
    error = block_error * np.sqrt(2.0 / eighth)
    apart, apart_error = (
        np.abs(in_order(y[:half]) / half - in_order(y[-half:]) / half),
        block_error * np.sqrt(2.0 / half),
    )
    nothing = may_be_nothing & (apart + apart_error < returns.NOTHING * np.abs(last))
    flat, decided = four_valued(gain, error, share * total)
    rises = total <= 0.0
    flat, decided = flat & ~rises, np.where(rises, gain + error < 0.0, decided)
    found: Verdicts = np.where(decided, FALSE, UNKNOWN).astype(np.int8)
    found[flat | nothing] = TRUE
    return found
