"""A lead: transitions that change a knob are decided before they apply, and until then nothing comes between."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest

from plateau_rule import ArgumentError, Binding, BindingError, Controller, Decision, NonFiniteLoss, SnapshotError
from plateau_rule.controller.lead import lead_in
from tests.controller.small import STATES, resumed, small, through

LOW = {"below": {"value": 1.5}}
FLAT = {"plateau": {"window": 4, "threshold": 0.1}}


def steps(decisions: list[Decision]) -> list[tuple[int, str]]:
    """First steps of states, and the states."""
    return [(decision.step, decision.to_state) for decision in decisions]


def test_a_loss_decides_a_lead_before_it_applies() -> None:
    """Decided at step 2 under a lead of 3, it applies from step 6, with the loss and the guards of step 2."""
    controller = Controller(small({"guards": [LOW], "at_most": 1}), lead=3)
    assert through(controller, [2.0, 2.0, 1.0]) == []
    assert [controller.ahead(k).state for k in range(5)] == ["low", "low", "low", "mid", "mid"]
    waits = "transition 1: low -> mid, decided, applies from step 6; up to then nothing else is looked at"
    assert controller.explain()[0] == controller.explain(3)[0] == waits
    (decision,) = through(controller, [9.0, 9.0, 9.0])
    assert (decision.step, decision.loss, controller.plan.state) == (6, 1.0, "mid")
    assert decision.guards[1].endswith("loss 1, below 1.5 needed -> true")


def test_without_a_lead_nothing_is_different() -> None:
    """A lead of 0, and none, bind to the same machine; a snapshot says nothing of it."""
    file = small({"guards": [LOW]})
    bound = [Controller(file, lead=lead) for lead in (None, 0, {"cutoff": 0})]
    assert all(controller.machine == bound[0].machine for controller in bound)
    assert all("lead" not in controller.state_dict() for controller in bound)


@pytest.mark.parametrize("lead", [0, 1, 2, 5, 17, 90])
def test_clocks_apply_when_the_file_says(lead: int) -> None:
    """Where clocks alone decide, every decision and every plan is that of a run without a lead, for any lead."""
    ways: list[dict[str, Any]] = [
        {"from": "low", "guards": [{"dwell": "3 steps"}]},
        {"from": "mid", "to": "mid", "guards": [{"min_step": 5}], "at_most": 2, "actions": ["lr_restart"]},
        {"from": "mid", "guards": [{"min_epoch": 2}], "at": "epoch", "actions": ["lr_restart", "checkpoint"]},
        {"from": "high", "guards": [{"not": {"dwell": "1 steps"}}]},
        {"from": "high", "guards": [{"dwell": "2 steps"}], "sustain": 3},
    ]
    plain, led = Controller(small(*ways)), Controller(small(*ways), lead=lead)
    for _ in range(60):
        assert led.ahead(30) == plain.ahead(30)
        assert led.horizon() == plain.horizon() == 100 - plain.plan.step
        assert led.observe(1.0) == plain.observe(1.0)
        assert led.plan == plain.plan


def test_what_changes_no_knob_with_a_lead_is_prompt() -> None:
    """A rescue that scales the rate comes on the next step; a lead delays what changes the knob alone."""
    ways: list[dict[str, Any]] = [
        {"from": "low", "to": "low", "guards": [{"nonfinite": 2}], "actions": [{"lr_scale": 0.5}]},
        {"from": "low", "guards": [LOW]},
    ]
    controller = Controller(small(*ways), lead=4)
    assert steps(through(controller, [nan, nan])) == [(2, "low")]
    assert steps(through(controller, [1.0] * 5)) == [(7, "mid")]


def test_a_ramp_changes_a_knob() -> None:
    """Into, out of, and back into a state with a ramp, a knob is not what it was, though the states' values agree."""
    states = [{"name": "low", "set": {"cutoff": 1}, "ramp": {"cutoff": {"to": 2, "over": "3 steps"}}}, *STATES[1:]]
    ways: list[dict[str, Any]] = [{"from": "low", "to": "low", "guards": [{"above": {"value": 5.0}}], "regress": True}]
    controller = Controller(small(*ways, state=states), lead=2)
    assert steps(through(controller, [9.0, 1.0, 1.0])) == [(3, "low")]


def test_nothing_else_is_looked_at_while_one_waits() -> None:
    """An earlier transition of the file that would hold meanwhile is not taken, nor counted."""
    ways: list[dict[str, Any]] = [
        {"from": "low", "to": "high", "guards": [{"above": {"value": 5.0}}], "at_most": 1},
        {"from": "low", "to": "mid", "guards": [LOW]},
    ]
    controller = Controller(small(*ways), lead=3)
    assert steps(through(controller, [1.0, 9.0, 9.0, 9.0])) == [(4, "mid")]
    assert controller.state_dict()["taken"] == {"low>mid": 1}


@pytest.mark.parametrize(("actions", "stop"), [(["rollback"], None), ([], "diverged")])
def test_a_stop_and_a_rollback_wait_for_nothing(actions: list[str], stop: str | None) -> None:
    """Both apply on the next step, whatever knob they change, and drop what waits; that was counted all the same."""
    states = [*STATES[:3], {**STATES[3], **({"stop": stop} if stop else {})}]
    ways: list[dict[str, Any]] = [
        {"from": "low", "to": "mid", "guards": [LOW], "at_most": 1},
        {"from": "low", "to": "top", "guards": [{"above": {"value": 5.0}}], "actions": actions},
    ]
    controller = Controller(small(*ways, state=states), lead=3)
    decisions = through(controller, [1.0, 9.0, 2.0, 2.0, 2.0])
    assert steps(decisions) == [(2, "top")]
    assert controller.plan.stop == stop
    assert controller.state_dict()["taken"]["low>mid"] == 1


def test_losses_that_are_not_finite_are_counted_on() -> None:
    """A run dies of them while a transition waits, and lives on if what waits answers them and applies by then."""
    for lead, dies in ((2, True), (1, False)):
        controller = Controller(small({"guards": [LOW], "from": "low"}, nonfinite={"limit": 2}), lead=lead)
        controller.observe(1.0)
        if dies:
            controller.observe(nan)
            with pytest.raises(NonFiniteLoss):
                controller.observe(nan)
        else:
            assert steps(through(controller, [nan, nan])) == [(2, "mid")]
    answering = Controller(small({"guards": [{"nonfinite": 1}], "from": "low"}, nonfinite={"limit": 3}), lead=2)
    assert steps(through(answering, [nan, nan, nan])) == [(3, "mid")]


def test_requests_come_with_the_new_state() -> None:
    """What the trainer is asked to do stands in the plan of the first step that the transition applies to."""
    controller = Controller(small({"guards": [LOW], "actions": ["checkpoint"]}), lead=2)
    asked = []
    for _ in range(3):
        asked.append(len(controller.plan.requests))
        controller.observe(1.0)
    assert (asked, [action.name for action in controller.plan.requests]) == ([0, 0, 0], ["checkpoint"])
    assert controller.ahead(0) == controller.plan


def test_a_lead_by_knob() -> None:
    """The longest lead of the knobs that a transition changes counts; a knob that has none is not waited for."""
    tables = {
        "knob": {"cutoff": {"ladder": [1, 2]}, "size": {"ladder": [1, 2]}},
        "state": [
            {"name": "a", "set": {"cutoff": 1, "size": 1}},
            {"name": "b", "set": {"cutoff": 2, "size": 1}},
            {"name": "c", "set": {"cutoff": 2, "size": 2}},
        ],
    }
    for lead, expected in (
        ({"size": 3}, [(1, "b"), (5, "c")]),
        ({"cutoff": 2, "size": 3}, [(3, "b"), (7, "c")]),
        ({"batch_size": 5}, [(1, "b"), (2, "c")]),
    ):
        file = small({"guards": [LOW]}, **tables)
        controller = Controller(file, Binding({"cutoff": 2, "size": 2, "batch_size": 9}, lead=lead))
        assert steps(through(controller, [1.0] * 9)) == expected


def test_resumed_after_every_step() -> None:
    """Killed and resumed after each step, a run under a lead decides and plans as the uncut one."""
    ways: list[dict[str, Any]] = [{"guards": [LOW]}, {"guards": [{"dwell": "9 steps"}], "actions": ["lr_restart"]}]
    uncut, cut = Controller(small(*ways), lead=4), Controller(small(*ways), lead=4)
    for step in range(60):
        loss = 1.0 if step % 13 == 5 else 2.0
        assert cut.observe(loss) == uncut.observe(loss)
        cut = resumed(cut, lead=4)
        assert (cut.plan, cut.horizon(), cut.state_dict()) == (uncut.plan, uncut.horizon(), uncut.state_dict())


def test_another_lead_on_a_resume() -> None:
    """It is taken up where nothing waits; else it is refused, and accepted it drops what waits."""
    controller = Controller(small({"guards": [LOW], "at_most": 1}, {"guards": [{"dwell": "9 steps"}]}), lead=4)
    other = Controller(controller.machine.curriculum, lead=2)
    assert other.load_state_dict(controller.state_dict()) == (
        "lead was 4 steps for cutoff, and is 2 steps for cutoff: taken up from here",
    )
    controller.observe(1.0)
    with pytest.raises(SnapshotError, match="lead was 4 steps for cutoff, and is 0 steps, while a transition waits"):
        resumed(controller)
    free = Controller(controller.machine.curriculum)
    free.load_state_dict(controller.state_dict(), on_change="accept")
    assert steps(through(free, [1.0])) == [(2, "mid")]


def test_a_plan_that_no_step_is_trained_under() -> None:
    """Beyond the end of the run, the plan ahead is the one that says so; no step comes after it."""
    controller = Controller(small(), lead=3)
    assert (controller.ahead(500).step, controller.ahead(500).stop) == (100, "the run of 100 steps is over")
    assert controller.horizon() == 100
    for _ in range(100):
        controller.observe(1.0)
    assert controller.horizon() == 0
    with pytest.raises(ArgumentError, match=r"^ahead: -1 of type int; expected a whole number of steps from 0"):
        controller.ahead(-1)


@pytest.mark.parametrize(
    ("lead", "sentence"),
    [
        (-1, "lead: -1; expected a whole number of steps, or one for each knob"),
        ("4", "lead: '4'; expected a whole number of steps, or one for each knob"),
        ({"cutoff": 1.5}, "lead.cutoff: 1.5; expected a whole number of steps, from 0 to 1,000,000"),
        ({"cutof": 3}, 'lead.cutof: no knob is called "cutof"; expected one of cutoff. Did you mean "cutoff"?'),
    ],
)
def test_a_lead_that_is_none(lead: Any, sentence: str) -> None:
    """What is no number of steps, and a knob that nobody has, are refused with what was expected."""
    with pytest.raises(BindingError) as wrong:
        Controller(small(), lead=lead)
    assert sentence in str(wrong.value)


def test_a_lead_on_a_command_line() -> None:
    """One number is for every knob, KNOB=STEPS for one of them; anything else is refused."""
    assert (lead_in([]), lead_in(["17"]), lead_in(["a=3", "b=0"])) == (None, 17, {"a": 3, "b": 0})
    for words in (["x"], ["=3"], ["a=-1"], ["3", "4"], ["a=1", "a=2"], ["a=1", "2"]):
        with pytest.raises(BindingError):
            lead_in(words)
