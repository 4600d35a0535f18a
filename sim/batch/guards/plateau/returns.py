"""`method = "returns"` over many runs at once; see controller.guards.plateau.returns."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.plateau import returns
from plateau_rule.controller.guards.plateau.blocks import BLOCK, FLOOR
from plateau_rule.controller.guards.plateau.student import quantile
from plateau_rule.sim.batch.guards.blocks import TrimmedBlocks
from plateau_rule.sim.batch.guards.plateau.trend import four_valued
from plateau_rule.sim.batch.guards.twin import Twin, in_order
from plateau_rule.sim.batch.history import Floats, Mask, Rows
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts

_MOST = 2 * returns.BLOCKS
_SCALES = 40  # more than any run has


class ManyReturns(TrimmedBlocks):
    """`plateau` by returns."""

    def __init__(self, scalar: returns.Returns, runs: int) -> None:
        super().__init__(runs)
        self._share = scalar.share
        self._seen = np.zeros(runs, dtype=np.int64)  # means of BLOCK losses
        self._scale = np.zeros(runs, dtype=np.int64)  # a block that is kept has BLOCK << scale losses
        self._count = np.zeros(runs, dtype=np.int64)  # of these blocks
        self._means = np.zeros((_MOST, runs))
        self._pending = np.zeros((_SCALES, runs))
        self._highest = np.full((_SCALES, runs), -np.inf)

    def enter(self, rows: Rows, watching: bool) -> None:
        """No block, and the smallest width."""
        self._empty(rows, watching, BLOCK)
        self._seen[rows], self._scale[rows], self._count[rows] = 0, 0, 0
        self._highest[:, rows] = -np.inf

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the means of full blocks, and every second time on each scale the mean of two on the next."""
        rows, means = self._close(values, brought)
        if not len(rows):
            return
        self._seen[rows] += 1
        counts, kept, scale = self._seen[rows], self._scale[rows], 0
        while len(rows):
            self._highest[scale, rows] = np.maximum(self._highest[scale, rows], means)
            full = kept == scale
            self._keep(rows[full], means[full])
            merged = counts & 1 == 0
            self._pending[scale, rows[~merged]] = means[~merged]
            rows, counts, kept = rows[merged], counts[merged] >> 1, kept[merged]
            means = 0.5 * self._pending[scale, rows] + 0.5 * means[merged]
            scale += 1

    def _keep(self, rows: Rows, means: Floats) -> None:
        """Put a mean behind the others; where there are too many, merge neighbours."""
        counts = self._count[rows]
        self._means[counts, rows] = means
        self._count[rows] = counts + 1
        self._mark(rows[counts >= returns.BLOCKS - 1])
        merged = rows[counts == _MOST - 1]
        if len(merged):
            table = self._means[:, merged]
            self._means[: returns.BLOCKS, merged] = 0.5 * table[0::2] + 0.5 * table[1::2]
            self._count[merged] = returns.BLOCKS
            self._scale[merged] += 1

    def verdicts(self) -> Verdicts:
        """What the blocks say."""
        if not self._some_changed:
            return self._found
        rows = np.flatnonzero(self._changed)
        counts = self._count[rows]
        for count in np.flatnonzero(np.bincount(counts)).tolist():
            some = rows[counts == count]
            means, scales = self._means[:count].take(some, axis=1), self._scale[some]
            highest = self._highest[: int(scales.max()) + returns.BLOCKS.bit_length()].take(some, axis=1)
            found = _judged(means, highest, self._share, BLOCK << scales)
            self._found[some] = np.where((means == 0.0).all(axis=0), np.int8(UNKNOWN), found)
        self._changed[rows], self._some_changed = False, False
        return self._found


def _judged(means: Floats, highest: Floats, share: float, width: Rows) -> Verdicts:
    """The verdicts of the controller's `judged` for block means [block, run], in its order of operations.

    highest: minus infinity on the scales that a run has not reached.
    """
    held = np.where(np.isinf(highest), 0.0, highest)
    size = np.maximum(np.abs(means).max(axis=0), np.abs(held).max(axis=0))
    y, count = means / size, len(means)
    outline = returns.outline_of(count)
    last = _weighted(y, outline.last)
    gain = returns.BEYOND * (_weighted(y, outline.middle) - last)
    noise = _noise_of(y[outline.later :], outline)
    error = returns.SURE * returns.BEYOND * np.sqrt(noise * outline.spread)
    level, deviation = np.abs(in_order(y[outline.later :]) / (count - outline.later)), np.sqrt(noise * width)
    relative = np.where(deviation < level, deviation / level, 1.0)
    losses, levels = np.array([BLOCK << scale for scale in range(len(highest))])[:, None], held / size
    tops = np.where(np.isinf(highest), -np.inf, levels - np.abs(levels) * (relative / np.sqrt(losses)))
    total = tops.max(axis=0) - last + returns.TAIL * gain
    flat, decided = four_valued(gain, error, share * total)
    rises = total <= 0.0
    flat, decided = flat & ~rises, np.where(rises, gain + error < 0.0, decided)
    found: Verdicts = np.where(decided, FALSE, UNKNOWN).astype(np.int8)
    found[flat | ((count * width >= returns.NOTHING_FROM) & _is_nothing(y, outline, noise))] = TRUE
    return found


def _noise_of(later: Floats, outline: returns.Outline) -> Floats:
    """See the controller's `noise_of`."""
    count = len(later)
    line, parabola = returns.squares(count)
    lines, parabolas = np.array(outline.line)[:, None], np.array(outline.parabola)[:, None]
    mean = in_order(later) / count
    rest, floor = later - mean, FLOOR * mean
    slope, bend = in_order(lines * rest) / line, in_order(parabolas * rest) / parabola
    rest = rest - slope * lines - bend * parabolas
    pairs = rest[::2] + rest[1::2]
    single: Floats = in_order(rest * rest) / (count - 3)
    return np.maximum(np.maximum(single, in_order(pairs * pairs) / (count - 6)), floor * floor)


def _is_nothing(y: Floats, outline: returns.Outline, noise: Floats) -> Mask:
    """See the controller's `_is_nothing`."""
    count = len(y)
    mean = in_order(y) / count
    spread, _ = returns.squares(count)
    falls = -in_order(np.array(outline.places)[:, None] * (y - mean)) / spread
    error = quantile(returns.CONFIDENCE, count - outline.later - 3) * np.sqrt(noise / spread)
    bound = returns.NOTHING * np.abs(mean) / (0.5 * count)
    nothing: Mask = (falls + error < bound) & (falls > -bound)
    return nothing


def _weighted(y: Floats, part: tuple[int, tuple[float, ...]]) -> Floats:
    first, weights = part
    return in_order(np.array(weights)[:, None] * y[first : first + len(weights)])


TWIN = Twin(returns.Returns, lambda scalar, history, often: ManyReturns(scalar, history.runs), lambda scalar: 0)
