"""Faults that schedulers were published with when a run is resumed, each with a test that shows we do not have it."""

from __future__ import annotations

from math import cos, pi

import pytest

from plateau_rule import Controller, RegressionError, load
from tests.controller.small import STATES, resumed, small, through


def test_plateau_counter_is_saved() -> None:
    """A loss that did not improve for 7 of 10 steps needs 3 more after a resume, not 10."""
    curriculum = small({"guards": [{"patience": {"steps": 10}}]})
    controller = Controller(curriculum)
    assert through(controller, [5.0] * 8) == []
    (decision,) = through(resumed(controller), [5.0] * 3)
    assert decision.step == 11


def test_window_of_losses_is_saved() -> None:
    """A window that was half full is half full after a resume."""
    curriculum = small({"guards": [{"plateau": {"window": 10}}]})
    controller = Controller(curriculum)
    assert through(controller, [5.0] * 6) == []
    (decision,) = through(resumed(controller), [5.0] * 4)
    assert decision.step == 10


def test_cooldown_is_saved() -> None:
    """A detector that stays silent for 100 steps after a raise stays so for what is left of them, not for 100 more."""
    curriculum = small({"guards": [{"plateau": {"method": "trend", "min_window": 1, "cooldown": 100}}]})
    controller = Controller(curriculum, epochs=100)
    assert through(controller, [5.0] * 60) == []
    (decision,) = through(resumed(controller, epochs=100), [5.0] * 40)
    assert decision.step == 100


def test_looks_in_a_row_are_saved() -> None:
    """Two of three looks in a row that held before a resume count after it."""
    controller = Controller(small({"sustain": 3}))
    through(controller, [5.0] * 2)
    assert len(through(resumed(controller), [5.0])) == 1


def test_configuration_is_not_overwritten_by_the_checkpoint() -> None:
    """The file as it is now is in force after a resume, whatever was in force when the snapshot was made."""
    controller = Controller(small({"guards": [{"patience": {"steps": 10}}]}))
    through(controller, [5.0] * 6)
    edited = small({"guards": [{"patience": {"steps": 20}}]}, lr={"peak": 0.5, "shape": "constant"})
    other = resumed(controller, edited)
    assert other.plan.lr == 0.5
    assert through(other, [5.0] * 19) == []
    assert len(through(other, [5.0] * 2)) == 1


def test_restart_is_not_one_step_late() -> None:
    """The restarted rate and the raised knob meet on the same step, also when the run is cut just before it."""
    curriculum = small({"guards": [{"dwell": "40 steps"}], "actions": ["lr_restart"]})
    controller = Controller(curriculum)
    through(controller, [5.0] * 39)
    other = resumed(controller)
    (decision,) = through(other, [5.0])
    assert (decision.step, decision.lr, decision.knobs["cutoff"]) == (40, 1.0, 2)
    assert other.plan == resumed(other).plan
    assert (other.plan.lr, other.plan.knobs["cutoff"]) == (1.0, 2)


def test_restart_does_not_last_one_step() -> None:
    """After a restart the rate decays from the peak; it does not fall back to where it had been."""
    curriculum = small({"guards": [{"dwell": "40 steps"}], "actions": ["lr_restart"]})
    controller = Controller(curriculum)
    through(controller, [5.0] * 40)
    rates = []
    for _ in range(30):
        controller = resumed(controller)
        rates.append(controller.plan.lr)
        controller.observe(5.0)
    assert rates == [1.0 - step / 100 for step in range(30)]


def test_rate_is_not_taken_from_the_constructor() -> None:
    """What a fresh controller would start with leaves no trace in a resumed one."""
    curriculum = small({"guards": [{"dwell": "5 steps"}], "at_most": 1, "actions": [{"lr_scale": 0.25}]})
    controller = Controller(curriculum)
    through(controller, [5.0] * 50)
    assert controller.plan.lr == 0.25 * 0.5
    other = Controller(curriculum)
    assert other.plan.lr == 1.0
    other.load_state_dict(controller.state_dict())
    assert other.plan.lr == 0.25 * 0.5


def test_rate_is_not_lost() -> None:
    """A rate in the middle of its cosine is the same, to the bit, on every step, whatever is cut."""
    curriculum = small(lr={"peak": 2e-4, "shape": "cosine", "floor": 0.1, "length": "100 steps"})
    controller = Controller(curriculum)
    for step in range(100):
        assert controller.plan.lr == 2e-4 * (0.1 + 0.9 * (0.5 * (1.0 + cos(pi * (step / 100)))))
        controller = resumed(controller)
        controller.observe(5.0)


def test_epoch_is_not_used_as_a_step() -> None:
    """A rate that falls over 3 epochs of ten steps falls by a thirtieth a step, before and after a resume."""
    curriculum = small(lr={"peak": 1.0, "shape": "linear", "length": "3 epochs"})
    controller = Controller(curriculum)
    through(controller, [5.0] * 20)
    assert (controller.plan.epoch, controller.plan.lr) == (2, 1.0 - 20 / 30)
    other = resumed(controller)
    assert (other.plan.epoch, other.plan.step, other.plan.lr) == (2, 20, 1.0 - 20 / 30)
    other.observe(5.0)
    assert other.plan.lr == 1.0 - 21 / 30


@pytest.mark.parametrize("guard", [{"min_epoch": 0}, {"min_step": 0}, {"dwell": "0 steps"}])
def test_milestone_of_0_is_met_once(guard: dict[str, object]) -> None:
    """A milestone at 0 is met by the first observation, once, also by a run that was saved before its first step."""
    curriculum = small({"from": "low", "to": "mid", "guards": [guard]})
    other = resumed(Controller(curriculum))
    assert other.plan.state == "low"
    (decision,) = through(other, [5.0])
    assert (decision.step, decision.to_state) == (1, "mid")
    assert through(resumed(other), [5.0] * 20) == []


def test_cutoff_is_not_inferred_from_the_epoch() -> None:
    """A cutoff that rose early is not lowered by a resume in an epoch in which it would not have risen yet."""
    curriculum = load("plateau")
    controller = Controller(curriculum, {"cutoff": 1025}, epochs=50, steps_per_epoch=100)
    through(controller, [5.0] * 300)
    assert controller.plan.knobs["cutoff"] == 512
    late = small({"guards": [{"min_epoch": 9}]}, state=STATES)
    assert resumed(controller, epochs=50, steps_per_epoch=100).plan.knobs["cutoff"] == 512
    early = Controller(small({}))
    through(early, [5.0] * 2)
    assert early.plan.knobs["cutoff"] == 4
    assert resumed(early, late).plan.knobs["cutoff"] == 4


def test_cutoff_is_not_lowered_by_an_edited_file() -> None:
    """An edited state that would lower the cutoff is refused, and nothing of the controller has changed."""
    controller = Controller(small({}))
    through(controller, [5.0])
    lowered = [STATES[0], {"name": "mid", "set": {"cutoff": 1}}, *STATES[2:]]
    other = Controller(small({}, state=lowered))
    before = other.state_dict()
    with pytest.raises(RegressionError, match='state "mid" sets cutoff = 1, and the run was already at 2'):
        other.load_state_dict(controller.state_dict(), on_change="accept")
    assert other.state_dict() == before


@pytest.mark.parametrize("cut", [19, 20, 21])
def test_restart_is_not_off_by_one_epoch(cut: int) -> None:
    """A raise when epoch 1 closes is taken then and once, whether the run is cut before, on or after the boundary."""
    curriculum = small({"at": "epoch", "guards": [{"min_epoch": 2}], "at_most": 1, "actions": ["lr_restart"]})
    controller = Controller(curriculum)
    decisions = through(controller, [5.0] * cut)
    other = resumed(controller)
    decisions += through(other, [5.0] * (45 - cut))
    assert [(d.step, d.epoch, d.lr) for d in decisions] == [(20, 2, 1.0)]
    assert other.plan.lr == 1.0 - 25 / 100


def test_requests_are_not_lost_with_the_step_that_they_belong_to() -> None:
    """A request that was made but not yet carried out is made again after a resume, and only with its own plan."""
    controller = Controller(small({"actions": ["checkpoint"]}))
    through(controller, [5.0])
    other = resumed(controller)
    assert [request.name for request in other.plan.requests] == ["checkpoint"]
    curriculum = small({"at": "epoch", "actions": ["checkpoint"]})
    controller = Controller(curriculum)
    through(controller, [5.0] * 11)
    assert resumed(controller).plan.requests == ()


def test_times_taken_are_not_forgotten() -> None:
    """A transition that may be taken once in a run is not taken a second time after a resume."""
    curriculum = small({"from": "low", "to": "low", "at_most": 1, "guards": [{"dwell": "2 steps"}]})
    controller = Controller(curriculum)
    assert len(through(controller, [5.0] * 3)) == 1
    assert through(resumed(controller), [5.0] * 20) == []
