"""The rate: its shapes, restarts, phases that go on, cycles, warm-up."""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule import Controller
from plateau_rule.controller.rate import (
    LARGEST_SCALE,
    SHAPES,
    RateClock,
    advance,
    amount_in_force,
    carry_over,
    learning_rate,
    multiplier,
    rescale,
    restart,
    start_clock,
)
from tests.controller.small import STATES, small, through

LINE: dict[str, Any] = {"peak": 1.0, "shape": "linear"}


shares = st.floats(0, 1)
decays = st.floats(0, 1, exclude_min=True)


def rates(controller: Controller, steps: int) -> list[float]:
    """The rate of so many steps."""
    found = []
    for _ in range(steps):
        found.append(controller.plan.lr)
        controller.observe(5.0)
    return found


def test_warm_up() -> None:
    """On the i-th step of a warm-up of w the rate is (i + 1) / (w + 1) of the peak; phase 0 comes after it."""
    controller = Controller(small(lr=LINE | {"warmup": "3 steps", "length": "10 steps"}))
    assert rates(controller, 6) == [0.25, 0.5, 0.75, 1.0, 0.9, 0.8]


def test_warm_up_only_where_it_is_asked_for() -> None:
    """After a restart there is a warm-up only with `rewarm`."""
    for rewarm, expected in ((False, [1.0, 0.9]), (True, [0.25, 0.5, 0.75, 1.0, 0.9])):
        lr = LINE | {"warmup": "3 steps", "length": "10 steps", "rewarm": rewarm}
        way = {"guards": [{"dwell": "20 steps"}], "actions": ["lr_restart"], "at_most": 1}
        controller = Controller(small(way, lr=lr))
        assert rates(controller, 25)[20 : 20 + len(expected)] == expected


def test_restart_during_warm_up() -> None:
    """A restart during the warm-up ends it: the rate is at the peak; a transition without one leaves it alone."""
    lr = LINE | {"warmup": "9 steps", "length": "10 steps"}
    way: dict[str, Any] = {"guards": [{"dwell": "3 steps"}], "at_most": 1}
    assert rates(Controller(small(way, lr=lr)), 5) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert rates(Controller(small(way | {"actions": ["lr_restart"]}, lr=lr)), 5) == pytest.approx(
        [0.1, 0.2, 0.3, 1.0, 0.9]
    )


def test_rest() -> None:
    """`rest` is what is left of the run from the last restart on, and what is taken where no length is given."""
    way = {"guards": [{"dwell": "20 steps"}], "actions": ["lr_restart"], "at_most": 1}
    for lr in (LINE, LINE | {"length": "rest"}):
        found = rates(Controller(small(way, lr=lr)), 100)
        assert found[:20] == [1.0 - i / 100 for i in range(20)]
        assert found[20:] == [1.0 - i / 80 for i in range(80)]


def test_phase_goes_on_over_the_length_of_the_state() -> None:
    """Without a restart the phase goes on, over the new state's length, floor, shape and peak."""
    states = [STATES[0], STATES[1] | {"lr": {"length": "40 steps", "floor": 0.5, "peak": 2.0}}, STATES[2]]
    controller = Controller(small({"guards": [{"dwell": "10 steps"}]}, state=states, lr=LINE | {"length": "20 steps"}))
    found = rates(controller, 30)
    assert found[:10] == [1.0 - i / 20 for i in range(10)]
    assert found[10:20] == [2.0 * (0.5 + 0.5 * (1.0 - i / 40)) for i in range(10, 20)]
    assert found[20:] == [0.0] * 10


def test_cycles() -> None:
    """Each cycle starts at the peak when those before it are over; after the last one the rate stays at its floor."""
    controller = Controller(small(lr=LINE | {"cycles": ["2 steps", "4 steps"], "floor": 0.5}))
    assert rates(controller, 9) == [1.0, 0.75, 1.0, 0.875, 0.75, 0.625, 0.5, 0.5, 0.5]


def test_first_cycle_begins_after_the_warm_up() -> None:
    """A warm-up comes before the first cycle, and none before the others."""
    controller = Controller(small(lr=LINE | {"cycles": ["2 steps", "2 steps"], "warmup": "1 step"}))
    assert rates(controller, 6) == [0.5, 1.0, 0.5, 1.0, 0.5, 0.0]


def test_restart_moves_the_later_cycles() -> None:
    """A restart starts the current cycle over; those after it move by as much."""
    way = {"guards": [{"dwell": "3 steps"}], "actions": ["lr_restart"], "at_most": 1}
    controller = Controller(small(way, lr=LINE | {"cycles": ["2 steps", "4 steps", "rest"]}))
    assert rates(controller, 8) == [1.0, 0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 1.0]


def test_restart_on_the_border_of_two_cycles() -> None:
    """A restart on the step on which a cycle begins is that cycle's beginning, and not the one's that is just over."""
    way = {"guards": [{"dwell": "2 steps"}], "actions": ["lr_restart"], "at_most": 1}
    controller = Controller(small(way, lr=LINE | {"cycles": ["2 steps", "4 steps"]}))
    assert rates(controller, 7) == [1.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]


def test_cycles_go_on_after_a_state_with_a_length_of_its_own() -> None:
    """A state with its own length suspends the cycles; the next state goes on in them, past those that are over."""
    states = [STATES[0], STATES[1] | {"lr": {"length": "10 steps"}}, STATES[2]]
    lr = LINE | {"cycles": ["2 steps", "4 steps", "8 steps"]}
    controller = Controller(small({"guards": [{"dwell": "4 steps"}]}, state=states, lr=lr))
    found = rates(controller, 16)
    assert found[:4] == [1.0, 0.5, 1.0, 0.75]
    assert found[4:8] == [0.8, 0.7, 0.6, 0.5]  # since the cycle that began on step 2
    assert found[8:14] == [0.75, 0.625, 0.5, 0.375, 0.25, 0.125]  # in the third cycle, which began on step 6
    assert found[14:] == [0.0, 0.0]


def test_restart_in_a_state_with_a_length_of_its_own_keeps_the_cycle() -> None:
    """After a restart under a state's own length, the cycle that had been the current one begins there."""
    states = [STATES[0], STATES[1] | {"lr": {"length": "10 steps"}}, STATES[2]]
    lr = LINE | {"cycles": ["2 steps", "4 steps", "8 steps"]}
    way = {"guards": [{"dwell": "4 steps"}]}
    controller = Controller(
        small(way | {"to": "mid", "from": "low", "actions": ["lr_restart"]}, way, state=states, lr=lr)
    )
    found = rates(controller, 10)
    assert found[4:8] == [1.0, 0.9, 0.8, 0.7]
    assert found[8:10] == [1.0, 0.875]


def test_a_long_gap_passes_several_cycles() -> None:
    """A clock that is asked late is past every cycle that is over by then."""
    controller = Controller(small(lr=LINE | {"cycles": ["2 steps", "3 steps", "4 steps", "50 steps"]}))
    machine, state = controller.machine, controller.machine.states[0]
    clock = advance(start_clock(machine), machine, state, 20)
    assert clock == RateClock(9, 0, 3, 50, 1.0)


def test_same_words_keep_the_length() -> None:
    """A length that is written alike is the same one, though it would be measured otherwise now."""
    controller = Controller(small(lr=LINE | {"length": "0.5 run"}))
    machine, state = controller.machine, controller.machine.states[0]
    clock = start_clock(machine)
    longer = Controller(machine.curriculum, epochs=100).machine
    assert carry_over(clock, longer, state, "0.5 run") == clock
    assert carry_over(clock, longer, state, "0.6 run") == replace(clock, length_steps=500)
    assert str(amount_in_force(clock, state)) == "0.5 run"


def test_rescale_and_restart() -> None:
    """A scale is kept by restarts, and does not grow out of all numbers."""
    controller = Controller(small())
    machine, state = controller.machine, controller.machine.states[0]
    clock = restart(rescale(start_clock(machine), 0.5), machine, state, 7)
    assert clock == RateClock(7, 0, 0, 100, 0.5)
    assert learning_rate(clock, machine, state, 7) == 0.5
    assert rescale(replace(clock, scale=1e99), 1e15).scale == LARGEST_SCALE


def test_constant_rate_needs_no_length() -> None:
    """A constant rate may be bound without knowing how long the run is."""
    controller = Controller(small({"actions": ["lr_restart"]}, run={}, lr={"peak": 0.5, "shape": "constant"}))
    assert rates(controller, 10) == [0.5] * 10
    assert through(controller, [5.0]) == []


def test_order_of_multiplication() -> None:
    """The rate is peak * scale * state.peak * multiplier, multiplied in this order."""
    states = [STATES[0], STATES[1] | {"lr": {"peak": 0.7}}]
    controller = Controller(
        small({"actions": [{"lr_scale": 0.3}]}, state=states, lr={"peak": 0.1, "length": "100 steps"})
    )
    found = rates(controller, 5)
    other = Controller(small(lr={"peak": 1.0, "length": "100 steps"}))
    multipliers = rates(other, 5)
    assert found[0] == 0.1 * 1.0 * 1.0 * multipliers[0]
    assert found[1:] == [0.1 * 0.3 * 0.7 * multiplier for multiplier in multipliers[1:]]


# Shapes


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
