"""The Trainer of transformers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import Trainer, TrainerCallback, TrainingArguments

from plateau_rule.adapters.shapes import cut_length
from plateau_rule.adapters.transformers import CurriculumCallback
from tests.conformance.cases import ROWS, Case, curriculum_of
from tests.conformance.scripted import ScriptedModel, epoch_of, tokens
from tests.conformance.watching import RUN, WatchedSGD, rank, watched_in

CHECKPOINTS = "checkpoints"


def arguments(folder: Path, case: Case, **changed: Any) -> TrainingArguments:
    """The trainer's arguments for a case, on CPUs."""
    options: dict[str, Any] = {
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 1,
        "per_device_train_batch_size": ROWS,
        "per_device_eval_batch_size": ROWS,
        "num_train_epochs": case.epochs,
        "gradient_accumulation_steps": case.accumulation,
        "dataloader_num_workers": case.workers,
        "bf16": case.precision == "bf16",
        "save_strategy": "steps" if case.save_every else "no",
        "save_steps": case.save_every or 500,
        "eval_strategy": "steps" if case.evaluate_every else "no",
        "eval_steps": case.evaluate_every or None,
    }
    return TrainingArguments(str(folder / CHECKPOINTS), **options | changed)


def trainer_of(case: Case, folder: Path, *, callbacks: list[TrainerCallback] | None = None, **changed: Any) -> Trainer:
    """A Trainer for a case, with a curriculum, or with the callbacks that are given.

    Args:
        case: the run.
        folder: for everything that is written.
        callbacks: in place of a CurriculumCallback.
        changed: the trainer's arguments.
    """
    watched = watched_in(folder)
    model = ScriptedModel(case, watched, rank())
    own = callbacks is None
    trainer = Trainer(
        model,
        arguments(folder, case, **changed),
        train_dataset=epoch_of(case),
        eval_dataset=tokens(ROWS) if case.evaluate_every else None,
        optimizers=(WatchedSGD(model.groups(), watched, case.kill_at), None),
        callbacks=[curriculum(case, folder)] if own else callbacks,
    )
    trainer.model_accepts_loss_kwargs = False
    return trainer


def curriculum(case: Case, folder: Path | None = None) -> CurriculumCallback:
    """The callback for a case; it writes a run folder where a folder is given."""
    out = None if folder is None else folder / RUN
    return CurriculumCallback(curriculum_of(case), shape={"seq_len": cut_length}, out=out, checked=case.checked)


def newest(folder: Path) -> Path:
    """The newest checkpoint of a run."""
    return max((folder / CHECKPOINTS).glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))


def run(case: Case, folder: Path, resume: bool = False, **changed: Any) -> None:
    """Carry a case out."""
    if resume:
        case = replace(case, kill_at=None)
    trainer_of(case, folder, **changed).train(resume_from_checkpoint=str(newest(folder)) if resume else None)
