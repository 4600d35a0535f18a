"""A causal transformer of a given number of parameters, of torch's own parts: what one would train instead.

Pre-norm blocks of rotary attention (torch's scaled_dot_product_attention) and a GELU feed-forward of about four times
the width, tied head, no biases in the matrices, a scaled init of what is added to the stream. A loss at every position.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plateau_rule.fftcore.model import BYTES

HEAD = 32  # channels


class Attention(nn.Module):
    """Causal attention with rotary positions.

    Args:
        d_model: channels, a multiple of 32.
        seq_len: the longest window.
    """

    cos_TC: Tensor
    sin_TC: Tensor

    def __init__(self, d_model: int, seq_len: int) -> None:
        super().__init__()
        # Matrices of their own, as Muon wants them.
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))
        angle_TC = torch.arange(seq_len)[:, None] / 10000 ** (torch.arange(HEAD // 2) / (HEAD // 2))
        self.register_buffer("cos_TC", angle_TC.cos(), persistent=False)
        self.register_buffer("sin_TC", angle_TC.sin(), persistent=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Let every position read itself and those before it: (B, T, D) to (B, T, D)."""
        query, key, value = (
            project(x_BTD).unflatten(2, (-1, HEAD)).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        y_BHTC = F.scaled_dot_product_attention(self.rotated(query), self.rotated(key), value, is_causal=True)
        read_BTD: Tensor = self.out(y_BHTC.transpose(1, 2).flatten(2))
        return read_BTD

    def rotated(self, x_BHTC: Tensor) -> Tensor:
        """Turn each pair of channels by an angle that grows with the position."""
        T = x_BHTC.shape[2]
        cos_TC, sin_TC = self.cos_TC[:T].to(x_BHTC.dtype), self.sin_TC[:T].to(x_BHTC.dtype)
        first, second = x_BHTC.chunk(2, -1)
        return torch.cat((first * cos_TC - second * sin_TC, second * cos_TC + first * sin_TC), -1)


class TransformerBlock(nn.Module):
    """One pre-norm block.

    Args:
        d_model: channels.
        seq_len: the longest window.
        width: hidden channels of the feed-forward half.
    """

    def __init__(self, d_model: int, seq_len: int, width: int) -> None:
        super().__init__()
        self.attend_norm, self.attend = nn.LayerNorm(d_model), Attention(d_model, seq_len)
        self.feed_norm = nn.LayerNorm(d_model)
        up, down = nn.Linear(d_model, width, bias=False), nn.Linear(width, d_model, bias=False)
        self.feed = nn.Sequential(up, nn.GELU(), down)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Take a window through the block: (B, T, D) to (B, T, D)."""
        x_BTD = x_BTD + self.attend(self.attend_norm(x_BTD))
        fed_BTD: Tensor = self.feed(self.feed_norm(x_BTD))
        return x_BTD + fed_BTD


class Transformer(nn.Module):
    """Predicts the next byte at every position.

    Args:
        parameters: how many it has, to within half a layer's channels; d_model and width are chosen for it.
        layers: blocks.
        seq_len: the longest window.
    """

    def __init__(self, parameters: int, layers: int, seq_len: int) -> None:
        super().__init__()
        d_model, width = sized(parameters, layers)
        self.table = nn.Embedding(BYTES, d_model)
        self.blocks = nn.Sequential(*(TransformerBlock(d_model, seq_len, width) for _ in range(layers)))
        self.norm = nn.LayerNorm(d_model)
        for name, value in self.named_parameters():
            if value.dim() == 2:
                added = name.endswith(("out.weight", "feed.2.weight"))
                nn.init.normal_(value, std=0.02 / (2 * layers) ** 0.5 if added else 0.02)

    def forward(self, bytes_BT: Tensor) -> Tensor:
        """Return the next byte's logits at every position, (B, T, V), for windows of bytes (B, T)."""
        return F.linear(self.norm(self.blocks(self.table(bytes_BT.long()))), self.table.weight)

    def loss(self, window_BW: Tensor) -> Tensor:
        """Return the mean loss in nats a byte: each byte of (B, T + 1) but the first, from those before it."""
        logits_BTV = self(window_BW[:, :-1])
        return F.cross_entropy(logits_BTV.flatten(0, 1), window_BW[:, 1:].long().flatten())


def sized(parameters: int, layers: int) -> tuple[int, int]:
    """Return the channels, a multiple of 32, and the feed-forward's width nearest to four times them, for a size."""

    def width(d_model: int) -> int:
        left = parameters - BYTES * d_model - 2 * d_model - layers * (4 * d_model**2 + 4 * d_model)
        return round(left / (2 * layers * d_model))

    candidates = [d_model for d_model in range(HEAD, 4096, HEAD) if width(d_model) >= 1]
    d_model = min(candidates, key=lambda d_model: abs(width(d_model) / d_model - 4))
    return d_model, width(d_model)
