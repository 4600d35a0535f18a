"""`plateau` with method `returns` along time; see controller.guards.plateau.returns."""

from __future__ import annotations

import sys

import numpy as np

from plateau_rule.controller.guards.plateau.blocks import BLOCK, CUT
from plateau_rule.controller.guards.plateau.returns import Returns
from plateau_rule.sim.batch.along.base import Along, Counts
from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts

_LARGEST = sys.float_info.max


class AlongReturns(Along):
    """`returns`: it decides when a block is full, so that only blocks are gone through, and judged where one looks."""

    of = Returns

    def __init__(self, scalar: Returns) -> None:
        super().__init__()
        self._share = scalar.share
        self._means: Floats = np.empty(0)  # of the full blocks
        self._begin()

    def _begin(self) -> None:
        self._own, self._done = Returns(self._share), 0  # after so many blocks
        self._said = dict[int, int]()  # by how many blocks were full

    def see(self, values: Floats) -> None:
        """Take all values of the stay; what is left of each block is worked out once."""
        self.values, known = values, len(self._means)
        full = len(values) // BLOCK
        if full > known:
            self._means = np.concatenate((self._means, trimmed_means(values[known * BLOCK : full * BLOCK])))

    def _go(self, blocks: int) -> Returns:
        """The controller's own after so many blocks."""
        if blocks < self._done:
            self._begin()
        for mean in self._means[self._done : blocks].tolist():
            self._own.push_block(mean)
        self._done = blocks
        return self._own

    def verdicts(self, counts: Counts) -> Verdicts:
        """What it says at the last block that is full."""
        blocks = counts // BLOCK
        changes = np.flatnonzero(np.diff(blocks, prepend=-1))
        needed = blocks[changes].tolist()
        if any(block < self._done and block not in self._said for block in needed):
            self._begin()
        for block in needed:
            if block not in self._said:
                verdict = self._go(block).verdict()
                self._said[block] = UNKNOWN if verdict is None else TRUE if verdict else FALSE
        said = np.array([self._said[block] for block in needed], dtype=np.int8)
        return np.repeat(said, np.diff(changes, append=len(blocks)))

    def fill(self, scalar: Returns, count: int) -> None:
        """It remembers the blocks, and the values of the one that is open."""
        full = count // BLOCK
        held = self._go(full).contents()
        scalar.restore({**held, "seen": count, "open": self.values[full * BLOCK : count].tolist()})


def trimmed_means(values: Floats) -> Floats:
    """What `trimmed` makes of each block, to the bit: the same additions, in the same order.

    Args:
        values: of whole blocks.
    """
    kept, count = np.sort(values.reshape(-1, BLOCK), axis=1)[:, CUT:-CUT], BLOCK - 2 * CUT
    means = np.zeros(len(kept))
    for column in kept.T:
        means += column / count
    return np.clip(means, -_LARGEST, _LARGEST)
