"""What a metric would do to keep a run in a state, in the words of the guards that wait for it."""

from __future__ import annotations

from plateau_rule.controller.guards.detector import Detector, Mirrored
from plateau_rule.controller.guards.diverging import Growing
from plateau_rule.controller.guards.gap import Apart
from plateau_rule.controller.guards.level import Beside
from plateau_rule.controller.guards.own import OwnDetector
from plateau_rule.controller.guards.patience import NoNewBest


def keeping(metric: str, detector: Detector) -> str:
    """A stream under which a detector is never true."""
    detector = detector.inner if isinstance(detector, Mirrored) else detector
    one = f"a{'n' * (metric[0] in 'aeiou')} {metric}"
    if isinstance(detector, Beside):
        side = "above" if detector.below else "below"
        return f"{one} that stays {side} {detector.spec.value:.6g}"
    if isinstance(detector, NoNewBest):
        return f"{one} that finds a new best within every {detector.spec.steps} values"
    if isinstance(detector, Growing):
        return f"{one} that does not diverge"
    if isinstance(detector, Apart):
        return f"{one} that keeps changing by more than {detector.value:.6g}"
    if isinstance(detector, OwnDetector):
        return f"{one} on which {detector.name} never holds"
    return f"{one} that keeps improving"
