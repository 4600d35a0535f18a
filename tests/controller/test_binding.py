"""A curriculum and a trainer: what fits, what is clamped, what is merged, what is refused."""

from __future__ import annotations

import warnings
from math import inf, nan
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plateau_rule import BindingError, BindingWarning, Controller, load
from plateau_rule.controller.binding import bind
from plateau_rule.controller.language.amounts import parse_amount
from plateau_rule.controller.machine import Machine
from plateau_rule.controller.ramps import BoundRamp
from tests.controller.small import STATES, small, through

LADDER = {"cutoff": {"ladder": [1, 2, 4, 8, "full"]}}
FULL = {"name": "full", "set": {"cutoff": "full"}}


def ways(machine: Machine) -> dict[str, list[tuple[int, str]]]:
    """For every state the transitions out of it: their numbers, and the states that they enter."""
    return {state.name: [(way.index, way.target) for way in state.transitions] for state in machine.states}


# What is refused

OF_THE_RUN = "needs the length of the run: epochs and steps_per_epoch"
IN_EPOCHS = "an amount in epochs needs steps_per_epoch here"


@pytest.mark.parametrize(
    ("binding", "sentence"),
    [
        ({"epochs": 0}, "epochs: 0; expected a whole number of at least 1"),
        ({"steps_per_epoch": -5}, "steps_per_epoch: -5; expected a whole number of at least 1"),
        ({"steps_per_epoch": "10"}, "steps_per_epoch: '10'; expected a whole number of at least 1"),
        ({"tokens_per_step": 2.5}, "tokens_per_step: 2.5; expected a whole number of at least 1"),
        ({"tokens_per_step": True}, "tokens_per_step: True; expected a whole number of at least 1"),
        ({"peak": 0.0}, "peak: 0.0; expected a number above 0"),
        ({"peak": nan}, "peak: nan; expected a number above 0"),
        ({"peak": inf}, "peak: inf; expected a number above 0"),
        ({"peak": "high"}, "peak: 'high'; expected a number above 0"),
        ({"limits": {}}, 'knob.cutoff: this trainer cannot turn the knob "cutoff"; expected one of its knobs: none'),
        (
            {"limits": {"cut_off": 9, "b": 2}},
            'knob.cutoff: this trainer cannot turn the knob "cutoff"; expected one of its knobs: b (at most 2), '
            'cut_off (at most 9). Did you mean "cut_off"?',
        ),
        ({"limits": {"cutoff": 0}}, "limits.cutoff: 0; expected a number above 0"),
        ({"limits": {"cutoff": nan}}, "limits.cutoff: nan; expected a number above 0"),
        ({"limits": {"cutoff": True}}, "limits.cutoff: True; expected a number above 0"),
        ({"limits": {"cutoff": "9"}}, "limits.cutoff: '9'; expected a number above 0"),
        ({"limits": {"cutoff": 0.5}}, "knob.cutoff: the easiest value 1 lies above this trainer's limit 0.5"),
    ],
)
def test_what_does_not_fit(binding: dict[str, Any], sentence: str) -> None:
    """Numbers that are none, knobs that the trainer lacks and limits that leave nothing are refused by name."""
    with pytest.raises(BindingError) as error:
        Controller(small({"guards": [{"dwell": "3 tokens"}]}), **{"tokens_per_step": 1} | binding)
    assert str(error.value).rpartition(" [")[0] == sentence


@pytest.mark.parametrize(
    ("tables", "place"),
    [
        ({"lr": {"peak": 1.0}}, f'lr: "rest" {OF_THE_RUN}'),
        ({"lr": {"peak": 1.0, "length": "3 epochs"}}, f"lr.length: {IN_EPOCHS}"),
        ({"lr": {"peak": 1.0, "length": "5 steps", "warmup": "1 epoch"}}, f"lr.warmup: {IN_EPOCHS}"),
        ({"lr": {"peak": 1.0, "cycles": ["5 steps", "0.5 run"]}}, f'lr.cycles 2: "0.5 run" {OF_THE_RUN}'),
        ({"state": [STATES[0] | {"lr": {"length": "rest"}}]}, f'[[state]] 1, lr.length: "rest" {OF_THE_RUN}'),
        ({"state": [STATES[0] | {"lr": {"shape": "linear"}}]}, f'lr: "rest" {OF_THE_RUN}'),
        (
            {"state": [STATES[0] | {"ramp": {"cutoff": {"to": 2, "over": "1 epoch"}}}]},
            f"[[state]] 1, ramp.cutoff.over: {IN_EPOCHS}",
        ),
        ({"guard": {"g": {"any": [{"dwell": "0.1 run"}]}}}, f'guard.g.any 1, dwell: "0.1 run" {OF_THE_RUN}'),
        ({"guard": {"g": {"dwell": "0.5 epochs"}}}, f"guard.g.dwell: {IN_EPOCHS}"),
        (
            {"guard": {"g": {"gap": {"over": "5 tokens", "value": 1.0}}}},
            "guard.g.gap.over: an amount in tokens needs tokens_per_step",
        ),
        ({"guard": {"g": {"plateau": {"per": "1 epoch"}}}}, f"guard.g.plateau.per: {IN_EPOCHS}"),
    ],
)
def test_amounts_that_cannot_be_resolved(tables: dict[str, Any], place: str) -> None:
    """An amount of time that this run cannot resolve is refused before the first step, with its place."""
    curriculum = small(**{"run": {}, "lr": {"peak": 1.0, "shape": "constant"}} | tables)
    with pytest.raises(BindingError) as error:
        Controller(curriculum)
    expected = "steps_per_epoch, epochs or tokens_per_step, in [run] or when binding"
    assert str(error.value) == f"{place}; expected {expected} [unresolved-amount]"
    Controller(curriculum, epochs=5, steps_per_epoch=10, tokens_per_step=5)


def test_amount_in_a_transition_is_placed() -> None:
    """An amount inside a transition's guards is named by the transition."""
    with pytest.raises(BindingError, match=r"\[\[transition\]\] 1, guards 1, dwell"):
        Controller(small({"guards": [{"dwell": "5 tokens"}]}))


def test_whole_epochs_of_dwell_are_counted() -> None:
    """Without steps_per_epoch, a dwell of whole epochs counts closings, and needs nothing to be resolved."""
    curriculum = small({"guards": [{"dwell": "2 epochs"}]}, run={}, lr={"peak": 1.0, "shape": "constant"})
    assert Controller(curriculum).explain()[1] == "  dwell: 0 epochs closed in this state, 2 needed -> false"


def test_binding_replaces_what_the_file_says() -> None:
    """epochs, steps_per_epoch, tokens_per_step and the peak given on binding replace the file's."""
    controller = Controller(small(), epochs=3, steps_per_epoch=7, tokens_per_step=2, peak=0.25)
    assert (controller.total_steps, controller.plan.lr) == (21, 0.25)
    assert controller.machine.run.tokens_per_step == 2


# Limits


def test_full_is_the_limit() -> None:
    """`full` is the trainer's limit, and stays a word where there is no trainer."""
    for limits, value in (({"cutoff": 1025}, 1025), (None, "full")):
        controller = Controller(small(state=[FULL], knob=LADDER), limits)
        assert controller.plan.knobs == {"cutoff": value}


def test_knobs_that_no_state_sets_do_not_matter() -> None:
    """A trainer may have more knobs than a curriculum turns."""
    assert Controller(small(), {"cutoff": 9, "depth": 3}).plan.knobs == {"cutoff": 1}


def test_states_that_clamping_makes_equal_are_merged() -> None:
    """States beyond the limit become one, the first of them, with a warning that names them; none `raises` nothing."""
    states = [*STATES, FULL]
    with pytest.warns(BindingWarning) as caught:
        controller = Controller(small({"actions": ["lr_restart"]}, state=states, knob=LADDER), {"cutoff": 4})
    assert [str(one.message) for one in caught] == [
        'state "top" equals "high" within the limits cutoff 4: merged',
        'state "full" equals "high" within the limits cutoff 4: merged',
    ]
    assert controller.machine.notes == tuple(str(one.message) for one in caught)
    assert [d.to_state for d in through(controller, [5.0] * 9)] == ["mid", "high"]


@pytest.mark.source
def test_a_warning_points_at_the_caller() -> None:
    """A warning about merged states names the line that bound the curriculum."""
    with pytest.warns(BindingWarning) as caught:
        Controller(small(state=[*STATES, FULL], knob=LADDER), {"cutoff": 4})
    assert [one.filename for one in caught] == [__file__, __file__]


def test_states_that_were_written_equal_stay() -> None:
    """Two states with the same knobs are two states, with a limit or without."""
    states = [STATES[0], STATES[0] | {"name": "again"}, FULL]
    controller = Controller(small({}, state=states, knob=LADDER), {"cutoff": 4})
    assert [d.to_state for d in through(controller, [5.0] * 9)] == ["again", "full"]


def test_ways_into_and_out_of_a_merged_state() -> None:
    """Transitions to a merged state enter the one it became, those out of it leave that one, none in a circle."""
    states = [*STATES, FULL]
    transitions: list[dict[str, Any]] = [
        {"from": "low", "to": "full"},
        {"from": "top", "to": "full"},
        {"from": "full", "to": "low"},
        {"from": ["top", "high"], "to": "next"},
        {"from": "full", "to": "full"},
        {"from": "high", "to": "high"},
        {"from": "*", "to": "top"},
    ]
    with pytest.warns(BindingWarning):
        machine = bind(small(*transitions, state=states, knob=LADDER), {"cutoff": 4})
    assert ways(machine) == {
        "low": [(0, "high"), (6, "high")],
        "mid": [(6, "high")],
        "high": [(2, "low"), (4, "high"), (5, "high")],
    }


def test_ramps_tell_states_apart() -> None:
    """A state with a ramp to the limit is not the state that stands there."""
    growing = STATES[2] | {"ramp": {"cutoff": {"to": "full", "over": "5 steps"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        machine = bind(small(state=[STATES[0], growing, FULL], knob=LADDER), {"cutoff": 8})
    assert [state.name for state in machine.states] == ["low", "high", "full"]


def test_ways_of_every_kind_of_from() -> None:
    """`*`, a list and a name, to a name or to the next state, lead where they say, in the order of the file."""
    machine = bind(small({}, {"to": "high"}, {"from": ["low", "high"], "to": "next"}, {"from": "top", "to": "top"}))
    assert ways(machine) == {
        "low": [(0, "mid"), (1, "high"), (2, "mid")],
        "mid": [(0, "high"), (1, "high")],
        "high": [(0, "top"), (2, "top")],
        "top": [(1, "high"), (3, "top")],
    }


def test_equal_guards_share_a_detector() -> None:
    """Two transitions that ask for the same thing, however it is spelled or named, ask one detector."""
    guard = {"flat": {"plateau": {"window": 6, "per": "20 steps"}}}
    first = {"guards": ["flat", {"below": {"value": 3}}]}
    second = {"guards": [{"plateau": {"per": "2e1 steps", "window": 6}}, {"above": {"value": 3.0}}]}
    controller = Controller(small(first, second, guard=guard))
    assert len(controller.run_state.stay.detectors) == 3
    through(controller, [5.0] * 4)
    assert [line for line in controller.explain() if "plateau" in line] == [
        "  flat (plateau): 4 of 6 losses -> unknown",
        "  plateau: 4 of 6 losses -> unknown",
    ]


# Ramps


def bound_ramp(start: float, end: float, **kind: Any) -> BoundRamp:
    """A ramp from one value to another; `over` does not matter here."""
    given = {"shape": "linear", "multiple_of": None, "rungs": None} | kind
    return BoundRamp(start, end, parse_amount("1 step"), given["shape"], given["multiple_of"], given["rungs"])


def test_ramp_shapes() -> None:
    """A linear ramp grows evenly, a root one so that its square does; both end exactly at their end."""
    assert [bound_ramp(0, 8).value(time, 4) for time in range(6)] == [0, 2, 4, 6, 8, 8]
    root = [bound_ramp(1, 7, shape="root").value(time, 4) for time in range(5)]
    assert root == [1, 13**0.5, 5, 37**0.5, 7]
    assert [bound_ramp(-4, 4, shape="root").value(time, 8) for time in range(0, 9, 2)] == [-4, -(8**0.5), 0, 8**0.5, 4]


def test_ramp_is_rounded_down() -> None:
    """Between its ends a ramp stands on a rung, or on a multiple, never above the line and never below its start."""
    assert [bound_ramp(2, 8, rungs=(1, 2, 4, 8)).value(time, 6) for time in range(7)] == [2, 2, 4, 4, 4, 4, 8]
    assert [bound_ramp(3, 20, multiple_of=4).value(time, 4) for time in range(5)] == [3, 4, 8, 12, 20]


def test_ramp_within_a_limit() -> None:
    """A ramp ends at the trainer's limit, which then is a rung like any other."""
    states = [STATES[0] | {"ramp": {"cutoff": {"to": "full", "over": "6 steps"}}}]
    controller = Controller(small(state=states, knob=LADDER), {"cutoff": 7})
    found = []
    for _ in range(8):
        found.append(controller.plan.knobs["cutoff"])
        controller.observe(5.0)
    assert found == [1, 2, 2, 4, 4, 4, 7, 7]


def test_ramp_to_full_without_a_limit() -> None:
    """Where no limit says what `full` is, a ramp to it stands at its start until it is over."""
    for start in (4.0, inf):
        first = "full" if start == inf else 4
        for kind in ({}, {"shape": "root"}, {"multiple_of": 2}, {"rungs": (1, 2, 4, inf)}):
            values = [bound_ramp(start, inf, **kind).value(time, 3) for time in range(5)]
            assert values == [first, first, first, "full", "full"]


@given(
    start=st.integers(-100, 100),
    rise=st.integers(0, 1000),
    shape=st.sampled_from(("linear", "root")),
    multiple_of=st.sampled_from((None, 1.0, 8.0, 0.3)),
    over=st.integers(1, 200),
)
@example(start=-4, rise=6, shape="root", multiple_of=None, over=4)
def test_ramp_never_falls(start: int, rise: int, shape: str, multiple_of: float | None, over: int) -> None:
    """From step to step no ramp falls, and it stays between its ends."""
    ramp = bound_ramp(start, start + rise, shape=shape, multiple_of=multiple_of)
    values = [float(ramp.value(time, over)) for time in range(over + 2)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (start, start + rise)


# Size


def test_binding_the_largest_file() -> None:
    """256 states and 1024 transitions, each out of every state, are bound, with all of their 261,120 ways."""
    letters = "abcdefghjkmnpqrt"
    states = [{"name": f"s{letters[i // 16]}{letters[i % 16]}", "set": {"cutoff": i + 1}} for i in range(256)]
    transitions: list[dict[str, Any]] = [{"guards": [{"min_step": i}]} for i in range(1024)]
    machine = bind(small(*transitions, state=states, knob={"cutoff": {"range": {"min": 1, "max": 256}}}))
    assert sum(len(state.transitions) for state in machine.states) == 255 * 1024


def test_shipped_curricula_fit_their_own_runs() -> None:
    """Every shipped curriculum binds to its own [run], with any limit that leaves its ladder."""
    curriculum = load("plateau")
    machine = bind(curriculum, {"cutoff": 1025})
    assert [dict(state.knobs) for state in machine.states] == [{"cutoff": c} for c in (128, 256, 512, 1025)]
    assert machine.run.total_steps == 50_000
