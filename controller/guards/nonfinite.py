"""`nonfinite`: a number of NaN or infinite losses came in a row."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from plateau_rule.controller.guards.in_state import Reached
from plateau_rule.controller.guards.word import Builder, Pick, Word


class NonFiniteInARow(Word[int]):
    """The clock of non-finite losses has reached a number."""

    name = "nonfinite"
    description = "This many NaN or infinite losses came in a row, in this state."
    written = Annotated[int, Field(ge=1, le=10**6)]

    def bind(self, value: int, title: str, builder: Builder) -> Reached:
        """Asks the count of non-finite losses."""
        return Reached(title, "nonfinite", value, ("non-finite loss in a row", "non-finite losses in a row"))

    def example(self, pick: Pick) -> int:
        """Few."""
        return pick.whole(1, 4)
