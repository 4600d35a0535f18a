"""`min_epoch`: a number of epochs of the run is complete."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from plateau_rule.controller.guards.in_state import Reached
from plateau_rule.controller.guards.word import Advice, Builder, Pick, Word

EXAMPLE = "{ min_epoch = 2 }"
"""A guard as a file writes it, for messages that show what one looks like."""


class MinEpoch(Word[int]):
    """The clock of the run's epochs has reached a number."""

    name = "min_epoch"
    description = (
        "This many epochs of the run are complete; `2` holds from the first step of epoch 2 on, as epochs count from 0."
    )
    written = Annotated[int, Field(ge=0, le=10**9)]

    def bind(self, value: int, title: str, builder: Builder) -> Reached:
        """Asks the run's epochs."""
        return Reached(title, "epoch", value, ("epoch complete", "epochs complete"))

    def advice(self, value: int) -> Advice:
        """The number itself."""
        return Advice("lower min_epoch", "raise min_epoch")

    def closings(self, value: int) -> int:
        """As many, at most."""
        return value

    def example(self, pick: Pick) -> int:
        """Few."""
        return pick.whole(0, 4)
