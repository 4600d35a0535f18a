"""`method = "returns"` over many runs at once; see controller.guards.plateau.returns."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.plateau import returns
from plateau_rule.controller.guards.plateau.student import quantile
from plateau_rule.sim.batch.guards.blocks import Blocks
from plateau_rule.sim.batch.guards.plateau.trend import four_valued
from plateau_rule.sim.batch.guards.twin import Twin, in_order
from plateau_rule.sim.batch.history import Floats, Mask, Rows
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts


class ManyReturns(Blocks):
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
    """The verdicts of the controller's `judged` for block means [block, run], in its order of operations."""
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


TWIN = Twin(returns.Returns, lambda scalar, history, often: ManyReturns(scalar, history.runs), lambda scalar: 0)
