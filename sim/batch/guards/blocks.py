"""What detectors have in common that work on the means of blocks of losses.

Blocks fill at different steps in different runs. Only the runs in which one has just filled are touched, and what the
blocks say is worked out only when a guard asks.
"""

from __future__ import annotations

import sys

import numpy as np

from plateau_rule.controller.guards.plateau.blocks import BLOCK, CUT
from plateau_rule.sim.batch.guards.twin import Detectors, in_order
from plateau_rule.sim.batch.history import Floats, Mask, Rows
from plateau_rule.sim.batch.kleene import UNKNOWN

_LARGEST = sys.float_info.max
_NEVER = 1 << 62  # the room of an open block that is not to be filled


class Blocks(Detectors):
    """An open block in each run, and a verdict that holds until the next one is full."""

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


class TrimmedBlocks(Blocks):
    """Blocks of BLOCK losses, each with its trimmed mean; see controller.guards.plateau.blocks."""

    def __init__(self, runs: int) -> None:
        super().__init__(runs)
        self._losses = np.zeros((BLOCK, runs))  # of the open block
        self._columns = np.arange(runs)

    def _close(self, values: Floats, brought: Mask | None) -> tuple[Rows, Floats]:
        """Keep each loss; where the block is full now, its trimmed mean, and the next one is open."""
        self._losses[-self._room % BLOCK, self._columns] = values
        self._room -= 1 if brought is None else brought
        rows = np.flatnonzero(self._room == 0)
        if not len(rows):
            return rows, np.empty(0)
        self._room[rows] = BLOCK
        kept = np.sort(self._losses[:, rows], axis=0)[CUT:-CUT]
        means = in_order(kept / len(kept))
        return rows, np.minimum(np.maximum(means, -_LARGEST), _LARGEST)
