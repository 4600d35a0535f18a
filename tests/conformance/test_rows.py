"""Knobs that choose rows, in every adapter: one word, and the batch that is trained on is the plan's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, DistributedSampler

from plateau_rule import Controller, loads
from plateau_rule.adapters.errors import WiringError, WiringWarning
from plateau_rule.adapters.pytorch import PlateauRule
from plateau_rule.adapters.rows import count_rows
from tests.conformance.drivers import driver
from tests.conformance.processes import end_rank, in_processes

# What the libraries warn of is their own; what an adapter warns of is an error.
pytestmark = pytest.mark.filterwarnings("ignore", f"error::{WiringWarning.__module__}.{WiringWarning.__qualname__}")
ROWS, STEPS = 46, 30
RANKS = int(os.environ.get("WORLD_SIZE", "1"))
GROWING = loads("""
name  = "growing"
lr    = { peak = 0.1, shape = "constant" }
knob  = { batch_size = { ladder = [2, 3, 5] } }
state = [
  { name = "small", set = { batch_size = 2 } },
  { name = "medium", set = { batch_size = 3 } },
  { name = "large", set = { batch_size = 5 } },
]

[[transition]]
from   = "small"
to     = "medium"
guards = [{ below = { value = 4.8 } }]

[[transition]]
from   = "medium"
to     = "large"
at     = "epoch"
guards = [{ below = { value = 4.4 } }]
""")
ROWS_BY_KNOB: dict[str, Any] = {"batch_size": count_rows}


def loss_of(forward: int) -> float:
    """The loss of a forward pass: it falls on a straight line."""
    return 5.0 - forward / 16


class Telling(nn.Module):
    """A model that notes the rows it is trained on, and gives a prescribed loss for each forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.given: Tensor
        self.register_buffer("given", torch.zeros((), dtype=torch.int64))
        self.rows: list[list[int]] = []

    def forward(self, row: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """The loss of this forward pass."""
        self.rows.append(row.tolist())
        self.given += 1
        return {"loss": self.weight * 0 + loss_of(int(self.given) - 1)}


def data() -> list[dict[str, Tensor]]:
    """Rows that are their own numbers."""
    return [{"row": torch.tensor(number)} for number in range(ROWS)]


def with_torch(folder: Path, workers: int, accumulation: int, steps: int, resume: bool) -> Telling:
    """A loop of one's own."""
    return by_hand(folder, workers, accumulation, steps, resume, lambda *given: given)


def with_accelerate(folder: Path, workers: int, accumulation: int, steps: int, resume: bool) -> Telling:
    """The same loop, and what Accelerate has prepared for it."""
    from accelerate import Accelerator

    return by_hand(folder, workers, accumulation, steps, resume, Accelerator(cpu=True).prepare)


def by_hand(
    folder: Path, workers: int, accumulation: int, steps: int, resume: bool, prepare: Callable[..., Any]
) -> Telling:
    """A loop whose optimizer and loader are prepared in some way."""
    model = Telling()
    rows: Any = data()
    order: Any = DistributedSampler(rows, seed=3) if distributed.is_initialized() else None
    loader: Any = DataLoader(rows, shuffle=order is None, sampler=order, num_workers=workers)
    optimizer, loader = prepare(torch.optim.SGD(model.parameters(), lr=0.5), loader)
    rule = PlateauRule(optimizer, GROWING, rows=ROWS_BY_KNOB, accumulation=accumulation, out=folder / "run")
    checkpoint = folder / "checkpoint.pt"
    if resume:
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        rule.load_state_dict(saved["rule"])
    for number, batch in enumerate(rule.batches(loader), 1):
        loss = model(**batch)["loss"]
        loss.backward()
        rule.micro(loss)
        if number % accumulation == 0:
            optimizer.step()
            rule.close()
            if rule.plan.step == steps:
                break
    torch.save({"model": model.state_dict(), "rule": rule.state_dict()}, checkpoint)
    rule.end()
    return model


def with_transformers(folder: Path, workers: int, accumulation: int, steps: int, resume: bool) -> Telling:
    """The Trainer of transformers."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from plateau_rule.adapters.transformers import CurriculumCallback

    class Until(TrainerCallback):
        """Ends a run early, and saves it."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            control.should_training_stop = control.should_save = state.global_step == steps
            return control

    model = Telling()
    arguments = TrainingArguments(
        str(folder / "checkpoints"),
        max_steps=STEPS,
        gradient_accumulation_steps=accumulation,
        dataloader_num_workers=workers,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        remove_unused_columns=False,
    )
    callback = CurriculumCallback(GROWING, rows=ROWS_BY_KNOB, out=folder / "run")
    trainer = Trainer(model, arguments, train_dataset=data(), callbacks=[callback, Until()])
    trainer.model_accepts_loss_kwargs = False
    checkpoints = sorted((folder / "checkpoints").glob("checkpoint-*")) if resume else [None]
    trainer.train(resume_from_checkpoint=None if checkpoints[-1] is None else str(checkpoints[-1]))
    return model


def with_lightning(folder: Path, workers: int, accumulation: int, steps: int, resume: bool) -> Telling:
    """The Trainer of Lightning."""
    from lightning.pytorch import LightningModule, Trainer

    from plateau_rule.adapters.lightning import CurriculumCallback

    class Module(LightningModule):
        """The model in a module."""

        def __init__(self) -> None:
            super().__init__()
            self.model = Telling()

        def training_step(self, batch: Any, number: int) -> Any:
            """The model's loss."""
            return self.model(**batch)["loss"]

        def validation_step(self, batch: Any, number: int) -> None:
            """Nothing: validation has a loader of its own, which stays as it is."""
            assert len(batch["row"]) == (7 if RANKS == 1 else 4)

        def configure_optimizers(self) -> Any:
            """Some optimizer."""
            return torch.optim.SGD(self.parameters(), lr=0.5)

    module = Module()
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=RANKS,
        strategy="ddp" if RANKS > 1 else "auto",
        accumulate_grad_batches=accumulation,
        callbacks=[CurriculumCallback(GROWING, rows=ROWS_BY_KNOB, out=folder / "run")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
        default_root_dir=folder,
    )
    loader: DataLoader[Any] = DataLoader(data(), shuffle=True, num_workers=workers)  # type: ignore[arg-type]
    evaluation: DataLoader[Any] = DataLoader(data()[:7], batch_size=7)  # type: ignore[arg-type]
    checkpoint = folder / "checkpoint.ckpt"
    trainer.fit(module, loader, evaluation, ckpt_path=str(checkpoint) if resume else None)
    trainer.save_checkpoint(checkpoint)
    return module.model


RUN: dict[str, Callable[[Path, int, int, int, bool], Telling]] = {
    "pytorch": with_torch,
    "accelerate": with_accelerate,
    "transformers": with_transformers,
    "lightning": with_lightning,
}
adapters = pytest.mark.parametrize("adapter", RUN)


def carried_out(adapter: str, folder: Path, workers: int, accumulation: int, steps: int, resume: bool = False) -> Any:
    """Run an adapter; the rows of each micro-batch."""
    driver(adapter)  # skips or fails where it is not installed
    torch.manual_seed(5 + (resume and adapter != "accelerate"))  # its sampler is seeded by torch's own seed
    return RUN[adapter](folder, workers, accumulation, steps, resume).rows


def truth_of(rows: list[list[int]], accumulation: int, lead: int) -> tuple[list[int], list[tuple[int, str]]]:
    """What a bare Controller plans and decides, given the losses, and the epochs that such rows make.

    Returns:
        The batch size of each step, and each decision: its step and the state that was entered.
    """
    controller = Controller(GROWING, lead={"batch_size": lead} if lead else None)
    sizes, decisions, taken = [], [], 0
    for step in range(len(rows) // accumulation):
        micros = range(step * accumulation, (step + 1) * accumulation)
        sizes.append(int(controller.plan.knobs["batch_size"]))
        taken += sum(len(rows[micro]) for micro in micros)
        ends = ROWS - taken < accumulation
        taken = 0 if ends else taken
        decision = controller.observe(sum(map(loss_of, micros)) / accumulation, epoch_end=ends)
        decisions += [] if decision is None else [(decision.step, decision.to_state)]
    return sizes, decisions


@adapters
@pytest.mark.parametrize(("workers", "accumulation"), [(0, 1), (0, 3), (1, 1), (4, 4)])
def test_batches_have_the_plans_size(adapter: str, workers: int, accumulation: int, tmp_path: Path) -> None:
    """Each batch has the size that the plan of its step asks for; epochs are the loader's; the lead is by itself."""
    rows = carried_out(adapter, tmp_path, workers, accumulation, STEPS)
    assert len(rows) == STEPS * accumulation
    drawn = workers * 2 + (adapter == "lightning")
    sizes, decisions = truth_of(rows, accumulation, -(-drawn // accumulation))
    assert [to for _, to in decisions] == ["medium", "large"]
    folder = tmp_path / "run"
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    logged = [row for row in logged if "loss" in row]
    assert [row["knobs"]["batch_size"] for row in logged] == sizes
    told = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    assert [(row["step"], row["to"]) for row in told] == decisions
    epoch: list[int] = []
    for step, (now, following) in enumerate(pairwise([*logged, {"epoch": -1}])):
        micros = rows[step * accumulation : (step + 1) * accumulation]
        epoch += chain.from_iterable(micros)
        ends = following["epoch"] > now["epoch"]
        assert all(len(micro) == sizes[step] or (ends and len(micro) <= sizes[step]) for micro in micros)
        assert len(set(epoch)) == len(epoch)
        epoch = [] if ends else epoch


@adapters
@pytest.mark.parametrize(("workers", "accumulation"), [(0, 1), (2, 2)])
def test_resumed_inside_an_epoch(adapter: str, workers: int, accumulation: int, tmp_path: Path) -> None:
    """A run that was cut and resumed is trained on the rows of the uncut one, in their order and batches."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = carried_out(adapter, tmp_path / "whole", workers, accumulation, STEPS)
    for cut in (11, 17):
        steps = [11, 17, STEPS]
        done = carried_out(adapter, tmp_path / "cut", workers, accumulation, cut, resume=cut > 11)
        start = 0 if cut == 11 else 11
        assert done == whole[start * accumulation : cut * accumulation], steps
    rest = carried_out(adapter, tmp_path / "cut", workers, accumulation, STEPS, resume=True)
    assert rest == whole[17 * accumulation :]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [name for name in RUN if name != "accelerate"])
def test_two_ranks(adapter: str, tmp_path: Path) -> None:
    """Two processes have rows of their own, in batches of one size, and take the same decisions."""
    driver(adapter)
    in_processes(["-m", "tests.conformance.test_rows", adapter, str(tmp_path)], ranks=2)
    one, other = (json.loads((tmp_path / f"rows-{rank}.json").read_text()) for rank in range(2))
    sizes = [list(map(len, rows)) for rows in (one, other)]
    assert sizes[0] == sizes[1]
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    logged = [row for row in logged if "loss" in row]
    assert [row["knobs"]["batch_size"] for row in logged][-1] == 5
    first = [step for step, row in enumerate(logged) if row["epoch"] == 0]
    assert [len(one[step]) for step in first[:-1]] == [logged[step]["knobs"]["batch_size"] for step in first[:-1]]
    taken = [row for rows in (one, other) for step in first for row in rows[step]]
    assert {*taken} == {*range(ROWS)}
    # Accelerate fills the last of its own batches, of 8 rows, up with the first rows, so that each rank has as many.
    assert len(taken) == (48 if adapter == "transformers" else ROWS)


def test_transformers_needs_the_number_of_steps(tmp_path: Path) -> None:
    """Where a knob changes how many steps an epoch has, epochs say nothing of the run's length; so it is refused."""
    pytest.importorskip("transformers")
    from transformers import Trainer, TrainingArguments

    from plateau_rule.adapters.transformers import CurriculumCallback

    said: dict[str, Any] = {"use_cpu": True, "report_to": []}
    callback = CurriculumCallback(GROWING, rows=ROWS_BY_KNOB)
    trainer = Trainer(Telling(), TrainingArguments(str(tmp_path), **said), train_dataset=data(), callbacks=[callback])
    with pytest.raises(WiringError, match=r"batch_size changes how many steps an epoch has.*Give .* max_steps"):
        trainer.train()
    trainer = Trainer(Telling(), TrainingArguments(str(tmp_path), max_steps=9, **said), train_dataset=data())
    trainer.add_callback(CurriculumCallback(GROWING, rows=ROWS_BY_KNOB))
    with pytest.raises(WiringError, match=r"call callback.attach\(trainer\) before trainer.train"):
        trainer.train()


if __name__ == "__main__":
    name, place = sys.argv[1:]
    if name == "pytorch":
        distributed.init_process_group("gloo")
    taken = RUN[name](Path(place), 2, 1, STEPS, False).rows
    (Path(place) / f"rows-{os.environ['RANK']}.json").write_text(json.dumps(taken))
    end_rank()
