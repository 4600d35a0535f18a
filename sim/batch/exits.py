"""One transition out of one state, as it is looked at in many runs."""

from __future__ import annotations

import numpy as np

from plateau_rule.controller.guards import Joined, answers_nonfinite
from plateau_rule.controller.machine import BoundTransition
from plateau_rule.sim.batch.history import Rows
from plateau_rule.sim.batch.kleene import TRUE, Ask, Verdicts, all_hold


class Exit:
    """A transition, its guards as questions, and how often in a row they held.

    Args:
        transition: as it is bound.
        place: its place among those out of the state.
        guard: its guards in a stay.
        parts: the same as questions.
        runs: the number of runs.
    """

    def __init__(self, transition: BoundTransition, place: int, guard: Joined, parts: list[Ask], runs: int) -> None:
        self.transition, self.place, self.parts = transition, place, parts
        self.answers_nonfinite = answers_nonfinite(guard)
        self.sustained = np.zeros(runs, dtype=np.int64) if transition.sustain > 1 else None

    def fires(self, eligible: Verdicts) -> Rows | None:
        """The runs, among those that are eligible, whose guards hold often enough."""
        found = all_hold(eligible, self.parts)
        if self.sustained is None:
            return None if found is None else np.flatnonzero(found == TRUE)
        mask = eligible == TRUE
        if found is None:
            self.sustained[mask] = 0
            return None
        holds = found == TRUE
        self.sustained[holds] += 1
        self.sustained[mask & ~holds] = 0
        return np.flatnonzero(holds & (self.sustained >= self.transition.sustain))
