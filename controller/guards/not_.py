"""`not`: the opposite of a guard, by Kleene's not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from plateau_rule.controller.guards.in_state import Opposite
from plateau_rule.controller.guards.word import Builder, Condition, Path, Pick, Word


class Not(Word[Condition]):
    """True where its part is false; unknown where that is unknown."""

    name = "not"
    description = "True if this is false, false if it is true, else unknown."
    joins = True
    # The name of a type in language.curriculum, which is made from the words and so cannot be known here.
    written = Annotated["Condition", Field()]

    def parts(self, value: Condition) -> list[tuple[Condition, Path]]:
        """The one."""
        return [(value, (self.name,))]

    def meaning(self, value: Condition, of_part: Callable[[Condition], Any]) -> Any:
        """What the part means."""
        return of_part(value)

    def says(self, value: Condition, of_part: Callable[[Condition], str]) -> str:
        """The part, after the word."""
        return f"{self.name} {of_part(value)}"

    def bind(self, value: Condition, title: str, builder: Builder) -> Opposite:
        """Asks the part."""
        return Opposite(builder.guard(value), title, self.name)

    def example(self, pick: Pick) -> Condition:
        """One."""
        return pick.conditions(1)[0]
