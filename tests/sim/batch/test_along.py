"""Each detector along time gives the verdicts of the controller's own after any count of values, of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from plateau_rule.controller.guards.detector import Detector
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.sim.batch.along import along
from plateau_rule.sim.batch.along.halves import AlongHalves
from plateau_rule.sim.batch.history import Floats
from tests.sim.batch.test_detectors import DETECTORS, SPELLED, STREAMS, constant

MADE = {name: make for name, make in DETECTORS.items() if along(make()) is not None}


def alone(make: Callable[[], Detector], values: list[float]) -> tuple[list[int], list[Any]]:
    """What the controller's own says, and remembers, after each count of values."""
    detector = make()
    said, held = [SPELLED[detector.verdict()]], [detector.contents()]
    for value in values:
        detector.push(value)
        said.append(SPELLED[detector.verdict()])
        held.append(detector.contents())
    return said, held


def test_the_common_ones_have_a_twin() -> None:
    """The rule as published and those that know noise are worked out along time."""
    assert {"halves", "trend", "returns"} <= MADE.keys()


def test_what_is_asked_out_of_order() -> None:
    """Looks at ends of epochs and at every step of the same losses get the same answers, whichever come first."""
    values = STREAMS[0](np.random.default_rng(3))[:, 0]
    for name, make in MADE.items():
        said, _ = alone(make, values.tolist())
        twin = along(make())
        assert twin is not None
        twin.see(values)
        for counts in (np.arange(0, len(values) + 1, 100), np.arange(len(values) + 1), np.array([7, 7, 300])):
            assert twin.verdicts(counts).tolist() == [said[count] for count in counts], name


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)
@pytest.mark.parametrize("name", MADE)
def test_verdicts_along_time_are_the_controllers(name: str, stream: Callable[[np.random.Generator], Floats]) -> None:
    """After every count and after a few of them, asked in pieces while the values grow, verdicts and contents agree."""
    rng = np.random.default_rng(len(name))
    for values in stream(rng).T[:4]:
        said, held = alone(MADE[name], values.tolist())
        dense, sparse = along(MADE[name]()), along(MADE[name]())
        assert dense is not None
        assert sparse is not None
        start = 0
        while start <= len(values):
            stop = min(len(values) + 1, start + int(rng.integers(1, 400)))
            dense.see(values[: stop - 1])
            assert dense.verdicts(np.arange(start, stop)).tolist() == said[start:stop]
            start = stop
        sparse.see(values)
        counts = np.sort(rng.integers(0, len(values) + 1, 12))
        assert sparse.verdicts(counts).tolist() == [said[count] for count in counts]
        for count in rng.integers(0, len(values) + 1, 3).tolist():
            detector = MADE[name]()
            sparse.fill(detector, count)
            assert (detector.contents(), SPELLED[detector.verdict()]) == (held[count], said[count])


def test_a_sum_that_is_trusted_too_far_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: without the bound on rounding, losses on the threshold are told wrongly."""
    values = constant(np.random.default_rng(0))[:, 1] * np.resize([1.0, 1.0 - 2**-52], 900)
    said, _ = alone(lambda: Halves(10, 1e-17), values.tolist())
    one = AlongHalves(Halves(10, 1e-17))
    one.see(values)
    assert one.verdicts(np.arange(901)).tolist() == said
    monkeypatch.setattr(AlongHalves, "_bound", lambda *_: 0.0)
    assert one.verdicts(np.arange(901)).tolist() != said
