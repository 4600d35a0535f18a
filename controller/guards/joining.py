"""What `any` and `all` have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from plateau_rule.controller.guards.in_state import Joined
from plateau_rule.controller.guards.word import Builder, Condition, Path, Pick, Word

Conditions = list[Condition]


class Joining(Word[Conditions]):
    """Guards that are joined; decisive: the verdict of a part that decides the whole. between: for people."""

    # The name of a type in language.curriculum, which is made from the words and so cannot be known here.
    written = Annotated[list["Condition"], Field(min_length=1, max_length=64)]
    joins = True
    decisive: bool
    between: str

    def parts(self, value: Conditions) -> list[tuple[Condition, Path]]:
        """All of them."""
        return [(part, (self.name, i)) for i, part in enumerate(value)]

    def meaning(self, value: Conditions, of_part: Callable[[Condition], Any]) -> list[Any]:
        """What the parts mean, in their order."""
        return [of_part(part) for part in value]

    def says(self, value: Conditions, of_part: Callable[[Condition], str]) -> str:
        """The parts, with the word between them."""
        return f" {self.between} ".join(map(of_part, value))

    def bind(self, value: Conditions, title: str, builder: Builder) -> Joined:
        """Asks the parts."""
        return Joined(self.decisive, tuple(map(builder.guard, value)), title, self.name)

    def example(self, pick: Pick) -> Conditions:
        """Few."""
        return pick.conditions(3)
