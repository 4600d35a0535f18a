"""Guards as the controller binds them, as questions to many runs at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from plateau_rule.controller.guards import GuardInState, Joined, Opposite, Reached, Watched
from plateau_rule.sim.batch.clocks import Clocks
from plateau_rule.sim.batch.guards.twin import Detectors
from plateau_rule.sim.batch.kleene import Ask, join, negate


def question(guard: GuardInState, clocks: Clocks, detectors: Callable[[object], Detectors]) -> Ask:
    """What to call for a guard's verdicts.

    Args:
        guard: as in a Stay of the controller.
        clocks: those of the batch.
        detectors: gives the twin of the detector that the guard watches.

    Returns:
        A function of nothing, whose answers are in Kleene's logic.

    Raises:
        NotImplementedError: the guard is of no kind that the controller has.
    """
    if isinstance(guard, Reached):
        return partial(clocks.reached, guard.hand, guard.need)
    if isinstance(guard, Watched):
        return detectors(guard.detector).answers
    if isinstance(guard, Opposite):
        return partial(negate, question(guard.part, clocks, detectors))
    if not isinstance(guard, Joined):
        raise NotImplementedError(type(guard).__name__)
    return partial(join, guard.decisive, [question(part, clocks, detectors) for part in guard.parts])
