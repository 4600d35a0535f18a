"""Block Toeplitz products: a causal convolution along time as matrix products, and the way back through it.

How many groups of channels are multiplied together is a matter of speed alone: on a GPU all of them, in one batched
product; on a CPU each for itself, so that what a group needs stays in the cache.

Shapes stand in names: T position, B batch, D channel, G kernel group, W channel of a group, K tap, M = B · W,
A = T · B. A sequence is cut into N blocks of S positions; a window of L is a block and what stands before it, I counts
windows. R counts gains. P counts parts, groups that are multiplied together: what stands behind it is of one part.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

BLOCK_BYTES = {"cpu": 64, "cuda": 128}  # positions in a block; a multiple of 64
TOGETHER = {"cpu": False, "cuda": True}  # all groups in one product, or each in its own


def toeplitz(line_GX: Tensor, rows: int) -> Tensor:
    """Return the Toeplitz matrices whose last row is the line reversed: (G, rows, X − rows + 1).

    Entry (i, j) is line[i + X − rows − j]. Its gradient sums along diagonals, with no scattered writes.
    """
    return line_GX.flip(1).unfold(1, line_GX.shape[1] - rows + 1, 1).flip(1)


class Layout(NamedTuple):
    """How sequences are cut into blocks, and their groups into parts that are multiplied together."""

    parts: int
    """Parts, P: one, or as many as groups."""
    groups: int
    """Groups in a part, G."""
    taps: int
    """Taps of the kernels, K."""
    block: int
    """Positions in a block, S."""
    past: int
    """Positions before a block that it answers to: at least K − 1; whole blocks where a part has several groups."""
    rest: int
    """Positions missing from the last block."""

    @classmethod
    def of(cls, x_TBD: Tensor, kernel_GK: Tensor) -> Self:
        """Return the layout for a sequence and kernels."""
        G, K = kernel_GK.shape
        block = BLOCK_BYTES[x_TBD.device.type]
        parts = 1 if TOGETHER[x_TBD.device.type] else G
        step = 32 if parts == G else block
        return cls(parts, G // parts, K, block, -(-(K - 1) // step) * step, -len(x_TBD) % block)

    @property
    def behind(self) -> int:
        """Windows between the last of a group and the first of the next."""
        return self.past // self.block

    def bands(self, kernel_GK: Tensor, dtype: torch.dtype) -> Tensor:
        """Return each kernel's band matrix H: (G, S, L), entry (i, j) = kernel[i + past − j]."""
        return toeplitz(F.pad(kernel_GK.to(dtype), (self.block - 1, self.past + self.block - self.taps)), self.block)

    def split(self, x_TBD: Tensor, before: int = 0, after: int = 0) -> list[Tensor]:
        """Copy each part of a sequence group by group, between so many zeros: (G, before + T + after, M)."""
        return [self.copy(part_TBD, before, after) for part_TBD in x_TBD.chunk(self.parts, 2)]

    def copy(self, x_TBE: Tensor, before: int, after: int) -> Tensor:
        """Copy one part, group by group, between so many zeros: (G, before + T + after, M)."""
        if self.groups == 1:
            return F.pad(x_TBE, (0, 0, 0, 0, before, after)).flatten(1)[None]
        x_GTBW = x_TBE.view(*x_TBE.shape[:2], self.groups, -1).permute(2, 0, 1, 3)
        return F.pad(x_GTBW, (0, 0, 0, 0, before, after)).flatten(2)

    def join(self, x_PGTM: list[Tensor], like_TBD: Tensor) -> Tensor:
        """Bring the first positions of all parts together again: (T, B, D)."""
        T, B, _ = like_TBD.shape
        if self.groups == 1:
            return torch.cat([x_GTM[0, :T].view(T, B, -1) for x_GTM in x_PGTM], 2)
        return x_PGTM[0][:, :T].view(self.groups, T, B, -1).permute(1, 2, 0, 3).flatten(2)

    def windows(self, x_GTM: Tensor) -> Tensor:
        """View what has `past` positions more than its blocks as overlapping windows, (I, L, M).

        They lie one behind the other, those that begin in one group and end in the next among them: a batched product
        takes one stride.
        """
        return x_GTM.flatten(0, 1).unfold(0, self.past + self.block, self.block).transpose(1, 2)

    def within(self, found_ISX: Tensor) -> Tensor:
        """Leave out what came of windows across two groups: (G, N, S, X)."""
        each = (len(found_ISX) + self.behind) // self.groups
        return found_ISX.unfold(0, each - self.behind, each).movedim(3, 1)

    def multiply(self, band_GSL: Tensor, x_ILM: Tensor) -> Tensor:
        """Multiply each window by its group's band: (G, N · S, M)."""
        if self.groups == 1:
            return torch.bmm(band_GSL.expand(len(x_ILM), -1, -1), x_ILM).view(1, -1, x_ILM.shape[2])
        each = (len(x_ILM) + self.behind) // self.groups
        band_ISL = band_GSL[:, None].expand(-1, each, -1, -1).flatten(0, 1)[: len(x_ILM)]
        return self.within(torch.bmm(band_ISL, x_ILM)).flatten(1, 2)

    def band_gradient(self, dy_ILM: Tensor, x_ILM: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the gradient of bands, (G, S, L): dY · Xᵀ, summed over the blocks in `dtype`."""
        dband_ISL = torch.bmm(dy_ILM[:, : self.block], x_ILM.transpose(1, 2))
        if self.groups == 1:
            return dband_ISL.sum(0, keepdim=True, dtype=dtype)
        return self.within(dband_ISL).sum(1, dtype=dtype)

    def kernel_gradient(self, dband_PGSL: list[Tensor]) -> Tensor:
        """Sum along the diagonals of the gradients of bands: the gradient of the kernels, (G, K)."""
        dband_GSL = torch.cat(dband_PGSL)
        G, S, L = dband_GSL.shape
        return dband_GSL.as_strided((G, S, self.taps), (S * L, L + 1, 1), L - S + 1 - self.taps).sum(1).flip(1)


class BlockToeplitz(torch.autograd.Function):
    """The convolution as block Toeplitz products: one batched GEMM a part, two on the way back.

    Output block n is H · [the K − 1 inputs before it, rounded up; its own inputs]. The zeros of H above its band
    multiply the future of the same block, and adding them changes no sum: what stands before a changed input comes
    out the same to the bit. (The scheme of StripedHyena 2's 128-tap operator.)

    Each part is copied once, into its padding, and no argument is written to: torch.compile traces it whole.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
        """Convolve: (T, B, D) to (T, B, D)."""
        layout = Layout.of(x_TBD, kernel_GK)
        band_PGSL = layout.bands(kernel_GK, x_TBD.dtype).chunk(layout.parts)
        x_PGTM = layout.split(x_TBD, layout.past, layout.rest)
        ctx.save_for_backward(kernel_GK, *x_PGTM)
        y_PGTM = [layout.multiply(band, layout.windows(x)) for band, x in zip(band_PGSL, x_PGTM, strict=True)]
        return layout.join(y_PGTM, x_TBD)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dy_TBD: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of what was given."""
        kernel_GK, *x_PGTM = ctx.saved_tensors  # type: ignore[attr-defined]
        wants_x, wants_kernel = ctx.needs_input_grad  # type: ignore[attr-defined]
        layout = Layout.of(dy_TBD, kernel_GK)
        # The transposed band: dx[s] = Σ_l kernel[l] · dy[s + l]
        band_PGSL = layout.bands(kernel_GK, dy_TBD.dtype).flip(1, 2).chunk(layout.parts)
        dx_PGTM, dband_PGSL = [], []
        dy_PGTM = layout.split(dy_TBD, 0, layout.rest + layout.past)
        for band_GSL, x_GTM, dy_GTM in zip(band_PGSL, x_PGTM, dy_PGTM, strict=True):
            dy_ILM = layout.windows(dy_GTM)
            if wants_x:
                dx_PGTM.append(layout.multiply(band_GSL, dy_ILM))
            if wants_kernel:
                dband_PGSL.append(layout.band_gradient(dy_ILM, layout.windows(x_GTM), kernel_GK.dtype))
        dx_TBD = layout.join(dx_PGTM, dy_TBD) if wants_x else None
        return dx_TBD, layout.kernel_gradient(dband_PGSL) if wants_kernel else None


class GatedBlockToeplitz(torch.autograd.Function):
    """The convolution times both its gates, part by part: a GEMM for the band and one for the linear map.

    The linear map reads what is convolved where nothing else is given.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x_TBD: Tensor,
        kernel_GK: Tensor,
        weight_GWW: Tensor,
        bias_G1W: Tensor,
        gain_RBD: Tensor,
        seen_TBD: Tensor | None,
    ) -> Tensor:
        """Convolve and gate: (T, B, D) to (T, B, D); every gain holds for as long."""
        layout = Layout.of(x_TBD, kernel_GK)
        W = weight_GWW.shape[2]
        held = (layout.groups, len(gain_RBD), -1, x_TBD.shape[1] * W)
        seen_PGTM = [] if seen_TBD is None else layout.split(seen_TBD, 0, layout.rest)
        gain_PGRM = layout.split(gain_RBD)
        x_PGTM: list[Tensor] = []
        y_PGTM: list[Tensor] = []
        gate_PGTM: list[Tensor] = []
        mixed_PGTM: list[Tensor] = []
        parts = (layout.bands(kernel_GK, x_TBD.dtype), weight_GWW, bias_G1W)
        each = zip(x_TBD.chunk(layout.parts, 2), *(part.chunk(layout.parts) for part in parts), gain_PGRM, strict=True)
        for p, (x_TBE, band_GSL, map_GWW, added_G1W, gain_GRM) in enumerate(each):
            x_GTM = layout.copy(x_TBE, layout.past, layout.rest)
            y_GTM = layout.multiply(band_GSL, layout.windows(x_GTM))
            seen_GTM = seen_PGTM[p] if seen_PGTM else x_GTM[:, layout.past :]
            seen_GAW = seen_GTM.reshape(layout.groups, -1, W)
            gate_GTM = torch.baddbmm(added_G1W, seen_GAW, map_GWW).view(seen_GTM.shape)
            mixed_GTM = y_GTM * gate_GTM
            mixed_GTM.view(held).mul_(gain_GRM[:, :, None])
            mixed_PGTM.append(mixed_GTM)
            x_PGTM.append(x_GTM)
            y_PGTM.append(y_GTM)
            gate_PGTM.append(gate_GTM)
        ctx.save_for_backward(kernel_GK, weight_GWW, *gain_PGRM, *x_PGTM, *y_PGTM, *gate_PGTM, *seen_PGTM)
        return layout.join(mixed_PGTM, x_TBD)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dmixed_TBD: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of what was given."""
        kernel_GK, weight_GWW, *saved = ctx.saved_tensors  # type: ignore[attr-defined]
        layout = Layout.of(dmixed_TBD, kernel_GK)
        P, W = layout.parts, weight_GWW.shape[2]
        held = (layout.groups, saved[0].shape[1], -1, saved[0].shape[2])
        gain_PGRM, x_PGTM, y_PGTM, gate_PGTM, seen_PGTM = (saved[at : at + P] for at in range(0, 5 * P, P))
        band_PGSL = layout.bands(kernel_GK, dmixed_TBD.dtype).flip(1, 2).chunk(P)
        turned_PGWW = weight_GWW.transpose(1, 2).chunk(P)
        dx_PGTM, dseen_PGTM, dband_PGSL, dweight_PGWW, dbias_PG1W, dgain_PGRM = [], [], [], [], [], []
        each = zip(dmixed_TBD.chunk(P, 2), gain_PGRM, gate_PGTM, strict=True)
        for p, (dmixed_TBE, gain_GRM, gate_GTM) in enumerate(each):
            dmixed_GTM = layout.copy(dmixed_TBE, 0, layout.rest)
            dgate_GTM = dmixed_GTM * y_PGTM[p]
            dgain_PGRM.append((dgate_GTM * gate_GTM).view(held).sum(2))
            dgate_GTM.view(held).mul_(gain_GRM[:, :, None])
            dy_GTM = dmixed_GTM * gate_GTM
            dy_GTM.view(held).mul_(gain_GRM[:, :, None])
            dy_ILM = layout.windows(F.pad(dy_GTM, (0, 0, 0, layout.past)))
            dx_GTM = layout.multiply(band_PGSL[p], dy_ILM)
            dband_PGSL.append(layout.band_gradient(dy_ILM, layout.windows(x_PGTM[p]), kernel_GK.dtype))
            dgate_GAW = dgate_GTM.view(layout.groups, -1, W)
            if seen_PGTM:
                dseen_PGTM.append(torch.bmm(dgate_GAW, turned_PGWW[p]).view(dx_GTM.shape))
            else:
                dx_GAW = torch.baddbmm(dx_GTM.reshape(dgate_GAW.shape), dgate_GAW, turned_PGWW[p])
                dx_GTM = dx_GAW.view(dx_GTM.shape)
            dx_PGTM.append(dx_GTM)
            seen_GTM = seen_PGTM[p] if seen_PGTM else x_PGTM[p][:, layout.past :]
            dweight_PGWW.append(torch.bmm(seen_GTM.reshape(dgate_GAW.shape).transpose(1, 2), dgate_GAW))
            dbias_PG1W.append(dgate_GAW.sum(1, keepdim=True))
        gains_RB = dmixed_TBD.new_empty(dgain_PGRM[0].shape[1], dmixed_TBD.shape[1], 0)
        return (
            layout.join(dx_PGTM, dmixed_TBD),
            layout.kernel_gradient(dband_PGSL),
            torch.cat(dweight_PGWW),
            torch.cat(dbias_PG1W),
            layout.join(dgain_PGRM, gains_RB),
            layout.join(dseen_PGTM, dmixed_TBD) if seen_PGTM else None,
        )
