"""What is trained: a model with its optimizer and its text, one optimizer step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from inspect import signature
from math import log

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from plateau_rule.fftcore.checkpoint import Commit
from plateau_rule.fftcore.config import TARGET, Config
from plateau_rule.fftcore.data import Text, WindowBatch, Windows, held_out
from plateau_rule.fftcore.device import product_type, with_index
from plateau_rule.fftcore.errors import RunError
from plateau_rule.fftcore.evaluate import bpb_draft, evaluate
from plateau_rule.fftcore.generate import generate
from plateau_rule.fftcore.knobs import limits
from plateau_rule.fftcore.model import SpectralLM
from plateau_rule.fftcore.muon import Muon
from plateau_rule.fftcore.ranks import ALONE, World
from plateau_rule.fftcore.tensors import (
    Tensors,
    copy_optimizer,
    copy_weights,
    unpack_optimizer,
    unpack_weights,
)


def optimizer(model: SpectralLM, config: Config, product_type: torch.dtype | None = None) -> Muon:
    """Return the optimizer of what can be trained of a model; its own products run in `product_type`."""
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    # Decay is for the matrices of linear layers: kernels and the byte table hold what was measured, not mixtures.
    matrices = {name: value for name, value in named if name.endswith("weight") and value.dim() == 2}
    matrices.pop("table.weight", None)
    hidden = [name for name in matrices if name.startswith("blocks.") and config.optimizer == "muon"]
    decaying = [value for name, value in matrices.items() if name not in hidden]
    others = [value for name, value in named if name not in matrices]
    groups = [{"params": decaying, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return Muon([matrices[name] for name in hidden], groups, config.weight_decay, product_type)


class Learner:
    """A model with its optimizer and its text: takes one optimizer step, and is scored on held-out text.

    Args:
        config: the model and how it is trained.
        text: what it is trained on.
        seed: of the weights and the windows.
        device: where it is trained.
        heads_only: leave the backbone as it is and train the chunk head alone.
        world: the ranks that train it together; each takes its share of every batch.

    Attributes:
        target: the knobs under which it is scored as well at each evaluation; None where nobody asks.
    """

    def __init__(
        self, config: Config, text: Text, seed: int, device: torch.device, heads_only: bool, world: World = ALONE
    ) -> None:
        torch.manual_seed(seed)
        device = with_index(device)
        if device.type == "cuda":
            torch.cuda.set_device(device)  # whose streams and random numbers are meant where no device is named
        self.config, self.device, self.seed, self.world = config, device, seed, world
        self.heads_only, self.drafts = heads_only, heads_only or config.model.objective == "chunk-last"
        self.product_type = product_type(device)
        self.model = SpectralLM(config.model, config.dropout).to(device)
        self.windows = Windows(text, seed, config.model.chunk, device)
        width = config.model.seq_len + config.model.chunk
        self.epoch_windows_BW = held_out(text, "validation", config.eval_windows, width).to(device)
        self.final_windows_BW = held_out(text, "validation", config.final_windows, width).to(device)
        self._knobs: dict[str, int] = {}
        self.target: Mapping[str, float | str] | None = None
        if heads_only:
            self.model.requires_grad_(False)
            self.model.chunk_head.requires_grad_(True)
        self.parameters = [value for value in self.model.parameters() if value.requires_grad]
        self._losses = compiled(self.model) if config.compile else self.model.losses
        self._reduced = None if world.size == 1 else reduced(self.model, self._losses)
        self.optimizer = optimizer(self.model, config, self.product_type)

    @property
    def knobs(self) -> Mapping[str, int]:
        """The knobs in force: nothing is trained, scored or generated before they were turned.

        Raises:
            RuntimeError: they were not.
        """
        self._require_knobs()
        return self._knobs

    def _require_knobs(self) -> None:
        if not self._knobs:
            raise RuntimeError("no knobs are in force: turn them to the plan's first")

    def begin(self, knobs: Mapping[str, float | str]) -> None:
        """Set the knobs of the first step of all.

        Blocks that do not run in it get an output of zero, so that what the model computes goes on unchanged when they
        enter. Those of a frozen backbone stay as they were trained.
        """
        self.turn(knobs)
        for block in () if self.heads_only else self.model.idle():
            block.zero_output()

    def turn(self, knobs: Mapping[str, float | str]) -> None:
        """Set the knobs of the next step; those that the curriculum does not name stay at their limits."""
        now = limits(self.config) | {name: int(value) for name, value in knobs.items()}
        if now != self._knobs:
            self.model.restrict(now["cutoff"], now["kernel_taps"], now["depth"])
            self._knobs = now

    @property
    def bytes_per_step(self) -> int:
        """Bytes trained on in one optimizer step, under the knobs in force."""
        return self.knobs["batch_size"] * self.knobs["seq_len"] * self.config.accumulation

    def step(self, step: int, lr: float) -> Tensor:
        """Take one optimizer step; gradients that are not finite change nothing.

        Returns:
            loss and chunk loss of this rank's share of the batch, in nats a byte; the norm of the gradient, which is
            that of all ranks; and whether the step was skipped (1 or 0): (4,), on the device, not waited for.
        """
        if self.world.size > 1 and self.config.dropout:
            # Each rank drops other channels, the same ones when the step is taken again.
            torch.manual_seed(int(np.random.default_rng([self.seed, step, self.world.rank]).integers(2**63)))
        if self._reduced is not None and self._reduced.module.depth != self.model.depth:
            with self.world.waiting():
                self._reduced = reduced(self.model, self._losses)
        parts = self.config.accumulation
        losses_2 = torch.zeros(2, device=self.device)
        for part in range(parts):
            last = part == parts - 1
            batch = self.windows.batch(
                step,
                part=part,
                batch_size=self.knobs["batch_size"],
                seq_len=self.knobs["seq_len"],
                rank=self.world.rank,
                ranks=self.world.size,
            )
            apart = nullcontext() if self._reduced is None or last else self._reduced.no_sync()
            with told_of_compiling(self.config.compile), apart:
                losses_2 += self._losses_and_gradients(batch, last) / parts
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.grad_clip, foreach=True)
        skipped = (~torch.isfinite(norm)).float()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.found_inf = skipped
        self.optimizer.step()
        self.optimizer.zero_grad()
        return torch.cat((losses_2, torch.stack((norm.float(), skipped))))

    def _losses_and_gradients(self, batch: WindowBatch, last: bool) -> Tensor:
        """Add the gradients of one forward pass, a share of the step's, and return its loss and chunk loss, (2,).

        In the step's last one, gradients are averaged over the ranks.
        """
        with torch.autocast(self.device.type, self.product_type, enabled=self.product_type != torch.float32):
            next_loss, chunk_loss = (self._reduced or self._losses)(batch.windows_BW, batch.phase)
        objective = chunk_loss if self.drafts else next_loss + self.config.chunk_weight * chunk_loss
        with self.world.waiting() if last else nullcontext():
            torch.autograd.backward(objective / self.config.accumulation)
        # A loss is not finite either if the other head's is not.
        told = chunk_loss if self.drafts else next_loss + 0 * chunk_loss
        return torch.stack((told, chunk_loss)).detach().float()

    def score(self, final: bool = False) -> dict[str, float]:
        """Score the model on held-out text under the knobs in force: bits per byte, and the metrics of guards.

        Before the end, it is scored under those of the target as well, where there is one.

        Raises:
            LeakError: the model sees what it is asked to predict.
        """
        self._require_knobs()
        windows_BW = self.final_windows_BW if final else self.epoch_windows_BW
        score = evaluate(self.model, windows_BW)
        val_loss = score.stream * log(2)
        if self.drafts:
            draft = bpb_draft(self.model, windows_BW)
            val_loss = sum(draft) / len(draft) * log(2)
        scores = {"val_loss": val_loss, "val_bpb": score.stream, "val_bpb_parallel": score.parallel}
        if self.target is not None and not final:
            scores[TARGET] = self._score_under(self.target, score.stream)
        return scores

    def _score_under(self, knobs: Mapping[str, float | str], now: float) -> float:
        """Bits per byte under other knobs; `now` under those in force."""
        before = self._knobs
        self.turn(knobs)
        try:
            return now if self._knobs == before else evaluate(self.model, self.epoch_windows_BW).stream
        finally:
            self.turn(before)

    def draft_bits(self) -> tuple[float, ...]:
        """Score the chunk head for each offset, under the knobs in force: bits per byte."""
        self._require_knobs()
        return bpb_draft(self.model, self.final_windows_BW)

    def sample(self, prompt: bytes, count: int, seed: int) -> bytes:
        """Return `count` bytes that the model writes after a prompt, under the knobs in force."""
        self._require_knobs()
        return generate(self.model, prompt, count, seed=seed)

    def forget(self) -> None:
        """Empty the optimizer's moments."""
        self.optimizer.state.clear()

    def weights_sum(self) -> int:
        """Return a sum over the bits of what is trained, below 2^53; any bit that differs changes it."""
        sums = [value.detach().view(torch.int32).sum() for value in self.parameters]
        return int(torch.stack(sums).sum()) % 2**53

    def copied(self) -> Tensors:
        """Copy what a commit holds of the learner, between two steps."""
        return Tensors(copy_weights(self.model), copy_optimizer(self.model, self.optimizer))

    def restore(self, commit: Commit, random: bool = True) -> None:
        """Go back to a commit: weights and moments, and the random numbers too if `random`."""
        unpack_weights(commit, self.model)
        unpack_optimizer(commit, self.model, self.optimizer, random)


class Losses(nn.Module):
    """A model's losses as a module's forward pass, which is what DistributedDataParallel wraps.

    Args:
        model: whose parameters are trained: those that its depth uses, for nobody may wait for other gradients.
        losses: its losses, compiled or not.
    """

    def __init__(self, model: SpectralLM, losses: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.used, self.depth, self.losses = nn.ModuleList(model.used()), model.depth, losses

    def forward(self, windows_BW: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of the next byte and that of the chunk head."""
        return self.losses(windows_BW, phase)


def compiled(model: SpectralLM) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return a model's losses, to be compiled by torch when they are first called."""
    from torch._dynamo import config  # a second to load

    # Each depth is a graph of its own, and of two where lengths move: more of them than torch would compile.
    config.recompile_limit = max(config.recompile_limit, 2 * model.shape.layers + 2)
    # Whole, or not at all: a graph that breaks is a defect. All other knobs move in place and compile nothing anew.
    return torch.compile(model.losses, fullgraph=True)


def reduced(model: SpectralLM, losses: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> DistributedDataParallel:
    """Return a model's losses at its depth, such that gradients are averaged over the ranks in the backward pass."""
    # Its buffers are what the knobs have set, on every rank alike: none is sent. torch 2.13 has another name for it.
    names = signature(DistributedDataParallel).parameters
    sent = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    return DistributedDataParallel(Losses(model, losses), **{sent: False})  # type: ignore[arg-type]


@contextmanager
def told_of_compiling(compiled: bool) -> Iterator[None]:
    """Say in a sentence why torch could not compile the model, should it fail to."""
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # a second to load

    try:
        yield
    except TorchDynamoException as error:
        why = str(error).strip().partition("\n")[0]
        raise RunError(
            f"--compile: torch cannot compile the model on this machine: {why}. Begin another run, without --compile"
        ) from None
