"""`trend` and `returns` over many runs at once; see controller.detectors.trend and controller.detectors.returns.

Blocks fill at different steps in different runs. Only the runs in which one has just filled are touched, and lines are
fitted only when a guard asks.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from controller.detectors import returns, trend
from controller.detectors.student import quantile
from sim.batch.detectors import FALSE, TRUE, UNKNOWN, Detectors, Verdicts, in_order
from sim.batch.history import Floats, Mask, Rows

_LARGEST = sys.float_info.max
_NOT_FULL, _UNDECIDED, _DECIDED, _FLAT = range(4)  # what a level says, the stronger word last


class _Blocks(Detectors):
    """What both have in common: an open block in each run, and a verdict that holds until the next one is full."""

    def __init__(self, runs: int) -> None:
        self._watching = np.zeros(runs, dtype=np.bool_)
        self._open = np.zeros(runs)  # the open block's mean, once it is full
        self._room = np.zeros(runs, dtype=np.int64)  # values until then
        self._found = np.full(runs, UNKNOWN, dtype=np.int8)
        self._changed = np.zeros(runs, dtype=np.bool_)  # a block was filled since the verdict

    def _empty(self, rows: Rows, watching: bool, width: int) -> None:
        self._watching[rows], self._changed[rows] = watching, False
        self._open[rows], self._room[rows] = 0.0, width
        self._found[rows] = UNKNOWN

    def _fill(self, values: Floats, width: NDArray[np.int64] | int, brought: Mask | None) -> tuple[Rows, Floats]:
        """Add a value to each open block: where it is full now, and its mean."""
        taking = self._watching if brought is None else self._watching & brought
        np.add(self._open, values / width, out=self._open, where=taking)
        self._room -= taking
        rows = np.flatnonzero(taking & (self._room == 0))
        means = np.clip(self._open[rows], -_LARGEST, _LARGEST)
        self._open[rows], self._changed[rows] = 0.0, True
        return rows, means


class Trends(_Blocks):
    """`plateau` by trend."""

    def __init__(self, scalar: trend.Trend, runs: int) -> None:
        super().__init__(runs)
        self._runs, self._rate, self._cooldown = runs, scalar.max_rate, scalar.cooldown
        self._t = quantile(scalar.confidence, trend.BLOCKS - 2)
        self._first = 0
        while trend.BLOCKS * trend.BLOCK << self._first < scalar.min_window:
            self._first += 1
        self._count = np.zeros(runs, dtype=np.int64)  # full blocks in this state
        self._levels: list[Floats] = []  # [place, run], flat: the last means, the one numbered n at place n % BLOCKS
        self._says: list[NDArray[np.int8]] = []  # what each level says in each run
        self._fitted: list[Mask] = []  # whether that is up to date

    def enter(self, rows: Rows, watching: bool) -> None:
        """No block, no line."""
        self._empty(rows, watching, trend.BLOCK)
        self._count[rows] = 0
        for says in self._says:
            says[rows] = _NOT_FULL

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Put full blocks on level 0, and every second time the mean of two on the level above."""
        rows, means = self._fill(values, trend.BLOCK, brought)
        if not len(rows):
            return
        self._room[rows] = trend.BLOCK
        self._count[rows] += 1
        counts, level = self._count[rows], 0
        while len(rows):
            if level == len(self._levels):
                self._levels.append(np.zeros(trend.BLOCKS * self._runs))
                self._says.append(np.full(self._runs, _NOT_FULL, dtype=np.int8))
                self._fitted.append(np.ones(self._runs, dtype=np.bool_))
            table, places = self._levels[level], (counts - 1) % trend.BLOCKS * self._runs
            table[places + rows] = means
            self._fitted[level][rows] = False
            merged = counts & 1 == 0
            before = table[(places[merged] - self._runs) % len(table) + rows[merged]]
            means = 0.5 * before + 0.5 * means[merged]
            rows, counts, level = rows[merged], counts[merged] >> 1, level + 1

    def verdicts(self) -> Verdicts:
        """By the strongest word of any level."""
        seen = self._count * trend.BLOCK + (trend.BLOCK - self._room)
        asked = self._changed & (seen >= self._cooldown)
        rows = np.flatnonzero(asked)
        if len(rows):
            for level in range(self._first, len(self._levels)):
                full = rows[self._count[rows] >> level >= trend.BLOCKS]
                if not len(full):
                    break
                self._fit(level, full[~self._fitted[level][full]])
            strongest = np.full(len(rows), _NOT_FULL, dtype=np.int8)
            for says in self._says[self._first :]:
                np.maximum(strongest, says[rows], out=strongest)
            self._found[rows] = _VERDICTS[strongest]
            self._changed[rows] = False
        return np.where(seen < self._cooldown, np.int8(UNKNOWN), self._found)

    def _fit(self, level: int, rows: Rows) -> None:
        """What the lines through a level's means say, in the order of operations of detectors.trend.fitted."""
        if not len(rows):
            return
        self._fitted[level][rows] = True
        oldest = (self._count[rows] >> level) % trend.BLOCKS
        means = self._levels[level].take((oldest + _ORDER) % trend.BLOCKS * self._runs + rows)
        width = trend.BLOCK << level
        middle = in_order(means / trend.BLOCKS)
        size = np.abs(middle)
        deviation = (means - middle) / size
        cross, square = in_order(_PLACES * deviation), in_order(deviation * deviation)
        residue = square - cross * cross / _SPREAD
        error = np.where(residue > 0.0, np.sqrt(residue / ((trend.BLOCKS - 2) * _SPREAD)), residue * 0.0)
        falls = np.where(size == 0.0, 0.0, -cross / _SPREAD / width)
        error = np.where(size == 0.0, np.inf, self._t * error / width)
        flat, decided = four_valued(falls, error, self._rate)
        self._says[level][rows] = np.where(flat, _FLAT, np.where(decided, _DECIDED, _UNDECIDED))


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
        self._width = np.zeros(runs, dtype=np.int64)
        self._count = np.zeros(runs, dtype=np.int64)
        self._means = np.zeros((runs, 2 * returns.BLOCKS))

    def enter(self, rows: Rows, watching: bool) -> None:
        """No block, and the smallest width."""
        self._empty(rows, watching, returns.BLOCK)
        self._width[rows], self._count[rows] = returns.BLOCK, 0

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Keep the means of full blocks; where there are too many, merge neighbours."""
        rows, means = self._fill(values, self._width, brought)
        if not len(rows):
            return
        self._means[rows, self._count[rows]] = means
        self._count[rows] += 1
        merged = rows[self._count[rows] == 2 * returns.BLOCKS]
        if len(merged):
            table = self._means[merged]
            self._means[merged, : returns.BLOCKS] = 0.5 * table[:, 0::2] + 0.5 * table[:, 1::2]
            self._count[merged] = returns.BLOCKS
            self._width[merged] *= 2
        self._room[rows] = self._width[rows]

    def verdicts(self) -> Verdicts:
        """What the blocks say."""
        rows = np.flatnonzero(self._changed & (self._count >= returns.BLOCKS))
        for count in np.unique(self._count[rows]).tolist():
            some = rows[self._count[rows] == count]
            means = np.ascontiguousarray(self._means[some, :count].T)
            old = count * self._width[some] >= returns.NOTHING_FROM
            found = _judged(means, self._share, old)
            self._found[some] = np.where((means == 0.0).all(axis=0), np.int8(UNKNOWN), found)
        self._changed[rows] = False
        return self._found.copy()


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
