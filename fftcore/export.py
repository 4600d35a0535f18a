"""A trained model in a folder of its own: its weights as safetensors, and a config that says what they are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal

import safetensors
import safetensors.torch
from pydantic import Field, ValidationError

from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.errors import CheckpointError, RunError, StorageError
from plateau_rule.fftcore.record import versions
from plateau_rule.fftcore.sealed import Frozen, first_fault, seal, unseal
from plateau_rule.fftcore.storage import UNFINISHED, Disk, read_file, unfinished
from plateau_rule.fftcore.tensors import copy_weights
from plateau_rule.fftcore.trained import ModelKnobs, Trained, load_model

CONFIG, EXPORTED = "config.json", "model.safetensors"
KIND: Literal["plateau-rule model"] = "plateau-rule model"
FORMAT: Literal[1] = 1
LARGEST_CONFIG_BYTES = 1 << 20


class ExportedWeights(Frozen):
    """The file of weights."""

    bytes: Annotated[int, Field(ge=0, strict=True)]
    sha256: str


class ExportConfig(Frozen):
    """What `config.json` says.

    Args:
        kind: what this folder is, for whoever finds it.
        model: the model's shape.
        knobs: that were in force, and under which it is to be used.
        step: optimizer steps that it has seen.
        weights: the file beside it.
        versions: of what wrote it.
    """

    kind: Literal["plateau-rule model"] = KIND
    format: Literal[1] = FORMAT
    model: Model
    knobs: ModelKnobs
    step: Annotated[int, Field(ge=0, strict=True)]
    weights: ExportedWeights
    versions: dict[str, str]


def write_export(trained: Trained, folder: Path, disk: Disk) -> int:
    """Write an export: into a new or an empty folder, or in place of another export.

    Args:
        trained: what is exported.
        folder: where to; a new one is there whole, or not at all.
        disk: what writes.

    Returns:
        Bytes of weights.

    Raises:
        RunError: the folder holds something else; nothing in it was touched.
        StorageError: the disk refused.
    """
    replaces = _refuse_another(folder)
    weights = safetensors.torch.save(copy_weights(trained.model))
    config = ExportConfig(
        model=trained.model.shape,
        knobs=trained.knobs,
        step=trained.step,
        weights=ExportedWeights(bytes=len(weights), sha256=hashlib.sha256(weights).hexdigest()),
        versions=versions(),
    )
    files = {EXPORTED: weights, CONFIG: seal(config.model_dump(mode="json"))}
    try:
        if replaces:  # cut off in between, it is an export whose weights are not those that its config names
            for name, content in files.items():
                disk.replace_file(folder / name, content)
        else:
            _write_new(folder, files, disk)
    except StorageError as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
        raise StorageError(f"{folder}: cannot be written: {reason}. Name another folder by --out") from None
    return len(weights)


def _write_new(folder: Path, files: dict[str, bytes], disk: Disk) -> None:
    """Write a folder beside its place, and rename it into that."""
    folder = Path(os.path.realpath(folder))
    beside = folder.with_name(f".{folder.name}{UNFINISHED}")
    disk.remove(beside)
    disk.make_folder(beside)
    for name, content in files.items():
        disk.write_file(beside / name, content)
    disk.sync_folder(beside)
    disk.rename_folder(beside, folder)


def _refuse_another(folder: Path) -> bool:
    """Refuse a place that holds anything but an export of ours; return whether it holds one.

    Raises:
        RunError: it does.
    """
    if not os.path.lexists(folder):
        return False
    if not folder.is_dir():
        what = "a link to nowhere" if folder.is_symlink() else "a file"
        raise RunError(f"{folder}: is {what}, and an export is a folder. Name another by --out")
    names = {entry.name for entry in folder.iterdir()}
    if not names:
        return False
    left = {unfinished(Path(name)).name for name in (CONFIG, EXPORTED)}  # by a replacement that was cut off
    if strange := sorted(names - {CONFIG, EXPORTED} - left):
        raise RunError(
            f"{folder}: holds files that are no export ({', '.join(strange[:3])}{', …' if len(strange) > 3 else ''}). "
            "Name a new folder by --out; nothing in it was touched"
        )
    try:
        _read_config(folder)
    except CheckpointError as error:
        raise RunError(f"{error}. It is not written over: name a new folder by --out") from None
    return True


def read_export(folder: Path | str) -> Trained:
    """Read an export, every byte of it verified.

    Args:
        folder: that `plateau export` wrote.

    Raises:
        CheckpointError: it is none, damaged, or of another program.
    """
    folder = Path(folder)
    config = _read_config(folder)
    path = folder / EXPORTED
    try:
        content = read_file(path, config.weights.bytes)
        if len(content) != config.weights.bytes or hashlib.sha256(content).hexdigest() != config.weights.sha256:
            raise ValueError(f"it is not the file that {CONFIG} names: its SHA-256 differs")
        tensors = safetensors.torch.load(content)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}. Export the run again") from None
    except (ValueError, MemoryError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: damaged: {error}. Export the run again") from None
    return Trained(load_model(path, config.model, config.knobs, tensors), config.knobs, config.step, folder)


def _read_config(folder: Path) -> ExportConfig:
    path = folder / CONFIG
    try:
        content = unseal(read_file(path, LARGEST_CONFIG_BYTES))
        if content.get("kind") != KIND:
            raise ValueError(f"its kind is {content.get('kind')!s:.40}, and that of an export is {KIND}")
        if content.get("format") != FORMAT:
            raise ValueError(f"it has format {content.get('format')!s:.20}, and this version reads format {FORMAT}")
        config = ExportConfig.model_validate(content)
        if config.model.zero_phase or config.knobs.unfit(config.model):
            raise ValueError("no such model is trained here")
    except ValidationError as error:
        raise CheckpointError(f"{path}: no config of an export of ours: {first_fault(error)}") from None
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is missing, and without it {EXPORTED} is no export of ours") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: no config of an export of ours: {error}") from None
    return config
