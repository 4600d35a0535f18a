"""Which of the many-run detectors stands for which of the controller's."""

from __future__ import annotations

from plateau_rule.controller.detectors import windows as one
from plateau_rule.controller.detectors.gap import Apart as OneApart
from plateau_rule.controller.detectors.returns import Returns
from plateau_rule.controller.detectors.trend import Trend
from plateau_rule.sim.batch.blocks import Gaps, Trends, Yields
from plateau_rule.sim.batch.detectors import Apart, Beside, Detectors, Each, Growing, Halves, NoNewBest
from plateau_rule.sim.batch.history import History


def many(scalar: one.Detector, history: History, often: bool) -> Detectors:
    """Put one of the controller's detectors, as yet empty, into every run of a history.

    often: whether it is asked at every step. A kind that is not known here is asked run by run.
    """
    if isinstance(scalar, one.Halves):
        return Halves(scalar, history, often)
    if isinstance(scalar, one.NoNewBest):
        return NoNewBest(scalar, history)
    if isinstance(scalar, one.Beside):
        return Beside(scalar, history)
    if isinstance(scalar, one.Growing):
        return Growing(scalar, history)
    if isinstance(scalar, OneApart):
        return Apart(scalar, history) if scalar.block == 1 else Gaps(scalar, history.runs)
    if isinstance(scalar, Trend):
        return Trends(scalar, history.runs)
    if isinstance(scalar, Returns):
        return Yields(scalar, history.runs)
    return Each(scalar, history)


def depth_of(scalar: one.Detector) -> int:
    """How many values of the past a detector must be able to read; 0 for those that only see them come."""
    if isinstance(scalar, Trend | Returns):
        return 0
    if isinstance(scalar, one.Halves):
        return scalar.window
    if isinstance(scalar, one.NoNewBest):
        return scalar.spec.smooth
    if isinstance(scalar, one.Beside):
        return scalar.spec.window
    if isinstance(scalar, one.Growing):
        return scalar.spec.window - scalar.spec.window // 2
    if isinstance(scalar, OneApart):
        return scalar.needs if scalar.block == 1 else 1
    return 1
