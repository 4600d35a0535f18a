"""The Trainer of Lightning."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from plateau_rule.adapters.errors import WiringWarning
from plateau_rule.adapters.lightning import CurriculumCallback
from plateau_rule.adapters.shapes import cut_length
from tests.conformance.cases import ROWS, Case, curriculum_of
from tests.conformance.scripted import ScriptedModel, epoch_of, tokens
from tests.conformance.watching import RUN, WatchedSGD, rank, watched_in

CHECKPOINTS = "checkpoints"


class ScriptedModule(LightningModule):
    """A ScriptedModel as Lightning wants it.

    Args:
        case: the run.
        folder: what happens is written there.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        super().__init__()
        self.case, self.watched = case, watched_in(folder)
        self.model = ScriptedModel(case, self.watched, rank())

    def training_step(self, batch: Any, number: int) -> Tensor:
        """The loss of a batch."""
        loss: Tensor = self.model(**batch)["loss"]
        return loss

    def validation_step(self, batch: Any, number: int, dataloader_idx: int = 0) -> None:
        """What the case prescribes for an evaluation."""
        self.log("val_loss", self.model(**batch)["loss"], batch_size=ROWS)

    def configure_optimizers(self) -> Any:
        """Watched, with two parameter groups."""
        return WatchedSGD(self.model.groups(), self.watched, self.case.kill_at)


def loader_of(case: Case) -> DataLoader[Any]:
    """The training data of an epoch."""
    return DataLoader(epoch_of(case), batch_size=ROWS, num_workers=case.workers)  # type: ignore[arg-type]


def evaluation_loader() -> DataLoader[Any]:
    """The data of an evaluation: one batch."""
    return DataLoader(tokens(ROWS), batch_size=ROWS)  # type: ignore[arg-type]


def curriculum(case: Case, folder: Path | None = None) -> CurriculumCallback:
    """The callback for a case; it writes a run folder where a folder is given."""
    out = None if folder is None else folder / RUN
    return CurriculumCallback(curriculum_of(case), shape={"seq_len": cut_length}, out=out, checked=case.checked)


def trainer_of(case: Case, folder: Path, *, callbacks: list[Any] | None = None, **changed: Any) -> Trainer:
    """A Trainer for a case, with a curriculum, or with the callbacks that are given.

    Args:
        case: the run.
        folder: for everything that is written.
        callbacks: in place of a CurriculumCallback.
        changed: the trainer's arguments.
    """
    own = [curriculum(case, folder)] if callbacks is None else callbacks
    saving = ModelCheckpoint(folder / CHECKPOINTS, "{step}", every_n_train_steps=case.save_every or None, save_top_k=-1)
    options: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": case.ranks,
        "strategy": "ddp" if case.ranks > 1 else "auto",
        "precision": "bf16-mixed" if case.precision == "bf16" else "32-true",
        "max_epochs": case.epochs,
        "accumulate_grad_batches": case.accumulation,
        "val_check_interval": case.evaluate_every * case.accumulation or None,
        "limit_val_batches": None if case.evaluate_every else 0,
        "num_sanity_val_steps": 0,
        "callbacks": [*own, saving] if case.save_every else own,
        "enable_checkpointing": bool(case.save_every),
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    return Trainer(**options | changed)


def newest(folder: Path) -> Path:
    """The newest checkpoint of a run."""
    return max((folder / CHECKPOINTS).glob("step=*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))


def fit(
    case: Case, folder: Path, trainer: Trainer, *, checkpoint: Path | None = None, loader: Any = None
) -> ScriptedModule:
    """Train a case with a trainer that was made for it."""
    module = ScriptedModule(case, folder)
    evaluated = evaluation_loader() if case.evaluate_every else None
    where = None if checkpoint is None else str(checkpoint)
    trainer.fit(module, loader_of(case) if loader is None else loader, evaluated, ckpt_path=where)
    return module


def run(case: Case, folder: Path, resume: bool = False, **changed: Any) -> None:
    """Carry a case out."""
    if resume:
        case = replace(case, kill_at=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the library warns of is its own
        warnings.simplefilter("error", WiringWarning)
        fit(case, folder, trainer_of(case, folder, **changed), checkpoint=newest(folder) if resume else None)
