"""Guards as the controller binds them, asked in many runs at once: in Kleene's logic, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from plateau_rule.controller.guards import GuardInState, Joined, Opposite, Reached, Watched
from plateau_rule.sim.batch.detectors import FALSE, TRUE, Detectors, Verdicts

Answer = Verdicts | int  # one verdict for each run, or one for all
Ask = Callable[[], Answer]


class Clocks:
    """What the clocks of every run say after an observation; steps and epochs are those of the batch."""

    def __init__(self, runs: int) -> None:
        self.step = 0
        self.epoch = 0
        self.entered_step = np.zeros(runs, dtype=np.int64)
        self.entered_epoch = np.zeros(runs, dtype=np.int64)
        self.nonfinite = np.zeros(runs, dtype=np.int64)

    def reached(self, hand: str, need: int) -> Answer:
        """Whether a clock, named as in controller.guards.Clock, has reached a number; clocks are never unknown."""
        if hand == "step":
            return TRUE if self.step >= need else FALSE
        if hand == "epoch":
            return TRUE if self.epoch >= need else FALSE
        if hand == "time":
            return _spelled(self.entered_step <= self.step - need)
        if hand == "closings":
            return _spelled(self.entered_epoch <= self.epoch - need)
        return _spelled(self.nonfinite >= need)


def _spelled(true: NDArray[np.bool_]) -> Verdicts:
    found: Verdicts = true.view(np.int8) * np.int8(TRUE)
    return found


def question(guard: GuardInState, clocks: Clocks, detectors: Callable[[object], Detectors]) -> Ask:
    """What to call for a guard's verdicts.

    guard: as in a Stay of the controller. detectors: gives the many for the one that the guard watches.
    """
    if isinstance(guard, Reached):
        return partial(clocks.reached, guard.hand, guard.need)
    if isinstance(guard, Watched):
        return detectors(guard.detector).answers
    if isinstance(guard, Opposite):
        return partial(_opposite, question(guard.part, clocks, detectors))
    if not isinstance(guard, Joined):
        raise NotImplementedError(type(guard).__name__)
    parts = [question(part, clocks, detectors) for part in guard.parts]
    return partial(_joined, parts, *((np.maximum, TRUE) if guard.word == "any" else (np.minimum, FALSE)))


def _opposite(part: Ask) -> Answer:
    return TRUE - part()


def _joined(parts: list[Ask], join: np.ufunc, decisive: int) -> Answer:
    found: Answer = TRUE + FALSE - decisive
    for part in parts:
        found = join(found, part())
        if np.ndim(found) == 0:
            found = int(found)
            if found == decisive:
                break
    return found


def all_hold(of: Verdicts, parts: list[Ask]) -> Verdicts | None:
    """In which runs all parts are true; None where in none, which ends the asking early.

    of: TRUE for the runs that are meant, FALSE for the others.
    """
    found = of
    for part in parts:
        answer = part()
        if isinstance(answer, int):
            if answer != TRUE:
                return None
            continue
        found = np.minimum(found, answer)
        if not (found == TRUE).any():
            return None
    return found
