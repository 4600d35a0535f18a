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
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

N_FFT = 2048  # the fixed reference: a bin means the same frequency whatever the input's length
BINS = N_FFT // 2 + 1
ROLLOFF_BINS = 32  # the mask falls from 1 to 0 over the last bins below the cutoff
MU = 1e3  # weight of the energy above the cutoff
LONGEST_BLOCK_KERNEL = 512  # taps; longer kernels are faster by FFT
BLOCK_BYTES = {"cpu": 64, "cuda": 128}  # positions in a block of the block Toeplitz product


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
        kernel_len: taps of the kernel.
    """
    limit_KK = torch.zeros(kernel_len, kernel_len, dtype=torch.float64)
    eye = torch.eye(taps, dtype=torch.float64)
    if cutoff_bins >= BINS:  # I − A is exactly 0 there
        limit_KK[:taps, :taps] = eye
    else:
        within = symmetric_toeplitz(torch.fft.irfft(cutoff_mask(cutoff_bins), N_FFT)[:taps])
        limit_KK[:taps, :taps] = torch.linalg.inv(eye + MU * (eye - within))
    return limit_KK


@lru_cache(maxsize=8)
def cosines(kernel_len: int) -> Tensor:
    """Return the matrix that takes a real gate over the bins to the first taps of its irfft: float64, (BINS, K)."""
    phase_FK = torch.arange(BINS)[:, None] * torch.arange(kernel_len)[None, :] % N_FFT
    weight_F1 = torch.full((BINS, 1), 2.0 / N_FFT, dtype=torch.float64)
    weight_F1[0] = weight_F1[-1] = 1.0 / N_FFT
    return weight_F1 * torch.cos(2 * torch.pi / N_FFT * phase_FK.double())


class SpectralKernel(nn.Module):
    """Learned taps under a learned gate over frequency and a band limit that a curriculum moves.

    Args:
        groups: kernels; each serves D / groups channels.
        kernel_len: taps of each kernel.
    """

    limit_KK: Tensor
    in_use_K: Tensor
    cosines_FK: Tensor

    def __init__(self, groups: int, kernel_len: int) -> None:
        super().__init__()
        self.kernel_GK = nn.Parameter(torch.randn(groups, kernel_len) * 0.01)
        with torch.no_grad():  # begin at the byte itself: from noise alone, the first hundreds of steps learn nothing
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
        self.limit_KK.copy_(band_limit(cutoff_bins, taps, kernel_len))
        self.in_use_K.copy_(torch.arange(kernel_len) < taps)

    def forward(self) -> Tensor:
        """Return the taps in force, k_eff, (G, K), never in less than float32."""
        with torch.autocast(self.kernel_GK.device.type, enabled=False):
            gate_KK = symmetric_toeplitz(2 * torch.sigmoid(self.gate_F) @ self.cosines_FK)
            return (self.kernel_GK * self.in_use_K) @ gate_KK @ self.limit_KK  # both matrices are symmetric


def convolve(x_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
    """Convolve causally along time: y[t] = Σ_l kernel[l] · x[t − l], x = 0 before the beginning.

    Any length, exact padding inside. Under autocast the products run in its type and the kernel's gradient in float32.
    Kernels beyond 512 taps, and devices that are neither CPU nor CUDA, take the FFT, with the same result.

    Args:
        x_TBD: (T, B, D); D is a multiple of G.
        kernel_GK: (G, K); channel d takes kernel d // (D / G).

    Returns:
        (T, B, D), in the type of `x_TBD`, or in autocast's.
    """
    # Cast here, before the Function: what it saves is in the right type, and its backward needs no autocast.
    if torch.is_autocast_enabled(x_TBD.device.type):
        x_TBD = x_TBD.to(torch.get_autocast_dtype(x_TBD.device.type))
    if kernel_GK.shape[1] > LONGEST_BLOCK_KERNEL or x_TBD.device.type not in BLOCK_BYTES:
        return convolve_by_fft(x_TBD, kernel_GK)
    y_TBD: Tensor = _BlockToeplitz.apply(x_TBD, kernel_GK)  # type: ignore[no-untyped-call]
    return y_TBD


def convolve_by_fft(x_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
    """Do as `convolve`, by FFT: the slow reference, and the way of kernels beyond 512 taps."""
    T, B, D = x_TBD.shape
    G, K = kernel_GK.shape
    exact = torch.promote_types(x_TBD.dtype, torch.float32)
    n = 1 << (T + K - 1).bit_length()
    spec_FBGc = torch.fft.rfft(x_TBD.to(exact).view(T, B, G, D // G), n, dim=0)
    spec_FBGc = spec_FBGc * torch.fft.rfft(kernel_GK.to(exact), n).T[:, None, :, None]
    y_TBD: Tensor = torch.fft.irfft(spec_FBGc, n, dim=0)[:T].reshape(T, B, D).to(x_TBD.dtype)
    return y_TBD


def band_matrix(kernel_GK: Tensor, block: int, past: int) -> Tensor:
    """Return the block's Toeplitz matrix: (G, block, past + block), entry (i, j) = kernel[i + past − j]."""
    return toeplitz(F.pad(kernel_GK, (block - 1, past - kernel_GK.shape[1] + block)), block)


def diagonals(band_GSL: Tensor, taps: int) -> Tensor:
    """Sum along the diagonals of matrices such as `band_matrix` makes: (G, taps), the gradient's way back."""
    G, S, L = band_GSL.shape
    return band_GSL.as_strided((G, S, taps), (S * L, L + 1, 1), L - S + 1 - taps).sum(1).flip(1)


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

    def windows(self, rows_TBW: Tensor, before: int, after: int) -> Tensor:
        """Pad with zeros, and view as overlapping windows, one a block: (N, L, M), M = B · W."""
        rows_TM = F.pad(rows_TBW, (0, 0, 0, 0, before, after)).flatten(1)
        return rows_TM.unfold(0, self.past + self.block, self.block).transpose(1, 2)

    def rows(self, blocks_NSM: Tensor, like_TBW: Tensor) -> Tensor:
        """View blocks as a sequence again: (T, B, W)."""
        return blocks_NSM.view(-1, *like_TBW.shape[1:])[: len(like_TBW)]


class _BlockToeplitz(torch.autograd.Function):
    """The convolution as block Toeplitz products: one batched GEMM a group, forward and back.

    Output block n is H · [the K − 1 inputs before it, rounded up; its own inputs]. The zeros of H above its band
    multiply the future of the same block, and adding them changes no sum: what stands before a changed input comes
    out the same to the bit. (The scheme of StripedHyena 2's 128-tap operator.)

    Nothing is written in place, so that torch.compile traces it whole; each group is copied once, into its padding.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
        G, K = kernel_GK.shape
        layout = Layout.of(x_TBD, K)
        band_GSL = band_matrix(kernel_GK.to(x_TBD.dtype), layout.block, layout.past)
        x_GNLM, y_GTBW = [], []
        for band_SL, x_TBW in zip(band_GSL, x_TBD.chunk(G, 2), strict=True):
            x_NLM = layout.windows(x_TBW, layout.past, layout.rest)
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
        band_GSL = band_matrix(kernel_GK.to(dy_TBD.dtype), layout.block, layout.past).flip(1, 2)
        dx_GTBW, dband_GSL = [], []
        for band_SL, x_NLM, dy_TBW in zip(band_GSL, x_GNLM, dy_TBD.chunk(G, 2), strict=True):
            dy_NLM = layout.windows(dy_TBW, 0, layout.rest + layout.past)
            if wants_x:
                dx_NSM = torch.bmm(band_SL.expand(len(dy_NLM), -1, -1), dy_NLM)
                dx_GTBW.append(layout.rows(dx_NSM, dy_TBW))
            if wants_kernel:
                products_NSL = torch.bmm(dy_NLM[:, : layout.block], x_NLM.transpose(1, 2))
                dband_GSL.append(products_NSL.sum(0, dtype=kernel_GK.dtype))
        dx_TBD = torch.cat(dx_GTBW, 2) if wants_x else None
        return dx_TBD, diagonals(torch.stack(dband_GSL), K) if wants_kernel else None
