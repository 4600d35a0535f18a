"""Where a run is cut and resumed, drawn by hypothesis."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st


class Cut(NamedTuple):
    """An interruption: the run dies after `step` observations, and resumes from a save that is `lost` older."""

    step: int
    lost: int


@st.composite
def interruptions(draw: st.DrawFn, steps: int, *, max_cuts: int = 5, max_lost: int = 5) -> list[Cut]:
    """Where a run of so many steps is cut and resumed, in order of steps."""
    places = draw(st.sets(st.integers(0, steps), max_size=max_cuts))
    return [Cut(place, draw(st.integers(0, min(place, max_lost)))) for place in sorted(places)]
