"""How near each transition is to being taken: its guards' readings, and what of it can be counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from plateau_rule.controller.guards import Reading
from plateau_rule.controller.guards.kleene import Verdict, join

_WHEN = {"step": "at every step", "epoch": "when an epoch closes", "eval": "at an evaluation"}


class Way(NamedTuple):
    """One transition out of a state, as it stands at a look.

    Attributes:
        transition: its name, or its number in the file.
        source: the state that it leaves, by name.
        to: the state that it enters, by name.
        at: which looks ask it: `step`, `epoch` or `eval`.
        sustain: how many looks in a row its guards must hold.
        sustained: for how many they have held.
        at_most: how often it may be taken in the run; None where that is not said.
        taken: how often it was.
        parts: the readings of its guards.
    """

    transition: str
    source: str
    to: str
    at: str
    sustain: int
    sustained: int
    at_most: int | None
    taken: int
    parts: tuple[Reading, ...]

    @property
    def verdict(self) -> Verdict:
        """What its guards say together."""
        return join(False, [part.verdict for part in self.parts])

    def lines(self) -> list[str]:
        """A line for the transition, and those of its guards, as `explain` gives them."""
        often = f", {self.sustained} of {self.sustain} looks in a row" if self.sustain > 1 else ""
        left = "" if self.at_most is None else f", taken {self.taken} of {self.at_most} times"
        head = f"{self.transition}: {self.source} -> {self.to}, asked {_WHEN[self.at]}{often}{left}"
        return [head, *(line for part in self.parts for line in part.lines("  "))]

    def as_dict(self) -> dict[str, Any]:
        """As data for JSON."""
        return {**self._asdict(), "verdict": self.verdict, "parts": [part.as_dict() for part in self.parts]}


def as_saved(way: Way) -> list[Any]:
    """A way as JSON-able data, for a snapshot."""
    return [*way[:-1], [_reading_as_saved(part) for part in way.parts]]


def from_saved(saved: Any) -> Way:
    """The way that was saved; raises ValueError or TypeError where it is none."""
    *rest, parts = saved
    return Way._make((*rest, tuple(map(_reading_from_saved, parts))))


def _reading_as_saved(reading: Reading) -> dict[str, Any]:
    said = {**reading._asdict(), "holds": list(reading.holds), "parts": list(map(_reading_as_saved, reading.parts))}
    return {key: value for key, value in said.items() if value != Reading._field_defaults[key]}


def _reading_from_saved(saved: Mapping[str, Any]) -> Reading:
    bounds = {"holds": tuple(saved["holds"])} if "holds" in saved else {}
    return Reading(**{**saved, **bounds, "parts": tuple(map(_reading_from_saved, saved.get("parts", ())))})
