"""A commit's tensors: weights, moments and random numbers, as safetensors; what does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from plateau_rule.fftcore.checkpoint import Commit
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.muon import Muon

WEIGHTS, OPTIMIZER = "weights.safetensors", "optimizer.safetensors"
MOMENTS = "count/moments"
CPU_RANDOM, CUDA_RANDOM = "random/cpu", "random/cuda"


@dataclass(frozen=True)
class Tensors:
    """What was copied of a model and its optimizer, in the memory of the CPU: training goes on and changes none of it.

    Args:
        weights: parameters and buffers, by name.
        optimizer: moments by parameter name, how many there are, and the state of the random generators.
    """

    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]

    def packed(self) -> dict[str, bytes]:
        """Return the files of a commit, as safetensors."""
        return {
            WEIGHTS: safetensors.torch.save(dict(self.weights)),
            OPTIMIZER: safetensors.torch.save(dict(self.optimizer)),
        }


def _copy(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copy the model's parameters and buffers."""
    return {name: _copy(value) for name, value in model.state_dict().items()}


def unpack_weights(commit: Commit, model: nn.Module, but: str | None = None) -> None:
    """Put a commit's weights into a model.

    Args:
        commit: as it was read.
        model: of the very shape that was saved.
        but: the prefix of names that are left as they are.

    Raises:
        CheckpointError: the weights are those of another model, or not finite.
    """
    put_weights(commit.path, read_tensors(commit, WEIGHTS), model, but)


def put_weights(path: Path, saved: Mapping[str, Tensor], model: nn.Module, but: str | None = None) -> None:
    """Put tensors into a model as its weights.

    Args:
        path: where they were read.
        saved: by their names.
        model: of the very shape that was saved.
        but: the prefix of names that are left as they are.

    Raises:
        CheckpointError: the weights are those of another model, or not finite.
    """
    kept = () if but is None else (but,)
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(kept)}
    saved = {name: value for name, value in saved.items() if not name.startswith(kept)}
    for name in sorted(saved.keys() | own.keys()):
        refuse_another(path, name, saved.get(name), own.get(name))
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])


def copy_optimizer(model: nn.Module, optimizer: Muon) -> dict[str, Tensor]:
    """Copy the optimizer's moments by parameter name, and the state of the random generators.

    A run on a CPU leaves CUDA alone.
    """
    tensors = {CPU_RANDOM: torch.get_rng_state()}
    device = next(model.parameters()).device
    if device.type == "cuda":
        tensors[CUDA_RANDOM] = torch.cuda.get_rng_state(device)
    moments = {
        f"{key}/{name}": _copy(value)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    return {MOMENTS: torch.tensor(len(moments)), **tensors, **moments}


def unpack_optimizer(commit: Commit, model: nn.Module, optimizer: Muon, random: bool = True) -> None:
    """Put a commit's moments into an optimizer, and the random generators back to where they were.

    Args:
        commit: as it was read.
        model: whose parameters the optimizer steps.
        optimizer: over the same parameters as the one that was saved.
        random: whether the generators too.

    Raises:
        CheckpointError: the moments are those of another model, incomplete or not finite.
    """
    saved = read_tensors(commit, OPTIMIZER)
    states = {name: saved.pop(name) for name in (CPU_RANDOM, CUDA_RANDOM) if name in saved}
    counted = saved.pop(MOMENTS, None)
    if counted is None or counted.shape != () or counted.item() != len(saved):
        raise CheckpointError(f"{commit.path}: {OPTIMIZER} holds {len(saved)} moments, and not as many as were saved")
    rest, moments = dict(saved), {}
    for name, parameter in model.named_parameters():
        own = {f"{key}/{name}": value for key, value in optimizer.moments(parameter).items()}
        if own.keys() & saved.keys():  # it has all, or none: before its first step
            for full, value in own.items():
                refuse_another(commit.path, full, rest.pop(full, None), value)
            moments[parameter] = {full.partition("/")[0]: saved[full] for full in own}
    for name, value in rest.items():
        refuse_another(commit.path, name, value, None)
    optimizer.state.clear()
    for parameter, own in moments.items():
        optimizer.state[parameter] = {key: value.to(parameter.device, copy=True) for key, value in own.items()}
    if random:
        _restore_random(commit, states, next(model.parameters()).device)


def _restore_random(commit: Commit, states: Mapping[str, Tensor], device: torch.device) -> None:
    try:
        torch.set_rng_state(states[CPU_RANDOM])
        if CUDA_RANDOM in states and device.type == "cuda":
            torch.cuda.set_rng_state(states[CUDA_RANDOM], device)
    except KeyError:
        raise CheckpointError(f"{commit.path}: {OPTIMIZER}: {CPU_RANDOM} is missing") from None
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(f"{commit.path}: {OPTIMIZER}: no state of a random generator: {error}") from None


def read_tensors(commit: Commit, file: str) -> dict[str, Tensor]:
    """Read one of a commit's files of tensors.

    Raises:
        CheckpointError: it is missing, or cannot be read.
    """
    try:
        return safetensors.torch.load(commit.files[file])
    except KeyError:
        raise CheckpointError(f"{commit.path}: {file} is missing, or of a type that torch does not have") from None
    except (ValueError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{commit.path}: {file} cannot be read: {error}") from None


def refuse_another(path: Path, name: str, saved: Tensor | None, own: Tensor | None) -> None:
    """Refuse a tensor that is not of the shape and type of the model's own, or not finite."""
    there, here = ("missing" if value is None else f"{list(value.shape)}" for value in (saved, own))
    if there == here and saved is not None and own is not None and saved.dtype != own.dtype:
        there, here = (str(value.dtype).removeprefix("torch.") for value in (saved, own))
    if there != here:
        raise CheckpointError(f"{path}: a checkpoint of another model: {name} is {there} there, and {here} in this one")
    if saved is not None and not bool(torch.isfinite(saved).all()):
        raise CheckpointError(f"{path}: {name} is not finite; no such state is ever saved")
