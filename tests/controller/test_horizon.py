"""Stretches of steps at once: the same decisions and the same state that the steps bring one by one."""

from __future__ import annotations

import json
from math import nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule import Controller, Decision, NonFiniteLoss
from plateau_rule.controller.horizon import FastForward
from plateau_rule.sim.strategies import curricula
from tests.controller.small import small

pytestmark = pytest.mark.filterwarnings("ignore::plateau_rule.BindingWarning")
FLAT = {"plateau": {"window": 4, "threshold": 0.1}}
levels = st.integers(1, 40).map(lambda eighths: eighths / 8)
# What a log has of one step after the other: a loss, or nothing, for several steps on end.
logs = st.lists(st.tuples(st.none() | levels, st.integers(1, 12)), min_size=1, max_size=25)


def forward_of(controller: Controller) -> FastForward:
    """What takes a controller's run over stretches of steps."""
    return FastForward(controller.machine, controller.run_state)


def observed(controller: Controller, value: float, metrics: dict[str, Any]) -> Decision | None:
    """A step with a loss, and an evaluation if there was one."""
    return controller.observe(value, eval_end=bool(metrics), **metrics)


def one_by_one(controller: Controller, values: list[float | None], evals: dict[int, float]) -> list[Decision]:
    """Every step is taken by itself; one without a loss is observed where something looks."""
    forward, found = forward_of(controller), list[Decision | None]()
    for value in values:
        if controller.plan.stop is not None:
            break
        metrics = {"val_loss": evals[controller.run_state.step]} if controller.run_state.step in evals else {}
        if value is not None:
            found.append(observed(controller, value, metrics))
        elif metrics or forward.next_look() == controller.run_state.step:
            found.append(forward.observe_nothing(metrics))
        else:
            forward.pass_over(1)
    return [decision for decision in found if decision is not None]


def at_once(controller: Controller, values: list[float | None], evals: dict[int, float]) -> list[Decision]:
    """Losses that close no epoch are observed together, and steps without one are passed over where nothing looks."""
    forward, run, found = forward_of(controller), controller.run_state, list[Decision]()
    per_epoch = controller.machine.run.steps_per_epoch
    while run.step < len(values) and controller.plan.stop is None:
        start = stop = run.step
        alike = values[start] is None

        def ordinary(step: int, alike: bool = alike) -> bool:
            closes = per_epoch is not None and (step + 1) % per_epoch == 0
            return (values[step] is None) == alike and step not in evals and (alike or not closes)

        end = min(len(values), controller.total_steps or len(values))
        while stop < end and ordinary(stop):
            stop += 1
        stop = min(stop, forward.next_look()) if alike else stop
        decision: Decision | None
        if stop == start:
            metrics = {"val_loss": evals[start]} if start in evals else {}
            value = values[start]
            decision = forward.observe_nothing(metrics) if value is None else observed(controller, value, metrics)
        elif alike:
            forward.pass_over(stop - start)
            decision = None
        else:
            losses = [value for value in values[start:stop] if value is not None]
            count, decision = forward.observe_all(losses)
            assert run.step == start + count
        if decision is not None:
            found.append(decision)
    return found


@given(
    curriculum=curricula(max_steps=150),
    log=logs,
    evals=st.dictionaries(st.integers(0, 120), levels, max_size=6),
    lead=st.sampled_from((0, 0, 1, 4, 20)),
)
@settings(max_examples=120)
def test_stretches_decide_as_steps_do(curriculum: Any, log: list[Any], evals: dict[int, float], lead: int) -> None:
    """Whatever a log has and lacks, decisions, plan and all that a snapshot holds are those of the single steps."""
    values = [value for value, times in log for _ in range(times)]
    slow, quick = Controller(curriculum, lead=lead), Controller(curriculum, lead=lead)
    assert at_once(quick, values, evals) == one_by_one(slow, values, evals)
    assert quick.plan == slow.plan
    assert json.dumps(quick.state_dict()) == json.dumps(slow.state_dict())


def test_a_transition_inside_a_stretch() -> None:
    """A stretch ends with the loss that brought a transition; what comes after it was not observed."""
    controller = Controller(small({"guards": [FLAT]}))
    count, decision = forward_of(controller).observe_all([9.0, 8.0, 7.0, 6.0, 6.0, 6.0, 6.0, 5.0])
    assert count == 6
    assert decision is not None
    assert (decision.step, decision.to_state, decision.loss, controller.run_state.step) == (6, "mid", 6.0, 6)


def test_a_count_of_the_whole_run_is_not_waited_for_anew() -> None:
    """Patience that counts since the run's best fires in a new state before that state has brought what it needs."""
    tired = {"guards": [{"patience": {"steps": 3, "since": "run"}}]}
    decided: dict[str, list[int]] = {}
    for name, observe in (("steps", one_by_one), ("stretches", at_once)):
        controller = Controller(small(tired, run={"epochs": 1, "steps_per_epoch": 100}))
        decided[name] = [decision.step for decision in observe(controller, [4.0] * 20, {})]
    assert decided == {"steps": [4, 5, 6], "stretches": [4, 5, 6]}


def test_sustained_guards_are_looked_at_one_by_one() -> None:
    """Where a plateau has to last, a stretch is taken step by step, to the transition or to its end."""
    forward = forward_of(Controller(small({"guards": [FLAT], "sustain": 3})))
    assert forward.observe_all([1.0] * 5) == (5, None)
    count, decision = forward.observe_all([1.0] * 5)
    assert count == 1
    assert decision is not None
    assert decision.step == 6


def test_losses_that_are_withheld_for_a_while() -> None:
    """With a lag, the first losses of a stretch belong to the state before, as they do step by step."""
    controller = Controller(small({"guards": [FLAT]}), lag=2)
    # None is what a late log has for the first steps of a state; the annotation names what a log holds else.
    count, decision = forward_of(controller).observe_all([None, None, 9.0, 7.0, 7.0, 7.0, 7.0, 7.0])  # type: ignore[list-item]
    assert count == 7
    assert decision is not None


def test_nothing_between_two_that_are_not_finite() -> None:
    """A step without a loss ends no row of losses that are not finite, nor does it lengthen one."""
    controller = Controller(small(nonfinite={"limit": 3}))
    forward = forward_of(controller)
    controller.observe(nan)
    controller.observe(nan)
    assert forward.observe_nothing({}) is None
    assert (controller.run_state.nonfinite, controller.run_state.skipped_values, controller.run_state.step) == (2, 2, 3)
    with pytest.raises(NonFiniteLoss):
        controller.observe(nan)


def test_a_long_row_that_is_not_finite() -> None:
    """However long the row of losses that are not finite is, a step without a loss leaves it as it was."""
    controller = Controller(small(nonfinite={"limit": 9}))
    for _ in range(4):
        controller.observe(nan)
    forward_of(controller).observe_nothing({})
    assert (controller.run_state.nonfinite, controller.run_state.skipped_values, controller.run_state.step) == (4, 4, 5)
    controller.observe(1.0)
    forward_of(controller).observe_nothing({})
    assert (controller.run_state.nonfinite, controller.run_state.skipped_values, controller.run_state.step) == (0, 4, 7)


def test_nothing_is_seen_where_there_was_nothing() -> None:
    """A step without a loss gives no detector a value, and is an evaluation only where it brought a metric."""
    good = {"below": {"metric": "val_loss", "value": 3.0}}
    controller = Controller(
        small({"guards": [FLAT]}, {"from": "low", "to": "top", "at": "eval"}, {"at": "eval", "guards": [good]})
    )
    forward = forward_of(controller)
    for _ in range(9):
        assert forward.observe_nothing({}) is None
    decision = forward.observe_nothing({"val_loss": 5.0})
    assert decision is not None
    assert (decision.to_state, decision.step) == ("top", 10)
    controller = Controller(small({"at": "eval", "guards": [good]}))
    forward = forward_of(controller)
    assert forward.observe_nothing({"val_loss": 5.0}) is None
    assert forward.observe_nothing({"val_loss": 2.0}) is not None


@pytest.mark.parametrize(
    ("guards", "looks"),
    [
        ([{"min_step": 25}, FLAT], [0, 24]),
        ([{"min_epoch": 3}, FLAT], [0, 29]),
        ([{"any": [{"dwell": "12 steps"}, {"not": {"min_step": 31}}]}, FLAT], [0, 11, 30]),
        ([FLAT], [0]),
    ],
)
def test_next_look(guards: list[Any], looks: list[int]) -> None:
    """Steps without a loss are passed over up to a state's first, and those on which a clock of its guards is due."""
    controller = Controller(small({"guards": guards}))
    forward, found = forward_of(controller), []
    while (step := forward.next_look()) < 100:
        forward.pass_over(step - controller.run_state.step)
        found.append(step)
        forward.observe_nothing({})
    assert found == looks


def test_next_look_at_the_end_of_an_epoch() -> None:
    """Where a transition is looked at when an epoch closes, each epoch's last step is observed."""
    controller = Controller(small({"at": "epoch", "guards": [FLAT]}))
    forward = forward_of(controller)
    forward.observe_nothing({})
    assert forward.next_look() == 9
    forward.pass_over(9)
    forward.observe_nothing({})
    assert (forward.next_look(), controller.run_state.epoch) == (19, 1)


def test_epochs_of_unknown_length() -> None:
    """Where only the trainer knows when an epoch closes, no step can be told beforehand at which one is due."""
    controller = Controller(small({"guards": [{"min_epoch": 3}, FLAT]}, run={}))
    forward = forward_of(controller)
    forward.observe_nothing({})
    assert forward.next_look() > 1e9
    forward.pass_over(50)
    assert (controller.run_state.step, controller.run_state.epoch) == (51, 0)


def test_a_transition_that_was_taken_often_enough() -> None:
    """Guards that hold bring nothing where their transition was taken as often as it may be."""
    controller = Controller(small({"from": "low", "to": "low", "guards": [FLAT], "at_most": 1}))
    forward = forward_of(controller)
    assert forward.observe_all([5.0] * 20)[0] == 4
    assert forward.observe_all([5.0] * 20) == (20, None)
    assert (controller.run_state.step, controller.run_state.time) == (24, 20)


@pytest.mark.parametrize("into", [3, 10, 14])
def test_taken_up_in_the_middle_of_a_stay(into: int) -> None:
    """A window that is full when a run is taken up again counts as full: the next loss may end the stay."""
    runs = [Controller(small({"from": "low", "guards": [{"plateau": {"window": 12}}]})) for _ in range(2)]
    losses = [2.0 ** (16 - i) for i in range(16)] + [1.0] * 14
    decisions = []
    for number, controller in enumerate(runs):
        found = [controller.observe(loss) for loss in losses[:into]]
        if number:
            found += [controller.observe(loss) for loss in losses[into:]]
        else:
            rest = losses[into:]
            while rest:
                seen, decision = forward_of(controller).observe_all(rest[: 9 - controller.run_state.step % 10])
                rest = rest[seen:]
                found.append(decision)
                if rest:
                    found.append(controller.observe(rest.pop(0)))
        decisions.append([decision for decision in found if decision is not None])
    assert decisions[0] == decisions[1]
    assert decisions[0]
