"""The truths that detectors are measured by in benchmarks/detectors.py."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from benchmarks._rules import THRESHOLD, After, LossGap, OfMeans, first_raise
from benchmarks.detectors import CURVES, LIVE, Cell, improvement, share_of_last_half
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.sim.curves import NoiseModel


@pytest.mark.parametrize("curve", CURVES)
def test_the_rate_is_the_published_statistic(curve: str) -> None:
    """The truth about rates is the published statistic on the noiseless curve; each curve passes both thresholds."""
    clean, detector = CURVES[curve](np.arange(4000.0)), Halves(50, THRESHOLD)
    found = improvement(clean)
    for step, loss in enumerate(clean.tolist()):
        detector.push(loss)
        exact = detector.improvement()
        assert found[step] == (inf if exact is None else pytest.approx(exact, abs=1e-12))
    assert found[LIVE] > 2.0 * THRESHOLD
    assert (found[2500:] < THRESHOLD).all()


def test_the_share_of_the_last_half() -> None:
    """A straight fall has brought half of itself in the last half of the time; after it has stopped, ever less."""
    clean = np.concatenate([np.linspace(2.0, 1.0, 1001), np.ones(2000)])
    found = share_of_last_half(clean)
    assert found[999] == pytest.approx(0.5, abs=0.01)
    assert found[1499] == pytest.approx(0.25, abs=0.01)
    assert found[2200] == 0.0


def test_the_first_raise_that_counts() -> None:
    """Raises before the first step that counts are passed over; a rule of means fires where a mean is complete."""
    flat = [1.0] * 1000
    assert first_raise(Halves(50, 0.005), flat, 0) == 49
    assert first_raise(Halves(50, 0.005), flat, 100) == 100
    assert first_raise(After(Halves(50, 0.005), 200), flat) == 199
    assert first_raise(OfMeans(LossGap(1.0)), flat) == 199
    assert first_raise(Halves(50, 0.005), [0.99**i for i in range(300)]) is None


def test_a_cell_has_its_own_losses() -> None:
    """The same cell always draws the same losses, and cells that differ in anything draw others."""
    clean = CURVES["kink at 1000"](np.arange(200.0))
    cell = Cell("kink at 1000", NoiseModel(0.03), False, 1.0)
    others = [cell._replace(curve="power 0.5"), cell._replace(noise=NoiseModel(0.01)), cell._replace(spiked=True)]
    assert cell.losses(clean, 2) == cell.losses(clean, 2)
    assert all(other.losses(clean, 2) != cell.losses(clean, 2) for other in others)
