"""`min_step`: a number of optimizer steps of the run is complete."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from plateau_rule.controller.guards.in_state import Reached
from plateau_rule.controller.guards.word import Advice, Builder, Pick, Word
from plateau_rule.controller.language.values import LARGEST


class MinStep(Word[int]):
    """The clock of the run's steps has reached a number."""

    name = "min_step"
    description = "This many optimizer steps of the run are complete."
    written = Annotated[int, Field(ge=0, le=LARGEST)]

    def bind(self, value: int, title: str, builder: Builder) -> Reached:
        """Asks the run's steps."""
        return Reached(title, "step", value, ("step complete", "steps complete"))

    def advice(self, value: int) -> Advice:
        """The number itself."""
        return Advice("lower min_step", "raise min_step")

    def example(self, pick: Pick) -> int:
        """Somewhere in the run."""
        return pick.whole(0, pick.most_steps)


STAND_IN: dict[str, Any] = {MinStep.name: 0}
"""A guard, as a file writes it, that is always true and has nothing that could be wrong."""
