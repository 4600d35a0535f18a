"""Shapes of the learning rate: bounded, falling, exact at both ends."""

from __future__ import annotations

from math import cos, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.controller.rates import SHAPES, multiplier

shares = st.floats(0, 1)
decays = st.floats(0, 1, exclude_min=True)


@pytest.mark.parametrize("shape", sorted(SHAPES))
@given(floor=shares, decay=decays, length=st.integers(1, 10**6))
def test_ends_are_exact(shape: str, floor: float, decay: float, length: int) -> None:
    """On the step of a restart the multiplier is 1 to the bit; from the end of the length on it is the floor."""
    assert multiplier(shape, floor, decay, 0, length) == 1.0
    assert multiplier(shape, floor, decay, -3, length) == 1.0
    end = 1.0 if shape == "constant" else floor
    assert multiplier(shape, floor, decay, length, length) == end
    assert multiplier(shape, floor, decay, length + 7, length) == end


@pytest.mark.parametrize("shape", sorted(SHAPES))
@given(floor=shares, decay=decays, length=st.integers(1, 10**6), data=st.data())
def test_never_rises_and_never_leaves_its_bounds(
    shape: str, floor: float, decay: float, length: int, data: st.DataObject
) -> None:
    """Between two steps of a length the multiplier does not rise, and it lies between the floor and 1."""
    earlier = data.draw(st.integers(0, length))
    later = data.draw(st.integers(earlier, length))
    high, low = (multiplier(shape, floor, decay, step, length) for step in (earlier, later))
    assert 1.0 >= high >= low >= floor


def test_the_rate_is_never_above_its_peak() -> None:
    """Where 1 - decay is rounded down, a decay that has just begun is still at the peak and not an ulp above it."""
    assert 1.0 - 0.3 == 0.7
    assert (1.0 - 0.7) / 0.3 > 1.0
    assert multiplier("wsd", 0.0, 0.3, 7, 10) == 1.0


def test_shapes() -> None:
    """The shapes are the published ones: half a cosine, a line, nothing, and a line at the end."""
    steps = range(11)
    assert [multiplier("cosine", 0.1, 0.2, i, 10) for i in steps[:10]] == [
        0.1 + 0.9 * (0.5 * (1.0 + cos(pi * (i / 10)))) for i in steps[:10]
    ]
    assert [multiplier("linear", 0.0, 0.2, i, 10) for i in steps] == [1.0 - i / 10 for i in steps]
    assert [multiplier("constant", 0.5, 0.2, i, 10) for i in steps] == [1.0] * 11
    wsd = [multiplier("wsd", 0.0, 0.2, i, 10) for i in steps]
    assert wsd == pytest.approx([1.0] * 9 + [0.5, 0.0])


def test_length_of_nothing_is_at_its_peak_and_then_at_its_floor() -> None:
    """A rest of no steps, at the very end of a run, is at the peak on its first step and at the floor after it."""
    assert [multiplier("linear", 0.1, 0.2, i, 0) for i in (0, 1)] == [1.0, 0.1]
