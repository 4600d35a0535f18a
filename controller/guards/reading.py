"""What a guard says when it is asked, as numbers and as words: what `explain` prints and a page draws.

A detector gives a Reading of what it has seen, and its line for people is the text of that Reading. So words and
picture cannot say different things.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, NamedTuple

from plateau_rule.controller.guards.kleene import Verdict, spelled

CLOCK, DETECTOR = "clock", "detector"
Bounds = tuple[float | None, float | None]
OPEN: Bounds = (None, None)


class Reading(NamedTuple):
    """What one guard says at a look; a number that is unknown or infinite is None.

    Attributes:
        title: its word, after its name where it has one.
        kind: `clock` or `detector`; of a guard that is made of others, its word.
        verdict: true, false, or None for unknown.
        value: what is compared.
        low: the least that the value may be, where it has an error; else None.
        high: the most that it may be.
        holds: between which bounds the guard holds; None where there is no bound. Where there is an error, all from
            `low` to `high` has to lie between them.
        unit: what `value`, `low`, `high` and `holds` count, for people; the metric's name where it is that.
        seen: while too little is known for a verdict, how much of what is needed has come; of a clock, always.
        needs: how much is needed.
        says: a detector's own word, such as flat or improving; empty where it has none.
        text: the same for people, in one line without title and verdict; empty where it is made of others.
        parts: the readings of the guards that it is made of.
    """

    title: str = ""
    kind: str = DETECTOR
    verdict: Verdict = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    holds: Bounds = OPEN
    unit: str = ""
    seen: int = 0
    needs: int = 0
    says: str = ""
    text: str = ""
    parts: tuple[Reading, ...] = ()

    def lines(self, indent: str = "") -> list[str]:
        """One readable line, and one for each part."""
        if self.text:
            return [f"{indent}{self.title}: {self.text} -> {spelled(self.verdict)}"]
        inner = [line for part in self.parts for line in part.lines(indent + "  ")]
        return [f"{indent}{self.title} -> {spelled(self.verdict)}", *inner]

    def as_dict(self) -> dict[str, Any]:
        """As data for JSON."""
        return {**self._asdict(), "holds": list(self.holds), "parts": [part.as_dict() for part in self.parts]}


def measured(
    value: float | None, low: float | None, high: float | None, holds: Bounds, unit: str, seen: int, needs: int,
    says: str, text: str,
) -> Reading:  # fmt: skip
    """What a detector says; whoever asks it adds the title and the verdict."""
    # A named tuple made as the tuple that it is: a call with the fields takes three times as long.
    return tuple.__new__(Reading, ("", DETECTOR, None, value, low, high, holds, unit, seen, needs, says, text, ()))


def finite(value: float) -> float | None:
    """A number that JSON has, or None."""
    return value if isfinite(value) else None
