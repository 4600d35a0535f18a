"""The finite values of one metric, of many runs at once: who brought how many, and the newest of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


class History:
    """The newest values of one metric in every run, counted as each run's detectors count them.

    As long as every run brings a value at every push, the runs stand together, and a value of the past is one row of
    the table, which costs no gathering. From the first push on that some run has missed, each has a place of its own.
    Before the first value there are zeros, so that a sum over a window that is not full yet is a sum of what there is.

    Args:
        runs: how many.
        depth: values of a run that are kept.
    """

    def __init__(self, runs: int, depth: int) -> None:
        self.runs, self.depth = runs, depth
        self.largest = np.zeros(runs)  # of the magnitudes of at least the last 2 * depth values
        self._table = np.zeros((depth, runs))
        self._flat = self._table.reshape(-1)
        self._columns = np.arange(runs)
        self._count = 0  # values that each run has brought, while they stand together
        self._counts: NDArray[np.int64] | None = None  # and once they do not
        self._entered = np.zeros(runs, dtype=np.int64)  # the count when the present state was entered
        self._recent = np.zeros(runs)  # the largest magnitude since the last turn
        self._since_turn = 0
        self._magnitude = np.empty(runs)

    @property
    def seen(self) -> NDArray[np.int64]:
        """How many values each run has brought in its present state."""
        return (self._count if self._counts is None else self._counts) - self._entered

    def enter(self, rows: Rows) -> None:
        """These runs enter a state: what they brought before no longer counts."""
        self._entered[rows] = self._count if self._counts is None else self._counts[rows]

    def back(self, places: int) -> Floats | float:
        """The value that was the newest this many pushes ago; 1 is the newest itself."""
        if places > self.depth:
            return 0.0  # `depth` is less than a window only where a run is too short to fill it
        if self._counts is None:
            row: Floats = self._table[(self._count - places) % self.depth]
            return row
        return self._flat.take((self._counts - places) % self.depth * self.runs + self._columns)

    def window(self, size: int, rows: Rows) -> Floats:
        """The last `size` values of these runs, oldest first: [place, run]; size at most `depth`."""
        last = self._count if self._counts is None else self._counts[rows]
        places = (last - np.arange(size, 0, -1)[:, None]) % self.depth
        found: Floats = self._flat.take(places * self.runs + rows)
        return found

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take a value of each run.

        Args:
            values: [run]; finite also where a run brings nothing.
            brought: [run], which runs bring a value; None for all.
        """
        if self._counts is None and brought is None:
            self._table[self._count % self.depth] = values
            self._count += 1
        else:
            if self._counts is None:
                self._counts = np.full(self.runs, self._count)
            rows = self._columns if brought is None else np.flatnonzero(brought)
            self._table[self._counts[rows] % self.depth, rows] = values[rows]
            self._counts[rows] += 1
        np.abs(values, out=self._magnitude)
        np.maximum(self._recent, self._magnitude, out=self._recent)
        np.maximum(self.largest, self._magnitude, out=self.largest)
        self._since_turn += 1
        # Once the runs stand apart, a run's window may reach back further than any number of pushes.
        if self._counts is None and self._since_turn >= 2 * self.depth:
            self.largest, self._recent = self._recent, np.zeros(self.runs)
            self._since_turn = 0
