"""The published model's chain of operations, written afresh from its description: an opponent for speed, no model.

Its real mask over the spectrum is a zero-phase filter and its context gate pools the whole window, so that it sees the
future: what it scores means nothing. The published model made causal is `fftcore`'s own, `published = true`.
Batch-major, as published: `x_BTD`; F frequency bin of twice the window, K tap.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plateau_rule.fftcore.model import BYTES, ChunkHead
from plateau_rule.fftcore.spectral import ROLLOFF_BINS


def rolled_mask(cutoff_bins: int, bins: int) -> Tensor:
    """Return 1 … 0 over the bins, a cosine roll-off that ends at the cutoff; float32, (bins,)."""
    into = (torch.arange(bins) - (cutoff_bins - ROLLOFF_BINS)) / ROLLOFF_BINS
    return 0.5 * (1 + torch.cos(torch.pi * into.clamp(0, 1)))


class PublishedMixer(nn.Module):
    """Mixes along time by a spectrum multiplied five times.

    Args:
        d_model: channels.
        seq_len: bytes of a window; the transform is twice as long.
        kernel_len: taps of the one kernel.
        cutoff_bins: bins that are kept; half of all by default.
    """

    mask_F: Tensor

    def __init__(self, d_model: int, seq_len: int, kernel_len: int = 128, cutoff_bins: int | None = None) -> None:
        super().__init__()
        self.n_fft = 2 * seq_len
        bins = self.n_fft // 2 + 1
        self.kernel_K = nn.Parameter(torch.randn(kernel_len) * 0.05)
        self.gain_D = nn.Parameter(torch.ones(d_model))
        self.gate_F = nn.Parameter(torch.zeros(bins))
        self.context = nn.Linear(d_model, d_model)
        self.register_buffer("mask_F", rolled_mask(cutoff_bins or bins // 2, bins), persistent=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Mix a whole window, its future included: (B, T, D) to (B, T, D), float32."""
        with torch.autocast(x_BTD.device.type, enabled=False):
            spec_BFD = torch.fft.rfft(x_BTD.float(), self.n_fft, dim=1)
            spec_BFD = spec_BFD * torch.fft.rfft(self.kernel_K, self.n_fft)[:, None]
            spec_BFD = spec_BFD * self.gain_D
            spec_BFD = spec_BFD * (2 * torch.sigmoid(self.gate_F))[:, None]
            spec_BFD = spec_BFD * (2 * torch.sigmoid(self.context(x_BTD.float().mean(1))))[:, None]
            spec_BFD = spec_BFD * self.mask_F[:, None]
            mixed_BTD: Tensor = torch.fft.irfft(spec_BFD, self.n_fft, dim=1)[:, : x_BTD.shape[1]]
            return mixed_BTD


class PublishedBlock(nn.Module):
    """One pre-norm block: mix along time, then along channels.

    Args:
        d_model: channels.
        seq_len: bytes of a window.
        kernel_len: taps of the kernel.
        dropout: 0.1 as published; 0 where it is timed beside a block that has none.
    """

    def __init__(self, d_model: int, seq_len: int, kernel_len: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.mix_norm = nn.LayerNorm(d_model)
        self.mixer = PublishedMixer(d_model, seq_len, kernel_len)
        self.drop = nn.Dropout(dropout)
        self.feed_norm = nn.LayerNorm(d_model)
        self.feed = nn.Sequential(
            nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * d_model, d_model)
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Take a window through the block: (B, T, D) to (B, T, D)."""
        x_BTD = x_BTD + self.drop(self.mixer(self.mix_norm(x_BTD)))
        fed_BTD: Tensor = self.feed(self.feed_norm(x_BTD))
        return x_BTD + fed_BTD


class PublishedLM(nn.Module):
    """The published model and objective: from a window's last position, the next `chunk` bytes.

    Args:
        d_model: channels.
        layers: blocks.
        seq_len: bytes of a window.
        kernel_len: taps of a block's kernel.
        chunk: bytes that are predicted from the last position.
        dropout: as in `PublishedBlock`.
    """

    def __init__(
        self, d_model: int, layers: int, seq_len: int, kernel_len: int = 128, chunk: int = 16, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(BYTES, d_model)
        self.blocks = nn.Sequential(
            *(PublishedBlock(d_model, seq_len, kernel_len, dropout) for _ in range(layers)), nn.LayerNorm(d_model)
        )
        self.chunk_head = ChunkHead(d_model, chunk)

    def draft(self, bytes_BT: Tensor) -> Tensor:
        """Return the logits of the next `chunk` bytes after each window: (B, chunk, V)."""
        hidden_BD = self.blocks(self.table(bytes_BT.long()))[:, -1]
        drafted: Tensor = self.chunk_head(hidden_BD, self.table.weight)
        return drafted

    def loss(self, window_BW: Tensor) -> Tensor:
        """Return the published objective, nats a byte, for windows of T + chunk bytes."""
        T = window_BW.shape[1] - self.chunk_head.chunk
        drafts_BOV = self.draft(window_BW[:, :T])
        return F.cross_entropy(drafts_BOV.flatten(0, 1), window_BW[:, T:].long().flatten())
