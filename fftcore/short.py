"""A short causal filter for each channel, before the long ones.

Shapes stand in names: T or W position, B batch, D channel, K tap, R row of a buffer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


class ShortFilter(nn.Module):
    """A few taps for each channel; at first it changes nothing.

    Args:
        d_model: channels.
        taps: of each channel's filter.
    """

    def __init__(self, d_model: int, taps: int) -> None:
        super().__init__()
        self.taps_KD = nn.Parameter(torch.zeros(taps, d_model))
        with torch.no_grad():
            self.taps_KD[0] = 1

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Filter a whole window: (T, B, D) to (T, B, D); what stands before its beginning is 0."""
        y_TBD: Tensor = _Taps.apply(x_TBD, self.taps_KD.to(x_TBD.dtype))  # type: ignore[no-untyped-call]
        return y_TBD

    def read(self, x_WBD: Tensor, past_RBD: Tensor, row: int) -> Tensor:
        """Put what is read into the rows from `row` on, and filter it with what stands before: (W, B, D)."""
        W = len(x_WBD)
        past_RBD[row : row + W] = x_WBD
        y_WBD = x_WBD * self.taps_KD[0]
        for lag in range(1, len(self.taps_KD)):
            y_WBD.addcmul_(past_RBD[row - lag : row - lag + W], self.taps_KD[lag])
        return y_WBD


class _Taps(torch.autograd.Function):
    """y[t] = Σ_k taps[k] · x[t − k]: no copy of the window for each tap is kept, as autograd's own would be."""

    @staticmethod
    def forward(ctx: FunctionCtx, x_TBD: Tensor, taps_KD: Tensor) -> Tensor:
        ctx.save_for_backward(x_TBD, taps_KD)
        y_TBD = x_TBD * taps_KD[0]
        for lag in range(1, min(len(taps_KD), len(x_TBD))):
            y_TBD[lag:].addcmul_(x_TBD[:-lag], taps_KD[lag])
        return y_TBD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TBD: Tensor) -> tuple[Tensor, Tensor]:
        x_TBD, taps_KD = ctx.saved_tensors
        T = len(x_TBD)
        dx_TBD = dy_TBD * taps_KD[0]
        dtaps_KD = []
        for lag in range(len(taps_KD)):
            ahead_TBD = dy_TBD[lag:]
            if 0 < lag < T:
                dx_TBD[:-lag].addcmul_(ahead_TBD, taps_KD[lag])
            dtaps_KD.append((ahead_TBD * x_TBD[: max(0, T - lag)]).sum((0, 1)))
        return dx_TBD, torch.stack(dtaps_KD)
