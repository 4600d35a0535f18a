"""Limits to bind drawn curricula to."""

from __future__ import annotations

from hypothesis import strategies as st

from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.knob_values import hardness
from plateau_rule.controller.language.ladders import ranks_of


@st.composite
def limits(draw: st.DrawFn, curriculum: Curriculum) -> dict[str, float | None]:
    """Limits of a trainer that this curriculum can be bound to; low ones clamp its ladders."""
    found: dict[str, float | None] = {}
    spelled = ranks_of(curriculum)
    for name, knob in curriculum.knob.items():
        if name in spelled:
            found[name] = None
            continue
        easiest = min(knob.ladder, key=hardness) if knob.ladder else knob.range.min if knob.range else 1
        least = 1 if easiest == "full" else int(easiest + 0.5)
        found[name] = draw(st.one_of(st.just(1025), st.integers(least, least + 16)))
    return found
