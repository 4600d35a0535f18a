"""`below`: the mean of the last values of a metric is below a fixed value."""

from __future__ import annotations

from plateau_rule.controller.guards.level import Level, LevelWord
from plateau_rule.controller.guards.word import Advice


class Below(LevelWord):
    """True under the value."""

    name = "below"
    description = "The mean of the last values is below a value."
    under = True

    def advice(self, value: Level) -> Advice:
        """The value."""
        return Advice("raise value of below", "lower value of below")
