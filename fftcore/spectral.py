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
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plateau_rule.fftcore.config import BINS as BINS
from plateau_rule.fftcore.config import N_FFT as N_FFT
from plateau_rule.fftcore.toeplitz import BlockToeplitz, GatedBlockToeplitz, Layout, toeplitz

ROLLOFF_BINS = 32  # the mask falls from 1 to 0 over the last bins below the cutoff
MU = 1e3  # weight of the energy above the cutoff


def cycles_per_byte(cutoff_bins: int) -> float:
    """Return the frequency at a cutoff in cycles per byte; all bins are 0.5, the Nyquist frequency."""
    return min(cutoff_bins, BINS - 1) / N_FFT


def cutoff_mask(cutoff_bins: int) -> Tensor:
    """Return the mask over the reference bins: 1, a cosine roll-off that ends at the cutoff, 0; float64, (BINS,)."""
    if cutoff_bins >= BINS:
        return torch.ones(BINS, dtype=torch.float64)
    into_rolloff = (torch.arange(BINS, dtype=torch.float64) - (cutoff_bins - ROLLOFF_BINS)) / ROLLOFF_BINS
    return 0.5 * (1 + torch.cos(torch.pi * into_rolloff.clamp(0, 1)))


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
    y_TBD: Tensor = BlockToeplitz.apply(x_TBD, kernel_GK)  # type: ignore[no-untyped-call]
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
    rows = (len(x_TBD) + Layout.of(x_TBD, kernel_GK).rest) // hold
    gain_RBD = F.pad(gain_RBD, (0, 0, 0, 0, 0, rows - len(gain_RBD)))
    y_TBD: Tensor = GatedBlockToeplitz.apply(x_TBD, kernel_GK, weight_GWW, bias_G1W, gain_RBD, seen_TBD)  # type: ignore[no-untyped-call]
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
