"""A knob never falls unmarked where a curriculum is run: by a Controller, by a replay."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from plateau_rule import Controller, Curriculum, NonFiniteLoss, RegressionError, loads
from plateau_rule.controller.binding import bind
from plateau_rule.controller.controller import UnguardedController
from plateau_rule.controller.verifier.verify import verify
from plateau_rule.controller.verifier.witness import controller_of
from tests.controller.small import small, through

BACK = {"name": "back", "from": "high", "to": "mid", "guards": [{"below": {"value": 2.0}}]}
RAMPED = {"name": "low", "set": {"cutoff": 1}, "ramp": {"cutoff": {"to": 8, "over": "14 steps"}}}
CUT = {"name": "cut", "from": "low", "to": "mid", "guards": [{"below": {"value": 2.0}}]}


def ramped(**transition: Any) -> Curriculum:
    """A ramp to 8 in the first state, and a way to a state with 2 as soon as a loss is below 2."""
    states = [RAMPED, {"name": "mid", "set": {"cutoff": 2}}]
    return small(CUT | transition, state=states)


def test_a_file_that_lets_a_knob_fall_is_refused() -> None:
    """The Controller is not made; what binds and checks it is, so that check can show how it comes about."""
    curriculum = small(BACK, {})
    sentence = 'cutoff falls from 4 to 2 between "high" and "mid", and back is not marked. Exchange the states, or'
    with pytest.raises(RegressionError, match=sentence):
        Controller(curriculum)
    report = verify(bind(curriculum))
    assert report.verdict("monotone").answer == "broken"
    assert "knob-falls" in [finding.code for finding in report.findings]


def test_its_place_is_told() -> None:
    """Of a file, the line of the transition is named."""
    text = """name = "x"
lr = { peak = 1.0, shape = "constant" }
knob.k.ladder = [1, 2]
state = [{ name = "a", set = { k = 2 } }, { name = "b", set = { k = 1 } }]

[[transition]]
from = "a"
to = "b"
"""
    with pytest.raises(RegressionError, match=r"^mine.toml:6:1: k falls from 2 to 1"):
        Controller(loads(text, "mine.toml"))


@pytest.mark.parametrize(
    "curriculum",
    [
        small({}, BACK | {"regress": True, "at_most": 1}),
        small({"from": "low", "to": "mid"}, BACK),  # "high" is never entered
        small({}, BACK, knob={"cutoff": {"order": "none"}}),
    ],
    ids=["marked", "no way there", "no order"],
)
def test_what_does_not_fall_is_taken(curriculum: Curriculum) -> None:
    """A marked retreat, a state that nothing leads to, and a knob without an order are no falls."""
    assert Controller(curriculum).plan.step == 0


def test_a_ramp_that_is_cut_short() -> None:
    """It is refused when it happens, before anything changes; earlier, the same transition is taken."""
    early = Controller(ramped())
    assert [decision.to_state for decision in through(early, [5.0, 5.0, 1.0])] == ["mid"]
    late = Controller(ramped())
    through(late, [5.0] * 8)
    before, plan = json.dumps(late.state_dict()), late.plan
    for _ in range(2):
        with pytest.raises(RegressionError, match='cutoff falls from 4 to 2 between "low" and "mid", and cut is not'):
            late.observe(1.0)
        assert json.dumps(late.state_dict()) == before
        assert late.plan == plan
    assert late.observe(5.0) is None
    assert late.plan.step == plan.step + 1


def test_an_evaluation_cuts_it_short() -> None:
    """Also where an evaluation decides: the step before it stays observed."""
    guard = {"below": {"metric": "val_loss", "value": 2.0}}
    controller = Controller(ramped(at="eval", guards=[guard]))
    through(controller, [5.0] * 9)
    with pytest.raises(RegressionError, match="cutoff falls from 4 to 2"):
        controller.evaluated(val_loss=1.0)
    assert controller.plan.step == 9
    with pytest.raises(RegressionError, match="cutoff falls from 4 to 2"):
        controller.observe(5.0, val_loss=1.0)
    assert controller.plan.step == 9
    assert controller.evaluated(val_loss=3.0) is None


def test_such_a_run_goes_on_as_any_other() -> None:
    """Steps that are tried on a copy are those of a controller that isn't careful, dead runs and copies included."""
    careful, free = Controller(ramped()), UnguardedController(ramped())
    for loss in [5.0, 4.0, float("nan"), 3.0] * 5:
        assert careful.observe(loss) == free.observe(loss)
        assert careful.plan == free.plan
    assert careful.state_dict() == free.state_dict()
    assert copy.deepcopy(careful).state_dict() == free.state_dict()
    mortal = Controller(ramped().model_copy(update={"nonfinite": small({}, nonfinite={"limit": 2}).nonfinite}))
    mortal.observe(float("nan"))
    with pytest.raises(NonFiniteLoss):
        mortal.observe(float("nan"))
    assert mortal.plan.step == 2


def test_the_verifier_steps_below() -> None:
    """Whoever has to show a fall lets it happen."""
    controller = controller_of(bind(ramped()))
    through(controller, [5.0] * 8)
    decision = controller.observe(1.0)
    assert decision is not None
    assert (decision.knobs_before["cutoff"], decision.knobs["cutoff"]) == (4, 2)
