"""`dwell`: an amount of time was spent in this state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from plateau_rule.controller.errors import Fault
from plateau_rule.controller.guards.in_state import Reached
from plateau_rule.controller.guards.word import Advice, AmountAsked, Builder, Condition, Path, Pick, Word
from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.language.faults import rest_faults
from plateau_rule.controller.language.values import Duration

TIMEOUT = '{ dwell = "0.3 run" }'
"""A guard as a file writes it, for messages that suggest a bound on a stay."""
PAUSE = '{ dwell = "2 epochs" }'
"""The same, for those that suggest a least time."""


class Dwell(Word[str]):
    """The clock of the time in the state has reached an amount."""

    name = "dwell"
    description = "This much time was spent in this state."
    written = Duration

    def faults(self, value: str, path: Path, knobs: Collection[str]) -> Iterator[Fault]:
        """`rest` never passes before the run is over."""
        yield from rest_faults(value, path)

    def amounts(self, value: str) -> Iterator[AmountAsked]:
        """Whole epochs can be counted by their closings."""
        yield AmountAsked(value, (), may_count_closings=True, in_state=True)

    def meaning(self, value: str, of_part: Callable[[Condition], Any]) -> str:
        """The amount in one spelling."""
        return str(parse_amount(value))

    def bind(self, value: str, title: str, builder: Builder) -> Reached:
        """Asks the time in the state; of epochs that the trainer closes, how many were."""
        amount = parse_amount(value)
        if amount.unit == "epochs" and builder.steps_per_epoch is None:
            return Reached(
                title, "closings", int(amount.count), ("epoch closed in this state", "epochs closed in this state")
            )
        return Reached(title, "time", builder.steps(amount), ("step in this state", "steps in this state"))

    def advice(self, value: str) -> Advice:
        """The amount itself."""
        return Advice("lower dwell", "raise dwell")

    def closings(self, value: str) -> int:
        """As many as it counts, if it counts epochs."""
        amount = parse_amount(value)
        return int(amount.count) if amount.unit == "epochs" else 0

    def example(self, pick: Pick) -> str:
        """A part of the run."""
        if pick.by_hand and pick.one_of((True, False)):
            return f"{pick.whole(0, 3)} epochs"
        return pick.amount(pick.most_steps // 3 + 1, least=0, in_state=True)
