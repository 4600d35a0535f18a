"""Student quantiles by their closed form."""

from __future__ import annotations

import pytest
from scipy import stats

from plateau_rule.controller.guards.plateau.student import quantile, within

CONFIDENCES = (0.51, 0.6, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9999, 0.99999, 0.999999)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_quantiles_are_scipys(confidence: float) -> None:
    """For 1 to 40, 101 and 1000 degrees of freedom quantiles are scipy's, within 1e-9 of themselves."""
    for freedom in (*range(1, 41), 101, 1000):
        assert quantile(confidence, freedom) == pytest.approx(stats.t.ppf(confidence, freedom), rel=1e-9)


def test_probabilities_are_scipys() -> None:
    """The probability of lying within t is scipy's, within 1e-13."""
    for freedom in (1, 2, 3, 4, 13, 14, 15, 30):
        for t in (0.0, 0.01, 0.5, 1.0, 2.6, 10.0, 1e6):
            assert within(t, freedom) == pytest.approx(1.0 - 2.0 * stats.t.sf(t, freedom), abs=1e-13)


def test_known_quantiles() -> None:
    """Two quantiles have simple forms: tan(pi / 4) = 1 for one degree of freedom, 1 / sqrt(6) * 2 for two."""
    assert quantile(0.75, 1) == pytest.approx(1.0, rel=1e-14)
    assert quantile(0.75, 2) == pytest.approx(0.816496580927726, rel=1e-14)


def test_extreme_confidences_end() -> None:
    """The largest confidence that a float can hold still gives a finite quantile, and the smallest a tiny one."""
    assert 20.0 < quantile(1.0 - 2.0**-53, 14) < 100.0
    assert 0.0 < quantile(1.0 - 2.0**-53, 1000) < 1e151
    assert 0.0 < quantile(0.5 + 2.0**-53, 14) < 1e-15


@pytest.mark.parametrize(("confidence", "freedom"), [(0.5, 14), (1.0, 14), (float("nan"), 14), (0.99, 0)])
def test_what_has_no_quantile(confidence: float, freedom: int) -> None:
    """A confidence outside 0.5 to 1, or no degree of freedom, is refused with both numbers."""
    with pytest.raises(ValueError, match=r"expected 0\.5 < confidence < 1, freedom >= 1"):
        quantile(confidence, freedom)
