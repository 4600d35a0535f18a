"""The causal band-limited convolution along time, beside its slow reference.

Shapes stand in names: T position, B batch, D channel, G kernel group, K tap, F frequency bin of the fixed reference.
A sequence is time-major, `x_TBD`; the D channels are G groups of D / G neighbours, and a group shares one kernel.

The band limit. Exact zeros above a cutoff are impossible for a causal kernel (Paley–Wiener), and a real mask over the
spectrum is a zero-phase filter, which looks as far ahead as back. So the limit is a K×K matrix that acts on the taps:

    k_eff = (I + μ (I − A_c))⁻¹ · G · k

with A_c the symmetric Toeplitz matrix of the mask's autocorrelation irfft(mask_c)[0:K] and G that of the frequency
gate. k_eff minimises |u − Gk|² + μ · (energy of u above the cutoff), has K taps, and is G·k at the full cutoff.
What follows it is an ordinary causal convolution.
"""

from __future__ import annotations

from functools import lru_cache
from math import log10
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

N_FFT = 2048  # the fixed reference: a bin means the same frequency whatever the input's length
BINS = N_FFT // 2 + 1
ROLLOFF_BINS = 32  # the mask falls from 1 to 0 over the last bins below the cutoff
MU = 1e3  # weight of the energy above the cutoff
BLOCK_BYTES = {"cpu": 64, "cuda": 128}  # positions in a block of the block Toeplitz product; a multiple of 64


def cycles_per_byte(cutoff_bins: int) -> float:
    """Return the frequency at a cutoff in cycles per byte; all bins are 0.5, the Nyquist frequency."""
    return min(cutoff_bins, BINS - 1) / N_FFT


def cutoff_mask(cutoff_bins: int) -> Tensor:
    """Return the mask over the reference bins: 1, a cosine roll-off that ends at the cutoff, 0; float64, (BINS,)."""
    if cutoff_bins >= BINS:
        return torch.ones(BINS, dtype=torch.float64)
    into_rolloff = (torch.arange(BINS, dtype=torch.float64) - (cutoff_bins - ROLLOFF_BINS)) / ROLLOFF_BINS
    return 0.5 * (1 + torch.cos(torch.pi * into_rolloff.clamp(0, 1)))


def toeplitz(line_GX: Tensor, rows: int) -> Tensor:
    """Return the Toeplitz matrices whose last row is the line reversed: (G, rows, X − rows + 1).

    Entry (i, j) is line[i + X − rows − j]. Its gradient sums along diagonals, with no scattered writes.
    """
    return line_GX.flip(1).unfold(1, line_GX.shape[1] - rows + 1, 1).flip(1)


def symmetric_toeplitz(column_K: Tensor) -> Tensor:
    """Return the K×K matrix whose entry (i, j) is column[|i − j|]."""
    return toeplitz(torch.cat((column_K[1:].flip(0), column_K))[None], len(column_K))[0]


@lru_cache(maxsize=64)
def band_limit(cutoff_bins: int, taps: int, kernel_len: int) -> Tensor:
    """Return (I + μ (I − A_c))⁻¹ for the first `taps` taps, zero elsewhere: float64, (kernel_len, kernel_len).

    Args:
        cutoff_bins: how many of the 1025 reference bins are kept, at least 1.
        taps: how many of the kernel's taps are in use, 1 … kernel_len.
        kernel_len: taps of the kernel, at most 1024: beyond, the autocorrelation wraps around.
    """
    limit_KK = torch.zeros(kernel_len, kernel_len, dtype=torch.float64)
    eye = torch.eye(taps, dtype=torch.float64)
    if cutoff_bins >= BINS:  # I − A is exactly 0 there
        limit_KK[:taps, :taps] = eye
    else:
        within = symmetric_toeplitz(torch.fft.irfft(cutoff_mask(cutoff_bins), N_FFT)[:taps])
        limit_KK[:taps, :taps] = torch.linalg.inv(eye + MU * (eye - within))
    return limit_KK


@lru_cache(maxsize=64)
def pass_band_db(cutoff_bins: int, taps: int) -> float:
    """Return what the band limit leaves of white kernels at frequency 0, in dB: 0 at the full cutoff.

    With few taps no kernel is narrow enough for a low cutoff; the limit then damps all frequencies alike.
    """
    response_K = band_limit(cutoff_bins, taps, taps).sum(0)
    return 10 * log10(float(response_K.square().mean()))


@lru_cache(maxsize=8)
def cosines(kernel_len: int) -> Tensor:
    """Return the matrix that takes a real gate over the bins to the first taps of its irfft: float64, (BINS, K)."""
    phase_FK = torch.arange(BINS)[:, None] * torch.arange(kernel_len)[None, :] % N_FFT
    weight_F1 = torch.full((BINS, 1), 2.0 / N_FFT, dtype=torch.float64)
    weight_F1[0] = weight_F1[-1] = 1.0 / N_FFT
    return weight_F1 * torch.cos(2 * torch.pi / N_FFT * phase_FK.double())


def decays(groups: int, kernel_len: int) -> Tensor:
    """Return the envelopes of kernels that fade over 2 taps up to half of them, a constant ratio apart: (groups, K).

    Each has a mean square of 1: white noise keeps its energy under it.
    """
    within_G1 = 2 * (max(1.0, kernel_len / 4) ** torch.linspace(0, 1, groups))[:, None]
    envelope_GK = torch.exp(-torch.arange(kernel_len) / within_G1)
    return envelope_GK / envelope_GK.square().mean(1, keepdim=True).sqrt()


class SpectralKernel(nn.Module):
    """Learned taps under a learned gate over frequency and a band limit that a curriculum moves.

    Args:
        groups: kernels; each serves D / groups channels.
        kernel_len: taps of each kernel.
        init: "noise", or "decays": noise of the same energy that fades, each kernel's at its own rate.
    """

    limit_KK: Tensor
    in_use_K: Tensor
    cosines_FK: Tensor

    def __init__(self, groups: int, kernel_len: int, init: Literal["noise", "decays"] = "noise") -> None:
        super().__init__()
        self.kernel_GK = nn.Parameter(torch.randn(groups, kernel_len) * 0.01)
        with torch.no_grad():
            if init == "decays":
                self.kernel_GK.mul_(decays(groups, kernel_len))
            # begin at the byte itself: from noise alone, the first hundreds of steps learn nothing
            self.kernel_GK[:, 0] += 0.5
        self.gate_F = nn.Parameter(torch.zeros(BINS))
        self.register_buffer("limit_KK", torch.empty(kernel_len, kernel_len), persistent=False)
        self.register_buffer("in_use_K", torch.empty(kernel_len), persistent=False)
        self.register_buffer("cosines_FK", cosines(kernel_len).to(torch.get_default_dtype()), persistent=False)
        self.restrict(BINS, kernel_len)

    @torch.no_grad()
    def restrict(self, cutoff_bins: int, taps: int) -> None:
        """Set cutoff and taps in use, in place: nothing is allocated anew, nothing compiled again."""
        kernel_len = len(self.in_use_K)
        self.taps = taps
        self.limit_KK.copy_(band_limit(cutoff_bins, taps, kernel_len))
        self.in_use_K.copy_(torch.arange(kernel_len) < taps)

    def forward(self) -> Tensor:
        """Return the taps in force, k_eff, (G, taps), never in less than float32.

        What torch compiles has all K of them, the rest 0, so that another number of taps compiles nothing anew.
        """
        with torch.autocast(self.kernel_GK.device.type, enabled=False):
            gate_KK = symmetric_toeplitz(2 * torch.sigmoid(self.gate_F) @ self.cosines_FK)
            taps_GK = (self.kernel_GK * self.in_use_K) @ gate_KK @ self.limit_KK  # both matrices are symmetric
            return taps_GK if torch.compiler.is_compiling() else taps_GK[:, : self.taps]


def convolve(x_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
    """Convolve causally along time: y[t] = Σ_l kernel[l] · x[t − l], x = 0 before the beginning.

    Any length, exact padding inside. Under autocast the products run in its type and the kernel's gradient in float32.

    Args:
        x_TBD: (T, B, D); D is a multiple of G.
        kernel_GK: (G, K); channel d takes kernel d // (D / G).

    Returns:
        (T, B, D), in the type of `x_TBD`, or in autocast's.
    """
    # Cast here, before the Function: what it saves is in the right type, and its backward needs no autocast.
    if torch.is_autocast_enabled(x_TBD.device.type):
        x_TBD = x_TBD.to(torch.get_autocast_dtype(x_TBD.device.type))
    y_TBD: Tensor = _BlockToeplitz.apply(x_TBD, kernel_GK)  # type: ignore[no-untyped-call]
    return y_TBD


def convolve_gated(
    x_TBD: Tensor,
    kernel_GK: Tensor,
    weight_GWW: Tensor,
    bias_G1W: Tensor,
    gain_RBD: Tensor,
    hold: int,
    seen_TBD: Tensor | None = None,
) -> Tensor:
    """Convolve causally along time, times a linear map of the position's own group, times a gain.

    Args:
        x_TBD: (T, B, D), D = G · W.
        kernel_GK: as `convolve` takes it.
        weight_GWW: (G, W, W), of the linear map.
        bias_G1W: (G, 1, W), likewise.
        gain_RBD: (R, B, D), R · hold ≥ T: position t has the gain t // hold.
        hold: positions through which a gain holds; a divisor of 64.
        seen_TBD: what the linear map reads, of the shape of `x_TBD`; by default `x_TBD` itself.

    Returns:
        (T, B, D), in the type of `x_TBD`, or in autocast's.
    """
    if torch.is_autocast_enabled(x_TBD.device.type):
        x_TBD = x_TBD.to(torch.get_autocast_dtype(x_TBD.device.type))
    seen_TBD = None if seen_TBD is None else seen_TBD.to(x_TBD.dtype)
    weight_GWW, bias_G1W, gain_RBD = (value.to(x_TBD.dtype) for value in (weight_GWW, bias_G1W, gain_RBD))
    rows = (len(x_TBD) + Layout.of(x_TBD, 1).rest) // hold
    gain_RBD = F.pad(gain_RBD, (0, 0, 0, 0, 0, rows - len(gain_RBD)))
    y_TBD: Tensor = _GatedBlockToeplitz.apply(x_TBD, kernel_GK, weight_GWW, bias_G1W, gain_RBD, seen_TBD)  # type: ignore[no-untyped-call]
    return y_TBD


def map_groups(x: Tensor, weight_GWW: Tensor, bias_G1W: Tensor) -> Tensor:
    """Map each group of neighbouring channels linearly for itself: (…, D) to (…, D), D = G · W."""
    groups, width, _ = weight_GWW.shape
    x_GMW = x.reshape(-1, groups, width).transpose(0, 1)
    return torch.baddbmm(bias_G1W, x_GMW, weight_GWW).transpose(0, 1).reshape(x.shape)


def convolve_by_fft(x_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
    """Do as `convolve`, by FFT: the reference of tests and benchmarks; slower, and causal only up to rounding."""
    T, B, D = x_TBD.shape
    G, K = kernel_GK.shape
    exact = torch.promote_types(x_TBD.dtype, torch.float32)
    n = 1 << (T + K - 1).bit_length()
    spec_FBGc = torch.fft.rfft(x_TBD.to(exact).view(T, B, G, D // G), n, dim=0)
    spec_FBGc = spec_FBGc * torch.fft.rfft(kernel_GK.to(exact), n).T[:, None, :, None]
    y_TBD: Tensor = torch.fft.irfft(spec_FBGc, n, dim=0)[:T].reshape(T, B, D).to(x_TBD.dtype)
    return y_TBD


class Layout(NamedTuple):
    """How a sequence is cut into blocks; S stands for a block's length, L for that of a window, N for their number."""

    block: int
    """Positions in a block, S."""
    past: int
    """Positions before a block that it answers to: at least K − 1, a multiple of 32."""
    rest: int
    """Positions missing from the last block."""

    @classmethod
    def of(cls, x_TBD: Tensor, taps: int) -> Self:
        """Return the layout for a sequence and kernels of so many taps."""
        block = BLOCK_BYTES[x_TBD.device.type]
        return cls(block, -(-(taps - 1) // 32) * 32, -len(x_TBD) % block)

    def bands(self, kernel_GK: Tensor, dtype: torch.dtype) -> Tensor:
        """Return each kernel's band matrix H: (G, S, L), entry (i, j) = kernel[i + past − j]."""
        after = self.past + self.block - kernel_GK.shape[1]
        return toeplitz(F.pad(kernel_GK.to(dtype), (self.block - 1, after)), self.block)

    def windows(self, padded_TBW: Tensor) -> Tensor:
        """View what has `past` positions more than its blocks as overlapping windows: (N, L, M), M = B · W."""
        return padded_TBW.flatten(1).unfold(0, self.past + self.block, self.block).transpose(1, 2)

    def rows(self, blocks_NSM: Tensor, like_TBW: Tensor) -> Tensor:
        """View blocks as a sequence again: (T, B, W)."""
        return blocks_NSM.view(-1, *like_TBW.shape[1:])[: len(like_TBW)]

    def taps_gradient(self, dy_NSM: Tensor, x_NLM: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the gradient of a band matrix, (S, L): dY · Xᵀ, summed over the blocks in `dtype`."""
        return torch.bmm(dy_NSM, x_NLM.transpose(1, 2)).sum(0, dtype=dtype)


def diagonals(band_GSL: Tensor, taps: int) -> Tensor:
    """Sum along the diagonals of matrices such as `Layout.bands` makes: (G, taps), the gradient's way back."""
    G, S, L = band_GSL.shape
    return band_GSL.as_strided((G, S, taps), (S * L, L + 1, 1), L - S + 1 - taps).sum(1).flip(1)


class _BlockToeplitz(torch.autograd.Function):
    """The convolution as block Toeplitz products: one batched GEMM a group, forward and back.

    Output block n is H · [the K − 1 inputs before it, rounded up; its own inputs]. The zeros of H above its band
    multiply the future of the same block, and adding them changes no sum: what stands before a changed input comes
    out the same to the bit. (The scheme of StripedHyena 2's 128-tap operator.)

    Each group is copied once, into its padding, and no argument is written to: torch.compile traces it whole.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
        G, K = kernel_GK.shape
        layout = Layout.of(x_TBD, K)
        x_GNLM, y_GTBW = [], []
        for band_SL, x_TBW in zip(layout.bands(kernel_GK, x_TBD.dtype), x_TBD.chunk(G, 2), strict=True):
            x_NLM = layout.windows(F.pad(x_TBW, (0, 0, 0, 0, layout.past, layout.rest)))
            y_NSM = torch.bmm(band_SL.expand(len(x_NLM), -1, -1), x_NLM)
            x_GNLM.append(x_NLM)
            y_GTBW.append(layout.rows(y_NSM, x_TBW))
        ctx.save_for_backward(kernel_GK, *x_GNLM)
        return torch.cat(y_GTBW, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dy_TBD: Tensor) -> tuple[Tensor | None, Tensor | None]:
        kernel_GK, *x_GNLM = ctx.saved_tensors  # type: ignore[attr-defined]
        wants_x, wants_kernel = ctx.needs_input_grad  # type: ignore[attr-defined]
        G, K = kernel_GK.shape
        layout = Layout.of(dy_TBD, K)
        # The transposed band: dx[s] = Σ_l kernel[l] · dy[s + l]
        band_GSL = layout.bands(kernel_GK, dy_TBD.dtype).flip(1, 2)
        dx_GTBW, dband_GSL = [], []
        for band_SL, x_NLM, dy_TBW in zip(band_GSL, x_GNLM, dy_TBD.chunk(G, 2), strict=True):
            dy_NLM = layout.windows(F.pad(dy_TBW, (0, 0, 0, 0, 0, layout.rest + layout.past)))
            if wants_x:
                dx_GTBW.append(layout.rows(torch.bmm(band_SL.expand(len(dy_NLM), -1, -1), dy_NLM), dy_TBW))
            if wants_kernel:
                dband_GSL.append(layout.taps_gradient(dy_NLM[:, : layout.block], x_NLM, kernel_GK.dtype))
        dx_TBD = torch.cat(dx_GTBW, 2) if wants_x else None
        return dx_TBD, diagonals(torch.stack(dband_GSL), K) if wants_kernel else None


class _GatedBlockToeplitz(torch.autograd.Function):
    """The convolution times both its gates, group by group, so that what a group needs stays in the cache.

    H stands for the positions through which a gain holds, `hold` many. The linear map reads what is convolved where
    nothing else is given.
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
        G, K = kernel_GK.shape
        layout = Layout.of(x_TBD, K)
        hold = (len(x_TBD) + layout.rest) // len(gain_RBD)
        x_GPBW, y_GRHBW, gate_GRHBW, mixed_GTBW = [], [], [], []
        seen_GRBW = (
            [] if seen_TBD is None else [F.pad(seen, (0, 0, 0, 0, 0, layout.rest)) for seen in seen_TBD.chunk(G, 2)]
        )
        band_GSL = layout.bands(kernel_GK, x_TBD.dtype)
        for g, (x_TBW, gain_RBW) in enumerate(zip(x_TBD.chunk(G, 2), gain_RBD.chunk(G, 2), strict=True)):
            _, B, W = x_TBW.shape
            x_PBW = F.pad(x_TBW, (0, 0, 0, 0, layout.past, layout.rest))
            x_NLM = layout.windows(x_PBW)
            y_RHBW = torch.bmm(band_GSL[g].expand(len(x_NLM), -1, -1), x_NLM).view(-1, hold, B, W)
            seen_MW = (seen_GRBW[g] if seen_GRBW else x_PBW[layout.past :]).view(-1, W)
            gate_RHBW = torch.addmm(bias_G1W[g], seen_MW, weight_GWW[g]).view(-1, hold, B, W)
            mixed_GTBW.append(layout.rows((y_RHBW * gate_RHBW).mul_(gain_RBW[:, None]), x_TBW))
            x_GPBW.append(x_PBW)
            y_GRHBW.append(y_RHBW)
            gate_GRHBW.append(gate_RHBW)
        ctx.save_for_backward(kernel_GK, weight_GWW, gain_RBD, *x_GPBW, *y_GRHBW, *gate_GRHBW, *seen_GRBW)
        return torch.cat(mixed_GTBW, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dmixed_TBD: Tensor) -> tuple[Tensor | None, ...]:
        kernel_GK, weight_GWW, gain_RBD, *saved = ctx.saved_tensors  # type: ignore[attr-defined]
        G, K = kernel_GK.shape
        layout = Layout.of(dmixed_TBD, K)
        band_GSL = layout.bands(kernel_GK, dmixed_TBD.dtype).flip(1, 2)
        x_GPBW, y_GRHBW, gate_GRHBW, seen_GRBW = (saved[at : at + G] for at in range(0, 4 * G, G))
        parts = zip(dmixed_TBD.chunk(G, 2), gain_RBD.chunk(G, 2), x_GPBW, y_GRHBW, gate_GRHBW, strict=True)
        dx_GTBW, dseen_GTBW, dband_GSL, dweight_GWW, dbias_G1W, dgain_GRBW = [], [], [], [], [], []
        for g, (dmixed_TBW, gain_RBW, x_PBW, y_RHBW, gate_RHBW) in enumerate(parts):
            W = dmixed_TBW.shape[2]
            dmixed_RHBW = F.pad(dmixed_TBW, (0, 0, 0, 0, 0, layout.rest)).view(y_RHBW.shape)
            dgate_RHBW = dmixed_RHBW * y_RHBW
            dgain_GRBW.append((dgate_RHBW * gate_RHBW).sum(1))
            dgate_MW = dgate_RHBW.mul_(gain_RBW[:, None]).view(-1, W)
            dy_TBW = (dmixed_RHBW * gate_RHBW).mul_(gain_RBW[:, None]).flatten(0, 1)
            dy_NLM = layout.windows(F.pad(dy_TBW, (0, 0, 0, 0, 0, layout.past)))
            dx_MW = torch.bmm(band_GSL[g].expand(len(dy_NLM), -1, -1), dy_NLM).view(-1, W)
            if seen_GRBW:
                dseen_GTBW.append(layout.rows(dgate_MW @ weight_GWW[g].T, dmixed_TBW))
            else:
                dx_MW = torch.addmm(dx_MW, dgate_MW, weight_GWW[g].T)
            dx_GTBW.append(layout.rows(dx_MW, dmixed_TBW))
            dband_GSL.append(layout.taps_gradient(dy_NLM[:, : layout.block], layout.windows(x_PBW), kernel_GK.dtype))
            seen_MW = (seen_GRBW[g] if seen_GRBW else x_PBW[layout.past :]).view(-1, W)
            dweight_GWW.append(seen_MW.T @ dgate_MW)
            dbias_G1W.append(dgate_MW.sum(0, keepdim=True))
        return (
            torch.cat(dx_GTBW, 2),
            diagonals(torch.stack(dband_GSL), K),
            torch.stack(dweight_GWW),
            torch.stack(dbias_G1W),
            torch.cat(dgain_GRBW, 2),
            torch.cat(dseen_GTBW, 2) if seen_GRBW else None,
        )
