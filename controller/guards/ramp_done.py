"""`ramp_done`: the ramp of a knob has reached its end."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from plateau_rule.controller.errors import Fault
from plateau_rule.controller.guards.in_state import Reached
from plateau_rule.controller.guards.word import Advice, Builder, Path, Pick, Word
from plateau_rule.controller.language.faults import unknown
from plateau_rule.controller.language.values import Name


class RampDone(Word[str]):
    """The clock of the time in the state has reached the length of a ramp."""

    name = "ramp_done"
    description = "The ramp of this knob has reached its end."
    written = Name
    on_ramp = True

    def faults(self, value: str, path: Path, knobs: Collection[str]) -> Iterator[Fault]:
        """A knob that does not exist; whether it has a ramp depends on the states, see `ramp`."""
        if value not in knobs:
            yield unknown("unknown-knob", path, "knob", value, knobs)

    def ramp(self, value: str) -> str:
        """The knob."""
        return value

    def bind(self, value: str, title: str, builder: Builder) -> Reached:
        """Asks the time in the state."""
        return Reached(title, "time", builder.ramp_steps[value], ("step of the ramp", "steps of the ramp"))

    def advice(self, value: str) -> Advice:
        """The ramp."""
        return Advice("shorten the ramp", "lengthen the ramp")

    def example(self, pick: Pick) -> str:
        """A knob with a ramp."""
        return str(pick.one_of(pick.ramped))
