"""Continues a text byte by byte, in time per byte that does not depend on how much came before.

The chunk head drafts a few bytes ahead, and the next-byte head reads them in one pass: a draft stands if it is the very
byte that would have been drawn there. Each position of the text has its own random numbers, so drafts make the text
come sooner and never make it another. That takes the same logits to the bit, whether a byte is read alone or behind
others. All passes are of one shape, so that a row's sums are taken in one order, wherever it stands. Whether that is so
is for the machine's matrix products to say: it is tried before anything is drafted.

Shapes stand in names: W position read at once, O offset of a draft, V byte value, R draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.fftcore.evaluate import scoring
from plateau_rule.fftcore.model import BYTES, SpectralLM
from plateau_rule.fftcore.stream import CONTEXT_BLOCK, ByteStream

DRAFTS = 2  # bytes drafted ahead, at most SPARE: of three, the last stands once in twenty passes
TRIED_PASSES = 128  # after as many it is looked whether drafting pays
PAYS = 0.25  # drafts a pass that must have stood: what drafting costs, in passes
DRAWN_AHEAD = 512  # positions whose random numbers are drawn at once


class Sampling(NamedTuple):
    """How a byte is drawn from its logits."""

    temperature: float = 0.8
    """Divides the logits; 0 always takes the likeliest byte."""
    top_p: float = 1.0
    """Only the likeliest bytes that together reach this probability can be drawn."""

    def draw(self, logits_RV: Tensor, noise_RV: Tensor) -> Tensor:
        """Return one byte for each row, (R,): the same for the same logits and random numbers."""
        if self.temperature == 0:
            return logits_RV.argmax(-1)
        scaled_RV = logits_RV / self.temperature
        if self.top_p < 1:
            sorted_RV, order_RV = torch.sort(torch.softmax(scaled_RV, -1), descending=True, stable=True)
            before_RV = sorted_RV.cumsum(-1) - sorted_RV  # the first byte has nothing before it, and always stays
            out_RV = torch.zeros_like(order_RV, dtype=torch.bool).scatter(-1, order_RV, before_RV >= self.top_p)
            scaled_RV = scaled_RV.masked_fill(out_RV, -torch.inf)
        return (scaled_RV + noise_RV).argmax(-1)


class GumbelNoise:
    """Random numbers of each position of a text: Gumbel's, by which the largest sum is a draw from the softmax.

    They are drawn on the CPU, so that a seed means the same everywhere.

    Args:
        seed: of all of them.
        device: where they are needed.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._generator, self._device = np.random.default_rng(seed), device
        self._first, self._drawn_PV = 0, self._more()

    def _more(self) -> Tensor:
        exponential_PV = self._generator.standard_exponential((DRAWN_AHEAD, BYTES), np.float32)
        noise_PV = -np.log(np.maximum(exponential_PV, np.finfo(np.float32).tiny))
        return torch.from_numpy(noise_PV).to(self._device)

    def at(self, position: int, count: int) -> Tensor:
        """Return those of some positions, none before the ones asked for last: (count, V)."""
        while position + count > self._first + len(self._drawn_PV):
            self._drawn_PV = torch.cat((self._drawn_PV[position - self._first :], self._more()))
            self._first = position
        return self._drawn_PV[position - self._first :][:count]


@dataclass
class Count:
    """What the writing of a text took.

    Args:
        passes: of the model.
        drafted: bytes that were drafted and read.
        kept: those of them that were right.
    """

    passes: int = 0
    drafted: int = 0
    kept: int = 0


class Writer:
    """Writes on after a prompt, some bytes at a time.

    Args:
        model: at the cutoff and taps it was restricted to, and not in training mode.
        prompt: at least one byte.
        sampling: how each byte is drawn.
        seed: of the draws.
        drafts: whether to draft, which changes nothing but the time. Where it cannot be exact or does not pay, it is
            given up, and `why_not` says so.
    """

    @torch.no_grad()
    def __init__(
        self, model: SpectralLM, prompt: bytes, sampling: Sampling, seed: int = 0, *, drafts: bool = True
    ) -> None:
        self._model, self._sampling = model, sampling
        self._device = model.table.weight.device
        self._noise = GumbelNoise(seed, self._device)
        self._stream = model.stream(1)
        _feed(model, self._stream, prompt[:-1])
        self._next, self._ahead = prompt[-1], b""
        self.written, self.count = 0, Count()
        self.rows = min(DRAFTS, model.shape.chunk - 1) + 1
        self.drafts, self.why_not = self.rows - 1, ""
        if not drafts:
            self._give_up("none were asked for")
        elif not same_bits(model, self.rows):
            self._give_up("none: on this machine, they could change the last bits of what the model computes")

    @torch.no_grad()
    def more(self, most: int) -> bytes:
        """Return the next bytes of the text, at least one and at most `most`.

        Raises:
            NonFiniteLoss: the model's logits are not finite.
        """
        read = bytes([self._next, *self._ahead])[: min(self._stream.left, most)]
        hidden_WD, logits_WV = _read(self._model, self._stream, read, self.rows)
        if not isfinite(logits_WV.sum().item()):  # drawn from, they would leave a GPU unusable
            raise NonFiniteLoss(f"byte {self.written} of what the model writes: its logits are not finite")
        drawn = self._sampling.draw(logits_WV, self._noise.at(self.written, len(read))).tolist()
        right = 0  # of the drafts that were read
        while right + 1 < len(read) and read[right + 1] == drawn[right]:
            right += 1
        text = bytes(drawn[: right + 1])
        self._model.advance(self._stream, len(text))
        self.written += len(text)
        self._note(len(read) - 1, right)
        self._next, self._ahead = text[-1], self._draft(hidden_WD[right]) if self.drafts else b""
        return text

    def _draft(self, hidden_D: Tensor) -> bytes:
        """Draft the bytes after the one that was drawn last, from what the heads read before it."""
        drafts_OV = self._model.draft(hidden_D, self.drafts + 1)[1:]
        return bytes(self._sampling.draw(drafts_OV, self._noise.at(self.written, self.drafts)).tolist())

    def _note(self, drafted: int, right: int) -> None:
        self.count.passes += 1
        self.count.drafted += drafted
        self.count.kept += right
        if self.count.passes == TRIED_PASSES and self.count.kept < PAYS * TRIED_PASSES:
            self._give_up(f"given up after {TRIED_PASSES} passes, in which too few stood")

    def _give_up(self, why: str) -> None:
        self.drafts, self.why_not = 0, why


def generate(
    model: SpectralLM,
    prompt: bytes,
    count: int,
    *,
    temperature: float = 0.8,
    top_p: float = 1.0,
    seed: int = 0,
    drafts: bool = True,
) -> bytes:
    """Return `count` bytes that continue `prompt`.

    Args:
        model: at the cutoff and taps it was restricted to.
        prompt: at least one byte.
        count: bytes to draw.
        temperature: divides the logits; 0 always takes the likeliest byte.
        top_p: only the likeliest bytes that together reach this probability can be drawn.
        seed: of the draw.
        drafts: whether to draft, which changes nothing but the time.

    Raises:
        NonFiniteLoss: the model's logits are not finite.
    """
    text = bytearray()
    with scoring(model):
        writer = Writer(model, prompt, Sampling(temperature, top_p), seed, drafts=drafts)
        while len(text) < count:
            text += writer.more(count - len(text))
    return bytes(text)


def same_bits(model: SpectralLM, rows: int) -> bool:
    """Return whether bytes that are read at once have the logits of bytes that are read one by one, to the bit.

    The order in which sums are taken does not depend on what is summed, so that a few passes tell.

    Args:
        model: not in training mode.
        rows: bytes read at once, and rows of each pass.
    """
    sample = bytes(31 * i % 251 for i in range(model.shape.kernel_len + CONTEXT_BLOCK))
    stream = model.stream(1)
    _feed(model, stream, sample)
    for _ in range(2):
        _feed(model, stream, sample[: stream.left if stream.left < rows else 1])
        _, at_once_WV = _read(model, stream, sample[:rows], rows)
        for i in range(rows):
            _, alone_1V = _read(model, stream, sample[i : i + 1], rows)
            model.advance(stream, 1)
            if not torch.equal(alone_1V[0], at_once_WV[i]):
                return False
    return True


def _read(model: SpectralLM, stream: ByteStream, content: bytes, rows: int) -> tuple[Tensor, Tensor]:
    """Read some bytes in a pass of so many rows: what the heads read, (W, D), and the next bytes' logits, (W, V)."""
    hidden_WD = model.read(_as_batch(content, model.table.weight.device), stream, rows)[:, 0]
    padded_RD = F.pad(hidden_WD, (0, 0, 0, rows - len(content)))
    return hidden_WD, model.logits(padded_RD)[: len(content)]


def _feed(model: SpectralLM, stream: ByteStream, content: bytes) -> None:
    """Let a stream go past some bytes."""
    at = 0
    while at < len(content):
        piece = content[at : at + stream.left]
        model.read(_as_batch(piece, model.table.weight.device), stream)
        model.advance(stream, len(piece))
        at += len(piece)


def _as_batch(content: bytes, device: torch.device) -> Tensor:
    return torch.tensor([[*content]], device=device)
