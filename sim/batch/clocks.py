"""The clocks of many runs at once; see `Clock` in controller.guards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plateau_rule.sim.batch.kleene import FALSE, TRUE, Answer, Verdicts


class Clocks:
    """What the clocks of every run say after an observation.

    All runs are at the same step, so that steps and epochs are plain numbers, and a clock of the state is the distance
    from the step on which a run entered it: nothing need be counted up for each run.
    """

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
