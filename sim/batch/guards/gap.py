"""`gap` over many runs at once."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.gap import Apart
from plateau_rule.sim.batch.guards.blocks import Blocks
from plateau_rule.sim.batch.guards.twin import Detectors, Twin
from plateau_rule.sim.batch.history import Floats, History, Mask, Rows
from plateau_rule.sim.batch.kleene import UNKNOWN, Verdicts, spelled
from plateau_rule.sim.batch.means import RunningMeans


class ManyApart(Detectors):
    """`gap`; see controller.guards.gap.Apart. The history is one of blocks; a block may be a single value."""

    def __init__(self, scalar: Apart, history: History) -> None:
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


class ManyApartInBlocks(Blocks):
    """`gap` over stretches so long that they are kept as blocks of several values."""

    def __init__(self, scalar: Apart, runs: int) -> None:
        super().__init__(runs)
        self._width = scalar.block
        self._history = History(runs, scalar.needs // scalar.block)  # of the blocks' means
        self._gap = ManyApart(scalar, self._history)

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


def _make(scalar: Apart, history: History, often: bool) -> Detectors:
    return ManyApart(scalar, history) if scalar.block == 1 else ManyApartInBlocks(scalar, history.runs)


TWIN = Twin(Apart, _make, lambda scalar: scalar.needs if scalar.block == 1 else 1)
