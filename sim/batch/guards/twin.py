"""A detector in every run at once: what each vectorised twin of a controller's detector is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from plateau_rule.controller.guards import Detector
from plateau_rule.controller.guards.detector import UNIT_ROUNDOFF
from plateau_rule.sim.batch.history import Floats, History, Mask, Rows
from plateau_rule.sim.batch.kleene import FALSE, TRUE, UNKNOWN, Verdicts

SLACK = 8.0 * UNIT_ROUNDOFF  # more than a few roundings of a number lose, relative to it
_FEW = 100  # columns, for which a loop over the rows is slower


class Detectors:
    """One detector in every run; what a kind of detector does not need to do at a moment, it leaves out."""

    answer: Verdicts | None = None  # the verdicts, once they were asked for, until something changes

    def answers(self) -> Verdicts:
        """The verdicts, worked out once however many guards ask."""
        if self.answer is None:
            self.answer = self.verdicts()
        return self.answer

    def enter(self, rows: Rows, watching: bool) -> None:
        """Empty the detectors of runs that enter a state.

        Args:
            rows: these runs.
            watching: whether the state that they enter asks the detector.
        """

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the next finite value of each run, or of those that brought one, before the history takes it."""

    def settle(self, brought: Mask | None) -> None:
        """The history has taken the values."""

    def verdicts(self) -> Verdicts:
        """FALSE, UNKNOWN or TRUE for each run; without meaning where it is not watched."""
        raise NotImplementedError


@dataclass(frozen=True)
class Twin:
    """How one of the controller's detectors is put into every run of a history.

    Attributes:
        of: the controller's class.
        make: from that detector, as yet empty, the history of its metric, and whether it is asked at every step.
        depth: how many values of the past it must be able to read; 0 where it only sees them come.
    """

    of: type[Any]
    make: Callable[[Any, History, bool], Detectors]
    depth: Callable[[Any], int]


def in_order(parts: Floats) -> Floats:
    """The sum of the rows of a table, added first to last; numpy's own sum may add in another order."""
    if parts.shape[1] < _FEW:
        accumulated: Floats = np.add.accumulate(parts, axis=0)[-1]
        return accumulated
    total: Floats = parts[0].copy()
    for row in parts[1:]:
        total += row
    return total


class Each(Detectors):
    """Any other detector: the controller's own, one for each run that watches it; exact, and no faster."""

    def __init__(self, scalar: Detector, history: History) -> None:
        self._empty = scalar
        self._detectors: list[Detector | None] = [None] * history.runs

    def enter(self, rows: Rows, watching: bool) -> None:
        """A new detector, or none."""
        for row in rows.tolist():
            self._detectors[row] = self._empty.copy() if watching else None

    def push(self, values: Floats, brought: Mask | None) -> None:
        """Take the value of each run."""
        for row, (detector, value) in enumerate(zip(self._detectors, values.tolist(), strict=True)):
            if detector is not None and (brought is None or brought[row]):
                detector.push(value)

    def verdicts(self) -> Verdicts:
        """Ask each."""
        spell = {None: UNKNOWN, False: FALSE, True: TRUE}
        asked = (UNKNOWN if d is None else spell[d.verdict()] for d in self._detectors)
        return np.fromiter(asked, dtype=np.int8, count=len(self._detectors))
