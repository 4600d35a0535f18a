"""`gap` along time; see controller.guards.gap."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF
from plateau_rule.controller.guards.gap import LARGEST_MEAN, Apart
from plateau_rule.sim.batch.along.base import Along, Counts
from plateau_rule.sim.batch.along.means import SlidingMeans
from plateau_rule.sim.batch.guards.twin import in_order
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts, spelled


class AlongApart(Along):
    """`gap`: the means of blocks, and those of the two stretches of them before each look."""

    of = Apart

    def __init__(self, scalar: Apart) -> None:
        super().__init__()
        self._value, self._block = scalar.value, scalar.block
        self._size = scalar.needs // 2 // scalar.block  # blocks in a stretch
        self._older, self._newer = SlidingMeans(self._size), SlidingMeans(self._size)
        self._known, self._blocks = 0, np.empty(0)

    def _work_out(self, blocks: int) -> None:
        """The means of all blocks that are full, added in the controller's order."""
        known = self._known
        if blocks <= known:
            return
        if blocks > len(self._blocks):
            grown = np.empty(max(blocks, len(self.values) // self._block))
            grown[:known] = self._blocks[:known]
            self._blocks = grown
        with np.errstate(all="ignore"):
            parts = self.values[known * self._block : blocks * self._block].reshape(-1, self._block).T / self._block
            self._blocks[known:blocks] = np.clip(in_order(parts), -LARGEST_MEAN, LARGEST_MEAN)
        self._known = blocks
        self._older.values = self._newer.values = self._blocks[:blocks]

    def verdicts(self, counts: Counts) -> Verdicts:
        """The distance of the two means against the value."""
        found, size, value = np.full(len(counts), UNKNOWN, dtype=np.int8), self._size, self._value
        from_ = int(np.searchsorted(counts, 2 * size * self._block))
        if from_ == len(counts):
            return found
        blocks = counts[from_:] // self._block
        self._work_out(int(blocks[-1]))
        ends, back = np.unique(blocks, return_inverse=True)
        (older, off), (newer, more) = self._older.estimates(ends - size), self._newer.estimates(ends)
        with np.errstate(all="ignore"):
            apart = np.abs(older - newer)
            said = spelled(apart <= value, np.ones(len(ends), dtype=np.bool_))
            doubt = ~(
                np.abs(apart - value) > off + more + 8.0 * UNIT_ROUNDOFF * (np.abs(older) + np.abs(newer) + value)
            )
        places = np.flatnonzero(doubt)
        pairs = zip(self._older.exact(ends[places] - size), self._newer.exact(ends[places]), strict=True)
        said[places] = [TRUE if abs(one - other) <= value else FALSE for one, other in pairs]
        found[from_:] = said[back]
        return found

    def fill(self, scalar: Apart, count: int) -> None:
        """It remembers the means of the blocks of both stretches, and the open one."""
        blocks, rest = divmod(count, self._block)
        self._work_out(blocks)
        opened = 0.0
        for value in self.values[count - rest : count].tolist():
            opened += value / self._block
        means = self._blocks[max(0, blocks - 2 * self._size) : blocks].tolist()
        scalar.restore([*means, [opened, rest]] if rest else means)
