"""Detectors along time: what the controller's own says after each of many counts of values, worked out at once.

Where `batch.guards` puts one detector into many runs and goes from step to step, this takes one run, whose losses are
there already, and goes over them in arrays. It gives the same verdicts, to the bit: where a faster sum could decide
differently, a bound on its rounding error tells, and the controller's own sum decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plateau_rule.controller.guards import Detector
from plateau_rule.sim.batch.along.base import Along as Along
from plateau_rule.sim.batch.along.diverging import AlongGrowing
from plateau_rule.sim.batch.along.gap import AlongApart
from plateau_rule.sim.batch.along.halves import AlongHalves
from plateau_rule.sim.batch.along.level import AlongBeside
from plateau_rule.sim.batch.along.patience import AlongNoNewBest
from plateau_rule.sim.batch.along.returns import AlongReturns
from plateau_rule.sim.batch.along.trend import AlongTrend

_MADE = (AlongHalves, AlongTrend, AlongBeside, AlongGrowing, AlongApart, AlongNoNewBest, AlongReturns)
_ALONG: dict[type, Callable[[Any], Along]] = {made.of: made for made in _MADE}


def along(scalar: Detector) -> Along | None:
    """A detector along time, made from the controller's own; None where there is none of its kind."""
    made = _ALONG.get(type(scalar))
    return None if made is None else made(scalar)
