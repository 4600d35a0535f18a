"""Where a knob's values stand: how hard each is beside the others, and its place where values are no numbers."""

from __future__ import annotations

from collections.abc import Mapping

from plateau_rule.controller.frozen import FrozenDict
from plateau_rule.controller.language.curriculum import Curriculum, Knob
from plateau_rule.controller.language.knob_values import NUMBER, Rung, hardness, kind_of_value
from plateau_rule.controller.language.values import FULL

SIGNS = {"up": 1.0, "down": -1.0, "none": 0.0}  # of larger values of a knob, by its order


def harder(knob: Knob, value: Rung) -> float:
    """How hard a knob's value is, among its values; all are as hard where it has no order."""
    if kind_of_value(value) != NUMBER:
        return float(knob.ladder.index(value)) if knob.order == "up" and knob.ladder and value in knob.ladder else 0.0
    return SIGNS[knob.order] * hardness(value) if value != FULL else hardness(value)


def ranks_of(curriculum: Curriculum) -> Mapping[str, Mapping[Rung, int]]:
    """For each knob whose values are no numbers, their places on the ladder; without one, in the order of the file."""
    found = {}
    for name, knob in curriculum.knob.items():
        if knob.range:  # numbers; a state for each of them has no value of its own in the file
            continue
        values = knob.ladder or dict.fromkeys(state.set[name] for state in curriculum.state)
        if any(kind_of_value(value) != NUMBER for value in values):
            found[name] = FrozenDict({value: place for place, value in enumerate(values)})
    return FrozenDict(found)


def number_of(ranks: Mapping[str, Mapping[Rung, int]], name: str, value: Rung) -> float:
    """A knob's value as a number, given what `ranks_of` gives."""
    places = ranks.get(name)
    return hardness(value) if places is None else float(places[value])
