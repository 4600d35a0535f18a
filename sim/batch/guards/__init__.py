"""The vectorised twins of the controller's detectors, a file for each word of a guard, under the same names.

A twin gives the same verdicts, value by value. It is made from the controller's own detector, as it stands on entering
a state, and shares a History with the others that watch the same metric. Where a faster sum could decide differently
from the controller's, a bound on its rounding error tells, and the exact one decides. A detector without a twin works
as well: the controller's own is asked in each run.
"""

from __future__ import annotations

from plateau_rule.controller.guards import Detector
from plateau_rule.sim.batch.guards import diverging, gap, level, patience, plateau
from plateau_rule.sim.batch.guards.twin import Detectors, Each, Twin
from plateau_rule.sim.batch.history import History

TWINS: dict[type[Detector], Twin] = {
    twin.of: twin for twin in (*plateau.TWINS, patience.TWIN, level.TWIN, diverging.TWIN, gap.TWIN)
}
EACH = Twin(object, lambda scalar, history, often: Each(scalar, history), lambda scalar: 1)


def twin_of(scalar: Detector) -> Twin:
    """How a detector is put into many runs: by the twin of its class, or run by run."""
    return TWINS.get(type(scalar), EACH)


def many(scalar: Detector, history: History, often: bool) -> Detectors:
    """Put one of the controller's detectors, as yet empty, into every run of a history.

    Args:
        scalar: the detector.
        history: what the runs have seen.
        often: whether it is asked at every step.
    """
    return twin_of(scalar).make(scalar, history, often)


def depth_of(scalar: Detector) -> int:
    """How many values of the past a detector must be able to read; 0 for those that only see them come."""
    return twin_of(scalar).depth(scalar)
