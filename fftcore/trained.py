"""What was trained, to be used: a model under the knobs that were in force when it was saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from torch import Tensor

from plateau_rule.fftcore.config import LONGEST_KERNEL, Model
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.model import SpectralLM
from plateau_rule.fftcore.progress import in_units
from plateau_rule.fftcore.sealed import Frozen
from plateau_rule.fftcore.spectral import BINS
from plateau_rule.fftcore.tensors import put_weights


class ModelKnobs(Frozen):
    """The knobs that are the model's own: what it computes depends on them.

    Args:
        cutoff: bins of the fixed reference.
        kernel_taps: taps in use.
        depth: blocks that run; None, in an export that is older than this knob: all.
    """

    cutoff: int = Field(ge=1, le=BINS, strict=True)
    kernel_taps: int = Field(ge=1, le=LONGEST_KERNEL, strict=True)
    depth: int | None = Field(default=None, ge=1, strict=True)

    def unfit(self, shape: Model) -> str | None:
        """Say what of it a model of some shape cannot have; None where it can have all."""
        if self.kernel_taps > shape.kernel_len:
            return f"{self.kernel_taps} taps in force, and the model has {shape.kernel_len}"
        if self.depth is not None and self.depth > shape.layers:
            return f"a depth of {self.depth} in force, and the model has {shape.layers} blocks"
        return None

    def __str__(self) -> str:
        return f"cutoff {in_units('cutoff', self.cutoff)}, {self.kernel_taps} taps"


@dataclass(frozen=True)
class Trained:
    """A model, not in training mode, with its knobs in force.

    Args:
        model: on the CPU.
        knobs: that it was restricted to.
        step: optimizer steps that it has seen.
        place: the folder that it was read from.
        passed_over: newer commits that were damaged, and why, a sentence each.
    """

    model: SpectralLM
    knobs: ModelKnobs
    step: int
    place: Path
    passed_over: tuple[str, ...] = ()

    def __str__(self) -> str:
        depth, layers = self.model.depth, self.model.shape.layers
        return f"step {self.step}, {self.knobs}" + (f", {depth} of {layers} blocks" if depth < layers else "")


def load_model(path: Path, shape: Model, knobs: ModelKnobs, weights: Mapping[str, Tensor]) -> SpectralLM:
    """Build a model under its knobs, not in training mode.

    Args:
        path: where the weights were read.
        shape: the model's, as it is told beside them.
        knobs: that were in force.
        weights: by their names.

    Raises:
        CheckpointError: the weights are not those of such a model, or the memory does not suffice for one.
    """
    layers = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    if len(layers) != shape.layers:  # before any are built
        raise CheckpointError(f"{path}: weights of another model: of {len(layers)} layers, and not of {shape.layers}")
    try:
        model = SpectralLM(shape)
    except (MemoryError, RuntimeError):  # of the CPU's memory torch says it by a plain RuntimeError
        raise CheckpointError(f"{path}: such a model does not fit into the memory: {shape}") from None
    put_weights(path, weights, model)
    model.restrict(knobs.cutoff, knobs.kernel_taps, knobs.depth)
    return model.eval()
