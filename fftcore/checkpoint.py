"""One commit: weights, optimizer, random numbers, data position, controller. Found, verified, loaded; no pickle.

A commit is a folder `step-00001000`. It is written as a folder of another name: each file is synced, the manifest with
sizes and SHA-256 comes last, the folder is synced, renamed, and its parent synced. Only then is it reported as saved.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.storage import UNFINISHED, Disk, read_file

FORMAT = 1
KEPT = 2
MANIFEST = "manifest.json"
STATE, WEIGHTS, OPTIMIZER = "state.json", "weights.safetensors", "optimizer.safetensors"
LARGEST_JSON_BYTES = 16 << 20
_NAME = re.compile(r"step-(\d{8,12})\Z", re.ASCII)


@dataclass(frozen=True)
class Commit:
    """A commit that was read whole, every byte as it was written."""

    step: int
    path: Path
    files: Mapping[str, bytes] = field(repr=False)
    state: Mapping[str, Any] = field(repr=False)


class Checkpoints:
    """The commits of one run.

    Args:
        folder: where they are; made when the first is saved.
        every: steps between two commits by plan; the newest of those is kept beside the newest two of all.
        disk: what writes.
    """

    def __init__(self, folder: Path, every: int, disk: Disk) -> None:
        self.folder, self.every, self.disk = folder, every, disk
        self.passed_over: list[str] = []

    def steps(self) -> list[int]:
        """The steps of all commits, whole or not, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(int(match[1]) for entry in self.folder.iterdir() if (match := _NAME.match(entry.name)))

    def path(self, step: int) -> Path:
        """Where the commit of a step is."""
        return self.folder / f"step-{step:08d}"

    def save(self, step: int, files: Mapping[str, bytes]) -> Path:
        """Commit these files; durable when this returns.

        Args:
            step: the next step to be taken.
            files: name to content; `state.json` among them.

        Raises:
            StorageError: the disk refused; the commits before are as they were.
        """
        self.disk.make_folder(self.folder)
        unfinished = self.folder / UNFINISHED
        if unfinished.exists():
            self.disk.remove_folder(unfinished)
        self.disk.make_folder(unfinished)
        for name, content in files.items():
            self.disk.write_file(unfinished / name, content)
        self.disk.write_file(unfinished / MANIFEST, _manifest(step, files))
        self.disk.sync_folder(unfinished)
        self.disk.rename_folder(unfinished, self.path(step))
        self._prune()
        return self.path(step)

    def newest(self, planned: bool = False) -> Commit | None:
        """Read the newest whole commit, or None where there is no commit at all.

        Damaged ones are passed over; `passed_over` says which and why.

        Args:
            planned: only commits made by plan, every `every` steps, which an uninterrupted run has as well.

        Raises:
            CheckpointError: there are commits, and not one of them is whole.
        """
        self.passed_over = []
        steps = [step for step in self.steps() if not planned or step % self.every == 0]
        for step in reversed(steps):
            try:
                return read_commit(self.path(step))
            except CheckpointError as error:
                self.passed_over.append(str(error))
        if steps:
            raise CheckpointError(
                f"{self.folder}: no checkpoint here is whole: {'; '.join(self.passed_over)}. "
                "Put one back from a copy, or begin a new run with another --out"
            )
        return None

    def set_aside(self, after: int) -> None:
        """Rename the commits after a step, which were passed over, so that the run can come by there again."""
        for step in self.steps():
            if step > after:
                path = self.path(step)
                taken = sum(1 for entry in self.folder.iterdir() if entry.name.startswith(f"damaged-{path.name}"))
                self.disk.rename_folder(path, self.folder / f"damaged-{path.name}{f'-{taken}' if taken else ''}")

    def _prune(self) -> None:
        steps = self.steps()
        kept = {*steps[-KEPT:], *[step for step in steps if step % self.every == 0][-1:]}
        for step in steps:
            if step not in kept:
                # Renamed first, so that half a commit never has a commit's name.
                gone = self.folder / f".gone-{step:08d}"
                if gone.exists():
                    self.disk.remove_folder(gone)
                self.disk.rename_folder(self.path(step), gone)
                self.disk.remove_folder(gone)


def _manifest(step: int, files: Mapping[str, bytes]) -> bytes:
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    content = {"format": FORMAT, "step": step, "files": listed}
    return (json.dumps({**content, "checksum": _checksum(content)}, indent=1) + "\n").encode()


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_commit(path: Path) -> Commit:
    """Read one commit and verify every byte of it.

    Raises:
        CheckpointError: it is damaged, or not a commit; the sentence begins with its path.
    """
    try:
        match = _NAME.match(path.name)
        if path.is_symlink() or not path.is_dir() or not match:
            raise ValueError("not a folder that a commit was saved in")
        manifest = json.loads(read_file(path / MANIFEST, LARGEST_JSON_BYTES))
        claimed = manifest.pop("checksum")
        if claimed != _checksum(manifest):
            raise ValueError("the manifest was changed after it was written")
        if manifest["format"] != FORMAT:
            raise ValueError(f"it has format {manifest['format']}, and this version reads format {FORMAT}")
        if manifest["step"] != int(match[1]):
            raise ValueError(f"its manifest belongs to step {manifest['step']}")
        found = {entry.name for entry in path.iterdir()} - {MANIFEST}
        if found != manifest["files"].keys():
            raise ValueError(f"it holds {sorted(found)}, and its manifest names {sorted(manifest['files'])}")
        files = {name: _verified(path / name, listed) for name, listed in manifest["files"].items()}
        state = json.loads(files[STATE])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: {_why(error)}") from None
    return Commit(manifest["step"], path, files, state)


def _verified(path: Path, listed: Mapping[str, Any]) -> bytes:
    content = read_file(path, int(listed["bytes"]))
    if len(content) != listed["bytes"]:
        raise ValueError(f"{path.name} has {len(content)} bytes, and {listed['bytes']} were written")
    if hashlib.sha256(content).hexdigest() != listed["sha256"]:
        raise ValueError(f"{path.name} was changed after it was written: its SHA-256 differs")
    return content


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"{Path(error.filename).name} is missing"
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or error}"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return f"it holds broken JSON: {error}"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error)


# What is in a commit's tensors


def pack_weights(model: nn.Module) -> bytes:
    """Return the model's parameters and buffers as safetensors."""
    return safetensors.torch.save({name: value.contiguous() for name, value in model.state_dict().items()})


def unpack_weights(commit: Commit, model: nn.Module, only: str = "") -> None:
    """Put a commit's weights into a model.

    Args:
        commit: as it was read.
        model: of the very shape that was saved.
        only: the prefix of the names to put in; others are left as they are.

    Raises:
        CheckpointError: the weights are those of another model.
    """
    saved = _tensors(commit, WEIGHTS)
    own = {name: value for name, value in model.state_dict().items() if name.startswith(only)}
    saved = {name: value for name, value in saved.items() if name.startswith(only)}
    _refuse_others(commit, saved, own)
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])


def pack_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> bytes:
    """Return the optimizer's moments by parameter name, and the state of the random generators, as safetensors.

    A run on a CPU leaves CUDA alone.
    """
    tensors = {"random/cpu": torch.get_rng_state()}
    device = next(model.parameters()).device
    if device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(device)
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{key}/{name}"] = value.contiguous()
    return safetensors.torch.save(tensors)


def unpack_optimizer(commit: Commit, model: nn.Module, optimizer: torch.optim.Optimizer, random: bool = True) -> None:
    """Put a commit's moments into an optimizer, and the random generators back to where they were.

    Args:
        commit: as it was read.
        model: whose parameters the optimizer steps.
        optimizer: over the same parameters as the one that was saved.
        random: whether the generators too.

    Raises:
        CheckpointError: the moments are those of another model.
    """
    saved = _tensors(commit, OPTIMIZER)
    parameters = dict(model.named_parameters())
    optimizer.state.clear()
    for name, value in saved.items():
        key, _, of = name.partition("/")
        if key == "random":
            continue
        if of not in parameters or (value.dim() and value.shape != parameters[of].shape):
            raise CheckpointError(f"{commit.path}: a checkpoint of another model: it has {name} {list(value.shape)}")
        optimizer.state[parameters[of]][key] = value.to(parameters[of].device, copy=True)
    if random:
        torch.set_rng_state(saved["random/cpu"])
        device = next(model.parameters()).device
        if "random/cuda" in saved and device.type == "cuda":
            torch.cuda.set_rng_state(saved["random/cuda"], device)


def _tensors(commit: Commit, file: str) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(commit.files[file])
    except (KeyError, ValueError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{commit.path}: {file} cannot be read: {error}") from None


def _refuse_others(commit: Commit, saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    for name in sorted(saved.keys() | own.keys()):
        there = f"{list(saved[name].shape)}" if name in saved else "missing"
        here = f"{list(own[name].shape)}" if name in own else "missing"
        if there != here:
            raise CheckpointError(
                f"{commit.path}: a checkpoint of another model: {name} is {there} there, and {here} in this one"
            )
