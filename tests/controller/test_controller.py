"""One step after the other: plan, observe, decide, explain."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule import Action, BindingError, Controller, NonFiniteLoss, StepError, load
from plateau_rule.controller.controller import UnguardedController
from tests.controller.small import STATES, resumed, small, through

EPOCHLESS: dict[str, Any] = {"run": {}, "lr": {"peak": 1.0, "shape": "constant"}}


class Tensor:
    """A tensor of several elements, as torch's answers to float()."""

    def __float__(self) -> float:
        raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")


TENSOR = Tensor()

# Plan


def test_plan_is_a_pure_read() -> None:
    """Reading the plan twice gives the same and changes nothing that is saved."""
    controller = Controller(small({"actions": ["checkpoint"]}))
    controller.observe(5.0)
    before = controller.state_dict()
    assert controller.plan == controller.plan
    assert controller.state_dict() == before


def test_first_plan() -> None:
    """The first plan is step 0 of epoch 0 in the first state, at the peak, with nothing asked."""
    plan = Controller(small({})).plan
    assert tuple(plan) == (0, 0, "low", {"cutoff": 1}, 1.0, (), None, 1.0)


def test_knobs_cannot_be_changed_from_outside() -> None:
    """A plan's knobs are read-only, also in a state with a ramp."""
    ramped = [STATES[0] | {"ramp": {"cutoff": {"to": 8, "over": "10 steps"}}}]
    for controller in (Controller(small()), Controller(small(state=ramped))):
        with pytest.raises(TypeError):
            controller.plan.knobs["cutoff"] = 8  # type: ignore[index]


def test_run_is_over() -> None:
    """A plan says that the run is over, by steps where they are bound and by epochs where they are not."""
    controller = Controller(small(), epochs=1)
    through(controller, [5.0] * 9)
    assert controller.plan.stop is None
    controller.observe(5.0)
    assert controller.plan.stop == "the run of 10 steps is over"
    controller = Controller(small(**EPOCHLESS | {"run": {"epochs": 2}}))
    through(controller, [5.0] * 2, epoch_end=True)
    assert controller.plan.stop == "the run of 2 epochs is over"
    assert controller.total_steps is None


def test_state_may_stop_the_run() -> None:
    """Entering a state with `stop` ends the training, for its reason."""
    controller = Controller(small({}, state=[STATES[0], STATES[1] | {"stop": "good enough"}]))
    controller.observe(5.0)
    assert controller.plan.stop == "good enough"


# Step discipline


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (2, "step 2 was observed a second time; the next one is step 3. Call observe once for each optimizer step"),
        (0, "step 0 was observed already; the next one is step 3. A resumed trainer must go on at plan.step"),
        (5, "step 5 came while step 3 was planned: 2 step(s) were not observed"),
    ],
)
def test_steps_out_of_order(step: int, sentence: str) -> None:
    """A step observed twice, behind or ahead of the plan is an error that says so, and changes nothing."""
    controller = Controller(small())
    for i in range(3):
        controller.observe(5.0, step=i)
    before = controller.state_dict()
    with pytest.raises(StepError) as error:
        controller.observe(5.0, step=step)
    assert str(error.value) == sentence
    assert controller.state_dict() == before


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            {"loss": None},
            "step 3: no loss; only the first `lag` observations in a state may come without one (lag is 0)",
        ),
        ({"loss": "5.0"}, "loss is '5.0' of type str; expected a number"),
        ({"loss": b"5"}, "loss is b'5' of type bytes; expected a number"),
        ({"loss": [5.0]}, "loss is [5.0] of type list; expected a number"),
        ({"loss": TENSOR}, "loss is a Tensor; expected a number"),
        ({"loss": 10**400}, "loss is 100000000000000000...0000000000000000000 of type int; expected a number"),
        ({"loss": 5.0, "val_loss": "3"}, "val_loss is '3' of type str; expected a number"),
        (
            {"loss": 5.0, "epoch_end": True},
            "step 3: epoch_end in the middle of an epoch of 10 steps. Bind the number of optimizer steps that an epoch "
            "really has, or leave epoch_end to the controller",
        ),
    ],
)
def test_observation_that_is_none(said: dict[str, Any], sentence: str) -> None:
    """What is no number, and an epoch's end where none is, is an error that says so, and changes nothing."""
    controller = Controller(small({"guards": [{"below": {"metric": "val_loss", "value": 1.0}}]}))
    through(controller, [5.0] * 3)
    before = controller.state_dict()
    with pytest.raises(StepError) as error:
        controller.observe(**said)
    assert str(error.value) == sentence
    assert controller.state_dict() == before


@pytest.mark.parametrize("loss", [5, True, Decimal("5.5")])
def test_numbers_of_any_type_are_taken(loss: Any) -> None:
    """Whatever turns into a float is a loss."""
    controller = Controller(small({"guards": [{"below": {"value": 100.0}}]}))
    decision = controller.observe(loss)
    assert decision is not None
    assert decision.loss == float(loss)


def test_epochs_close_by_themselves() -> None:
    """With steps_per_epoch bound, epochs close every so many steps; saying so where it is true does no harm."""
    controller = Controller(small())
    epochs = []
    for step in range(25):
        epochs.append(controller.plan.epoch)
        controller.observe(5.0, epoch_end=step == 9)
    assert epochs == [step // 10 for step in range(25)]


def test_epochs_are_closed_by_the_trainer() -> None:
    """Without steps_per_epoch, an epoch closes where the trainer says so, and `dwell` counts closings in the state."""
    curriculum = small({"at": "epoch", "guards": [{"dwell": "2 epochs"}]}, **EPOCHLESS)
    controller = Controller(curriculum)
    taken = [controller.observe(5.0, epoch_end=step in (3, 4, 9, 11)) for step in range(12)]
    assert [(d.step, d.epoch, d.to_state) for d in taken if d] == [(5, 2, "mid"), (12, 4, "high")]


# Values


def test_skipped_step() -> None:
    """A step that an AMP scaler dropped advances the clocks and is kept from the detectors; NaN counts all the same."""
    controller = Controller(small({"guards": [{"plateau": {"window": 4}}]}))
    through(controller, [5.0] * 3)
    controller.observe(1e9, skipped=True)
    assert controller.plan.step == 4
    assert controller.explain()[1] == "  plateau: 3 of 4 losses -> unknown"
    controller.observe(inf, skipped=True)
    assert controller.state_dict()["clock"]["nonfinite"] == 1
    controller.observe(1e9, skipped=True)
    assert controller.state_dict()["clock"]["nonfinite"] == 0
    assert controller.observe(5.0) is not None


def test_nonfinite_values_go_no_further() -> None:
    """NaN and infinity are counted and enter no detector, as a loss or as another metric."""
    curriculum = small({"guards": [{"below": {"value": 1.0}}, {"above": {"metric": "val_loss", "value": 1.0}}]})
    controller = Controller(curriculum)
    for value in (nan, inf, -inf):
        assert controller.observe(value, val_loss=value) is None
    assert controller.run_state.skipped_values == 6
    assert controller.explain()[1:] == [
        "  below: 0 of 1 values of loss -> unknown",
        "  above: 0 of 1 values of val_loss -> unknown",
    ]
    assert controller.observe(0.0, val_loss=2.0) is None  # the step is looked at before its evaluation
    assert controller.observe(0.0) is not None


def test_metrics_enter_where_they_are_given() -> None:
    """A metric enters its detectors at whatever step it is given; what no guard asks for is passed over."""
    curriculum = small({"guards": [{"below": {"metric": "val_loss", "value": 1.0, "window": 2}}]})
    controller = Controller(curriculum)
    assert controller.observe(5.0, val_loss=0.5, accuracy=0.1) is None
    assert controller.observe(5.0) is None
    assert controller.observe(5.0, val_loss=1.0) is None  # the step is looked at before its evaluation
    assert controller.observe(5.0) is not None


def test_a_metric_that_is_not_finite_hides_no_other() -> None:
    """Of several metrics in one observation, those that are finite enter their detectors, whatever the others are."""
    controller = Controller(small({"guards": [{"below": {"metric": "b", "value": 2.0}}]}))
    controller.observe(5.0, a=nan, b=1.0, c=inf)
    assert controller.observe(5.0) is not None
    assert controller.run_state.skipped_values == 2


def test_loss_is_no_metric_of_its_own() -> None:
    """A second loss, by name, is a mistake in the trainer's code."""
    with pytest.raises(TypeError, match="multiple values"):
        Controller(small()).observe(5.0, loss=4.0)  # type: ignore[misc]


def test_dead_run() -> None:
    """25 losses in a row that are not finite raise NonFiniteLoss with step and state; 24 and a finite one do not."""
    controller = Controller(small())
    through(controller, [nan] * 24 + [5.0] + [inf] * 24)
    with pytest.raises(NonFiniteLoss) as error:
        controller.observe(nan)
    assert str(error.value) == (
        'step 49: 25 NaN or infinite losses in a row in state "low", and no transition answers them. Resume from the '
        "last checkpoint with a lower peak rate, or clip gradients; [nonfinite] limit = 25 is where a run is given up"
    )


def test_timeout_does_not_raise_a_dead_run() -> None:
    """On the step on which a run is dead, a transition that does not ask for non-finite losses is not taken."""
    controller = Controller(small({"guards": [{"dwell": "3 steps"}]}, nonfinite={"limit": 3}))
    through(controller, [nan] * 2)
    with pytest.raises(NonFiniteLoss):
        controller.observe(nan)
    assert controller.plan.state == "low"


@pytest.mark.parametrize(
    "guard", [{"nonfinite": 3}, {"any": [{"min_epoch": 9}, {"nonfinite": 3}]}, {"not": {"not": {"nonfinite": 3}}}]
)
def test_transition_may_answer_a_dead_run(guard: dict[str, Any]) -> None:
    """A transition that asks for non-finite losses, however deep, is taken on the step that would end the run."""
    back = {"from": "mid", "to": "low", "guards": [guard], "regress": True, "at_most": 1}
    controller = Controller(small({"from": "low", "guards": [{"dwell": "5 steps"}]}, back, nonfinite={"limit": 3}))
    through(controller, [5.0] * 5 + [nan] * 2)
    decision = controller.observe(nan)
    assert decision is not None
    assert (decision.to_state, decision.knobs["cutoff"]) == ("low", 1)
    assert controller.state_dict()["clock"]["nonfinite"] == 0


def test_state_of_a_dead_run_can_be_saved() -> None:
    """What NonFiniteLoss leaves behind is a controller that can be saved, resumed and asked."""
    curriculum = small(nonfinite={"limit": 1}, lr={"peak": 1.0, "cycles": ["1 step", "rest"]})
    controller = Controller(curriculum)
    with pytest.raises(NonFiniteLoss):
        controller.observe(nan)
    assert resumed(controller).plan == controller.plan
    assert (controller.plan.step, controller.plan.lr) == (1, 1.0)


# Transitions


def test_first_in_the_file_is_taken() -> None:
    """Of several transitions whose guards hold the first in the file is taken, whatever it was written for."""
    for transitions in ([{"to": "high"}, {"from": "low", "to": "mid"}], [{"from": ["low"], "to": "high"}, {}]):
        controller = Controller(small(*transitions))
        controller.observe(5.0)
        assert controller.plan.state == "high"


def test_one_transition_an_observation() -> None:
    """No state is passed through within a step, though the way on is free."""
    controller = Controller(small({}))
    states = [controller.plan.state]
    for _ in range(4):
        controller.observe(5.0)
        states.append(controller.plan.state)
    assert states == ["low", "mid", "high", "top", "top"]


def test_where_a_transition_is_looked_at() -> None:
    """`at` says at which observations a transition is looked at: each, those that close an epoch, or evaluations."""
    for at, step in (("step", 1), ("epoch", 10), ("eval", 4)):
        controller = Controller(small({"at": at}))
        decisions = [controller.observe(5.0, eval_end=i == 3) for i in range(10)]
        assert next(d.step for d in decisions if d) == step


def test_sustain_counts_looks() -> None:
    """`sustain` counts looks that hold, in a row; one that does not hold starts the count over."""
    way = {"at": "eval", "sustain": 2, "guards": [{"below": {"value": 1.0}}]}
    controller = Controller(small(way))
    looks = [0.5, 2.0, 0.5, nan, 0.5]
    for value in looks[:3]:
        assert controller.observe(value, eval_end=True) is None
        assert controller.observe(9.0) is None
    controller.observe(0.5, eval_end=True)
    assert controller.plan.state == "mid"


def test_at_most_is_counted_over_the_run() -> None:
    """A transition with `at_most` is taken that often in the run, from whatever state."""
    controller = Controller(small({"at_most": 2}))
    assert [d.to_state for d in through(controller, [5.0] * 5)] == ["mid", "high"]
    assert "taken 2 of 2 times" in controller.explain()[0]


def test_transition_to_the_same_state() -> None:
    """A transition may lead back to its own state, which is thereby entered anew."""
    way = {"from": "low", "to": "low", "guards": [{"plateau": {"window": 4}}], "actions": ["lr_restart"]}
    controller = Controller(small(way))
    assert [(d.step, d.lr) for d in through(controller, [5.0] * 9)] == [(4, 1.0), (8, 1.0)]
    assert controller.explain()[1] == "  plateau: 1 of 4 losses -> unknown"


def test_entering_a_state_forgets() -> None:
    """Losses, looks and non-finite values of the state before do not count in the new one."""
    guards = [{"any": [{"plateau": {"window": 6}}, {"nonfinite": 3}]}]
    controller = Controller(small({"from": "low", "guards": [{"dwell": "5 steps"}]}, {"guards": guards, "sustain": 2}))
    through(controller, [5.0] * 3 + [nan] * 2)
    assert controller.plan.state == "mid"
    assert [d.step for d in through(controller, [nan, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0])] == [13]


def test_decision_says_what_happened() -> None:
    """A decision names the first step of the new state, both sides of it, the loss, and every guard that was asked."""
    way = {
        "name": "up",
        "guards": ["flat", {"dwell": "4 steps"}],
        "actions": [{"lr_scale": 0.5}, {"signal": "bell"}, "lr_restart"],
    }
    controller = Controller(small(way, guard={"flat": {"plateau": {"window": 4}}}))
    (decision,) = through(controller, [5.0, 5.0, 5.0, 4.999])
    assert decision._asdict() | {"guards": (), "readings": ()} == {
        "step": 4,
        "epoch": 0,
        "from_state": "low",
        "to_state": "mid",
        "transition": "up",
        "knobs_before": {"cutoff": 1},
        "knobs": {"cutoff": 2},
        "lr_before": 0.97,
        "lr": 0.5,
        "loss": 4.999,
        "guards": (),
        "raises": ("cutoff",),
        "readings": (),
    }
    assert decision.guards == (
        "up: low -> mid, asked at every step",
        "  flat (plateau): improved by 0.01 % over 4 losses, flat under 0.5 % -> true",
        "  dwell: 4 steps in this state, 4 needed -> true",
    )
    assert decision.raises == ("cutoff",)
    assert controller.plan.requests == (Action("signal", "bell"),)
    assert [str(action) for action in controller.plan.requests] == ["signal bell"]


def test_decision_that_raises_nothing() -> None:
    """A transition between states of the same knobs raises nothing; one that falls neither."""
    states = [STATES[0], STATES[0] | {"name": "again"}, STATES[1], STATES[0] | {"name": "fallen"}]
    controller = Controller(small({"regress": True}, state=states))
    assert [d.raises for d in through(controller, [5.0] * 3)] == [(), ("cutoff",), ()]


def test_requests_are_handed_over_once() -> None:
    """Requests stand in the order written, in the plan that they belong to and in no other."""
    actions = ["rollback", {"lr_scale": 0.5}, "reset_optimizer", "evaluate", {"signal": "x"}, "checkpoint"]
    controller = Controller(small({"at": "epoch", "actions": actions}))
    seen = []
    for _ in range(12):
        controller.observe(5.0)
        seen.append(tuple(map(str, controller.plan.requests)))
    assert [i for i, requests in enumerate(seen) if requests] == [9]
    assert seen[9] == ("rollback", "reset_optimizer", "evaluate", "signal x", "checkpoint")


def test_scale_is_a_product() -> None:
    """`lr_scale` multiplies, in whatever order with a restart, and for the rest of the run."""
    for actions in ([{"lr_scale": 0.5}, "lr_restart"], ["lr_restart", {"lr_scale": 0.5}]):
        controller = Controller(small({"guards": [{"dwell": "10 steps"}], "actions": actions}))
        assert [d.lr for d in through(controller, [5.0] * 40)] == [0.5, 0.25, 0.125]


def test_scale_stays_a_number() -> None:
    """A product of `lr_scale`s that no float could hold stays one that can be saved."""
    way = {"from": "low", "to": "low", "actions": [{"lr_scale": 1e15}]}
    controller = Controller(small(way), epochs=100)
    through(controller, [5.0] * 50)
    assert resumed(controller, epochs=100).plan.lr < inf


# Ramps and floors


def test_ramp_moves_with_the_time_in_the_state() -> None:
    """A ramp is a pure function of the time in its state, rounded down to the ladder; at its end it is `ramp_done`."""
    states = [STATES[0] | {"ramp": {"cutoff": {"to": 8, "over": "14 steps"}}}, STATES[3]]
    controller = Controller(small({"guards": [{"ramp_done": "cutoff"}]}, state=states))
    values = []
    for _ in range(16):
        values.append(controller.plan.knobs["cutoff"])
        controller.observe(5.0)
    assert values == [1] * 2 + [2] * 4 + [4] * 8 + [8] * 2
    assert controller.plan.state == "top"


def test_knob_falls_only_where_it_is_marked() -> None:
    """A marked fall lowers what later edits are measured against; an unmarked one leaves it where it was."""
    for regress, floor in ((True, 1.0), (False, 2.0)):
        back = {"from": "mid", "to": "low", "regress": regress, "at_most": 1}
        controller = UnguardedController(small({"from": "low", "at_most": 1}, back))
        through(controller, [5.0] * 2)
        assert controller.plan.state == "low"
        assert controller.run_state.floors == {"cutoff": floor}


# Late losses


def test_lag_keeps_the_losses_of_a_state_together() -> None:
    """With losses that arrive k steps late, no loss of a state reaches the detectors of the next one."""
    lag = 3
    curriculum = small({"guards": [{"dwell": "10 steps"}, {"plateau": {"window": 4}}]})
    controller = Controller(curriculum, lag=lag)
    level = {"low": 1.0, "mid": 2.0, "high": 3.0, "top": 4.0}
    sent: list[float] = []
    for step in range(60):
        sent.append(level[controller.plan.state])
        controller.observe(sent[step - lag] if step >= lag else None)
        for _, detector in controller.run_state.stay.detectors.values():
            assert set(detector.contents()) <= {level[controller.plan.state]}
    assert controller.plan.state == "top"


@given(st.lists(st.sampled_from((1.0, 2.0, nan)), min_size=20, max_size=60), st.integers(1, 4), st.integers(0, 60))
def test_lag_shifts_decisions_and_nothing_else(losses: list[float], lag: int, cut: int) -> None:
    """In one state, a run with late losses decides k steps later, on the same losses, and so after a resume."""
    way = {"from": "low", "to": "mid", "guards": [{"plateau": {"window": 6}}]}
    curriculum = small(way, nonfinite={"limit": 100})
    prompt, late = Controller(curriculum), Controller(curriculum, lag=lag)
    first = [(d.step, d.loss) for d in through(prompt, losses)]
    second = []
    for step in range(len(losses) + lag):
        if step == cut:
            late = resumed(late, lag=lag)
        decision = late.observe(losses[step - lag] if step >= lag else None)
        second += [(decision.step - lag, decision.loss)] if decision else []
    assert first == second


def test_lag_is_a_number_of_steps() -> None:
    """A lag below 0 is refused, and the first k observations of a state may come without a loss, no others."""
    with pytest.raises(BindingError) as wrong:
        Controller(small(), lag=-1)
    assert str(wrong.value) == "lag: -1; expected a whole number of at least 0 [bad-run]"
    controller = Controller(small({"guards": [{"dwell": "5 steps"}]}), lag=2)
    losses: list[float | None] = [None, None, 5.0, 5.0, 5.0, None, None]
    for loss in losses:
        controller.observe(loss)
    with pytest.raises(StepError) as error:
        controller.observe(None)
    assert str(error.value) == (
        "step 7: no loss; only the first `lag` observations in a state may come without one (lag is 2)"
    )


# Why


def test_final_state_is_explained() -> None:
    """A state that no transition leaves says so."""
    controller = Controller(small(state=STATES[:1]))
    assert controller.explain() == ['step 0: "low" is a final state']


def test_every_guard_is_explained() -> None:
    """Each transition and each of its guards has a line: value, threshold, verdict, and why it is unknown."""
    guards = [
        {"any": [{"min_epoch": 2}, {"all": [{"min_step": 3}, {"not": {"nonfinite": 1}}]}]},
        {"patience": {"steps": 3, "smooth": 2}},
        {"diverging": {"window": 4}},
    ]
    way = {"at": "epoch", "sustain": 2, "at_most": 3, "guards": guards}
    controller = Controller(small(way, {"at": "eval", "guards": [{"dwell": "1 epoch"}]}))
    controller.observe(5.0)
    assert controller.explain() == [
        "transition 1: low -> mid, asked when an epoch closes, 0 of 2 looks in a row, taken 0 of 3 times",
        "  any -> false",
        "    min_epoch: 0 epochs complete, 2 needed -> false",
        "    all -> false",
        "      min_step: 1 step complete, 3 needed -> false",
        "      not -> true",
        "        nonfinite: 0 non-finite losses in a row, 1 needed -> false",
        "  patience: 1 of 2 values to smooth over -> unknown",
        "  diverging: 1 of 4 values of loss -> unknown",
        "transition 2: low -> mid, asked at an evaluation",
        "  dwell: 1 step in this state, 10 needed -> false",
    ]


def test_earlier_looks_are_remembered() -> None:
    """What was seen at the looks of epochs and evaluations can be asked for later, by step; 64 of them are kept."""
    controller = Controller(small({"at": "epoch", "guards": [{"min_epoch": 90}]}), epochs=100)
    through(controller, [5.0] * 700)
    assert controller.explain(step=20) == []
    assert controller.explain(step=700)[1] == "  min_epoch: 70 epochs complete, 90 needed -> false"
    assert len([step for step in range(701) if controller.explain(step=step)]) == 64
    assert controller.explain(step=699) == []


def test_named_guards_are_explained_by_name() -> None:
    """A named guard leads its line with its name and says in brackets what it is; `any` and `all` have lines inside."""
    guard: dict[str, Any] = {
        "late": {"min_epoch": 2}, "old": {"dwell": "3 steps"}, "up": {"ramp_done": "cutoff"}, "few": {"nonfinite": 2},
        "never": {"not": {"min_step": 3}}, "low": {"below": {"value": 2.0}}, "either": {"any": ["late", "old"]},
    }  # fmt: skip
    ramped = [STATES[0] | {"ramp": {"cutoff": {"to": 2, "over": "5 steps"}}}, STATES[1]]
    controller = Controller(small({"from": "low", "guards": list(guard)}, guard=guard, state=ramped))
    controller.observe(5.0)
    assert controller.explain()[1:] == [
        "  late (min_epoch): 0 epochs complete, 2 needed -> false",
        "  old (dwell): 1 step in this state, 3 needed -> false",
        "  up (ramp_done): 1 step of the ramp, 5 needed -> false",
        "  few (nonfinite): 0 non-finite losses in a row, 2 needed -> false",
        "  never (not) -> true",
        "    min_step: 1 step complete, 3 needed -> false",
        "  low (below): loss 5, below 2 needed -> false",
        "  either (any) -> false",
        "    late (min_epoch): 0 epochs complete, 2 needed -> false",
        "    old (dwell): 1 step in this state, 3 needed -> false",
    ]
    through(controller, [5.0] * 2)
    assert controller.explain()[2] == "  old (dwell): 3 steps in this state, 3 needed -> true"


def test_actions_as_words() -> None:
    """An action is told as it is written: its word, and its argument where it has one."""
    assert [str(Action("checkpoint")), str(Action("lr_scale", 0.5))] == ["checkpoint", "lr_scale 0.5"]


def test_what_led_to_a_transition_is_remembered() -> None:
    """A look that brought a transition is told as it was in the state before, looks in a row included."""
    every_step = Controller(small({"guards": [{"dwell": "2 steps"}]}))
    (decision,) = through(every_step, [5.0] * 2)
    head = "transition 1: low -> mid, asked at every step"
    assert every_step.explain(step=decision.step) == [head, *decision.guards[1:]] == list(decision.guards)
    assert every_step.explain(step=1) == []
    at_epochs = Controller(small({"at": "epoch", "sustain": 2}))
    (decision,) = through(at_epochs, [5.0] * 20)
    assert at_epochs.explain(step=10) == ["transition 1: low -> mid, asked when an epoch closes, 1 of 2 looks in a row"]
    assert (
        at_epochs.explain(step=20)
        == list(decision.guards)
        == ["transition 1: low -> mid, asked when an epoch closes, 2 of 2 looks in a row"]
    )
    evaluations = Controller(small({"at": "eval", "guards": [{"min_epoch": 9}]}))
    evaluations.observe(5.0)
    evaluations.observe(5.0, eval_end=True)
    assert [bool(evaluations.explain(step=step)) for step in (1, 2)] == [False, True]


def test_shipped_rule_step_by_step() -> None:
    """The published rule: nothing before epoch 2, then a raise at the close of an epoch with a flat window."""
    controller = Controller(load("plateau"), {"cutoff": 1025}, epochs=6, steps_per_epoch=100)
    falling = [5.0 - i / 100 for i in range(300)]
    decisions = through(controller, falling + [2.0] * 300)
    assert [(d.step, d.epoch, d.to_state, d.knobs["cutoff"], d.lr) for d in decisions] == [
        (400, 4, "words", 256, 2e-4),
        (500, 5, "spelling", 512, 2e-4),
        (600, 6, "full", 1025, 2e-4),
    ]
