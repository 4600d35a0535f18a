"""Whether knobs, the values that states give them, and their ramps fit together."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from fractions import Fraction
from itertools import pairwise
from typing import Any

from plateau_rule.controller.errors import Fault, Key
from plateau_rule.controller.language.curriculum import FULL, Curriculum, Knob, Number, State
from plateau_rule.controller.language.faults import empty_faults, rest_faults, twin_faults, unknown
from plateau_rule.controller.language.knob_values import (
    NAME,
    NUMBER,
    PLURALS,
    NumberList,
    NumberTable,
    Rung,
    hardness,
    kind_of_value,
)
from plateau_rule.controller.language.ladders import harder

Path = tuple[Key, ...]


def knob_faults(curriculum: Curriculum) -> Iterator[Fault]:
    """What is wrong with the knobs as they are declared."""
    yield from twin_faults([(name, ("knob", name)) for name in curriculum.knob], "the knob", at_key=True)
    for name, knob in curriculum.knob.items():
        path: Path = ("knob", name)
        if (knob.ladder is None) == (knob.range is None) and (knob.order != "none" or knob.ladder is not None):
            found = "neither a ladder nor a range" if knob.ladder is None else "both a ladder and a range"
            yield Fault("knob-values", path, found, "one of the two", at_key=True)
        yield from _ladder_faults(knob, path)
        if knob.range is not None:
            yield from _range_faults(knob, (*path, "range"))


def _ladder_faults(knob: Knob, path: Path) -> Iterator[Fault]:
    ladder = knob.ladder or []
    here = (*path, "ladder")
    unlike = [fault for i, value in enumerate(ladder) for fault in _unlike(knob, value, ladder[0], (*here, i))]
    if unlike:
        yield from unlike
    elif ladder and kind_of_value(ladder[0]) != NUMBER:
        yield from _spelled_faults(knob, ladder, path)
    elif knob.order != "up" and FULL in (*ladder, knob.range.max if knob.range else 0):
        found = f'"full" in a knob whose order is "{knob.order}"'
        yield Fault("full-without-up", path, found, "numbers alone", at_key=True)
    else:
        yield from _order_faults(knob, ladder, here)


def _spelled_faults(knob: Knob, ladder: list[Rung], path: Path) -> Iterator[Fault]:
    """A ladder of values that are no numbers: their order is that of the list."""
    kind = PLURALS[kind_of_value(ladder[0])]
    if knob.order == "down":
        yield Fault("key-without-effect", (*path, "order"), f'order = "down" beside a ladder of {kind}',
                    "the ladder alone, the easiest first")  # fmt: skip
    if kind == PLURALS[NAME]:
        yield from twin_faults([(str(name), (*path, "ladder", i)) for i, name in enumerate(ladder)], "the value")
        return
    for i, value in enumerate(ladder):
        if value in ladder[:i]:
            yield Fault("ladder-order", (*path, "ladder", i), f"{spell(value)} a second time", "each value once")


def _order_faults(knob: Knob, ladder: list[Rung], path: Path) -> Iterator[Fault]:
    for i, (before, value) in enumerate(pairwise(ladder), 1):
        if knob.order == "none" and value in ladder[:i]:
            yield Fault("ladder-order", (*path, i), f"{spell(value)} a second time", "each value once")
        elif knob.order != "none" and harder(knob, value) <= harder(knob, before):
            how = "grow" if knob.order == "up" else "fall"
            falls = all(hardness(value) < hardness(before) for before, value in pairwise(ladder))
            hint = 'Write order = "down" if smaller is harder.' if knob.order == "up" and falls else ""
            yield Fault("ladder-order", (*path, i), f"{spell(value)} after {spell(before)}",
                        f"values that {how}, each once, the easiest first", hint)  # fmt: skip


def _range_faults(knob: Knob, path: Path) -> Iterator[Fault]:
    assert knob.range is not None  # asked by the caller
    low, high, step = knob.range.min, knob.range.max, knob.range.multiple_of
    if hardness(high) < low:
        yield Fault("range-order", (*path, "max"), f"max {spell(high)} below min {low}", f"{low} or more")
    if step is not None and step <= 0:
        yield Fault("range-multiple", (*path, "multiple_of"), f"found {step}", "a number above 0")
    elif step is not None and not _is_multiple(low, step):
        yield Fault("range-multiple", (*path, "min"), f"min {low}", f"a multiple of {step}")


def _is_multiple(value: Number, step: Number) -> bool:
    """Whether a number is a multiple of another as they are written: 0.3 is one of 0.1."""
    return (Fraction(str(value)) / Fraction(str(step))).denominator == 1


# Values of one kind


def _unlike(knob: Knob, value: Rung, first: Rung, path: Path) -> Iterator[Fault]:
    """What sets a value apart from the first one of its knob: another kind, another length, other keys."""
    kind, asked = kind_of_value(value), kind_of_value(first)
    if asked == NUMBER and kind == NAME:
        full = knob.order == "up"
        yield Fault("unknown-word", path, f'found "{value}"', 'a number or "full"' if full else "a number",
                    word=str(value) if full else "", words=(FULL,))  # fmt: skip
    elif asked == NAME and value == FULL:
        hint = "full is the largest value that a trainer can give, a number: choose another name."
        yield Fault("mixed-values", path, '"full" among names', "names alone", hint)
    elif kind != asked:
        found = "a number" if kind == NUMBER else f'the name "{value}"' if kind == NAME else f"a {kind}"
        yield Fault("mixed-values", path, f"{found} among {PLURALS[asked]}", "values of one kind")
    elif isinstance(value, NumberList) and isinstance(first, NumberList) and len(value) != len(first):
        few = f"a list of {len(value)}"
        yield Fault("mixed-values", path, few, f"{len(first)} numbers, as in the first list")
    elif isinstance(value, NumberTable) and isinstance(first, NumberTable):
        yield from _unlike_keys(list(value), list(first), path)


def _unlike_keys(keys: list[str], first: list[str], path: Path) -> Iterator[Fault]:
    strange = [key for key in keys if key not in first]
    for key in strange:
        yield unknown("mixed-values", (*path, key), "key", key, first, at_key=True,
                      hint="All tables of a knob have the same keys.")  # fmt: skip
    for key in first:
        if key not in keys and not get_close_matches(key, strange, n=1):
            found = f'a table without "{key}"'
            yield Fault("mixed-values", path, found, f"the keys {', '.join(first)}, as in the first")


# In a state


def value_faults(curriculum: Curriculum, index: int) -> Iterator[Fault]:
    """What is wrong with the values that a state gives its knobs."""
    state, path = curriculum.state[index], ("state", index, "set")
    for name, value in state.set.items():
        if name not in curriculum.knob:
            yield unknown("unknown-knob", (*path, name), "knob", name, curriculum.knob, at_key=True)
        else:
            yield from _value_faults(curriculum, name, value, (*path, name))
    misspelt = [name for name in state.set if name not in curriculum.knob]
    for name in curriculum.knob:
        if name not in state.set and not get_close_matches(name, misspelt, n=1):
            yield Fault("knob-not-set", path, f'the knob "{name}" is not set',
                        "a value for every knob in every state", at_key=True)  # fmt: skip
    for name in state.ramp:
        yield from _ramp_faults(curriculum, index, state, name)


def _value_faults(curriculum: Curriculum, name: str, value: Rung, path: Path) -> Iterator[Fault]:
    knob = curriculum.knob[name]
    if unlike := list(_unlike(knob, value, _first(curriculum, name), path)):
        yield from unlike
    elif kind_of_value(value) == NAME and knob.ladder is None:
        yield Fault("knob-values", path, f'{name} = "{value}", and no ladder lists its names',
                    f'[knob.{name}] ladder = ["{value}", …], so that a misspelt name is noticed')  # fmt: skip
    elif not _is_uneven(knob) and (problem := misfit(knob, value)):
        names = tuple(map(str, knob.ladder or ())) if kind_of_value(value) == NAME else ()
        yield Fault("off-ladder", path, f"{name} = {spell(value)}", problem,
                    word=str(value) if get_close_matches(str(value), names) else "", words=names)  # fmt: skip


def _is_uneven(knob: Knob) -> bool:
    """Whether the ladder itself is at fault."""
    ladder = knob.ladder or []
    return any(True for value in ladder for _ in _unlike(knob, value, ladder[0], ()))


def _first(curriculum: Curriculum, name: str) -> Any:
    """A value that says what kind a knob's values are."""
    knob = curriculum.knob[name]
    if knob.ladder or knob.range:
        return knob.ladder[0] if knob.ladder else 0
    return next(state.set[name] for state in curriculum.state if name in state.set)


def misfit(knob: Knob, value: Rung) -> str:
    """Say what a knob's value should be, or nothing if it is one of them."""
    if knob.ladder is not None:
        return "" if value in knob.ladder else f"one of {', '.join(map(spell, knob.ladder))}"
    if knob.range is None:
        return "a number" if knob.order == "none" and value == FULL else ""
    low, high, step = knob.range.min, knob.range.max, knob.range.multiple_of
    if hardness(high) < low:
        return ""  # the range itself is at fault
    if not low <= hardness(value) <= hardness(high):
        return f"{low} to {spell(high)}"
    if step is not None and step > 0 and value not in (FULL, high) and not _is_multiple(value, step):  # type: ignore[arg-type]  # a range has numbers
        return f"a multiple of {step}, or {spell(high)}"
    return ""


def _ramp_faults(curriculum: Curriculum, index: int, state: State, name: str) -> Iterator[Fault]:
    ramp, here = state.ramp[name], ("state", index, "ramp", name)
    if name not in curriculum.knob:
        yield unknown("unknown-knob", here, "knob", name, curriculum.knob, at_key=True)
        return
    knob, kind = curriculum.knob[name], _kind(curriculum, name)
    if kind != NUMBER:
        yield Fault("ramp-without-numbers", here, f"a ramp of {name}, whose values are {PLURALS[kind]}",
                    "a knob of numbers", "Write a state for each value, and transitions between them.",
                    at_key=True)  # fmt: skip
    elif unlike := list(_unlike(knob, ramp.to, 0, (*here, "to"))):
        yield from unlike
    elif problem := misfit(knob, ramp.to):
        yield Fault("off-ladder", (*here, "to"), f"{name} = {spell(ramp.to)}", problem)
    elif kind_of_value(state.set.get(name, 0)) == NUMBER and _falls(knob, state.set.get(name, ramp.to), ramp.to):
        start, down = spell(state.set[name]), knob.order == "down"
        found = f"a ramp from {start} {'up' if down else 'down'} to {spell(ramp.to)}"
        yield Fault("falling-ramp", (*here, "to"), found, "a ramp that falls" if down else "a ramp that rises")
    yield from rest_faults(ramp.over, (*here, "over"))
    yield from empty_faults(ramp.over, (*here, "over"), "a ramp that lasts")


def _kind(curriculum: Curriculum, name: str) -> str:
    knob = curriculum.knob[name]
    given = bool(knob.ladder or knob.range) or any(name in state.set for state in curriculum.state)
    return kind_of_value(_first(curriculum, name)) if given else NUMBER


def _falls(knob: Knob, start: Any, end: Any) -> bool:
    return harder(knob, end) < harder(knob, start)


def spell(value: Rung) -> str:
    """A value as the file spells it."""
    return f'"{value}"' if isinstance(value, str) else str(value)
