"""Knobs that fall: what a ramp has reached by then, and the trail on which it shows."""

from __future__ import annotations

from typing import Any

import pytest

from plateau_rule.controller.binding import bind
from plateau_rule.controller.machine import Machine, Warmup
from plateau_rule.controller.verifier.monotone import _fallen, _ramped
from plateau_rule.controller.verifier.shares import Shares
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.zone_graph import Kind, Reach
from tests.controller.small import STATES, small

LOW = {"below": {"value": 1.0}}
RISING: list[dict[str, Any]] = [
    {"name": "first", "set": {"size": 10}},
    {"name": "ramp", "set": {"size": 10}, "ramp": {"size": {"to": 30, "over": "20 steps"}}},
    {"name": "last", "set": {"size": 20}},
]


def ramped(guards: list[Any], **tables: Any) -> Machine:
    """Five steps in the first state, then a ramp from 10 to 30 over 20 steps, then a state with 20."""
    ways: list[dict[str, Any]] = [
        {"from": "first", "guards": [{"dwell": "5 steps"}]},
        {"from": "ramp", "guards": guards},
    ]
    return bind(small(*ways, state=RISING, knob={"size": {"range": {"min": 0, "max": 40}}}, **tables))


def test_what_a_ramp_has_reached() -> None:
    """On the last step of a stay the ramp has gone on for one step less than the stay, and at most to its end."""
    machine = ramped([LOW])
    assert [_ramped(machine, machine.states[1], spent)["size"] for spent in (1, 2, 11, 20, 21, 90)] == [
        10, 11, 20, 29, 30, 30,
    ]  # fmt: skip
    assert _ramped(machine, machine.states[0], 90) == {"size": 10}


@pytest.mark.parametrize(
    ("guards", "sentence", "shows", "step"),
    [
        ([{"dwell": "13 steps"}], "size falls from 22, which its ramp can have reached, to 20", "from 22 to 20", 18),
        ([LOW], "size falls from 30, which its ramp can have reached, to 20", "from 21 to 20", 17),
    ],
)
def test_a_fall_from_a_ramp(guards: list[Any], sentence: str, shows: str, step: int) -> None:
    """A knob falls from where the ramp was when the state was left, counted from when it was entered."""
    (finding,) = [found for found in verify(ramped(guards)).findings if found.code == "knob-falls"]
    assert finding.sentence == f'{sentence} between "ramp" and "last", and the transition is not marked'
    example = finding.counterexample
    assert example is not None
    assert example.happened
    assert (example.shows, example.step) == (f"size falls {shows}", step)


@pytest.mark.parametrize("dwell", [10, 11])
def test_no_fall_from_a_ramp(dwell: int) -> None:
    """Who leaves before the ramp is higher than the next state falls from nowhere: 19 or 20 to 20."""
    machine = ramped([{"dwell": f"{dwell} steps"}])
    assert [found.code for found in verify(machine).findings if found.property == "monotone"] == []
    reach = Reach(machine)
    edge = next(edge for edge in reach.edges() if reach.state(edge.source).name == "ramp")
    assert list(_fallen(machine, reach, edge, "size")) == []


def test_several_knobs_rise_at_once() -> None:
    """A raise into a low rate names every knob that it raises, and what each rises from and to."""
    states = [
        {"name": "low", "set": {"cutoff": 1, "width": 3}},
        {"name": "high", "set": {"cutoff": 2, "width": 4}},
    ]
    machine = bind(
        small(
            {"guards": [{"min_step": 60}]},
            state=states,
            knob={"cutoff": {"ladder": [1, 2]}, "width": {"ladder": [3, 4]}},
        )
    )
    (finding,) = [found for found in verify(machine).findings if found.property == "aligned"]
    assert "cutoff rises from 1 to 2, width rises from 3 to 4" in finding.sentence


def test_a_share_is_one_of_the_own_peak() -> None:
    """A state with a lower peak of its own starts at all of it: shares do not tell one peak from another."""
    states = [STATES[0], STATES[1] | {"lr": {"peak": 0.25}}]
    machine = bind(small({"guards": [{"dwell": "5 steps"}], "actions": ["lr_restart"]}, state=states,
                         lr={"peak": 8.0, "shape": "linear", "length": "50 steps"}))  # fmt: skip
    rates = Shares(machine)
    assert [rates.share(Kind(1, (), 0, Warmup(), True), 5, step) for step in (5, 30, 55)] == [1.0, 0.5, 0.0]
