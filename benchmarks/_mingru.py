"""A rival's mixer: a minimal gated recurrent unit (Feng et al., 2024, "Were RNNs all we needed?") and a short filter.

h[t] = (1 − z[t]) · h[t − 1] + z[t] · c[t], with z and c maps of what is read at t alone. Without h in its gates it
could be scanned in parallel; on a CPU one fused operation for each position is faster, and exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from plateau_rule.fftcore.short import ShortFilter


class MinGRU(nn.Module):
    """A gated mean over the past, in each channel.

    Args:
        d_model: channels.
        short_taps: of the filter before it.
    """

    def __init__(self, d_model: int, short_taps: int) -> None:
        super().__init__()
        self.short = ShortFilter(d_model, short_taps)
        self.update, self.candidate = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model, bias=False)
        with torch.no_grad():  # at first the channels remember for 2 to 64 positions
            self.update.bias.copy_(-torch.linspace(0, 4.1, d_model))
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Let every position read itself and those before it: (T, B, D) to (T, B, D)."""
        x_TBD = self.short(x_TBD)
        read_TBD: Tensor = self.out(recur(torch.sigmoid(self.update(x_TBD)), self.candidate(x_TBD)))
        return read_TBD


def recur(share_TBD: Tensor, new_TBD: Tensor) -> Tensor:
    """Return h[t] = (1 − share[t]) · h[t − 1] + share[t] · new[t], from h = 0: (T, B, D)."""
    h_TBD: Tensor = _Recurrence.apply(share_TBD, new_TBD)  # type: ignore[no-untyped-call]
    return h_TBD


class _Recurrence(torch.autograd.Function):
    """One operation for each position, forward and back."""

    @staticmethod
    def forward(ctx: FunctionCtx, share_TBD: Tensor, new_TBD: Tensor) -> Tensor:
        h_TBD = torch.empty_like(new_TBD)
        h_BD = torch.zeros_like(new_TBD[0])
        for share_BD, new_BD, out_BD in zip(share_TBD.unbind(), new_TBD.unbind(), h_TBD.unbind(), strict=True):
            h_BD = torch.lerp(h_BD, new_BD, share_BD, out=out_BD)
        ctx.save_for_backward(share_TBD, new_TBD, h_TBD)
        return h_TBD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_TBD: Tensor) -> tuple[Tensor, Tensor]:
        share_TBD, new_TBD, h_TBD = ctx.saved_tensors
        carried_TBD = dh_TBD.clone()  # what comes back to h[t], later positions included
        keep_TBD = 1 - share_TBD
        rows, keeps = carried_TBD.unbind(), keep_TBD.unbind()
        for t in range(len(rows) - 1, 0, -1):
            rows[t - 1].addcmul_(keeps[t], rows[t])
        before_TBD = torch.cat((torch.zeros_like(h_TBD[:1]), h_TBD[:-1]))
        return carried_TBD * (new_TBD - before_TBD), carried_TBD * share_TBD
