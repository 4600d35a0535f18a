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

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

N_FFT = 2048  # the fixed reference: a bin means the same frequency whatever the input's length
BINS = N_FFT // 2 + 1
ROLLOFF_BINS = 32  # the mask falls from 1 to 0 over the last bins below the cutoff
MU = 1e3  # weight of the energy above the cutoff
LONGEST_BLOCK_KERNEL = 512  # taps; longer kernels are faster by FFT


def cycles_per_byte(cutoff_bins: int) -> float:
    """Return the frequency at a cutoff in cycles per byte; all bins are 0.5, the Nyquist frequency."""
    return min(cutoff_bins, BINS - 1) / N_FFT


def cutoff_mask(cutoff_bins: int) -> Tensor:
    """Return the mask over the reference bins: 1, a cosine roll-off that ends at the cutoff, 0; float64, (BINS,)."""
    if cutoff_bins >= BINS:
        return torch.ones(BINS, dtype=torch.float64)
    into_rolloff = (torch.arange(BINS, dtype=torch.float64) - (cutoff_bins - ROLLOFF_BINS)) / ROLLOFF_BINS
    return 0.5 * (1 + torch.cos(torch.pi * into_rolloff.clamp(0, 1)))


def lags(taps: int) -> Tensor:
    """Return the K×K matrix whose entry (i, j) is |i − j|."""
    index_K = torch.arange(taps)
    return (index_K[:, None] - index_K[None, :]).abs()


def symmetric_toeplitz(column_K: Tensor) -> Tensor:
    """Return the K×K matrix whose entry (i, j) is column[|i − j|]."""
    return column_K[lags(len(column_K)).to(column_K.device)]


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
    lag_KK: Tensor
    in_use_K: Tensor
    cosines_FK: Tensor

    def __init__(self, groups: int, kernel_len: int) -> None:
        super().__init__()
        self.kernel_GK = nn.Parameter(torch.randn(groups, kernel_len) * 0.01)
        with torch.no_grad():  # begin at the byte itself: from noise alone, the first hundreds of steps learn nothing
            self.kernel_GK[:, 0] += 0.5
        self.gate_F = nn.Parameter(torch.zeros(BINS))
        self.register_buffer("limit_KK", torch.empty(kernel_len, kernel_len), persistent=False)
        self.register_buffer("lag_KK", lags(kernel_len), persistent=False)
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
            gate_KK = (2 * torch.sigmoid(self.gate_F) @ self.cosines_FK)[self.lag_KK]
            return (self.kernel_GK * self.in_use_K) @ gate_KK @ self.limit_KK  # both matrices are symmetric


def convolve(x_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
    """Convolve causally along time: y[t] = Σ_l kernel[l] · x[t − l], x = 0 before the beginning.

    Any length, exact padding inside. Under autocast the products run in its type and the kernel's gradient in float32.

    Args:
        x_TBD: (T, B, D); D is a multiple of G.
        kernel_GK: (G, K); channel d takes kernel d // (D / G).

    Returns:
        (T, B, D), in the type of `x_TBD`, or in autocast's.
    """
    if torch.is_autocast_enabled(x_TBD.device.type):
        x_TBD = x_TBD.to(torch.get_autocast_dtype(x_TBD.device.type))
    if kernel_GK.shape[1] > LONGEST_BLOCK_KERNEL:
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
    K = kernel_GK.shape[1]
    # Row `block − 1 − i` begins i places further right in the reversed, zero-padded kernel.
    line = F.pad(kernel_GK.flip(1), (past + 1 - K + block - 1, block - 1))
    return line.unfold(1, past + block, 1).flip(1)


def grouped(x_TBD: Tensor, groups: int, before: int, after: int) -> Tensor:
    """Return the sequence group by group, each a matrix time × (batch, channels), with zeros before and after."""
    T, B, D = x_TBD.shape
    width = B * D // groups
    x_GTM = x_TBD.new_empty(groups, before + T + after, width)
    x_GTM[:, :before].zero_()
    x_GTM[:, before + T :].zero_()
    within = x_GTM[:, before : before + T].view(groups, T, B, D // groups)
    within.copy_(x_TBD.view(T, B, groups, D // groups).permute(2, 0, 1, 3))
    return x_GTM


def ungrouped(x_GTM: Tensor, T: int, B: int) -> Tensor:
    """Undo `grouped` for the first T positions: (T, B, D)."""
    G, _, width = x_GTM.shape
    return x_GTM[:, :T].view(G, T, B, width // B).permute(1, 2, 0, 3).reshape(T, B, G * width // B)


def windows(x_TM: Tensor, length: int, block: int) -> Tensor:
    """View the rows as overlapping windows, one a block: (N, length, M), no copy."""
    return x_TM.unfold(0, length, block).transpose(1, 2)


class _BlockToeplitz(torch.autograd.Function):
    """The convolution as block Toeplitz products: one batched GEMM a group, forward and back.

    Output block n is H · [the K − 1 inputs before it, rounded up; its own inputs]. The zeros of H above its band
    multiply the future of the same block, and adding them changes no sum: what stands before a changed input comes
    out the same to the bit. (The scheme of StripedHyena 2's 128-tap operator.)
    """

    @staticmethod
    def layout(T: int, K: int, device: torch.device) -> tuple[int, int, int]:
        """Return the block's length, the rows of past it reads, and the number of blocks."""
        block = 64 if device.type == "cpu" else 128
        return block, -(-(K - 1) // 32) * 32, -(-T // block)

    @staticmethod
    def forward(ctx: FunctionCtx, x_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
        T, B, D = x_TBD.shape
        G, K = kernel_GK.shape
        block, past, N = _BlockToeplitz.layout(T, K, x_TBD.device)
        x_GTM = grouped(x_TBD, G, past, N * block - T)
        band_GSL = band_matrix(kernel_GK.to(x_TBD.dtype), block, past)
        y_GTM = x_TBD.new_empty(G, N * block, B * D // G)
        for g in range(G):
            into = y_GTM[g].view(N, block, -1)
            torch.bmm(band_GSL[g].expand(N, -1, -1), windows(x_GTM[g], past + block, block), out=into)
        ctx.save_for_backward(x_GTM, kernel_GK)
        ctx.size = T, B  # type: ignore[attr-defined]
        return ungrouped(y_GTM, T, B)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dy_TBD: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x_GTM, kernel_GK = ctx.saved_tensors  # type: ignore[attr-defined]
        (T, B), (G, K) = ctx.size, kernel_GK.shape  # type: ignore[attr-defined]
        wants_x, wants_kernel = ctx.needs_input_grad  # type: ignore[attr-defined]
        block, past, N = _BlockToeplitz.layout(T, K, dy_TBD.device)
        length = past + block
        dy_GTM = grouped(dy_TBD, G, 0, N * block - T + past)

        dx_TBD = dkernel_GK = None
        if wants_x:  # the transposed band: dx[s] = Σ_l kernel[l] · dy[s + l]
            band_GSL = band_matrix(kernel_GK.to(dy_TBD.dtype), block, past).flip(1, 2)
            dx_GTM = dy_TBD.new_empty(G, N * block, dy_GTM.shape[2])
            for g in range(G):
                into = dx_GTM[g].view(N, block, -1)
                torch.bmm(band_GSL[g].expand(N, -1, -1), windows(dy_GTM[g], length, block), out=into)
            dx_TBD = ungrouped(dx_GTM, T, B)
        if wants_kernel:  # sums along the diagonals of dY · Xᵀ
            dband_GSL = kernel_GK.new_empty(G, block, length)
            for g in range(G):
                dy_NSM = dy_GTM[g, : N * block].view(N, block, -1)
                products = torch.bmm(dy_NSM, windows(x_GTM[g], length, block).transpose(1, 2))
                torch.sum(products, 0, dtype=kernel_GK.dtype, out=dband_GSL[g])
            first, strides = past - K + 1, (block * length, length + 1, 1)
            dkernel_GK = dband_GSL.as_strided((G, block, K), strides, first).sum(1).flip(1)
        return dx_TBD, dkernel_GK
