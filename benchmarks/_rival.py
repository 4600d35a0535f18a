"""The rivals of the byte model, and how they are trained: as the model is, but for what mixes along time.

A rival has pre-norm blocks, each of a mixer and a SwiGLU feed-forward, and a head that is tied to its byte table. Its
width and its feed-forward are chosen such that it has as many parameters as the model that it is compared with.

Shapes stand in names: T position, B batch, D channel, V byte value. Sequences are time-major, `x_TBD`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks._hyena import Hyena
from benchmarks._mingru import MinGRU
from benchmarks._rotary import HEAD, Rotary
from plateau_rule.fftcore.config import Config
from plateau_rule.fftcore.data import Text, Windows
from plateau_rule.fftcore.learner import optimizer
from plateau_rule.fftcore.model import BYTES, SpectralLM

FEED = 8 / 3  # hidden channels of a SwiGLU for each channel of the stream, about

# By name: a mixer of so many channels, for windows of so many bytes; both (T, B, D) to (T, B, D).
MIXERS: dict[str, Callable[[int, int], nn.Module]] = {
    "transformer": Rotary,
    "transformer, 3-tap convolution": lambda d_model, seq_len: Rotary(d_model, seq_len, short_taps=3),
    "minGRU, 3-tap convolution": lambda d_model, seq_len: MinGRU(d_model, short_taps=3),
    "Hyena-like": Hyena,
}


class Scores(Protocol):
    """What a rival is: a module with a loss at every position."""

    def loss(self, window_BW: Tensor) -> Tensor:
        """Return the mean loss in nats a byte: each byte of (B, T + 1) but the first, from those before it."""


class SwiGLU(nn.Module):
    """A feed-forward half: a linear map times the SiLU of another, and a map back.

    Args:
        d_model: channels.
        width: hidden channels.
    """

    def __init__(self, d_model: int, width: int) -> None:
        super().__init__()
        self.gate, self.widen = (nn.Linear(d_model, width, bias=False) for _ in range(2))
        self.out = nn.Linear(width, d_model, bias=False)

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Map each position for itself: (T, B, D) to (T, B, D)."""
        fed_TBD: Tensor = self.out(F.silu(self.gate(x_TBD)) * self.widen(x_TBD))
        return fed_TBD


class RivalBlock(nn.Module):
    """One pre-norm block.

    Args:
        d_model: channels.
        mixer: along time.
        width: hidden channels of the feed-forward half.
    """

    def __init__(self, d_model: int, mixer: nn.Module, width: int) -> None:
        super().__init__()
        self.mix_norm, self.mixer = nn.LayerNorm(d_model), mixer
        self.feed_norm, self.feed = nn.LayerNorm(d_model), SwiGLU(d_model, width)

    def forward(self, x_TBD: Tensor) -> Tensor:
        """Take a window through the block: (T, B, D) to (T, B, D)."""
        x_TBD = x_TBD + self.mixer(self.mix_norm(x_TBD))
        fed_TBD: Tensor = self.feed(self.feed_norm(x_TBD))
        return x_TBD + fed_TBD


class Rival(nn.Module):
    """Predicts the next byte at every position.

    Args:
        mixer: one of MIXERS.
        parameters: how many it has, to one part in a hundred.
        layers: blocks.
        seq_len: the longest window.
    """

    def __init__(self, mixer: str, parameters: int, layers: int, seq_len: int) -> None:
        super().__init__()
        d_model, width = sized(mixer, parameters, layers, seq_len)
        self.table = nn.Embedding(BYTES, d_model)
        made = (MIXERS[mixer](d_model, seq_len) for _ in range(layers))
        self.blocks = nn.Sequential(*(RivalBlock(d_model, one, width) for one in made))
        self.norm = nn.LayerNorm(d_model)
        nn.init.normal_(self.table.weight, std=0.02)
        with torch.no_grad():  # what is added to the stream begins small
            for name, value in self.blocks.named_parameters():
                if name.endswith("out.weight"):
                    value.mul_((2 * layers) ** -0.5)

    def forward(self, bytes_BT: Tensor) -> Tensor:
        """Return the next byte's logits at every position, (T, B, V), for windows of bytes (B, T)."""
        return F.linear(self.norm(self.blocks(self.table(bytes_BT.T.long()))), self.table.weight)

    def loss(self, window_BW: Tensor) -> Tensor:
        """Return the mean loss in nats a byte: each byte of (B, T + 1) but the first, from those before it."""
        return F.cross_entropy(self(window_BW[:, :-1]).flatten(0, 1), window_BW[:, 1:].T.long().flatten())


def sized(mixer: str, parameters: int, layers: int, seq_len: int) -> tuple[int, int]:
    """Return the channels, whole heads, and the feed-forward's width nearest to 8/3 of them, for a size.

    Raises:
        ValueError: no width comes within one part in a hundred.
    """

    def width(d_model: int) -> int:
        with torch.device("meta"):
            mixing = sum(value.numel() for value in MIXERS[mixer](d_model, seq_len).parameters())
        left = parameters - BYTES * d_model - 2 * d_model - layers * (mixing + 4 * d_model)
        return round(left / (3 * layers * d_model))

    candidates = {d_model: width(d_model) for d_model in range(HEAD, 16 * HEAD, HEAD)}
    fitting = {d_model: found for d_model, found in candidates.items() if found >= 1}
    if not fitting:
        raise ValueError(f"{mixer}: {layers} blocks of it have more than {parameters:,} parameters at any width")
    d_model = min(fitting, key=lambda d_model: abs(fitting[d_model] / d_model - FEED))
    if 3 * layers * d_model > 0.02 * parameters:
        raise ValueError(
            f"{mixer}: one channel more or less of {layers} blocks is above 2 % of {parameters:,} parameters"
        )
    return d_model, fitting[d_model]


class RivalLearner:
    """Trains a rival as `fftcore.learner.Learner` trains its model: same windows, optimizer, decay and clipping.

    Args:
        model: with a table, blocks and a loss; the optimizer goes by the names of its parameters.
        config: all but the model's width and kernels is taken from it.
        text: what it is trained on.
        seed: of the windows.
    """

    def __init__(self, model: nn.Module, config: Config, text: Text, seed: int) -> None:
        self.config, self.model = config, model
        self.windows = Windows(text, seed, config.model.chunk, torch.device("cpu"))
        self.optimizer = optimizer(cast("SpectralLM", model), config)

    def turn(self, knobs: Mapping[str, float | str]) -> None:
        """Take note of the knobs, of which it has none."""

    def loss(self, window_BW: Tensor) -> Tensor:
        """Return the mean loss in nats a byte of windows, (B, T + 1)."""
        return cast("Scores", self.model).loss(window_BW)

    def step(self, step: int, lr: float) -> Tensor:
        """Take one optimizer step and return the loss in nats a byte, as the first of one."""
        shape = self.config.model
        window_BW = self.windows.batch(step, batch_size=self.config.batch_size, seq_len=shape.seq_len).windows_BW
        loss = self.loss(window_BW[:, : shape.seq_len + 1])
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
        losses = [self.loss(row_W[None, : T + 1]).item() for row_W in windows_BW]
        return sum(losses) / len(losses) / log(2)
