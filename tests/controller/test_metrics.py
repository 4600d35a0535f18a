"""Metrics with a direction, evaluations after their step, and what is said of those that never come."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from plateau_rule import Controller, CurriculumError, ObservationWarning, StepError, bind, loads, verify

HEAD = """
name = "score"
run = { epochs = 20, steps_per_epoch = 100 }
lr = { peak = 1e-3, shape = "constant" }
state = [{ name = "small" }, { name = "large" }]
"""


def written(guard: str, metric: str = "", at: str = "eval") -> str:
    """A curriculum with one transition, on one guard."""
    return f'{HEAD}{metric}\n[[transition]]\nfrom = "small"\nto = "large"\nat = "{at}"\nguards = [{guard}]\n'


PATIENCE = '{ patience = { metric = "score", steps = 3 } }'


@pytest.mark.parametrize("name", ["val_accuracy", "f1", "reward", "val/bleu", "test.auc"])
@pytest.mark.parametrize("guard", ["patience = { metric = \"NAME\", steps = 3 }",
                                   "plateau = { metric = \"NAME\", window = 4, threshold = 0.01 }"])  # fmt: skip
def test_a_rise_is_progress_where_more_is_better(name: str, guard: str) -> None:
    """Kind: a score that is to be maximised. It raises nothing while it rises, and does once it no longer rises."""
    text = written("{ " + guard.replace("NAME", name) + " }", f'[metric."{name}"]\ngoal = "max"')
    controller = Controller(loads(text))
    for i in range(12):
        given: dict[str, Any] = {name: 0.2 + 0.05 * i}
        controller.observe(1.0, **given)
        assert controller.plan.state == "small"
    for _ in range(4):
        given = {name: 0.75}
        controller.observe(1.0, **given)
    assert controller.plan.state == "large"


def test_diverging_of_a_score() -> None:
    """Where more is better, diverging is a fall to the best divided by the factor."""
    text = written('{ diverging = { metric = "score", window = 2, factor = 2.0 } }', '[metric.score]\ngoal = "max"')
    controller = Controller(loads(text))
    for value, state in ((0.2, "small"), (0.8, "small"), (0.41, "small"), (0.4, "large")):
        controller.observe(1.0, score=value)
        assert controller.plan.state == state


def test_an_evaluation_after_its_step() -> None:
    """observe(loss, score=...) is observe(loss), then evaluated(score=...), also across a resume in between."""
    curriculum = loads(written(PATIENCE))
    one, two = Controller(curriculum), Controller(curriculum)
    for i in range(9):
        decision = one.observe(1.0, score=1.0)
        assert two.observe(1.0) is None
        three = Controller(curriculum)
        three.load_state_dict(json.loads(json.dumps(two.state_dict())))
        two = three
        assert two.evaluated(score=1.0) == decision
        assert one.plan == two.plan
        assert one.state_dict() == two.state_dict()
        assert (decision is not None) == (i == 3)


def test_a_second_evaluation_of_a_step() -> None:
    """One evaluation a step: a second one is refused, and nothing is changed."""
    controller = Controller(loads(written(PATIENCE)))
    controller.observe(1.0, score=1.0)
    before = controller.state_dict()
    with pytest.raises(StepError, match="a second evaluation of step 0"):
        controller.evaluated(score=1.0)
    assert controller.state_dict() == before


def test_the_training_loss_is_no_evaluation() -> None:
    """evaluated(loss=...) is refused: an evaluation's loss has another name."""
    controller = Controller(loads(written(PATIENCE)))
    controller.observe(1.0)
    with pytest.raises(StepError, match="training loss"):
        controller.evaluated(loss=1.0)


@pytest.mark.parametrize("given", [{"eval_score": 1.0}, {"scores": 1.0}, {"SCORE": 1.0}])
def test_a_metric_under_another_name_is_said(given: dict[str, float]) -> None:
    """Kind: a guarded metric that comes under another name is said once, and stands in explain."""
    text = written(PATIENCE.replace("score", "val_score" if "eval_score" in given else "score"))
    controller = Controller(loads(text))
    said: list[dict[str, Any]] = [{**given} for _ in range(300)]
    with pytest.warns(ObservationWarning, match="never given; given so far") as told:
        assert not any(controller.observe(1.0, **one) for one in said)
    assert len(told) == 1
    assert "never given" in controller.explain()[-1]


def test_an_evaluation_without_its_metric_is_said() -> None:
    """Kind: the first evaluation that does not bring a guarded metric is told, with what did come."""
    controller = Controller(loads(written(PATIENCE)))
    controller.observe(1.0)
    with pytest.warns(ObservationWarning, match="score was never given; given so far: runtime"):
        controller.evaluated(runtime=3.0)


def test_evaluations_that_never_come_are_said() -> None:
    """Kind: a trainer that forgets to evaluate is told when two epochs are over."""
    controller = Controller(loads(written(PATIENCE)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(199):
            controller.observe(1.0)
    with pytest.warns(ObservationWarning, match="score was never given"):
        controller.observe(1.0)


def test_observing_past_the_end_is_said() -> None:
    """A step that is observed when the run is over is told once, at the next plan."""
    controller = Controller(loads(written(PATIENCE)), epochs=1, steps_per_epoch=5)
    for _ in range(6):
        controller.observe(1.0)
    with pytest.warns(ObservationWarning, match="step 5 was observed, and the run of 5 steps is over"):
        assert controller.plan.stop


REDUCE = (
    HEAD.replace("small", "train").replace('{ name = "large" }', '{ name = "done", stop = "enough" }')
    + """
[[transition]]
name = "stop-early"
from = "train"
to = "done"
at = "eval"
guards = [{ patience = { metric = "val_loss", steps = 15SINCE } }]
[[transition]]
name = "halve"
from = "train"
to = "train"
at = "eval"
guards = [{ patience = { metric = "val_loss", steps = 5 } }]
actions = [{ lr_scale = 0.5 }]
at_most = 4
"""
)


@pytest.mark.parametrize(("since", "stops"), [(', since = "run"', 16), ("", None)])
def test_a_loop_beside_a_longer_patience(since: str, stops: int | None) -> None:
    """Kind: reduce on plateau with early stopping. The best of the run is kept over the loops where that is asked."""
    controller = Controller(loads(REDUCE.replace("SINCE", since)))
    ended = None
    for n in range(1, 81):
        controller.observe(1.0, val_loss=1.0 if n == 1 else 2.0 - 0.001 * n)
        if controller.plan.stop and ended is None:
            ended = n
    assert ended == stops
    codes = [finding.code for finding in verify(bind(loads(REDUCE.replace("SINCE", since)))).findings]
    assert ("loop-forgets" in codes) == (not since)


@pytest.mark.parametrize("guard", ["plateau = { metric = \"score\", window = 6, threshold = 0.02, per = \"1 epoch\" }",
                                   "plateau = { metric = \"score\", method = \"trend\", per = \"100 steps\" }",
                                   "gap = { metric = \"score\", over = \"1 epoch\", value = 0.1 }"])  # fmt: skip
def test_time_on_a_metric_without_every(guard: str) -> None:
    """Kind: an amount of time in a guard on evaluations is refused, with the advice to say how often they come."""
    with pytest.raises(CurriculumError, match="every"):
        loads(written("{ " + guard + " }"))
    loads(written("{ " + guard + " }", '[metric.score]\nevery = "1 epoch"'))


def test_a_threshold_per_epoch_on_evaluations() -> None:
    """Six evaluations, an epoch apart, each 1 % better than the last, are flat under 2 % per epoch: 6 % in a window."""
    guard = '{ plateau = { metric = "score", window = 6, threshold = 0.02, per = "1 epoch" } }'
    controller = Controller(loads(written(guard, '[metric.score]\nevery = "1 epoch"')))
    taken = None
    for step in range(1000):
        given: dict[str, Any] = {"score": 2.1 * 0.99 ** (step // 100)} if step % 100 == 99 else {}
        taken = taken or controller.observe(1.0, **given)
    assert taken is not None
    assert taken.step == 600
    assert "flat under 6 %" in taken.guards[1]


def test_a_misspelt_metric_is_a_fault() -> None:
    """Once one metric is declared, each that a guard names must be: a near miss is suggested."""
    with pytest.raises(CurriculumError, match='Did you mean "val_accuracy"'):
        loads(written('{ below = { metric = "val_acuracy", value = 1.0 } }', "[metric.val_accuracy]"))


def test_mode_max_is_answered() -> None:
    """Kind: who writes mode = "max" into a guard is told where the direction is said."""
    with pytest.raises(CurriculumError, match='goal = "max" in its'):
        loads(written('{ patience = { metric = "score", steps = 3, mode = "max" } }'))


def test_check_on_a_score_without_a_goal() -> None:
    """Kind: a metric that sounds like a score, and is taken as a loss, is a warning of check."""
    codes = [finding.code for finding in verify(bind(loads(written(PATIENCE)))).findings]
    assert "score-as-loss" in codes
