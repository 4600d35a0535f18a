"""Which verdicts two detectors can give at one look, where both watch the same values of one metric.

Without this every detector would be free of the others: `below 2` and `above 3` could hold at once, and `below 2` could
be taken behind `below 3`. Each entry holds at every look and for every series of values, rounding included; what holds
only nearly always has no place here.
"""

from __future__ import annotations

from plateau_rule.controller.guards.detector import Detector, Mirrored
from plateau_rule.controller.guards.diverging import Growing
from plateau_rule.controller.guards.gap import Apart
from plateau_rule.controller.guards.level import Beside
from plateau_rule.controller.guards.patience import NoNewBest
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.controller.guards.plateau.returns import Returns
from plateau_rule.controller.guards.plateau.sure import Sure
from plateau_rule.controller.guards.plateau.trend import Trend

Verdict = bool | None
Pairs = frozenset[tuple[Verdict, Verdict]]

# The first is true only if the second is; both know equally much. Then the same the other way round.
STRONGER: Pairs = frozenset({(None, None), (True, True), (False, True), (False, False)})
WEAKER: Pairs = frozenset((other, one) for one, other in STRONGER)
# The first is true only if the second is, whatever else each of them knows.
_ALL = [(one, other) for one in (True, False, None) for other in (True, False, None)]
SURELY_STRONGER: Pairs = frozenset(pair for pair in _ALL if pair[0] is not True or pair[1] is True)
SURELY_WEAKER: Pairs = frozenset((other, one) for one, other in SURELY_STRONGER)
APART: Pairs = frozenset({(None, None), (True, False), (False, True), (False, False)})  # never both
ONE_AT_LEAST: Pairs = frozenset({(None, None), (True, True), (True, False), (False, True)})


def together(one: Detector, other: Detector) -> Pairs | None:
    """The pairs of verdicts that two detectors of one metric can give at one look; None where any two can.

    Detectors of a metric of which more is better see the same values as each other, with their signs turned.
    """
    if isinstance(one, Mirrored) and isinstance(other, Mirrored):
        return together(one.inner, other.inner)
    if isinstance(one, Beside) and isinstance(other, Beside):
        return _levels(one, other)
    for first, second, known, surely in (
        (one, other, STRONGER, SURELY_STRONGER),
        (other, one, WEAKER, SURELY_WEAKER),
    ):
        if _stronger(first, second):
            return known
        if _surely_stronger(first, second):
            return surely
    return None


def _levels(one: Beside, other: Beside) -> Pairs | None:
    """Two levels that the same mean is held against."""
    if one.spec.window != other.spec.window:
        return None
    mine, its = one.spec.value, other.spec.value
    if one.below == other.below:
        return STRONGER if (mine <= its if one.below else mine >= its) else WEAKER
    low, high = (mine, its) if one.below else (its, mine)
    return APART if low <= high else ONE_AT_LEAST


def _stronger(one: Detector, other: Detector) -> bool:
    """Whether `one` is true only where `other` is, and both are unknown at the same looks."""
    if isinstance(one, Halves) and isinstance(other, Halves):
        return one.window == other.window and one.threshold <= other.threshold
    if isinstance(one, NoNewBest) and isinstance(other, NoNewBest):
        mine, its = one.spec, other.spec
        # With two different `min_delta` above 0 the bests are others, and no rule holds: a fall in small steps is a new
        # best now for the one, now for the other. Where `one` counts every new best, it counts all of the other's.
        return mine.smooth == its.smooth and mine.steps >= its.steps and mine.min_delta in (0.0, its.min_delta)
    if isinstance(one, Growing) and isinstance(other, Growing):
        return one.spec.window == other.spec.window and one.spec.factor >= other.spec.factor
    if isinstance(one, Apart) and isinstance(other, Apart):
        return one.needs == other.needs and one.value <= other.value
    return False


def _surely_stronger(one: Detector, other: Detector) -> bool:
    """Whether a detector that may be undecided is true only where another is."""
    if isinstance(one, Trend) and isinstance(other, Trend):
        same = (one.confidence, one.min_window) == (other.confidence, other.min_window)
        return same and one.cooldown >= other.cooldown and one.max_rate <= other.max_rate
    if isinstance(one, Sure) and isinstance(other, Sure):  # another rate has other windows, and other shares of alpha
        return (one.rate, one.windows) == (other.rate, other.windows) and one.alpha <= other.alpha
    return isinstance(one, Returns) and isinstance(other, Returns) and one.share <= other.share
