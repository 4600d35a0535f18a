"""Plain PyTorch: what the hooks of the optimizer see, and wrong use that gets a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from plateau_rule import Binding, Controller, loads
from plateau_rule.adapters.errors import WiringError, WiringWarning
from plateau_rule.adapters.pytorch import PlateauRule

CURRICULUM = loads("""
name  = "by-loss"
lr    = { peak = 0.01, shape = "constant" }
state = [{ name = "first" }, { name = "second", lr = { peak = 0.5 } }]

[[transition]]
from    = "first"
to      = "second"
guards  = [{ below = { value = 2.0 } }]
actions = ["reset_optimizer", "checkpoint"]
""")


def controller() -> Controller:
    """One for twenty steps."""
    return Controller(CURRICULUM, Binding(epochs=2, steps_per_epoch=10))


def model_and_optimizer(**said: Any) -> tuple[nn.Linear, torch.optim.AdamW]:
    """A model with two groups whose rates are 1 to 10, and momentum."""
    model = nn.Linear(2, 1)
    groups = [{"params": [model.weight], "lr": 0.05}, {"params": [model.bias], "lr": 0.5}]
    return model, torch.optim.AdamW(groups, **said)


def learn(model: nn.Linear) -> Tensor:
    """A loss, and its gradients."""
    model.zero_grad()
    loss: Tensor = model(torch.ones(3, 2)).square().mean()
    torch.autograd.backward(loss)
    return loss.detach()


def test_the_rate_is_set_as_the_optimizer_steps() -> None:
    """Inside every step the rates are the plan's, those of a transition on the very next step."""
    model, optimizer = model_and_optimizer()
    rule, rates = PlateauRule(optimizer, controller()), []
    optimizer.register_step_pre_hook(lambda *_: rates.append([group["lr"] for group in optimizer.param_groups]))
    for loss in (3.0, 1.0, 3.0):
        learn(model)
        optimizer.step()
        result = rule.observe(loss)
        assert bool(result.decision) == (loss == 1.0)
        assert [str(request) for request in result.requests] == (
            ["reset_optimizer", "checkpoint"] if loss == 1.0 else []
        )
        assert bool(optimizer.state) == (loss != 1.0)  # reset_optimizer is carried out
    assert rates == [[0.001, 0.01], [0.001, 0.01], [0.0005, 0.005]]


def test_a_rate_that_is_a_tensor() -> None:
    """A rate that is a tensor stays that tensor, since a compiled optimizer has read it."""
    parameter = nn.Parameter(torch.ones(1))
    rate = torch.tensor(0.5)
    optimizer = torch.optim.Adam([parameter], lr=rate)
    PlateauRule(optimizer, controller()).start()
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.01)


class CountingSGD(torch.optim.SGD):
    """An optimizer of one's own, which steps by the class above it."""

    def step(self, closure: Any = None) -> Any:
        """Step, as SGD does."""
        return super().step(closure)


def test_an_optimizer_whose_step_calls_torchs_steps_once() -> None:
    """Torch runs the hooks of both classes once the class above was used by itself; it is one step all the same."""
    torch.optim.SGD([nn.Parameter(torch.ones(1))])
    model = nn.Linear(2, 1)
    optimizer = CountingSGD(model.parameters(), lr=0.01)
    rule = PlateauRule(optimizer, controller())
    for step in range(2):
        learn(model)
        optimizer.step()
        assert rule.observe(3.0).plan.step == step


def test_a_scheduler_that_was_left_in_is_named() -> None:
    """A scheduler beside the rule is named once, and the rates inside the steps are the plan's all the same."""
    model, optimizer = model_and_optimizer()
    scheduler = LambdaLR(optimizer, lambda step: 1 / (step + 1))
    rule, seen = PlateauRule(optimizer, controller()), []
    optimizer.register_step_pre_hook(lambda *_: seen.append(optimizer.param_groups[1]["lr"]))

    def step() -> None:
        learn(model)
        optimizer.step()
        rule.observe(3.0)
        scheduler.step()

    for _ in range(2):
        step()
    with pytest.warns(WiringWarning, match="something else sets it too, such as a scheduler"):
        step()
    step()
    assert seen == [0.01] * 4


@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_that_drops_a_step(fused: bool) -> None:
    """A step that a gradient scaler drops is closed as skipped, and its loss moves nothing; fused optimizers too."""
    model, optimizer = model_and_optimizer(fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    rule = PlateauRule(optimizer, controller(), scaler=scaler)
    for scale in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        loss = model(torch.ones(3, 2)).square().mean()
        torch.autograd.backward(scaler.scale(loss * scale))
        scaler.step(optimizer)
        scaler.update()
        result = rule.observe(1.0 if scale > 1 else 3.0)
        assert result.decision is None
    assert rule.plan.step == 3
    assert rule.plan.state == "first"


def test_two_optimizers() -> None:
    """Two optimizers that step together get their rates from one rule; the steps of the first count."""
    model, optimizer = model_and_optimizer()
    other = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=5.0)
    rule = PlateauRule(optimizer, controller(), others=[other])
    learn(model)
    optimizer.step()
    other.step()
    rule.observe(3.0)
    assert [group["lr"] for group in rule.groups] == pytest.approx([0.0001, 0.001, 0.01])


def rule_and_step() -> tuple[PlateauRule, nn.Linear, torch.optim.AdamW]:
    """A rule at work, after one step."""
    model, optimizer = model_and_optimizer()
    rule = PlateauRule(optimizer, controller())
    learn(model)
    optimizer.step()
    rule.observe(3.0)
    return rule, model, optimizer


def close_each_micro_batch() -> None:
    """Observe a micro-batch whose optimizer step is still to come."""
    rule, model, _ = rule_and_step()
    rule.observe(learn(model))


def close_too_seldom() -> None:
    """Step twice before one close."""
    rule, model, optimizer = rule_and_step()
    for _ in range(2):
        learn(model)
        optimizer.step()
    rule.observe(3.0)


def forget_the_state() -> None:
    """Load the optimizer's checkpoint, and not the rule's."""
    _, model, optimizer = rule_and_step()
    again = torch.optim.AdamW([{"params": [parameter]} for parameter in model.parameters()])
    again.load_state_dict(optimizer.state_dict())
    rule = PlateauRule(again, controller())
    learn(model)
    again.step()
    rule.observe(3.0)


def second_rule_on_an_optimizer() -> None:
    """Make another rule for the same optimizer."""
    rule, _, optimizer = rule_and_step()
    PlateauRule(optimizer, controller())
    rule.end()


def second_rule_on_a_controller() -> None:
    """Make another rule for the same Controller."""
    rule, *_ = rule_and_step()
    PlateauRule(model_and_optimizer()[1], rule.controller)


def no_optimizer() -> None:
    """Give a list of optimizers."""
    PlateauRule([model_and_optimizer()[1]], controller())  # type: ignore[arg-type]


def a_loss_for_each_row() -> None:
    """Give a loss that was not reduced."""
    rule, model, optimizer = rule_and_step()
    learn(model)
    optimizer.step()
    rule.observe(torch.ones(3))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (close_each_micro_batch, "the optimizer has not stepped since.*give the loss of a micro-batch to micro"),
        (close_too_seldom, "the optimizer has stepped 2 times"),
        (forget_the_state, r"the optimizer has taken 1 steps.*Call load_state_dict.*adopt\(step=1\)"),
        (second_rule_on_an_optimizer, "a PlateauRule is at work on this optimizer already"),
        (second_rule_on_a_controller, "a PlateauRule is at work on this Controller already"),
        (no_optimizer, "a list is no optimizer of torch's"),
        (a_loss_for_each_row, "the loss of a micro-batch has 3 elements"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_wrong_use_gets_a_sentence(wrong: Any, sentence: str) -> None:
    """Each of these is refused where it happens, in a sentence that says what to do."""
    with pytest.raises(WiringError, match=sentence):
        wrong()


def test_end_lets_go() -> None:
    """After `end`, optimizer and Controller are free for another rule, and the rates are left alone."""
    rule, _, optimizer = rule_and_step()
    rule.end()
    optimizer.param_groups[0]["lr"] = 7.0
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 7.0
    PlateauRule(optimizer, rule.controller)


@pytest.mark.parametrize("sized", [True, False])
def test_epochs_that_the_loader_closes(sized: bool) -> None:
    """Where nobody knows how long an epoch is, `batches` closes each with the loader's last batch, and ends the run."""
    curriculum = loads("""
name  = "three-epochs"
run   = { epochs = 3 }
lr    = { peak = 0.01, shape = "constant" }
state = [{ name = "only" }]
""")
    model, optimizer = model_and_optimizer()
    rule, epochs = PlateauRule(optimizer, Controller(curriculum)), []
    data = [1, 2, 3]

    class Unsized:
        def __iter__(self) -> Any:
            return iter(data)

    for batch in rule.batches(data if sized else Unsized()):
        epochs.append((rule.plan.epoch, batch))
        learn(model)
        optimizer.step()
        rule.observe(3.0)
    assert epochs == [(epoch, batch) for epoch in range(3) for batch in data]
    assert rule.stop == "the run of 3 epochs is over"
    with pytest.raises(WiringError, match="the loader has no batch"):
        next(PlateauRule(model_and_optimizer()[1], controller()).batches([]))


def test_a_run_folder_goes_on(tmp_path: Path) -> None:
    """A run that goes on at an earlier step has its later rows cut off; a new one does not overwrite it."""
    model, optimizer = model_and_optimizer()
    rule, saved = PlateauRule(optimizer, controller(), out=tmp_path / "run"), {}
    for step, loss in enumerate((3.0, 3.0, 1.0, 3.0)):
        if step == 2:
            saved = rule.state_dict()
        learn(model)
        optimizer.step()
        rule.observe(loss)
    rule.end()
    metrics, decisions = ((tmp_path / "run" / f"{name}.jsonl").read_text() for name in ("metrics", "decisions"))
    assert (metrics.count("\n"), decisions.count("\n")) == (4, 1)
    resumed = PlateauRule(optimizer, controller(), out=tmp_path / "run")
    resumed.load_state_dict(saved)
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == "".join(metrics.splitlines(keepends=True)[:2])
    assert (tmp_path / "run" / "decisions.jsonl").read_text() == ""
    resumed.end()
    with pytest.raises(Exception, match="holds a run already"):
        PlateauRule(optimizer, controller(), out=tmp_path / "run").start()
