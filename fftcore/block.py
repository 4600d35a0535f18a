"""One pre-norm block: a causal spectral convolution along time under two gates, then a feed-forward half.

Shapes stand in names: T position, B batch, D channel, G kernel group, K tap, N block of 64 bytes.
Sequences are time-major, `x_TBD`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plateau_rule.fftcore import decay, spectral
from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.memory import Memory
from plateau_rule.fftcore.short import ShortFilter
from plateau_rule.fftcore.stream import CONTEXT_BLOCK, MixerStream


class ContextGate(nn.Module):
    """A gain per channel that follows the mean of all 64-byte blocks before the current one.

    The published gate pools the whole window, its future included; this one changes only where a block ends.

    Args:
        d_model: channels.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.project = nn.Linear(d_model, d_model)
        nn.init.zeros_(self.project.bias)
        nn.init.normal_(self.project.weight, std=0.02)

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Return the gain of each block of 64 bytes, (N, B, D), for what is read, (T, B, D)."""
        T, B, D = x_TBD.shape
        whole = (T - 1) // CONTEXT_BLOCK  # what is before the last block: nothing of the last itself is used
        x_NSBD = x_TBD[: whole * CONTEXT_BLOCK].view(whole, CONTEXT_BLOCK, B, D)
        sum_NBD = x_NSBD.sum(1, dtype=torch.promote_types(x_TBD.dtype, torch.float32))
        past_NBD = F.pad(sum_NBD.cumsum(0), (0, 0, 0, 0, 1, 0))
        bytes_N11 = CONTEXT_BLOCK * torch.arange(whole + 1, device=x_TBD.device).clamp(min=1)[:, None, None]
        return self.gain(past_NBD / bytes_N11)

    def gain(self, mean: Tensor) -> Tensor:
        """Return the gain, 0 … 2 and about 1 at first, for a mean over the past; both (…, D)."""
        gain: Tensor = 2 * torch.sigmoid(self.project(mean))
        return gain


class GroupLinear(nn.Module):
    """A linear map within each group of channels.

    Args:
        groups: of neighbouring channels, mapped each for itself.
        width: channels of a group.
    """

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.weight_GWW = nn.Parameter(torch.empty(groups, width, width).uniform_(-1, 1) / width**0.5)
        self.bias_G1W = nn.Parameter(torch.zeros(groups, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, D) to (…, D), D = groups · width."""
        return spectral.map_groups(x, self.weight_GWW, self.bias_G1W)

    def grouped(self, x_GNW: Tensor) -> Tensor:
        """Map what is grouped already: (G, N, W) to (G, N, W)."""
        return torch.baddbmm(self.bias_G1W, x_GNW, self.weight_GWW)


class Mixer(nn.Module):
    """Mixes along time: the causal convolution, times a content gate at each position, times the context gate.

    The content gate is a linear map of the position's own channels, group by group. The product with it, as in H3 and
    Hyena, lets a fixed filter answer to what is read.

    What a shape can add, each before the next: a linear map into other channels, and one back at the end; a short
    filter of what convolution and gates read; a gate on what is convolved; decays, which are a linear map of what the
    gates read. The context gate follows what is convolved.

    Args:
        shape: the model's shape.
    """

    def __init__(self, shape: Model) -> None:
        super().__init__()
        D, width = shape.d_model, shape.mixer_channels
        self.kernel = spectral.SpectralKernel(shape.kernel_groups, shape.kernel_len, shape.kernel_init)
        self.content = GroupLinear(shape.kernel_groups, width // shape.kernel_groups)
        self.context = ContextGate(width)
        self.enter = nn.Linear(D, width, bias=False) if shape.mixer_width else None
        self.leave = nn.Linear(width, D, bias=False) if shape.mixer_width else None
        self.short = ShortFilter(width, shape.short_taps) if shape.short_taps else None
        self.input_gate = GroupLinear(shape.kernel_groups, width // shape.kernel_groups) if shape.input_gate else None
        if self.input_gate is not None:
            nn.init.ones_(self.input_gate.bias_G1W)  # what is read now is about what is convolved at first
        self.decay = GroupLinear(shape.kernel_groups, width // shape.kernel_groups) if shape.decay else None
        if self.decay is not None:
            with torch.no_grad():
                self.decay.bias_G1W.copy_(decay.first_logits(width).view_as(self.decay.bias_G1W))

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Mix a whole window: (T, B, D) to (T, B, D); what stands at t answers to t and before alone."""
        if self.enter is not None:
            x_TBD = self.enter(x_TBD)
        if self.short is not None:
            x_TBD = self.short(x_TBD)
        seen_TBD = None
        if self.input_gate is not None:
            seen_TBD, x_TBD = x_TBD, x_TBD * self.input_gate(x_TBD)
        content, gain_NBD = self.content, self.context(x_TBD)
        if self.decay is not None:
            return self._mix_decayed(x_TBD, seen_TBD, gain_NBD)
        mixed_TBD: Tensor = spectral.convolve_gated(
            x_TBD, self.kernel(), content.weight_GWW, content.bias_G1W, gain_NBD, CONTEXT_BLOCK, seen_TBD
        )
        return mixed_TBD if self.leave is None else self.leave(mixed_TBD)

    def _mix_decayed(self, x_TBD: Tensor, seen_TBD: Tensor | None, gain_NBD: Tensor) -> Tensor:
        """Convolve under decays, times both gates, in float32 at least: decays need its range."""
        assert self.decay is not None
        taps_GK = self.kernel()
        T, B, _ = x_TBD.shape
        G = len(taps_GK)
        with torch.autocast(x_TBD.device.type, enabled=False):
            x_GSNM = decay.cut(x_TBD.to(taps_GK.dtype), G)
            seen_GSNM = x_GSNM if seen_TBD is None else decay.cut(seen_TBD.to(taps_GK.dtype), G)
            seen_GCW = seen_GSNM.view(G, -1, x_TBD.shape[2] // G)
            logits_GSNM = self.decay.grouped(seen_GCW).view_as(x_GSNM)
            gate_GSNM = self.content.grouped(seen_GCW).view_as(x_GSNM)
            gain_NBGW = gain_NBD.to(taps_GK.dtype).view(*gain_NBD.shape[:2], G, -1)
            gain_G1NM = gain_NBGW.permute(2, 0, 1, 3).reshape_as(x_GSNM[:, :1])
            mixed_GSNM = decay.convolve_decayed(x_GSNM, logits_GSNM, gate_GSNM, gain_G1NM, taps_GK)
            mixed_TBD = decay.join(mixed_GSNM, T, B)
        return mixed_TBD if self.leave is None else self.leave(mixed_TBD)

    def stream_taps(self) -> Tensor:
        """Return the taps for decoding byte by byte, (G, K)."""
        taps_GK: Tensor = self.kernel()
        return taps_GK

    def zero_output(self) -> None:
        """Let what is mixed be 0 until it is trained: the content gate is closed, and opens by its own gradient."""
        for value in self.content.parameters():
            nn.init.zeros_(value)

    def restrict(self, cutoff_bins: int, taps: int) -> None:
        """Keep the kernels below the cutoff, in their first taps."""
        self.kernel.restrict(cutoff_bins, taps)

    def stream(self, batch: int, rows: int) -> MixerStream:
        """Begin `batch` streams with as many rows of inputs, all of them 0: what stands before the beginning."""
        taps_GK = self.stream_taps().detach().contiguous()
        zeros_BD = taps_GK.new_zeros(batch, self.context.project.out_features)
        inputs_GLM = taps_GK.new_zeros(len(taps_GK), rows, zeros_BD.numel() // len(taps_GK))
        stream = MixerStream(taps_GK, inputs_GLM, zeros_BD, self.context.gain(zeros_BD))
        if self.short is not None:
            stream.short_RBD = zeros_BD.new_zeros(rows, *zeros_BD.shape)
        if self.decay is not None:
            stream.sums_GLM = torch.zeros_like(inputs_GLM)
        return stream

    def read(self, x_WBD: Tensor, stream: MixerStream, row: int) -> Tensor:
        """Mix the next positions of a stream as `forward` does, in O(K) a channel: (W, B, D) to (W, B, D)."""
        if self.enter is not None:
            x_WBD = self.enter(x_WBD)
        if self.short is not None and stream.short_RBD is not None:
            x_WBD = self.short.read(x_WBD, stream.short_RBD, row)
        x_GNE = seen_GNE = stream.group(x_WBD)
        if self.input_gate is not None:
            x_GNE = seen_GNE * self.input_gate.grouped(seen_GNE)
        if self.decay is None:
            y_GNE = stream.convolve(x_GNE, row)
        else:
            up_GNE = stream.sum_decays(torch.sigmoid(self.decay.grouped(seen_GNE)), row).exp()
            y_GNE = stream.convolve(x_GNE * up_GNE, row).div_(up_GNE)
        y_GNE.mul_(self.content.grouped(seen_GNE))
        mixed_WBD = stream.ungroup(y_GNE) * stream.gain_BD
        return mixed_WBD if self.leave is None else self.leave(mixed_WBD)

    def close_block(self, stream: MixerStream, row: int, position: int) -> None:
        """Let the context gate follow the block of 64 bytes that ends before a row, at this position of the stream."""
        stream.past_BD = stream.past_BD + stream.block_sum(row)
        stream.gain_BD = self.context.gain(stream.past_BD / position)
        if self.decay is not None:
            stream.fade(row)


class GatedUnit(nn.Module):
    """A linear map times the SiLU of another, the first half of a SwiGLU.

    Args:
        d_model: channels.
        width: hidden channels.
    """

    def __init__(self, d_model: int, width: int) -> None:
        super().__init__()
        self.gate, self.widen = (nn.Linear(d_model, width, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, D) to (…, width)."""
        hidden: Tensor = F.silu(self.gate(x)) * self.widen(x)
        return hidden


def feed_forward(shape: Model) -> nn.Sequential:
    """Return the feed-forward half of a block: (…, D) to (…, D); what its last map adds to the stream is linear."""
    D = shape.d_model
    if shape.feed == "swiglu":
        # In thirty-twos: of other widths, products can differ in their last bits with how many rows they have, and
        # then nothing is drafted in generation.
        width = shape.feed_width or max(32, 32 * round(D / 24))
        return nn.Sequential(GatedUnit(D, width), nn.Linear(width, D, bias=False))
    width = shape.feed_width or 2 * D
    return nn.Sequential(nn.Linear(D, width), nn.GELU(), nn.Linear(width, D))


class Block(nn.Module):
    """One pre-norm block: mix along time, then along channels.

    Args:
        shape: the model's shape.
        dropout: share of each half's output that is dropped.
        memory: mix by a memory in place of the convolution.
    """

    def __init__(self, shape: Model, dropout: float, memory: bool = False) -> None:
        super().__init__()
        D = shape.d_model
        self.mix_norm = nn.LayerNorm(D)
        self.mixer: Mixer | Memory = Memory(shape) if memory else Mixer(shape)
        self.feed_norm = nn.LayerNorm(D)
        self.feed = feed_forward(shape)
        self.drop = nn.Dropout(dropout)

    def zero_output(self) -> None:
        """Let the block add 0 to what it reads until it is trained; all else in it stays as it began."""
        self.mixer.zero_output()
        for value in self.feed[-1].parameters():
            nn.init.zeros_(value)

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Take a window through the block: (T, B, D) to (T, B, D)."""
        x_TBD = x_TBD + self.drop(self.mixer(self.mix_norm(x_TBD)))
        fed_TBD: Tensor = self.drop(self.feed(self.feed_norm(x_TBD)))
        return x_TBD + fed_TBD

    def read(self, x_WBD: Tensor, stream: Any, row: int) -> Tensor:
        """Take the next positions of a stream, one of its own mixer, through the block: (W, B, D) to (W, B, D)."""
        x_WBD = x_WBD + self.mixer.read(self.mix_norm(x_WBD), stream, row)
        fed_WBD: Tensor = self.feed(self.feed_norm(x_WBD))
        return x_WBD + fed_WBD

    def close_block(self, stream: Any, row: int, position: int) -> None:
        """Take note that a block of 64 bytes ends before a row, at this position of a stream of its own mixer."""
        self.mixer.close_block(stream, row, position)
