"""A knob's value as a program, a checkpoint or a test gives it."""

from __future__ import annotations

from reprlib import repr as brief

from plateau_rule.controller.arguments import python_number
from plateau_rule.controller.language.curriculum import FULL
from plateau_rule.controller.language.knob_faults import spell
from plateau_rule.controller.language.knob_values import Rung, value_of
from plateau_rule.controller.machine import Machine


def value_given(machine: Machine, name: str, given: object) -> Rung:
    """The value that a curriculum's knob can have; numbers as Python's.

    Raises:
        ValueError: it is of another kind, or no name, list or table of this curriculum; in words.
    """
    known = machine.ranks.get(name)
    if known is not None:
        value: Rung = value_of(given)
        if not any(value == one for one in known):  # what is given need not have a hash
            raise ValueError(f"{name} is {brief(given)}; expected one of {', '.join(map(spell, known))}")
        return value
    number = python_number(given)
    if given != FULL and (number is None or number != number):
        raise ValueError(f'{name} is {brief(given)}; expected a number or "{FULL}"')
    return FULL if number is None else number
