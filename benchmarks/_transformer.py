"""A causal transformer of a given number of parameters, of torch's own parts: what one would train instead.

Pre-norm blocks of rotary attention (torch's scaled_dot_product_attention) and a GELU feed-forward of about four times
the width, tied head, no biases in the matrices, a scaled init of what is added to the stream. A loss at every position.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plateau_rule.fftcore.config import Config
from plateau_rule.fftcore.data import Text, Windows
from plateau_rule.fftcore.learner import optimizer
from plateau_rule.fftcore.model import BYTES, SpectralLM

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


class TransformerLearner:
    """Trains a transformer as `fftcore.learner.Learner` trains its model: same windows, optimizer, decay and clipping.

    Args:
        config: all but the model's width and kernels is taken from it.
        parameters: how many the transformer has.
        text: what it is trained on.
        seed: of the weights and the windows.
    """

    def __init__(self, config: Config, parameters: int, text: Text, seed: int) -> None:
        torch.manual_seed(seed)
        self.config, shape = config, config.model
        self.model = Transformer(parameters, shape.layers, shape.seq_len)
        self.windows = Windows(text, seed, shape.chunk, torch.device("cpu"))
        self.optimizer = optimizer(cast("SpectralLM", self.model), config)  # it goes by the names of the parameters

    def turn(self, knobs: Mapping[str, float | str]) -> None:
        """Take note of the knobs, of which it has none."""

    def step(self, step: int, lr: float) -> Tensor:
        """Take one optimizer step and return the loss in nats a byte, as the first of one."""
        shape = self.config.model
        window_BW = self.windows.batch(step, batch_size=self.config.batch_size, seq_len=shape.seq_len).windows_BW
        loss = self.model.loss(window_BW[:, : shape.seq_len + 1])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()[None]

    @torch.no_grad()
    def bpb(self, windows_BW: Tensor) -> float:
        """Score whole windows, as bpb_parallel does: mean bits per byte."""
        T = self.config.model.seq_len
        losses = [self.model.loss(row_W[None, : T + 1]).item() for row_W in windows_BW]
        return sum(losses) / len(losses) / log(2)
