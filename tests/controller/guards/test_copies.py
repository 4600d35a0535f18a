"""Detectors, guards and stays copy themselves: a copy goes on alike, and neither touches the other."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from plateau_rule import Controller, bind
from plateau_rule.controller.guards import WORDS, Clock, Detector, leaves
from plateau_rule.controller.guards.diverging import Diverging, Growing
from plateau_rule.controller.guards.gap import Apart
from plateau_rule.controller.guards.level import Beside, Level
from plateau_rule.controller.guards.patience import NoNewBest, Patience
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.controller.guards.plateau.returns import Returns
from plateau_rule.controller.guards.plateau.sure import Sure
from plateau_rule.controller.guards.plateau.trend import Trend
from plateau_rule.sim.strategies import loss_streams
from tests.controller.small import small

DETECTORS: dict[str, Callable[[], Detector]] = {
    "halves": lambda: Halves(7, 0.05),
    "trend": lambda: Trend(2e-3, 0.9, 80, 20),
    "sure": lambda: Sure(8e-3, 0.4),
    "returns": lambda: Returns(0.1),
    "patience": lambda: NoNewBest(Patience(steps=4, smooth=6, min_delta=0.125)),
    "below": lambda: Beside(Level(value=2.0, window=5), True),
    "diverging": lambda: Growing(Diverging(window=9, factor=1.25)),
    "gap": lambda: Apart(5, 0.0625),
    "gap of blocks": lambda: Apart(130, 0.01),
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": lambda detector: detector.copy(),
    "deepcopy": copy.deepcopy,
    "pickle": lambda detector: pickle.loads(pickle.dumps(detector)),  # noqa: S301  # our own bytes
}


def told(detector: Detector) -> tuple[Any, ...]:
    """All that can be seen of a detector."""
    return detector.contents(), detector.verdict(), detector.describe(), detector.distance()


@pytest.mark.parametrize("name", DETECTORS)
@given(before=loss_streams(min_size=0, max_size=400, nonfinite=False), after=loss_streams(max_size=60, nonfinite=False))
def test_a_copied_detector_goes_on_alike(name: str, before: list[float], after: list[float]) -> None:
    """After the same values, a copy says and holds what the original does, which the copies' values did not touch."""
    one = DETECTORS[name]()
    for value in before:
        one.push(value)
    copies, then = {way: make(one) for way, make in WAYS.items()}, told(one)
    for copied in copies.values():
        for value in after:
            copied.push(value)
    assert told(one) == then
    for value in after:
        one.push(value)
    assert {way: told(copied) for way, copied in copies.items()} == dict.fromkeys(WAYS, told(one))


def test_every_detector_is_copied_here() -> None:
    """The detectors tried above are all that the registry's words make."""
    made = {type(make()) for make in DETECTORS.values()}
    machine = bind(
        small(
            {"guards": [{"plateau": {"method": method}} for method in ("halves", "trend", "sure", "returns")]},
            {"guards": [{"patience": {"steps": 2}}, {"below": {"value": 1.0}}, {"above": {"value": 1.0}}]},
            {"guards": [{"diverging": {}}, {"gap": {"over": "2 steps", "value": 1.0}}]},
        )
    )
    stay = machine.stay(machine.states[0], None)
    assert {type(detector) for _, detector in stay.detectors.values()} == made
    watching = {name for name, word in WORDS.items() if hasattr(word, "detector")}
    assert watching == {"plateau", "patience", "below", "above", "diverging", "gap"}


@pytest.mark.parametrize("way", WAYS)
def test_a_copied_stay_has_detectors_of_its_own(way: str) -> None:
    """In a copy of a stay, the guards ask the copy's detectors, each shared as before, and none of the original's."""
    flat = {"plateau": {"window": 2, "threshold": 0.5}}
    controller = Controller(small({"guards": [{"any": [flat, {"not": flat}, {"nonfinite": 2}]}, flat]}))
    stay = controller.run_state.stay
    twin = WAYS[way](stay)
    ((_, own),), ((_, others),) = stay.detectors.values(), twin.detectors.values()
    asked = [leaf.detector for guard in twin.guards for leaf in leaves(guard) if hasattr(leaf, "detector")]
    assert len(asked) == 3
    assert all(detector is others for detector in asked)
    for push in twin.pushes:
        push(1.0)
        push(1.0)
    assert (own.verdict(), others.verdict()) == (None, True)
    assert [guard.verdict(Clock()) for guard in twin.guards] == [True]
    assert [guard.verdict(Clock()) for guard in stay.guards] == [None]
