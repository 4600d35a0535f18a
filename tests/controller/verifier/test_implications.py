"""What one detector's verdict says about another one's holds at every look of every series of values."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.controller.binding import bind
from plateau_rule.controller.verifier.implications import together
from plateau_rule.controller.verifier.verify import verify
from tests.controller.small import small

SPECS: list[dict[str, Any]] = [
    *({"below": {"value": value, "window": window}} for value, window in product((1.0, 2.0), (1, 2))),
    *({"above": {"value": value, "window": window}} for value, window in product((1.0, 2.0, 3.0), (1, 2))),
    *({"plateau": {"window": window, "threshold": bound}} for window, bound in product((2, 3), (0.1, 0.5))),
    *({"patience": {"steps": steps, "min_delta": least, "smooth": smooth}}
      for steps, least, smooth in product((1, 3), (0.0, 0.5, 1.5), (1, 2))),
    *({"diverging": {"window": window, "factor": factor}} for window, factor in product((2, 3), (1.25, 2.0))),
    *({"gap": {"over": f"{over} steps", "value": value}} for over, value in product((1, 2), (0.0, 1.0))),
]  # fmt: skip
VALUES = st.lists(st.sampled_from((-2.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.5, 1e308)), max_size=12)


@given(st.sampled_from(SPECS), st.sampled_from(SPECS), VALUES)
def test_pairs(one: dict[str, Any], other: dict[str, Any], values: list[float]) -> None:
    """The pair of verdicts after each value is one of those that are called possible."""
    machine = bind(small({"guards": [one, other]}))
    detectors = [detector for _, detector in machine.stay(machine.states[0], 100).detectors.values()]
    if len(detectors) < 2:
        return
    pairs = together(*detectors)
    for value in [None, *values]:
        if value is not None:
            for detector in detectors:
                detector.push(value)
        assert pairs is None or (detectors[0].verdict(), detectors[1].verdict()) in pairs


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"plateau": {"method": "trend", "threshold": 0.01}}, {"plateau": {"method": "trend", "threshold": 0.02}}),
        ({"plateau": {"method": "returns", "share": 0.1}}, {"plateau": {"method": "returns", "share": 0.2}}),
    ],
)
def test_detectors_that_may_be_undecided(one: dict[str, Any], other: dict[str, Any]) -> None:
    """A smaller threshold is met only where a larger one is; nothing is said of what is not known."""
    machine = bind(small({"guards": [one, other]}, run={"epochs": 50, "steps_per_epoch": 100}))
    first, second = (detector for _, detector in machine.stay(machine.states[0], 5000).detectors.values())
    pairs, back = together(first, second), together(second, first)
    assert pairs is not None
    assert back is not None
    assert (True, False) not in pairs
    assert (False, True) not in back
    assert (None, True) in pairs


IMPLIED = [
    ({"patience": {"steps": 3}}, {"patience": {"steps": 10}}),
    ({"patience": {"steps": 3, "min_delta": 0.5}}, {"patience": {"steps": 5, "min_delta": 0.5}}),
    ({"below": {"value": 2.0}}, {"below": {"value": 1.0}}),
    ({"above": {"value": 1.0}}, {"above": {"value": 2.0}}),
    ({"plateau": {"window": 4, "threshold": 0.1}}, {"plateau": {"window": 4, "threshold": 0.01}}),
]


@pytest.mark.parametrize(("first", "second"), IMPLIED, ids=range(len(IMPLIED)))
def test_a_detector_that_is_implied_is_shadowed(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Early stopping before a reduction with more patience: of two guards on one metric of which the second implies the
    first, the transition that stands second is never taken; the other way round both are."""  # fmt: skip
    stop = {"name": "stop-early", "from": "low", "to": "top", "guards": [first]}
    reduce = {"name": "reduce", "from": "low", "to": "mid", "guards": [second]}
    findings = verify(bind(small(stop, reduce, run={"epochs": 20, "steps_per_epoch": 10}))).findings
    assert [f.sentence for f in findings if f.code == "shadowed"] == [
        "reduce is never taken: whenever it could be, stop-early is, which stands before it"
    ]
    turned = verify(bind(small(reduce, stop, run={"epochs": 20, "steps_per_epoch": 10}))).findings
    assert "shadowed" not in [finding.code for finding in turned]
