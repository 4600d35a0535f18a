"""A loop in plain PyTorch."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Subset

from plateau_rule import Binding, Controller
from plateau_rule.adapters.pytorch import PlateauRule
from tests.conformance.cases import ROWS, Case, curriculum_of
from tests.conformance.watching import RUN, ScriptedLoss, WatchedSGD, cut, rank, rows_of, watched_in


def run(case: Case, folder: Path, resume: bool = False) -> None:
    """Carry a case out."""
    if case.ranks > 1:
        distributed.init_process_group("gloo")
    watched = watched_in(folder)
    plain = ScriptedLoss(watched, case.learns)
    model = DistributedDataParallel(plain) if case.ranks > 1 else plain
    optimizer = WatchedSGD(plain.groups(), watched, None if resume else case.kill_at)
    rule = PlateauRule(
        optimizer,
        Controller(curriculum_of(case), Binding(epochs=case.epochs, steps_per_epoch=case.steps_per_epoch)),
        shape={"seq_len": cut},
        accumulation=case.accumulation,
        out=folder / RUN,
        checked=case.checked,
    )
    checkpoint = folder / "checkpoint.pt"
    if resume:
        saved: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        rule.load_state_dict(saved["rule"])
    rows, done = rows_of(case), rule.plan.step * case.accumulation * case.ranks * ROWS
    mine = range(done + rank(), len(rows), case.ranks)
    loader: DataLoader[Any] = DataLoader(
        Subset(rows, mine),  # type: ignore[arg-type]
        batch_size=ROWS,
        num_workers=case.workers,
    )
    autocast = torch.autocast("cpu", torch.bfloat16) if case.precision == "bf16" else nullcontext()
    evaluations = iter(case.val_losses)
    for number, batch in enumerate(loader, 1):
        if rule.stop:
            break
        with autocast:
            loss = model(**rule.shape(batch))
        (loss / case.accumulation).backward()
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
            states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rule": rule.state_dict()}
            torch.save(states, checkpoint)
    rule.end()
