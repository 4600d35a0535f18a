"""Finds and reads what was trained: the newest whole commit of a run, that of a step, or an export.

Nothing is written, and no lock is taken: a run that is still going on can be read.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch
from pydantic import ValidationError

from plateau_rule.fftcore.checkpoint import MANIFEST, STATE, Checkpoints, Commit, read_commit
from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.errors import CheckpointError, RunError
from plateau_rule.fftcore.export import CONFIG, EXPORTED, read_export
from plateau_rule.fftcore.record import holds_run, read_record
from plateau_rule.fftcore.sealed import first_fault
from plateau_rule.fftcore.spectral import BINS
from plateau_rule.fftcore.state import config_of, refuse_another_run, state_of
from plateau_rule.fftcore.storage import Disk
from plateau_rule.fftcore.tensors import WEIGHTS, read_tensors
from plateau_rule.fftcore.trained import ModelKnobs, Trained, load_model
from plateau_rule.sim.run_files import RECORD

CHECKPOINTS = "checkpoints"
ATTEMPTS = 3  # a run that is going on may remove a commit while it is read; it has a newer one then


def read_trained(path: Path, step: int | None = None, device: torch.device | None = None) -> Trained:
    """Read what was trained.

    Args:
        path: a run's folder, its checkpoints', a commit's own, or an export.
        step: which commit of a run; None takes the newest that is whole.
        device: where the model is to compute; the CPU by default.

    Raises:
        CheckpointError: there is none that can be used.
    """
    if _is_export(path):
        trained = read_export(path)
        if step not in (None, trained.step):
            raise CheckpointError(f"{path}: is an export of step {trained.step}, and not of {step}")
    else:
        trained = trained_of(*read_commit_in(path, step))
    if device is not None:
        trained.model.to(device)
    return trained


def _is_export(path: Path) -> bool:
    """Return whether a folder may be an export, whole or damaged: it holds a file of one, and no run."""
    holds = {name: os.path.lexists(path / name) for name in (CONFIG, EXPORTED, RECORD, CHECKPOINTS, MANIFEST)}
    return (holds[CONFIG] or holds[EXPORTED]) and not (holds[RECORD] or holds[CHECKPOINTS] or holds[MANIFEST])


def read_commit_in(path: Path, step: int | None = None) -> tuple[Commit, tuple[str, ...]]:
    """Read the newest whole commit at a path, or that of a step.

    Args:
        path: a run's folder, its checkpoints', or a commit's own.
        step: which commit; None takes the newest that is whole.

    Returns:
        The commit, and what was passed over.

    Raises:
        CheckpointError: there is none, or it is another run's than the folder's.
    """
    commit, passed_over = _find_commit(path, step)
    _refuse_strange(commit)
    return commit, passed_over


def _find_commit(path: Path, step: int | None) -> tuple[Commit, tuple[str, ...]]:
    if os.path.lexists(path / MANIFEST):
        commit = read_commit(path.absolute())  # whose name says its step, wherever we are
        if step not in (None, commit.step):
            raise CheckpointError(f"{path}: is the checkpoint of step {commit.step}, and not of {step}")
        return commit, ()
    folder = path / CHECKPOINTS if os.path.lexists(path / CHECKPOINTS) else path
    checkpoints = Checkpoints(folder, 1, Disk())
    steps = checkpoints.steps()
    if not steps:
        raise CheckpointError(_nothing_in(path))
    if step is None:
        return _newest(checkpoints)
    if step not in steps:
        has = ", ".join(str(step) for step in steps)
        raise CheckpointError(f"{path}: has no checkpoint of step {step}; it has those of {has}")
    return read_commit(checkpoints.path(step)), ()


def _refuse_strange(commit: Commit) -> None:
    """Raise CheckpointError where a commit lies in the folder of a run, and is another's."""
    checkpoints = commit.path.absolute().parent
    if checkpoints.name == CHECKPOINTS and holds_run(checkpoints.parent):
        with suppress(RunError):  # a commit says all that it takes to use it, whatever became of the record
            refuse_another_run(commit, read_record(checkpoints.parent))


def _newest(checkpoints: Checkpoints) -> tuple[Commit, tuple[str, ...]]:
    for _ in range(ATTEMPTS - 1):
        steps = checkpoints.steps()
        with suppress(CheckpointError):
            if (commit := checkpoints.newest()) and not checkpoints.passed_over:
                return commit, ()
        if checkpoints.steps() == steps:
            break
    if commit := checkpoints.newest():
        return commit, tuple(checkpoints.passed_over)
    raise CheckpointError(f"{checkpoints.folder}: its checkpoints were removed while they were read")


def _nothing_in(path: Path) -> str:
    if not path.is_dir():
        return f"{path}: {'is no folder' if path.exists() else 'does not exist'}. Name the folder of a run"
    if os.path.lexists(path / RECORD):
        return f"{path}: the run has no checkpoint yet; its first is written when training begins"
    return f"{path}: holds no run of `plateau train`: neither {RECORD} nor {CHECKPOINTS}. Name the folder of one"


def trained_of(commit: Commit, passed_over: tuple[str, ...] = ()) -> Trained:
    """Build the model of a commit.

    Raises:
        CheckpointError: it is not what a run of ours saves.
    """
    config = config_of(commit)
    knobs = knobs_of(commit, config.model)
    model = load_model(commit.path, config.model, knobs, read_tensors(commit, WEIGHTS))
    return Trained(model, knobs, commit.step, commit.path, passed_over)


def knobs_of(commit: Commit, shape: Model) -> ModelKnobs:
    """Read which knobs were in force; those that the curriculum does not name stand at their limits.

    Raises:
        CheckpointError: they are none that this model can have.
    """
    try:
        planned = state_of(commit).controller["plan"]["knobs"].items()
        given = {name: value for name, value in planned if name in ModelKnobs.model_fields}
        limits = {"cutoff": BINS, "kernel_taps": shape.kernel_len, "depth": shape.layers}
        knobs = ModelKnobs.model_validate(limits | given)
    except ValidationError as error:
        raise CheckpointError(f"{commit.path}: {STATE} cannot be read: knobs.{first_fault(error)}") from None
    except (KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{commit.path}: {STATE} cannot be read: it does not say which knobs are in force"
        ) from None
    if unfit := knobs.unfit(shape):
        raise CheckpointError(f"{commit.path}: {STATE} cannot be read: {unfit}")
    return knobs
