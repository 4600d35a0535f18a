"""A curve in so many columns as a picture has."""

from __future__ import annotations

from math import inf, nan

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plateau_rule.sim.batch.history import Floats
from plateau_rule.sim.whatif.thin import thin

losses_drawn = arrays(
    np.float64, st.integers(0, 200), elements=st.one_of(st.floats(-100, 100), st.sampled_from((nan, inf, 1e300)))
)


@given(losses_drawn, st.integers(-5, 210), st.integers(-5, 210), st.integers(1, 50))
def test_columns_are_what_they_cover(losses: Floats, start: int, stop: int, width: int) -> None:
    """Lowest, highest, mean and missing losses of each column are those of its steps, and columns cover all of them."""
    found = thin(None, losses, start, stop, width)
    here = losses[max(0, start) : max(0, stop)]
    assert len(found.first) == min(width, len(here))
    assert found.missing.sum() == np.isnan(here).sum()
    edges = [*found.first.tolist(), max(0, start) + len(here)]
    for place, first in enumerate(edges[:-1]):
        part = losses[first : edges[place + 1]]
        given = part[~np.isnan(part)]
        with np.errstate(over="ignore", invalid="ignore"):
            expected = [given.min(), given.max(), given.mean()] if len(given) else [nan] * 3
            expected = [float(np.float32(one)) for one in expected]
        assert [found.low[place], found.high[place]] == expected[:2] or not len(given)
        assert np.isnan(found.low[place]) == (not len(given))
        if np.isfinite(expected[2]):
            np.testing.assert_allclose(found.mean[place], expected[2], rtol=1e-5, atol=1e-4)


def test_points_that_are_not_on_every_step() -> None:
    """Where the log has gaps, columns hold as many points each, and say on which step they begin."""
    steps, losses = np.array([0, 10, 20, 30]), np.array([4.0, 3.0, 2.0, 1.0])
    found = thin(steps, losses, 10, 40, 2)
    assert found.first.tolist() == [10, 20]
    assert (found.low.tolist(), found.high.tolist()) == ([3.0, 1.0], [3.0, 2.0])
