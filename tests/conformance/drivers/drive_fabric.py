"""A loop with Lightning's Fabric."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch.utils.data import DataLoader, Subset

from plateau_rule import Binding, Controller
from plateau_rule.adapters.pytorch import PlateauRule
from tests.conformance.cases import ROWS, Case, curriculum_of
from tests.conformance.watching import RUN, ScriptedLoss, WatchedSGD, cut, rows_of, watched_in


def run(case: Case, folder: Path, resume: bool = False) -> None:
    """Carry a case out."""
    watched = watched_in(folder)
    fabric = Fabric(
        accelerator="cpu",
        devices=case.ranks,
        strategy="ddp" if case.ranks > 1 else "auto",
        precision="bf16-mixed" if case.precision == "bf16" else "32-true",
    )
    fabric.launch()
    plain = ScriptedLoss(watched, case.learns)
    model, optimizer = fabric.setup(plain, WatchedSGD(plain.groups(), watched, None if resume else case.kill_at))
    rule = PlateauRule(
        optimizer,
        Controller(curriculum_of(case), Binding(epochs=case.epochs, steps_per_epoch=case.steps_per_epoch)),
        shape={"seq_len": cut},
        accumulation=case.accumulation,
        out=folder / RUN,
        checked=case.checked,
    )
    checkpoint, state = folder / "checkpoint.ckpt", {"model": model, "optimizer": optimizer}
    if resume:
        rule.load_state_dict(fabric.load(checkpoint, state)["rule"])
    rows, done = rows_of(case), rule.plan.step * case.accumulation * case.ranks * ROWS
    loader: Any = fabric.setup_dataloaders(
        DataLoader(
            Subset(rows, range(done, len(rows))),  # type: ignore[arg-type]
            batch_size=ROWS,
            num_workers=case.workers,
        )
    )
    evaluations = iter(case.val_losses)
    for number, batch in enumerate(loader, 1):
        if rule.stop:
            break
        loss = model(**rule.shape(batch))
        fabric.backward(loss / case.accumulation)
        rule.micro(loss)
        if number % case.accumulation:
            continue
        optimizer.step()
        optimizer.zero_grad()
        rule.close()
        step = rule.plan.step
        if case.evaluate_every and step % case.evaluate_every == 0:
            rule.evaluated(val_loss=next(evaluations))
        if case.save_every and step % case.save_every == 0:
            fabric.save(checkpoint, {**state, "rule": rule.state_dict()})
    rule.end()
