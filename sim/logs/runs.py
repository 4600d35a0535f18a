"""Tells apart the runs that one file holds one after the other, and the epochs in which steps begin anew."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.rows import Floats

MOST_RUNS = 10_000
MOST_LENGTHS = 1000  # of epochs, that are told apart
_EPOCH = 2.0**32  # more steps than any epoch has
FEWEST = 10  # points before a step that goes back to the first one is another run's


class Runs:
    """Follows the clock of a file through its points.

    Args:
        file: its name, for messages.
        counted: what the clock counts: "step", "epoch" or "row".

    within: whether steps begin anew in each epoch. steps_back: how often the clock went back without a reason.
    """

    def __init__(self, file: str, counted: str) -> None:
        self.file, self.counted = file, counted
        self.within = False
        self.steps_back = 0
        self.count = 1
        self._rises = self._anew = 0  # changes of the epoch; those at which the step began anew
        # The run that is being read: the first place on its clock, the distance of its first two points, its points,
        # its highest place, how often it went back.
        self._first, self._spacing, self._points, self._top, self._backs = 0.0, 0.0, 0, -1.0, 0
        self._step, self._epoch = -1.0, np.nan

    def cut(self, steps: Floats, epochs: Floats) -> list[int]:
        """Take in the next points; at which of them a new run begins.

        steps, epochs: of points in file order; an epoch is NaN where it is not known.
        """
        if not len(steps):
            return []
        epochs = carried_on(np.floor(epochs), self._epoch)
        if self.counted == "step" and not self.within:
            self._look_for_epochs(steps, epochs)
        places = self._places(steps, epochs)
        before = self._places(np.array([self._step]), np.array([self._epoch]))[0] if self._points else -1.0
        back = np.flatnonzero(np.diff(places, prepend=before) < 0)
        self.steps_back += len(back)
        if self._points >= 1000 and not self._in_order():
            self._backs += len(back)
            back = back[:0]
        cuts, edges = [], [*back.tolist(), len(places)]
        self._follow(places[: edges[0]])
        for at, until in pairwise(edges):
            if self._begins_anew(float(places[at])):
                cuts.append(at)
                self._begin()
            else:
                self._backs += 1
            self._follow(places[at:until])
        self._step, self._epoch = float(steps[-1]), float(epochs[-1])
        return cuts

    def _look_for_epochs(self, steps: Floats, epochs: Floats) -> None:
        """Whether the step goes back where the epoch rises: it then counts within epochs."""
        rises = np.diff(epochs, prepend=self._epoch) > 0
        moves = np.diff(steps, prepend=self._step)[rises]
        self._rises += len(moves)
        self._anew += int((moves <= 0).sum())
        falls = bool((moves < 0).any()) or self._anew >= 2
        if falls and 2 * self._anew >= self._rises and self._points + len(steps) > 2:
            self.within = True
            if self._points:  # what was seen so far was one epoch
                start = self._epoch * _EPOCH
                self._first, self._top = start + self._first, start + self._top

    def _places(self, steps: Floats, epochs: Floats) -> Floats:
        """Where points stand on the clock: numbers that rise as a run goes on, whatever the length of its epochs."""
        if self.within:
            return np.nan_to_num(epochs) * _EPOCH + steps
        if self.counted == "row" and np.isfinite(epochs).all():
            return epochs
        return steps

    def _follow(self, places: Floats) -> None:
        """Remember where the present run stands."""
        if not len(places):
            return
        if not self._points:
            self._first = float(places[0])
        if not self._spacing:
            self._spacing = max(
                0.0, float(np.max(places)) - self._first if len(places) < 2 else float(places[1] - places[0])
            )
        self._points += len(places)
        self._top = max(self._top, float(np.max(places)))

    def _begins_anew(self, place: float) -> bool:
        """Whether a place below the one before is the first of another run.

        A resumed run goes back to somewhere in its middle, and writers that share a file drift a few points apart,
        again and again: both only repeat steps. A new run goes back to where the last one began.
        """
        if self.counted != "step" or self.within:
            return place <= self._first and self._in_order() and self._points >= 2
        if place > self._first + self._spacing:
            return False
        return self._in_order() and self._points >= FEWEST and self._top - place >= 8 * self._spacing

    def _in_order(self) -> bool:
        """Whether the present run goes back so rarely that going back means something."""
        return 10 * self._backs <= self._points

    def _begin(self) -> None:
        """Begin a run."""
        self.count += 1
        if self.count > MOST_RUNS:
            raise LogError(self.file, f"more than {MOST_RUNS:,} runs one after the other", remedy="Split the file")
        self._first, self._spacing, self._points, self._top, self._backs = 0.0, 0.0, 0, -1.0, 0


def carried_on(values: Floats, last: float) -> Floats:
    """The values, each NaN replaced by what stands before it."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    place = np.maximum.accumulate(np.where(missing, -1, np.arange(len(values))))
    return np.where(place < 0, last, values[place])


class EpochLengths:
    """How long the epochs of a log are whose steps begin anew in each of them."""

    def __init__(self) -> None:
        self.stated: Counter[int] = Counter()
        self.lowest, self.highest = np.inf, -np.inf
        self.first_epoch = np.inf
        self.spacing = 0.0

    def take(self, steps: Floats, epochs: Floats, lengths: Floats) -> None:
        """Take in points: steps within their epochs, the epochs, and the lengths that the log states."""
        if not len(steps):
            return
        self.lowest, self.highest = min(self.lowest, float(steps.min())), max(self.highest, float(steps.max()))
        if np.isfinite(epochs).any():
            self.first_epoch = min(self.first_epoch, float(np.floor(np.nanmin(epochs))))
        moves = np.diff(steps)
        if not self.spacing and (moves > 0).any():
            self.spacing = float(np.median(moves[moves > 0]))
        known = lengths[np.isfinite(lengths)]
        for length, count in zip(*np.unique(known, return_counts=True), strict=True):
            if int(length) in self.stated or len(self.stated) < MOST_LENGTHS:
                self.stated[int(length)] += int(count)

    @property
    def seen(self) -> int:
        """How many steps of an epoch were seen, at the most."""
        return int(self.highest + (self.lowest == 0))

    def length(self) -> tuple[int, bool]:
        """Steps in an epoch, and whether the log states them; else the longest that was seen."""
        fitting = [(count, length) for length, count in self.stated.items() if length >= self.highest]
        if fitting:
            return max(fitting)[1], True
        return max(1, int(self.highest + (max(1.0, self.spacing) if self.lowest == 0 else 0))), False

    def zero(self) -> int:
        """The number of the first epoch of the run: 0 or 1, as its trainer counts."""
        if self.first_epoch <= 1:
            return int(self.first_epoch)
        return 0 if self.lowest == 0 else 1
