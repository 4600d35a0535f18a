"""The shared part of every adapter, driven by hand: no framework is needed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from plateau_rule import Binding, Controller, SnapshotError, loads
from plateau_rule.adapters.base import Rule
from plateau_rule.adapters.errors import WiringError, WiringWarning
from plateau_rule.adapters.stamp import lead_needed
from plateau_rule.controller.soundness import UnsoundError
from plateau_rule.sim.logs import read
from plateau_rule.sim.replayer.replay import replay

CURRICULUM = loads("""
name  = "by-loss"
lr    = { peak = 0.01, shape = "constant" }
knob  = { seq_len = { ladder = [8, 16] } }
state = [{ name = "short", set = { seq_len = 8 } }, { name = "long", set = { seq_len = 16 } }]

[[transition]]
from    = "short"
to      = "long"
guards  = [{ below = { value = 2.0 } }]
actions = ["lr_restart", "reset_optimizer"]
""")


TEN: dict[str, Any] = {"total_steps": 10, "steps_per_epoch": 10}


def groups(*rates: float) -> list[dict[str, Any]]:
    """Parameter groups with these rates."""
    return [{"params": [], "lr": rate} for rate in rates or (0.5,)]


def cut(batch: list[int], width: int) -> list[int]:
    """Apply seq_len to a batch that is one row."""
    return batch[:width]


def rule_of(**said: Any) -> Rule:
    """A rule that applies its knob."""
    return Rule(CURRICULUM, shape={"seq_len": cut}, applied=["seq_len"], framework="a trainer", **said)


def step(rule: Rule, number: int, loss: float, **said: Any) -> Any:
    """One optimizer step of one micro-batch."""
    rule.micro(loss)
    return rule.close(number, **said)


def test_a_run() -> None:
    """Rates keep their ratios, batches their plan's length, and a decision applies to the very next step."""
    rule, own = rule_of(), groups(0.001, 0.01)
    assert rule.begin(0, own, total_steps=100, steps_per_epoch=50) == ()
    assert [group["lr"] for group in own] == [0.001, 0.01]
    assert rule.shape([*range(30)]) == [*range(8)]
    assert step(rule, 0, 3.0).decision is None
    result = step(rule, 1, 1.5)
    assert result.decision.to_state == "long"
    assert result.plan.state == "short"
    assert [str(request) for request in result.requests] == ["reset_optimizer"]
    assert rule.shape([*range(30)]) == [*range(16)]
    assert rule.shown() == {"plateau/lr": 0.01, "plateau/state": 0.0, "plateau/seq_len": 8.0}  # of the closed step


def test_mean_and_sum() -> None:
    """A step's loss is the weighted mean of its micro-batches' losses, or their sum where each is a share already."""
    mean, share = rule_of(), rule_of(combine="sum")
    for rule in (mean, share):
        rule.begin(0, groups(), accumulation=2)
        rule.micro(4.0, weight=1)
        rule.micro(1.0, weight=3)
    assert mean.close(0).loss == 1.75
    assert share.close(0).loss == 7.0


@pytest.mark.parametrize(
    ("total", "per_epoch", "bound", "notes"),
    [(100, 50, (2, 50), 0), (90, 50, (2, 50), 1), (90, None, (1, 90), 1), (None, None, (None, None), 0)],
)
def test_the_length_of_the_run(total: int, per_epoch: int, bound: tuple[int, int], notes: int) -> None:
    """The curriculum is bound to as many whole epochs as the trainer's run takes; what does not fit is said."""
    rule = rule_of()
    assert len(rule.begin(0, groups(), total_steps=total, steps_per_epoch=per_epoch)) == notes
    run = rule.controller.machine.run
    assert (run.epochs, run.steps_per_epoch) == bound


def test_saved_and_resumed() -> None:
    """A rule that is saved as JSON in the middle of a step goes on as the uncut one, with the saved ratios."""
    whole = rule_of()
    whole.begin(0, groups(0.1, 1.0), **TEN, accumulation=2)
    whole.micro(3.0)
    whole.micro(3.0)
    whole.close(0)
    whole.micro(1.0)
    resumed = rule_of()
    resumed.load(json.loads(json.dumps(whole.state())))
    own = groups(0.004, 0.004)
    resumed.begin(1, own, **TEN, accumulation=2)
    assert [group["lr"] for group in own] == [0.001, 0.01]
    for rule in (whole, resumed):
        rule.micro(2.0)
    assert whole.close(1) == resumed.close(1)


def test_train_twice() -> None:
    """A second run of the same trainer gets a Controller of its own."""
    rule = rule_of()
    for _ in range(2):
        rule.begin(0, groups(), **TEN)
        assert step(rule, 0, 1.0).decision is not None
        rule.end()


def test_evaluations_of_the_run_alone() -> None:
    """What comes before the first step, for another step, a second time or after the end is dropped."""
    rule = rule_of()
    rule.begin(0, groups(), **TEN)
    assert rule.evaluated({"val_loss": 1.0}, 0) is None
    step(rule, 0, 3.0)
    assert rule.evaluated({"val_loss": 1.0}, 1) is None
    assert rule.evaluated({"val_loss": 1.0, "epoch": "none"}, 0) is not None
    assert rule.evaluated({"val_loss": 1.0}, 0) is None
    step(rule, 1, 3.0)
    rule.end()
    assert rule.evaluated({"val_loss": 1.0}, 1) is None


BY_EVALUATION = """
name   = "by-evaluation"
run    = { epochs = 2, steps_per_epoch = 10 }
lr     = { peak = 0.01, shape = "constant" }
metric = { val_loss = { every = "2 steps" }, speed = { at = "step" } }
state  = [{ name = "first" }, { name = "second" }, { name = "done", stop = "val_loss is low" }]

[[transition]]
from    = "first"
to      = "second"
at      = "eval"
guards  = [{ below = { metric = "val_loss", value = 2.0 } }]
actions = ["reset_optimizer", "evaluate", "checkpoint"]

[[transition]]
from    = "second"
to      = "done"
at      = "eval"
guards  = [{ any = [{ below = { metric = "val_loss", value = 1.0 } }, { above = { metric = "speed", value = 9.0 } }] }]
"""


def evaluating(**said: Any) -> Rule:
    """A rule whose transitions follow evaluations, at step 0."""
    rule = Rule(loads(BY_EVALUATION), framework="a trainer", **said)
    rule.begin(0, groups())
    return rule


def evaluation(rule: Rule, number: int, metrics: dict[str, float]) -> Any:
    """What an evaluation after a step brought."""
    return rule.evaluated(metrics, number)


def test_an_evaluation_decides_in_its_own_step() -> None:
    """Its result has the decision, what that asks for and the stop; the very next step is planned with it."""
    rule = evaluating()
    step(rule, 0, 3.0)
    result = evaluation(rule, 0, {"val_loss": 1.5})
    assert (result.decision.step, result.decision.to_state, rule.plan.state) == (1, "second", "second")
    assert [request.name for request in result.requests] == ["reset_optimizer", "checkpoint"]  # it is evaluated
    assert (result.plan.state, result.loss, result.stop) == ("first", 3.0, None)
    assert step(rule, 1, 3.0).requests == ()
    result = evaluation(rule, 1, {"val_loss": 0.5})
    assert (result.decision.to_state, result.stop) == ("done", "val_loss is low")


def test_what_close_has_asked_for_is_not_asked_for_again() -> None:
    """An evaluation after a step that has taken a transition takes none, and repeats no request."""
    rule = rule_of()
    rule.begin(0, groups(), **TEN)
    assert len(step(rule, 0, 1.0).requests) == 1
    result = evaluation(rule, 0, {"val_loss": 1.0})
    assert (result.decision, result.requests) == (None, ())


ASKING = """
name  = "asking"
lr    = { peak = 0.01, shape = "constant" }
state = [{ name = "first" }, { name = "second" }, { name = "third" }]

[[transition]]
from    = "first"
to      = "second"
guards  = [{ below = { value = 2.0 } }]
actions = ["evaluate"]

[[transition]]
from    = "second"
to      = "third"
at      = "eval"
guards  = [{ below = { metric = "val_loss", value = 1.0 } }]
"""


@pytest.mark.parametrize("saved", [False, True])
def test_an_evaluation_that_a_transition_asks_for(saved: bool, tmp_path: Path) -> None:
    """The new state sees it with its first step, also after a resume; a replay of the run folder does so as well."""
    rule = Rule(loads(ASKING), out=tmp_path)
    rule.begin(0, groups())
    assert [request.name for request in step(rule, 0, 1.0).requests] == ["evaluate"]
    result = evaluation(rule, 0, {"val_loss": 0.5})
    assert (result.decision, result.requests) == (None, ())
    if saved:
        state = json.loads(json.dumps(rule.state()))
        rule.end()
        rule = Rule(loads(ASKING), out=tmp_path)
        rule.begin(1, groups(), saved=state)
    assert step(rule, 1, 3.0).decision.to_state == "third"
    assert evaluation(rule, 1, {"val_loss": 0.4}) is None
    rule.end()
    decisions = replay(loads(ASKING), read(tmp_path)).decisions
    assert [(decision.step, decision.to_state) for decision in decisions] == [(1, "second"), (2, "third")]


@pytest.mark.parametrize("before", [True, False], ids=["evaluated-first", "saved-first"])
def test_an_evaluation_and_a_checkpoint_of_one_step(before: bool, tmp_path: Path) -> None:
    """The checkpoint holds the evaluation before it; one that comes (again) after the resume counts once, and so do
    the rows that were written before the run was cut.
    """
    rule, out = evaluating(out=tmp_path / "run"), tmp_path / "run"
    step(rule, 0, 3.0)
    early = rule.state()
    evaluation(rule, 0, {"val_loss": 1.5})
    late = rule.state()
    step(rule, 1, 3.0)
    evaluation(rule, 1, {"val_loss": 0.5})
    rule.end()
    resumed = Rule(loads(BY_EVALUATION), out=out)
    resumed.begin(1, groups(), saved=json.loads(json.dumps(late if before else early)))
    result = evaluation(resumed, 0, {"val_loss": 1.5})
    assert (result is None) == before
    assert resumed.plan.state == "second"
    step(resumed, 1, 3.0)
    resumed.end()
    decisions = [json.loads(line) for line in (out / "decisions.jsonl").read_text().splitlines()]
    assert [(row["step"], row["to"]) for row in decisions] == [(1, "second")]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["epoch"], "val_loss" in row) for row in rows] == [(0, 0, 0), (0, 0, 1), (1, 0, 0)]


def test_a_run_by_evaluations_is_replayed(tmp_path: Path) -> None:
    """A replay of the run folder takes the decisions of the run, at its steps, whatever the evaluation called step."""
    rule = evaluating(out=tmp_path)
    taken = []
    for number, val_loss in enumerate([3.0, 2.5, 1.5, 1.5, 0.5]):
        step(rule, number, 3.0)
        result = evaluation(rule, number, {"val_loss": val_loss, "step": 77})
        taken += [(result.decision.step, result.decision.to_state)] if result.decision else []
    rule.end()
    assert taken == [(3, "second"), (5, "done")]
    timeline = replay(loads(BY_EVALUATION), read(tmp_path))
    assert [(decision.step, decision.to_state) for decision in timeline.decisions] == taken


@pytest.mark.parametrize(
    ("name", "told"), [("speed", r'\[metric.speed\] says at = "step"'), ("loss", "such as val_loss")]
)
def test_a_metric_that_comes_with_no_evaluation(name: str, told: str) -> None:
    """It is left out and told of once; the others count."""
    rule = evaluating()
    step(rule, 0, 3.0)
    with pytest.warns(WiringWarning, match=told):
        assert evaluation(rule, 0, {name: 10.0, "val_loss": 1.5}).decision.to_state == "second"
    step(rule, 1, 3.0)
    assert evaluation(rule, 1, {name: 10.0, "val_loss": 1.5}).decision is None


def test_a_broken_curriculum_is_not_begun(tmp_path: Path) -> None:
    """It is refused before anything is written or any rate is set; checked=False begins it."""
    said: dict[str, Any] = {"binding": Binding({"cutoff": 1025}), "applied": ["cutoff"]}
    own, rule = groups(), Rule("misaligned", out=tmp_path / "run", **said)
    with pytest.raises(UnsoundError, match="is not trained, because it is broken"):
        rule.begin(0, own)
    assert not rule.begun
    assert own[0]["lr"] == 0.5
    assert not (tmp_path / "run").exists()
    Rule("misaligned", checked=False, out=tmp_path / "run", **said).begin(0, own)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["checked"] is None


def begun(**said: Any) -> Rule:
    """A rule that has taken one step."""
    rule = rule_of()
    rule.begin(0, groups(), **TEN, **said)
    step(rule, 0, 3.0)
    return rule


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: rule_of().plan, "no plan before training begins"),
        (lambda: rule_of().begin(7, groups()), r"no state of the curriculum.*adopt\(step=7\)"),
        (lambda: rule_of().begin(7, groups(), saved=begun().state(), **TEN), "goes on at step 7, and .* is of step 1"),
        (lambda: rule_of().begin(1, groups(1, 2), saved=begun().state(), **TEN), "has 2 parameter groups, and had 1"),
        (lambda: rule_of().begin(0, groups(0.0, 0.0)), "every parameter group has the rate 0"),
        (lambda: begun().close(1), "no loss was given for it"),
        (lambda: step(begun(), 0, 3.0), "closed a second time.*not each micro-batch"),
        (lambda: step(begun(), 5, 3.0), "4 were not closed"),
        (lambda: rule_of().begin(0, groups(), saved={"format": 3, "controller": {}, "ratios": []}), "has format 3"),
        (lambda: rule_of().load(begun().controller.state_dict()), "a Controller's own state"),
    ],
)
def test_wrong_use_gets_a_sentence(wrong: Any, sentence: str) -> None:
    """Each of these is refused at once, in a sentence that says what to do."""
    with pytest.raises((WiringError, SnapshotError), match=sentence):
        wrong()


def test_a_controller_that_was_adopted() -> None:
    """A trainer that resumes without the curriculum's state goes on with a Controller that was told where it stands."""
    controller = Controller(CURRICULUM, Binding(epochs=1, steps_per_epoch=10))
    controller.adopt(step=7)
    rule = Rule(controller, shape={"seq_len": cut})
    assert rule.begin(7, groups(), total_steps=10) == ()
    assert rule.plan.step == 7
    with pytest.raises(WiringError, match="the Controller is at step 7"):
        rule.begin(0, groups())


def test_two_owners_of_the_rate() -> None:
    """Something else that keeps setting the rate is named, and overruled; the loading of a checkpoint is no reason."""
    rule, own = rule_of(), groups()
    rule.begin(0, own, **TEN)
    own[0]["lr"] = 0.3  # as the loading of an optimizer's state does
    rule.rates(own)
    step(rule, 0, 3.0)
    own[0]["lr"] = 0.2
    with pytest.warns(WiringWarning, match="something else sets it too, such as a scheduler"):
        rule.rates(own)
    assert own[0]["lr"] == 0.01


def test_a_knob_that_nobody_applies() -> None:
    """A knob that the curriculum moves and nobody has looked at by the end of the first step is named."""
    rule = Rule(CURRICULUM)
    rule.begin(0, groups(), **TEN)
    with pytest.warns(WiringWarning, match="nobody applies seq_len"):
        step(rule, 0, 3.0)
    step(rule, 1, 3.0)  # said once


@pytest.mark.parametrize("how", ["shape", "knobs", "applied"])
def test_a_knob_that_is_applied(how: str) -> None:
    """A knob with a function, one that is read, and one that is said to be turned elsewhere are no reason to warn."""
    rule = Rule(
        CURRICULUM, shape={"seq_len": cut} if how == "shape" else {}, applied=["seq_len"] if how == "applied" else []
    )
    rule.begin(0, groups(), **TEN)
    if how == "shape":
        rule.shape([1])
    if how == "knobs":
        assert rule.knobs["seq_len"] == 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(rule, 0, 3.0)


class TwoRanks:
    """Two processes that add up, and do or do not agree."""

    rank = 1

    def __init__(self, agrees: bool) -> None:
        self.agrees = agrees

    def add(self, total: Any, weight: float) -> tuple[float, float]:
        """As if the other rank had brought twice the loss."""
        return float(total) * 3, weight * 2

    def agree(self, text: str) -> bool:
        """Whether the other rank has the same plan."""
        return self.agrees


def test_ranks(tmp_path: Path) -> None:
    """A step's loss is the mean over ranks, only rank 0 writes the run folder, and ranks that differ are refused."""
    rule = rule_of(ranks=TwoRanks(True), out=tmp_path / "run")
    rule.begin(0, groups(), **TEN)
    assert step(rule, 0, 2.0).loss == 3.0
    assert not (tmp_path / "run").exists()
    rule = rule_of(ranks=TwoRanks(False))
    rule.begin(0, groups(), **TEN)
    with pytest.raises(WiringError, match="the ranks have different plans"):
        step(rule, 0, 2.0)


@pytest.mark.parametrize(
    ("drawn", "accumulation", "lead"), [(0, 1, 0), (8, 1, 8), (16, 4, 4), (1, 4, 1), (5, 4, 2), (17, 1, 17)]
)
def test_lead_needed(drawn: int, accumulation: int, lead: int) -> None:
    """The lead is that which was measured with torch and with Accelerate, for batches that are drawn so far ahead."""
    assert lead_needed(drawn, accumulation) == lead
