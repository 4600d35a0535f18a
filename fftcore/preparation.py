"""What a run is put together from before its first step: controller, checkpoints, and what is trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.fftcore.binding import RunOptions, bind_to_trainer
from plateau_rule.fftcore.config import steps_between
from plateau_rule.fftcore.errors import CheckpointError, RunError
from plateau_rule.fftcore.ranks import World
from plateau_rule.fftcore.record import CURVE, SUMMARY, Record
from plateau_rule.fftcore.storage import Disk
from plateau_rule.sim.run_files import RECORD

if TYPE_CHECKING:
    from plateau_rule.fftcore.checkpoint import Checkpoints, Commit
    from plateau_rule.fftcore.data import Text
    from plateau_rule.fftcore.learner import Learner


def bind_record(record: Record, curriculum: Curriculum, asked: RunOptions) -> Controller:
    """Return the controller of a run, at its beginning."""
    run = record.bound
    return bind_to_trainer(curriculum, record.config, run.epochs, run.steps_per_epoch, run.peak, run.lag, asked.ranks)


def open_checkpoints(
    record: Record, written: Record | None, controller: Controller, asked: RunOptions, disk: Disk
) -> tuple[Checkpoints, Commit | None]:
    """Return the run's checkpoints, and the one to go on from, if there is one."""
    from plateau_rule.fftcore.checkpoint import CHECKPOINTS, Checkpoints
    from plateau_rule.fftcore.state import refuse_another_run

    checkpoints = Checkpoints(asked.out / CHECKPOINTS, steps_between(record.config.save_every), disk, asked.keep)
    commit = None if written is None else checkpoints.newest()
    if commit is not None:
        refuse_another_run(commit, written or record)
    elif written is not None:
        _refuse_lost_checkpoints(record, controller, asked, checkpoints.folder)
    return checkpoints, commit


def _refuse_lost_checkpoints(record: Record, controller: Controller, asked: RunOptions, folder: Path) -> None:
    """Refuse to begin a run again that has left something behind: its logs would be overwritten."""
    from plateau_rule.fftcore.train import LOGS

    if controller.fingerprint != record.fingerprint and asked.on_change == "refuse":
        raise RunError(f"{asked.out}: was begun under another curriculum. Resume with {asked.out}/curriculum.toml")
    left = [name for name in (*LOGS, SUMMARY, CURVE) if os.path.lexists(asked.out / name)]
    left = [name for name in left if name not in LOGS or (asked.out / name).lstat().st_size]
    if left or record.resumed:
        raise CheckpointError(
            f"{folder}: there is no checkpoint, and by {' and '.join(left) or RECORD} the run had some. Put them back "
            "from a copy, or begin a new run with another --out; nothing was touched"
        )


def make_learner(
    record: Record, text: Text, asked: RunOptions, commit: Commit | None, resume: bool, world: World
) -> tuple[Learner, str | None]:
    """Return what is trained, and what is to be said about its threads."""
    import torch

    from plateau_rule.fftcore.checkpoint import read_commit
    from plateau_rule.fftcore.device import device_of, take_threads
    from plateau_rule.fftcore.learner import Learner

    goes_on = resume or world.size > 1
    device = device_of(record, asked.device, world.size) if goes_on else torch.device(record.device)
    threads = take_threads(record, device, world.size)
    learner = Learner(record.config, text, record.seed, device, record.heads_only, world)
    if record.backbone is not None and commit is None:
        backbone = world.share_commit(read_commit(Path(record.backbone)) if world.writes else None)
        if backbone is not None:
            _take_backbone(learner, backbone)
    return learner, threads


def _take_backbone(learner: Learner, commit: Commit) -> None:
    """Put the weights of a commit into a learner, but for its chunk head, which begins anew, of whatever size."""
    from plateau_rule.fftcore.tensors import unpack_weights

    unpack_weights(commit, learner.model, but="chunk_head.")
