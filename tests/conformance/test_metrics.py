"""Metrics that come with the loss: in every adapter, the mean of a step's values decides in that step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from plateau_rule import loads
from plateau_rule.adapters.errors import WiringWarning
from plateau_rule.adapters.pytorch import PlateauRule
from plateau_rule.controller.errors import ObservationWarning

pytestmark = pytest.mark.filterwarnings("ignore", f"error::{WiringWarning.__module__}.{WiringWarning.__qualname__}")
BY_METRIC = """
name   = "by-metric"
lr     = {{ peak = 0.1, shape = "constant" }}
metric = {{ {name} = {{ at = "{at}" }} }}
state  = [{{ name = "first" }}, {{ name = "second" }}]

[[transition]]
from   = "first"
to     = "second"
at     = "{at}"
guards = [{{ above = {{ metric = "{name}", value = {value} }} }}]
"""
ACCURACIES = (0.1, 0.3, 0.2, 0.5, 0.6, 0.6, 0.9, 0.7)
"""Of micro-batches; the mean of two exceeds 0.5 in the third step for the first time."""


def told(folder: Path) -> tuple[list[float], list[int]]:
    """What a run folder says: the metric at each step, and the first steps of the decisions."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    decisions = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    return [row["accuracy"] for row in rows if "accuracy" in row], [row["step"] for row in decisions]


def curriculum(name: str = "accuracy", at: str = "step", value: float = 0.5) -> Any:
    """A curriculum that moves on a metric."""
    return loads(BY_METRIC.format(name=name, at=at, value=value))


EXPECTED = ([0.2, 0.35, 0.6, 0.8], [3])


def rounded(folder: Path) -> tuple[list[float], list[int]]:
    """What a run folder says, without what float32 adds."""
    values, decisions = told(folder)
    return [round(value, 6) for value in values], decisions


class Accurate(nn.Module):
    """A model with a loss, and the accuracy of each of its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.given = 0

    def forward(self, row: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """The loss, whose gradient is 3."""
        self.given += 1
        return {"loss": 3 * self.weight, "accuracy": torch.tensor([ACCURACIES[self.given - 1]])}


def data() -> Any:
    """As many rows as there are accuracies."""
    return [{"row": torch.tensor(number)} for number in range(len(ACCURACIES))]


def test_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    """`micro` takes a micro-batch's, `close` and `observe` a step's."""
    model = Accurate()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rule = PlateauRule(optimizer, curriculum(), accumulation=2, out=tmp_path)
    for number, batch in enumerate(data(), 1):
        given = model(**batch)
        rule.micro(given["loss"], accuracy=given["accuracy"], nobody_asks=object())
        if number % 2 == 0:
            optimizer.step()
            rule.close()
    rule.end()
    assert rounded(tmp_path) == EXPECTED
    rule = PlateauRule(optimizer, curriculum())
    for accuracy in (0.5, 0.6):
        optimizer.step()
        assert (rule.observe(1.0, accuracy=accuracy).decision is None) == (accuracy == 0.5)
    rule.end()


def test_a_metric_that_comes_at_epochs() -> None:
    """The mean of what came in an epoch is observed where the epoch ends."""
    model = Accurate()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rule = PlateauRule(optimizer, curriculum(at="epoch"))
    decisions = []
    for number, accuracy in enumerate([0.9, 0.0, 0.5, 0.7]):
        optimizer.step()
        decisions.append(rule.observe(1.0, accuracy=accuracy, epoch_end=number % 2 == 1).decision)
    assert [decision is not None for decision in decisions] == [False, False, False, True]


def test_one_that_never_comes_is_said_at_the_first_step() -> None:
    """A guard that asks for a metric that is not given waits for nothing; it is said once, with what was given."""
    model = Accurate()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rule = PlateauRule(optimizer, curriculum())
    optimizer.step()
    with pytest.warns(ObservationWarning, match="accuracy was never given; given so far: no metric"):
        rule.observe(1.0)
    optimizer.step()
    rule.observe(1.0)


def trained_by_transformers(folder: Path, curriculum: Any, **arguments: Any) -> Any:
    """Train four steps of two micro-batches with the Trainer of transformers; the callback."""
    pytest.importorskip("transformers")
    from transformers import Trainer, TrainingArguments

    from plateau_rule.adapters.transformers import CurriculumCallback

    callback = CurriculumCallback(curriculum, out=folder / "run")

    class Measuring(Trainer):
        """Gives the accuracy where the loss is made."""

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            given = model(**inputs)
            callback.rule.metrics({"Accuracy": given["accuracy"]})
            return (given["loss"], given) if return_outputs else given["loss"]

    said: dict[str, Any] = {
        "per_device_train_batch_size": 1, "num_train_epochs": 1, "gradient_accumulation_steps": 2, "use_cpu": True,
        "report_to": [], "disable_tqdm": True, "save_strategy": "no", "remove_unused_columns": False,
    }  # fmt: skip
    trainer = Measuring(
        Accurate(), TrainingArguments(str(folder), **said | arguments), train_dataset=data(), callbacks=[callback]
    )
    trainer.model_accepts_loss_kwargs = False
    trainer.train()
    assert "clip_grad_norm_" not in vars(trainer.accelerator)
    return callback


def test_in_transformers(tmp_path: Path) -> None:
    """A metric is given to the callback's rule where the loss is computed."""
    trained_by_transformers(tmp_path, curriculum())
    assert rounded(tmp_path / "run") == EXPECTED


@pytest.mark.parametrize("limit", [1.0, 0.0])
def test_the_gradients_norm_in_transformers(limit: float, tmp_path: Path) -> None:
    """`grad_norm` comes by itself, before it is clipped, and is that of the step."""
    callback = trained_by_transformers(tmp_path, curriculum("grad_norm", value=2.5), max_grad_norm=limit)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    if limit or "grad_norm" in rows[0]:  # older releases ask for no norm where they don't clip
        assert [row["grad_norm"] for row in rows] == [3.0] * 4
        assert callback.rule.plan.state == "second"


def test_in_lightning(tmp_path: Path) -> None:
    """What the module logs is taken, over the step's micro-batches; a norm that is logged once counts once."""
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    from plateau_rule.adapters.lightning import CurriculumCallback

    class Module(LightningModule):
        """Logs an accuracy and a norm."""

        def __init__(self) -> None:
            super().__init__()
            self.model = Accurate()

        def training_step(self, batch: Any, number: int) -> Any:
            """The model's loss."""
            given = self.model(**batch)
            self.log_dict({"accuracy": given["accuracy"][0], "other": 1.0}, batch_size=1)
            return given["loss"]

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            """The norm, as one may log it."""
            gradient = self.model.weight.grad
            assert gradient is not None
            self.log("grad_norm", gradient.norm())

        def configure_optimizers(self) -> Any:
            """Some optimizer."""
            return torch.optim.SGD(self.parameters(), lr=0.1)

    said: dict[str, Any] = {
        "max_epochs": 1, "accelerator": "cpu", "accumulate_grad_batches": 2, "logger": False,
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    loader: DataLoader[Any] = DataLoader(data(), batch_size=1)
    module = Module()
    Trainer(callbacks=[CurriculumCallback(curriculum(), out=tmp_path / "run")], **said).fit(module, loader)
    assert rounded(tmp_path / "run") == EXPECTED
    assert "log" not in vars(module)
    callback = CurriculumCallback(curriculum("grad_norm", value=2.5))
    Trainer(callbacks=[callback], **said).fit(Module(), loader)
    assert callback.rule.plan.state == "second"
