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
    """Where a run is cut and resumed, in order of steps.

    Args:
        draw: given by hypothesis.
        steps: the length of the run in optimizer steps.
        max_cuts: the largest number of cuts.
        max_lost: the most steps that a cut loses.
    """
    places = draw(st.sets(st.integers(0, steps), max_size=max_cuts))
    return [Cut(place, draw(st.integers(0, min(place, max_lost)))) for place in sorted(places)]
