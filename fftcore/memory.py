"""A memory along time: in each channel a mean over the past, whose weights are read from the text.

    h[t] = (1 − z[t]) · h[t − 1] + z[t] · c[t],    y[t] = g[t] · h[t],    0 ≤ z ≤ 1

z, c and g are maps of what a short filter brings to t. So it is a causal filter whose decay depends on content, and
which can forget at once. (z and c without h in them: Feng et al., 2024, "Were RNNs all we needed?")

A sequence is cut into spans of 16 positions. All spans are gone through side by side, each as if nothing stood before
it; then what the one before holds at its end is handed on from span to span.

Shapes stand in names: T or W position, B batch, D channel, R row of a buffer; N span, S position in it, M = B · D.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.short import ShortFilter
from plateau_rule.fftcore.stream import MemoryStream

SPAN = 16
SHORT_TAPS = 3  # of the filter before it, by which a byte is read with the two before it
LONGEST_LOGIT = 4.1  # at first the last channel holds what it read for some 60 positions, and the first for 2


class Memory(nn.Module):
    """Mixes along time by what each channel holds, times a gate at each position.

    Args:
        shape: the model's shape.
    """

    def __init__(self, shape: Model) -> None:
        super().__init__()
        D = shape.d_model
        self.short = ShortFilter(D, SHORT_TAPS)
        self.update, self.candidate, self.gate = nn.Linear(D, D), nn.Linear(D, D, bias=False), nn.Linear(D, D)
        with torch.no_grad():
            self.update.bias.copy_(-torch.linspace(0, LONGEST_LOGIT, D))

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Mix a whole window: (T, B, D) to (T, B, D); what stands at t answers to t and before alone."""
        x_TBD = self.short(x_TBD)
        gate_TBD: Tensor = self.gate(x_TBD)
        return hold(*self._written(x_TBD)).to(gate_TBD.dtype) * gate_TBD

    def _written(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the share of what is held that is replaced, and by what, in the weights' type: small shares add up."""
        dtype = self.update.weight.dtype
        return torch.sigmoid(self.update(x).to(dtype)), self.candidate(x).to(dtype)

    def zero_output(self) -> None:
        """Let what is mixed be 0 until it is trained: the gate is closed, and opens by its own gradient."""
        for value in self.gate.parameters():
            nn.init.zeros_(value)

    def restrict(self, cutoff_bins: int, taps: int) -> None:
        """Do nothing: a memory has no kernel that could be cut off."""

    def stream(self, batch: int, rows: int) -> MemoryStream:
        """Begin `batch` streams with as many rows, all of them 0: what stands before the beginning."""
        zeros_RBD = self.gate.weight.new_zeros(rows, batch, self.gate.out_features)
        return MemoryStream(zeros_RBD, torch.zeros_like(zeros_RBD))

    def read(self, x_WBD: Tensor, stream: MemoryStream, row: int) -> Tensor:
        """Mix the next positions of a stream as `forward` does, in O(1) a channel: (W, B, D) to (W, B, D)."""
        x_WBD = self.short.read(x_WBD, stream.short_RBD, row)
        held_WBD = stream.hold(*self._written(x_WBD), row)
        gate_WBD: Tensor = self.gate(x_WBD)
        return held_WBD.to(gate_WBD.dtype) * gate_WBD

    def close_block(self, stream: MemoryStream, row: int, position: int) -> None:
        """Do nothing: a memory has no gate that holds through blocks."""


def hold(share_TBD: Tensor, new_TBD: Tensor) -> Tensor:
    """Return h[t] = (1 − share[t]) · h[t − 1] + share[t] · new[t], from h = 0.

    torch.compile takes it for one operation: a sequence of another length compiles no other loops.

    Args:
        share_TBD: 0 … 1, in float32 or float64.
        new_TBD: likewise, of the same shape.

    Returns:
        (T, B, D).
    """
    held_TBD: Tensor = _hold(share_TBD, new_TBD)
    return held_TBD


@torch.library.custom_op("plateau_rule::hold", mutates_args=(), schema="(Tensor share, Tensor new) -> Tensor")
def _hold(share_TBD: Tensor, new_TBD: Tensor) -> Tensor:
    keep_NSM, held_NSM = _cut(1 - share_TBD), _cut(share_TBD * new_TBD)
    left_NSM = torch.empty_like(keep_NSM)  # of what was held before the span
    left_NSM[:, 0] = keep_NSM[:, 0]
    keeps, helds, lefts = keep_NSM.unbind(1), held_NSM.unbind(1), left_NSM.unbind(1)
    for s in range(1, SPAN):
        helds[s].addcmul_(keeps[s], helds[s - 1])
        torch.mul(keeps[s], lefts[s - 1], out=lefts[s])
    before_NM = torch.zeros_like(helds[0])
    befores, last_helds, last_lefts = before_NM.unbind(), helds[-1].unbind(), lefts[-1].unbind()
    for n in range(1, len(befores)):
        torch.addcmul(last_helds[n - 1], last_lefts[n - 1], befores[n - 1], out=befores[n])
    return held_NSM.addcmul_(left_NSM, before_NM[:, None]).view(-1, *new_TBD.shape[1:])[: len(new_TBD)]


@torch.library.custom_op(
    "plateau_rule::hold_backward",
    mutates_args=(),
    schema="(Tensor dheld, Tensor share, Tensor new, Tensor held) -> (Tensor, Tensor)",
)
def _hold_backward(dheld_TBD: Tensor, share_TBD: Tensor, new_TBD: Tensor, held_TBD: Tensor) -> tuple[Tensor, Tensor]:
    keep_NSM, back_NSM = _cut(1 - share_TBD), _cut(dheld_TBD.clone())  # what comes back to h[t] from t on
    left_NSM = torch.empty_like(keep_NSM)  # at the span's end, of what is held here
    left_NSM[:, -1] = 1
    keeps, backs, lefts = keep_NSM.unbind(1), back_NSM.unbind(1), left_NSM.unbind(1)
    for s in range(SPAN - 1, 0, -1):
        backs[s - 1].addcmul_(keeps[s], backs[s])
        torch.mul(keeps[s], lefts[s], out=lefts[s - 1])
    after_NM = torch.zeros_like(backs[0])
    afters, first_keeps, first_backs, first_lefts = (
        value.unbind() for value in (after_NM, keeps[0], backs[0], lefts[0])
    )
    for n in range(len(afters) - 1, 0, -1):
        first_M = torch.addcmul(first_backs[n], first_lefts[n], afters[n])
        torch.mul(first_keeps[n], first_M, out=afters[n - 1])
    back_TBD = back_NSM.addcmul_(left_NSM, after_NM[:, None]).view(-1, *new_TBD.shape[1:])[: len(new_TBD)]
    dshare_TBD = new_TBD - F.pad(held_TBD[:-1], (0, 0, 0, 0, 1, 0))
    return dshare_TBD.mul_(back_TBD), back_TBD * share_TBD


def _cut(x_TBD: Tensor) -> Tensor:
    """Cut a sequence into spans, filled up with zeros: (N, S, M)."""
    rest = -len(x_TBD) % SPAN
    return (F.pad(x_TBD, (0, 0, 0, 0, 0, rest)) if rest else x_TBD).reshape(-1, SPAN, x_TBD[0].numel())


@_hold.register_fake
def _(share: Tensor, new: Tensor) -> Tensor:
    return new.new_empty(new.shape)


@_hold_backward.register_fake
def _(dheld: Tensor, share: Tensor, new: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    return share.new_empty(share.shape), new.new_empty(new.shape)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _back(ctx: Any, dheld_TBD: Tensor) -> tuple[Tensor, Tensor]:
    dshare_TBD, dnew_TBD = _hold_backward(dheld_TBD, *ctx.saved_tensors)
    return dshare_TBD, dnew_TBD


_hold.register_autograd(_back, setup_context=_save)
