"""`method = "sure"` over many runs at once; see controller.guards.plateau.sure.

Every operation is the controller's, in its order, on a column for each run, so that the verdicts are the same to the
bit. A window is worked out when it is due, in the runs where it is due.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.guards.plateau import sure
from plateau_rule.controller.guards.plateau.blocks import BLOCK, FLOOR
from plateau_rule.sim.batch.guards.blocks import TrimmedBlocks
from plateau_rule.sim.batch.guards.twin import Twin, in_order
from plateau_rule.sim.batch.history import Floats, Mask, Rows
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts

Counts = NDArray[np.int64]
_UNDECIDED, _DECIDED, _FLAT = range(3)  # what a level says, the stronger word last
_VERDICTS = np.array([UNKNOWN, FALSE, TRUE], dtype=np.int8)
_PLACES = np.arange(sure.SIZES[-1])[:, None]


class ManySure(TrimmedBlocks):
    """`plateau` by sure."""

    def __init__(self, scalar: sure.Sure, runs: int) -> None:
        super().__init__(runs)
        self._runs, self._scalar = runs, scalar
        self._count = np.zeros(runs, dtype=np.int64)  # full blocks in this state
        levels = len(scalar.windows)
        self._means = np.zeros((levels + 2, sure.SIZES[-1] * runs))  # the mean numbered n at place (n - 1) % 32
        self._rough = np.zeros((levels + 2, runs))
        self._says = np.full((levels, runs), _UNDECIDED, dtype=np.int8)

    def enter(self, rows: Rows, watching: bool) -> None:
        """No block, no roughness, nothing said."""
        self._empty(rows, watching, BLOCK)
        self._count[rows], self._rough[:, rows], self._says[:, rows] = 0, 0.0, _UNDECIDED

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Put full blocks on level 0, and every second time the mean of two on the level above; look where due."""
        rows, means = self._close(values, brought)
        if not len(rows):
            return
        self._count[rows] += 1
        due: list[tuple[Rows, Counts]] = []
        counts = self._count[rows]
        for level in range(len(self._means)):
            self._take(level, rows, counts, means)
            look = counts % sure.HOP == 0
            due.append((rows[look], counts[look]))
            merged = counts & 1 == 0
            rows, counts, means = rows[merged], counts[merged], means[merged]
            if not len(rows):
                break
            means = 0.5 * self._last(level, 2, rows, counts)[0] + 0.5 * means
            counts = counts >> 1
        for level, (some, their) in enumerate(due[: len(self._says)]):
            if len(some):
                self._look(level, some, their)
                self._mark(some)

    def verdicts(self) -> Verdicts:
        """By the strongest word of any level."""
        if self._some_changed:
            rows = np.flatnonzero(self._changed)
            self._found[rows] = _VERDICTS[self._says[:, rows].max(axis=0)]
            self._changed[rows], self._some_changed = False, False
        return self._found

    def _last(self, level: int, size: int, rows: Rows, counts: Counts) -> Floats:
        """The last means [place, run] of a level, oldest first, once it has this many."""
        places = (counts + np.arange(-size, 0)[:, None]) % sure.SIZES[-1]
        found: Floats = self._means[level].take(places * self._runs + rows)
        return found

    def _take(self, level: int, rows: Rows, counts: Counts, means: Floats) -> None:
        """Take the mean numbered `counts`, from 1, and what it says of the level's roughness."""
        self._means[level][(counts - 1) % sure.SIZES[-1] * self._runs + rows] = means
        known = counts > 4
        rows, counts = rows[known], counts[known]
        a, b, c, d, e = self._last(level, 5, rows, counts)
        fourth = a / c - 4.0 * (b / c) + 6.0 - 4.0 * (d / c) + e / c
        rough = fourth * fourth / 70.0
        old = self._rough[level, rows]
        rough = np.where(rough < 1.0, rough, 1.0)
        self._rough[level, rows] = old + (rough - old) / np.minimum(counts - 4, sure.MEMORY)

    def _look(self, level: int, rows: Rows, counts: Counts) -> None:
        """What the windows of a level say now."""
        own, double, fourfold = self._rough[level : level + 3, rows]
        inflation = _inflation(own, double, np.where((counts >> 2) - 4 >= 8, fourfold, 0.0))
        sizes = self._scalar.windows[level]
        held = np.searchsorted(sizes, counts, side="right")  # how many of the windows are full
        for full in np.flatnonzero(np.bincount(held)).tolist():
            some = np.flatnonzero(held == full)
            if full:
                words = self._words(level, sizes[:full], rows[some], counts[some], inflation[some])
                self._says[level, rows[some]] = words

    def _words(self, level: int, sizes: list[int], rows: Rows, counts: Counts, inflation: Floats) -> NDArray[np.int8]:
        """The strongest word of these windows, the longest of which the level's means fill."""
        scalar, width = self._scalar, BLOCK << level
        means = self._last(level, sizes[-1], rows, counts)[::-1]
        ts = []
        for size in sizes:
            octaves = np.frexp((counts // size).astype(np.float64))[1] - 1
            known = [sure.t_of(scalar.window_alpha, size, octave) for octave in range(int(octaves.max()) + 1)]
            ts.append(np.array(known)[octaves])
        words = _look_at(means, sizes, width, scalar.rate, inflation, ts)
        mixed = np.flatnonzero((means.min(axis=0) <= 0.0) & (means.max(axis=0) >= 0.0))
        if len(mixed) and len(sizes) > 1:  # each by its own mean
            alone = [
                _look_at(means[:size, mixed], [size], width, scalar.rate, inflation[mixed], [t[mixed]])
                for size, t in zip(sizes, ts, strict=True)
            ]
            words[mixed] = np.max(alone, axis=0)
        return words


def _inflation(own: Floats, double: Floats, fourfold: Floats) -> Floats:
    """See the controller's `inflation_of`."""
    seen = np.maximum(2.0 * double, 4.0 * fourfold)
    found: Floats = np.where(seen > own, np.where(seen < 1e9 * own, seen / own, 1e9), 1.0)
    return found


def _look_at(
    means: Floats, sizes: list[int], width: int, rate: float, inflation: Floats, ts: list[Floats]
) -> NDArray[np.int8]:
    """See the controller's `words_of`: means [block, run], the newest first; the strongest word of the windows."""
    size = np.abs(means).max(axis=0)
    y = means / size
    down, up = _undone(y, rate, width)
    words = np.full(len(size), _UNDECIDED, dtype=np.int8)
    lines = zip(_lines_through(down, sizes, inflation), _lines_through(up, sizes, inflation), strict=True)
    for n, t, ((fallen, down_error), (risen, up_error)) in zip(sizes, ts, lines, strict=True):
        down_error, up_error = t * down_error, t * up_error
        slower = ~((-down_error < fallen) & (fallen < down_error)) & ~(fallen <= -down_error)
        decided = (fallen <= -down_error) | (slower & (risen >= up_error))
        flat = slower & ~decided & (risen <= -up_error) & _is_slow(y[: n // 2], rate, width)
        word = np.where(flat, np.int8(_FLAT), np.where(decided, np.int8(_DECIDED), np.int8(_UNDECIDED)))
        np.maximum(words, word, out=words)
    return np.where(size == 0.0, np.int8(_UNDECIDED), words)


def _undone(y: Floats, rate: float, width: int) -> tuple[Floats, Floats]:
    """See the controller's `undone`."""
    count = len(y)
    low, high, mean = y.min(axis=0), y.max(axis=0), in_order(y / count)
    fallen = np.array(sure.powers(1.0 - rate, width)[:count])[:, None]
    risen = np.array(sure.powers(1.0 + rate, width)[:count])[:, None]
    step = rate * width * np.abs(mean) * _PLACES[:count]
    above, below = low > 0.0, high < 0.0
    down = np.where(above, y * fallen, np.where(below, y * risen, y - step))
    up = np.where(above, y * risen, np.where(below, y * fallen, y + step))
    return down, up


def _lines_through(z: Floats, sizes: list[int], inflation: Floats) -> list[tuple[Floats, Floats]]:
    """See the controller's `lines_through`: the slope of each window, and its error."""
    first, rest = z[0], z - z[0]
    a, b, c, d = (rest[i :: sure.HOP] for i in range(sure.HOP))
    i = sure.HOP * _PLACES[: len(a)]
    ab, cd = a + b, c + d
    four = ab + cd
    sums = (
        four, i * four + (b + 2.0 * c + 3.0 * d), (i + 0.5) * ab + (i + 2.5) * cd, (i + 1.5) * four,
        a * a + b * b + (c * c + d * d), ab * ab + cd * cd, four * four,
    )  # fmt: skip
    so_far = [np.add.accumulate(each, axis=0) for each in sums]
    lines = []
    for n in sizes:
        total, cross, pair_cross, four_cross, square, pair_square, four_square = (
            each[n // sure.HOP - 1] for each in so_far
        )
        mean, middle, spread = total / n, 0.5 * (n - 1) * total, n * (n * n - 1) / 12
        slope = (cross - middle) / spread
        single = square - total * mean - slope * (cross - middle)
        pairs = pair_square - 2.0 * total * mean - 4.0 * slope * (pair_cross - middle)
        pairs = pairs + 4.0 * slope * slope * (n * (n * n - 4) / 24)
        floor = FLOOR * (first + mean)
        variance = np.maximum(np.maximum(inflation * single / (n - 2), pairs / (n - 4)), floor * floor)
        if n >= sure.FOURS_FROM:
            fours = four_square - 4.0 * total * mean - 8.0 * slope * (four_cross - middle)
            fours = fours + 16.0 * slope * slope * (n * (n * n - 16) / 48)
            variance = np.maximum(variance, fours / (n - 8))
        lines.append((-slope, np.sqrt(variance / spread)))
    return lines


def _is_slow(y: Floats, rate: float, width: int) -> Mask:
    """See the controller's `is_slow`."""
    count = len(y)
    mean = in_order(y) / count
    cross = in_order((_PLACES[:count] - 0.5 * (count - 1)) * (y - mean))
    slow: Mask = np.abs(cross / (count * (count * count - 1) / 12)) < rate * width * np.abs(mean)
    return slow


TWIN = Twin(sure.Sure, lambda scalar, history, often: ManySure(scalar, history.runs), lambda scalar: 0)
