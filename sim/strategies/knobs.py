"""Knobs with their values, drawn for curricula."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from plateau_rule.controller.language.knob_values import hardness
from plateau_rule.controller.language.ladders import SIGNS

_RUNGS = (1, 2, 3, 4, 6, 8, 12, 16)


@st.composite
def knob_tables(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any]]:
    """A [knob.NAME], and values that it may have, easiest first."""
    step = draw(st.sampled_from((None, None, 1, 0.5, 3)))
    values: list[Any] = [
        rung * (step or 1) for rung in sorted(draw(st.sets(st.sampled_from(_RUNGS), min_size=1, max_size=4)))
    ]
    if draw(st.integers(0, 5)) == 5:
        return draw(_spelled_knobs())
    order = draw(st.sampled_from(("up", "up", "up", "down", "none")))
    said = {} if order == "up" else {"order": order}
    if order == "up" and draw(st.booleans()):
        values.append("full")
    if order == "down":
        values.reverse()
    if step is None:
        return {"unit": "bins", "ladder": values} | said, values
    multiple = {"multiple_of": step} if draw(st.booleans()) else {}
    low, high = (values[-1], values[0]) if order == "down" else (values[0], values[-1])
    return {"range": {"min": low, "max": high} | multiple} | said, values


@st.composite
def _spelled_knobs(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any]]:
    """A knob whose values are names, lists or tables, with a ladder or without an order."""
    shares = draw(st.lists(st.sampled_from((0, 0.25, 0.5, 1)), min_size=1, max_size=4, unique=True))
    kind = draw(st.sampled_from(("names", "lists", "tables")))
    if kind == "names":
        values: list[Any] = [f"source-{place}" for place in range(len(shares))]
    else:
        values = [[share, 1.0] if kind == "lists" else {"web": share, "c4/en": 0.5} for share in shares]
    none = {"order": "none"} if draw(st.booleans()) else {}
    return ({"ladder": values} if kind == "names" or draw(st.booleans()) or not none else {}) | none, values


def is_spelled(values: list[Any]) -> bool:
    """Whether values are names, lists or tables."""
    return values[0] != "full" and not isinstance(values[0], int | float)


def can_be_followed(name: str, values: list[Any], states: list[dict[str, Any]]) -> bool:
    """Whether a rate may follow a knob: numbers above 0 that differ from state to state, without ramps."""
    if any(state.get("each") == name for state in states):
        return False
    given = [state["set"][name] for state in states]
    whole = (
        not is_spelled(values) and "full" not in given and not any(name in state.get("ramp", {}) for state in states)
    )
    return whole and min(given) > 0 and len(set(given)) > 1


def falls_on(knobs: dict[str, dict[str, Any]], old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a knob can fall between two states, ramps and rungs included."""
    left = old["set"] | ({old["each"]: knobs[old["each"]]["ladder"][-1]} if "each" in old else {})
    entered = new["set"] | ({new["each"]: knobs[new["each"]]["ladder"][0]} if "each" in new else {})
    ends = {knob: old.get("ramp", {}).get(knob, {"to": value})["to"] for knob, value in left.items()}
    return any(_hard(knobs[knob], entered[knob]) < _hard(knobs[knob], end) for knob, end in ends.items())


@st.composite
def stand_for_rungs(
    draw: st.DrawFn, states: list[dict[str, Any]], knobs: dict[str, tuple[dict[str, Any], list[Any]]], monotone: bool
) -> None:
    """Let a state stand for one on each rung of a knob, if there is a ladder for it.

    Args:
        draw: given by hypothesis.
        states: what they set; changed in place.
        knobs: their tables, and their values, easiest first.
        monotone: whether the states before and behind it may not make the knob fall.
    """
    fit = [name for name, (table, values) in knobs.items() if "ladder" in table and _can_be_climbed(values)]
    if not fit:
        return
    knob, place = draw(st.sampled_from(fit)), draw(st.integers(0, len(states) - 1))
    values = knobs[knob][1]
    for at, state in enumerate(states):
        if at == place:
            state["each"] = knob
            del state["set"][knob]
            for key in ("warmup", "warmup_from"):  # every rung would have to be entered by a restart
                state.get("lr", {}).pop(key, None)
        elif monotone:
            state["set"][knob] = values[0 if at < place else -1]
        if at == place or monotone:
            state.get("ramp", {}).pop(knob, None)


def _can_be_climbed(values: list[Any]) -> bool:
    """Whether there are several rungs, and each can stand in a name."""
    return len(values) > 1 and all(isinstance(value, str | int | float) for value in values)


def _hard(table: dict[str, Any], value: Any) -> float:
    sign = SIGNS[table.get("order", "up")]
    if not sign:
        return 0.0
    return float(table["ladder"].index(value)) if is_spelled([value]) else sign * hardness(value)
