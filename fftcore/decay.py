"""The causal convolution under a decay that each position sets in each channel.

    y[t] = Σ_l kernel[l] · exp(c[t − l] − c[t]) · x[t − l],    c[t] = Σ_{s ≤ t} decay[s],    0 ≤ decay ≤ 1

What a tap meets has faded by every decay since. So what is read decides how far back a fixed filter looks.

The factor is that of two: x is scaled up by exp(c) and y down by exp(−c), with c counted from the beginning of a block
of 64. Within a block neither exceeds e^64, about 6e27. What comes from earlier blocks has faded to the block's
beginning. So nothing overflows, whatever the length and the decays.

Shapes stand in names: T position, B batch, D channel, G kernel group, K tap; S position in a block, N block,
M = B · D / G, C = N · M.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from plateau_rule.fftcore.toeplitz import toeplitz

SPAN = 64  # positions in a block: that of the context gate
NEAREST, FARTHEST = 2.0, 100.0  # positions within which channels forget at first, to 1/e


def cut(x_TBD: Tensor, groups: int) -> Tensor:
    """Cut a sequence into blocks of 64, filled up with zeros, group by group: (T, B, D) to (G, S, N, M)."""
    T, B, D = x_TBD.shape
    whole_TBD = F.pad(x_TBD, (0, 0, 0, 0, 0, -T % SPAN)) if T % SPAN else x_TBD
    x_NSBGW = whole_TBD.view(-1, SPAN, B, groups, D // groups)
    return x_NSBGW.permute(3, 1, 0, 2, 4).reshape(groups, SPAN, len(x_NSBGW), -1)


def join(x_GSNM: Tensor, T: int, B: int) -> Tensor:
    """Undo `cut`: (G, S, N, M) to (T, B, D)."""
    G, S, N, M = x_GSNM.shape
    x_NSBGW = x_GSNM.view(G, S, N, B, M // B).permute(2, 1, 3, 0, 4)
    return x_NSBGW.reshape(N * S, B, -1)[:T]


def first_logits(channels: int) -> Tensor:
    """Return the logits of decays at which channels forget within 2 to 100 positions, a constant ratio apart."""
    within = NEAREST * (FARTHEST / NEAREST) ** torch.linspace(0, 1, channels)
    return torch.logit(1 / within)


def convolve_decayed(
    x_GSNM: Tensor, logits_GSNM: Tensor, gate_GSNM: Tensor, gain_G1NM: Tensor, kernel_GK: Tensor
) -> Tensor:
    """Convolve causally along time under decays, times a gate at each position, times a gain in each block.

    Args:
        x_GSNM: as `cut` makes it, in float32 or float64, as all here.
        logits_GSNM: of the decays, which are their sigmoid, in nats.
        gate_GSNM: likewise.
        gain_G1NM: likewise.
        kernel_GK: (G, K).

    Returns:
        (G, S, N, M).
    """
    past = -(-(kernel_GK.shape[1] - 1) // SPAN)  # blocks before a block that it answers to
    after = (past + 1) * SPAN - kernel_GK.shape[1]
    bands_GSL = toeplitz(F.pad(kernel_GK, (SPAN - 1, after)), SPAN)
    mixed_GSNM: Tensor = _Decayed.apply(x_GSNM, logits_GSNM, gate_GSNM, gain_G1NM, bands_GSL)  # type: ignore[no-untyped-call]
    return mixed_GSNM


class _Decayed(torch.autograd.Function):
    """A product with a band matrix for each block back, of all blocks of a group at once."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x_GSNM: Tensor,
        logits_GSNM: Tensor,
        gate_GSNM: Tensor,
        gain_G1NM: Tensor,
        bands_GSL: Tensor,
    ) -> Tensor:
        G, S, N, M = x_GSNM.shape
        decay_GSNM = torch.sigmoid(logits_GSNM)
        up_GSNM = torch.bmm(_sums(x_GSNM), decay_GSNM.view(G, S, N * M)).exp_().view(G, S, N, M)
        now_GSS, *before = _by_block(bands_GSL)
        scaled_GSNM = x_GSNM * up_GSNM
        y_GSC = torch.bmm(now_GSS, scaled_GSNM.view(G, S, N * M))
        faded = _faded(scaled_GSNM, up_GSNM, len(before))
        for back, (band_GSS, (faded_GSNM, _)) in enumerate(zip(before, faded, strict=False), 1):
            y_GSC[:, :, back * M :].baddbmm_(band_GSS, faded_GSNM.flatten(2))
        y_GSNM = y_GSC.view(G, S, N, M).div_(up_GSNM)
        ctx.save_for_backward(x_GSNM, decay_GSNM, gate_GSNM, gain_G1NM, bands_GSL, up_GSNM, y_GSNM)
        return (y_GSNM * gate_GSNM).mul_(gain_G1NM)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dmixed_GSNM: Tensor) -> tuple[Tensor, ...]:
        x_GSNM, decay_GSNM, gate_GSNM, gain_G1NM, bands_GSL, up_GSNM, y_GSNM = ctx.saved_tensors
        G, S, N, M = x_GSNM.shape
        dmixed_GSNM = dmixed_GSNM.contiguous()  # as `join` hands it back, it is not
        dgate_GSNM = dmixed_GSNM * y_GSNM
        dgain_G1NM = (dgate_GSNM * gate_GSNM).sum(1, keepdim=True)
        dgate_GSNM.mul_(gain_G1NM)
        # exp(c) scales an input and exp(−c) an output; a decay is in c from its position on.
        dc_GSNM = dgate_GSNM * gate_GSNM  # what comes back to an output, times the output
        z_GSC = (dmixed_GSNM * gate_GSNM).mul_(gain_G1NM).div_(up_GSNM).view(G, S, N * M)
        scaled_GSNM = x_GSNM * up_GSNM
        now_GSS, *before = _by_block(bands_GSL)
        dscaled_GSNM = torch.bmm(now_GSS.mT, z_GSC).view(G, S, N, M)
        dbands = [torch.bmm(z_GSC, scaled_GSNM.view(G, S, N * M).mT)]
        faded = _faded(scaled_GSNM, up_GSNM, len(before))
        for back, (band_GSS, (faded_GSNM, left_G1NM)) in enumerate(zip(before, faded, strict=False), 1):
            later_GSC = z_GSC[:, :, back * M :]
            dbands.append(torch.bmm(later_GSC, faded_GSNM.flatten(2).mT))
            dfaded_GSNM = torch.bmm(band_GSS.mT, later_GSC).view(G, S, N - back, M)
            dscaled_GSNM[:, :, : N - back].addcmul_(dfaded_GSNM, left_G1NM)
        dbands += [torch.zeros_like(now_GSS)] * (1 + len(before) - len(dbands))
        dc_GSNM = torch.addcmul(dc_GSNM.neg_(), scaled_GSNM, dscaled_GSNM)
        ddecay_GSNM = torch.bmm(_sums(x_GSNM).mT, dc_GSNM.view(G, S, N * M)).view(G, S, N, M)
        block_G1NM = ddecay_GSNM[:, :1]
        ddecay_GSNM.add_(block_G1NM.flip(2).cumsum(2).flip(2) - block_G1NM)
        dlogits_GSNM = torch.ops.aten.sigmoid_backward(ddecay_GSNM, decay_GSNM)
        return dscaled_GSNM.mul_(up_GSNM), dlogits_GSNM, dgate_GSNM, dgain_G1NM, torch.cat(dbands[::-1], 2)


def _sums(x_GSNM: Tensor) -> Tensor:
    """Return the matrix that takes decays to their running sums, for each group: (G, S, S)."""
    G, S = x_GSNM.shape[:2]
    return x_GSNM.new_ones(S, S).tril().expand(G, -1, -1)


def _by_block(bands_GSL: Tensor) -> tuple[Tensor, ...]:
    """Cut band matrices into those of a block itself, of the one before it, and so on: (G, S, S) each."""
    return torch.split(bands_GSL, SPAN, 2)[::-1]


def _faded(scaled_GSNM: Tensor, up_GSNM: Tensor, past: int) -> list[tuple[Tensor, Tensor]]:
    """Return what is left of each block at the beginning of the next, of the second next, and so on, and its factor."""
    N = scaled_GSNM.shape[2]
    left_G1NM = up_GSNM[:, -1:].reciprocal()
    faded, factor_G1NM = [], torch.ones_like(left_G1NM)
    for back in range(1, min(past + 1, N)):
        factor_G1NM = factor_G1NM[:, :, : N - back] * left_G1NM[:, :, back - 1 : N - 1]
        faded.append((scaled_GSNM[:, :, : N - back] * factor_G1NM, factor_G1NM))
    return faded
