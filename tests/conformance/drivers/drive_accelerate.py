"""A loop with Accelerate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.utils.data import DataLoader, Subset

from plateau_rule import Binding, Controller
from plateau_rule.adapters.pytorch import PlateauRule
from tests.conformance.cases import ROWS, Case, curriculum_of
from tests.conformance.watching import RUN, ScriptedLoss, WatchedSGD, cut, rows_of, watched_in


def run(case: Case, folder: Path, resume: bool = False) -> None:
    """Carry a case out."""
    watched = watched_in(folder)
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # several runs in one process
    accelerator = Accelerator(
        cpu=True,
        mixed_precision="bf16" if case.precision == "bf16" else "no",
        gradient_accumulation_steps=case.accumulation,
    )
    plain = ScriptedLoss(watched, case.learns)
    sgd = WatchedSGD(plain.groups(), watched, None if resume else case.kill_at)
    rows = rows_of(case)
    loader: DataLoader[Any] = DataLoader(
        Subset(rows, range(len(rows))),  # type: ignore[arg-type]
        batch_size=ROWS,
        num_workers=case.workers,
    )
    model, optimizer, loader = accelerator.prepare(plain, sgd, loader)
    rule = PlateauRule(
        optimizer,
        Controller(curriculum_of(case), Binding(epochs=case.epochs, steps_per_epoch=case.steps_per_epoch)),
        shape={"seq_len": cut},
        accumulation=case.accumulation,
        out=folder / RUN,
        checked=case.checked,
    )
    accelerator.register_for_checkpointing(rule)
    batches: Any = loader
    if resume:
        accelerator.load_state(str(folder / "checkpoint"))
        batches = accelerator.skip_first_batches(loader, rule.plan.step * case.accumulation)
    evaluations = iter(case.val_losses)
    for batch in batches:
        if rule.stop:
            break
        with accelerator.accumulate(model):
            loss = model(**rule.shape(batch))
            accelerator.backward(loss)
            rule.micro(loss)
            optimizer.step()
            optimizer.zero_grad()
        if not accelerator.sync_gradients:
            continue
        rule.close()
        step = rule.plan.step
        if case.evaluate_every and step % case.evaluate_every == 0:
            rule.evaluated(val_loss=next(evaluations))
        if case.save_every and step % case.save_every == 0:
            accelerator.save_state(str(folder / "checkpoint"))
    rule.end()
