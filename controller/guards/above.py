"""`above`: the mean of the last values of a metric is above a fixed value."""

from __future__ import annotations

from plateau_rule.controller.guards.level import Level, LevelWord
from plateau_rule.controller.guards.word import Advice


class Above(LevelWord):
    """True over the value."""

    name = "above"
    description = "The mean of the last values is above a value."
    under = False

    def advice(self, value: Level) -> Advice:
        """The value."""
        return Advice("lower value of above", "raise value of above")
