"""The published architecture: made causal, and as it was.

The block has one kernel for all channels, a gain per channel where ours has a gate at each position, and its dropout
inside the feed-forward half. Its filters, a mask and a gate over the spectrum, are real: they are zero-phase, and look
as far ahead as back. `PublishedBlock` has our causal filters in their place, unless the shape says `zero_phase`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plateau_rule.fftcore import spectral
from plateau_rule.fftcore.block import Block, Mixer
from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.stream import CONTEXT_BLOCK, MixerStream


class ChannelGain(nn.Module):
    """A gain per channel, whatever is read.

    Args:
        d_model: channels.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.gain_D = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """Return the gains, (D,)."""
        return self.gain_D


class PublishedMixer(Mixer):
    """The published mixing along time, made causal: band limit and block-lagged context gate are ours.

    Args:
        shape: the model's shape.
    """

    content: ChannelGain  # type: ignore[assignment]  # where ours has a map of what is read

    def __init__(self, shape: Model) -> None:
        super().__init__(shape)
        self.content = ChannelGain(shape.d_model)

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Mix a whole window: (T, B, D) to (T, B, D); what stands at t answers to t and before alone."""
        gain_TBD = self.context(x_TBD).repeat_interleave(CONTEXT_BLOCK, 0)[: len(x_TBD)]
        mixed_TBD: Tensor = spectral.convolve(x_TBD, self.kernel()) * self.content(x_TBD) * gain_TBD
        return mixed_TBD

    def read(self, x_WBD: Tensor, stream: MixerStream, row: int) -> Tensor:
        """Mix the next positions of a stream as `forward` does: (W, B, D) to (W, B, D)."""
        y_WBD = stream.ungroup(stream.convolve(stream.group(x_WBD), row))
        mixed_WBD: Tensor = y_WBD * self.content(x_WBD) * stream.gain_BD
        return mixed_WBD


class ZeroPhaseMixer(PublishedMixer):
    """The published mixing as it was: real filters over the spectrum, a context gate that pools the whole window.

    It sees the future. A labelled reference for the leak alarm and the benchmarks, good for nothing else. Byte by byte
    it has the causal half of its response, all there is to have.
    """

    mask_F: Tensor

    def __init__(self, shape: Model) -> None:
        super().__init__(shape)
        self.register_buffer("mask_F", torch.ones(spectral.BINS), persistent=False)

    def restrict(self, cutoff_bins: int, taps: int) -> None:
        """Move the mask; the kernels keep all their bins."""
        self.kernel.restrict(spectral.BINS, taps)
        self.mask_F.copy_(spectral.cutoff_mask(cutoff_bins))

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Mix a whole window of at most 2048 bytes: (T, B, D) to (T, B, D); all positions answer to all."""
        with torch.autocast(x_TBD.device.type, enabled=False):
            exact_TBD = x_TBD.to(self.mask_F.dtype)
            spec_FBD = torch.fft.rfft(exact_TBD, spectral.N_FFT, dim=0)
            taps_K = (self.kernel.kernel_GK * self.kernel.in_use_K)[0]
            spec_FBD = spec_FBD * torch.fft.rfft(taps_K, spectral.N_FFT)[:, None, None]
            spec_FBD = spec_FBD * self.content(x_TBD)
            spec_FBD = spec_FBD * (2 * torch.sigmoid(self.kernel.gate_F))[:, None, None]
            spec_FBD = spec_FBD * self.context.gain(exact_TBD.mean(0))
            spec_FBD = spec_FBD * self.mask_F[:, None, None]
            mixed_TBD: Tensor = torch.fft.irfft(spec_FBD, spectral.N_FFT, dim=0)[: len(x_TBD)]
        return mixed_TBD

    def stream_taps(self) -> Tensor:
        """Return the taps of kernel, gate and mask together, the future cut off."""
        taps_GK = super().stream_taps()
        return taps_GK @ spectral.symmetric_toeplitz(torch.fft.irfft(self.mask_F, spectral.N_FFT)[: taps_GK.shape[1]])


class PublishedBlock(Block):
    """The published block: dropout after the mixing, and between the two layers of the feed-forward half.

    Args:
        shape: the model's shape.
        dropout: share that is dropped.
    """

    def __init__(self, shape: Model, dropout: float) -> None:
        super().__init__(shape, dropout)
        self.mixer = ZeroPhaseMixer(shape) if shape.zero_phase else PublishedMixer(shape)
        widen, gelu, narrow = self.feed
        self.feed = nn.Sequential(widen, gelu, nn.Dropout(dropout), narrow)
