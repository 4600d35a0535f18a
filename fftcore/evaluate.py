"""What a model is worth in bits per byte: decoded byte by byte, and in one forward pass to see that nothing leaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import isfinite, log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from plateau_rule.fftcore.errors import LeakError
from plateau_rule.fftcore.model import SpectralLM
from plateau_rule.fftcore.stream import CONTEXT_BLOCK

LEAK_BITS = 0.02  # rounding explains 1e-5; no more than this can be explained at all
GUESSING_BITS = 8.0  # all bytes alike; a model that is worse has large logits, whose rounding is large as well
ROWS_AT_ONCE = 64


class Score(NamedTuple):
    """Bits per byte on the same bytes, every position of every window scored."""

    stream: float
    """Decoded byte by byte: the model's score."""
    parallel: float
    """In one forward pass over whole windows."""

    @property
    def leaks(self) -> bool:
        """Whether the two differ by more than rounding; never where one is not finite, which is told apart from it."""
        if not (isfinite(self.stream) and isfinite(self.parallel)):
            return False
        return abs(self.stream - self.parallel) > LEAK_BITS * max(1.0, min(self) / GUESSING_BITS)

    def refuse_leak(self, several: str) -> None:
        """Raise LeakError where it leaks.

        Args:
            several: how the bytes were read, other than one by one.
        """
        if self.leaks:
            raise LeakError(
                f"leak: {self.parallel:.4f} bits per byte {several}, {self.stream:.4f} byte by byte on the same bytes, "
                f"and at most {LEAK_BITS} may lie between them: the model sees bytes that it is asked to predict"
            )


def evaluate(model: SpectralLM, windows_BW: Tensor) -> Score:
    """Score a model in both ways.

    Args:
        model: left as it was, in training mode or not.
        windows_BW: bytes, (B, T + chunk), on the model's device; bytes 1 … T are predicted.

    Raises:
        LeakError: the two differ by more than 0.02 bits per byte; where both are worse than guessing, at 8 bits, by
            more than that share of them.
    """
    score = Score(bpb_stream(model, windows_BW), bpb_parallel(model, windows_BW))
    score.refuse_leak("over whole windows")
    return score


@torch.no_grad()
def bpb_stream(model: SpectralLM, windows_BW: Tensor) -> float:
    """Score byte by byte through the ring buffers, as generation would: mean bits per byte."""
    T = windows_BW.shape[1] - model.shape.chunk
    with scoring(model):
        stream = model.stream(len(windows_BW))
        total = torch.zeros((), dtype=torch.float64, device=windows_BW.device)
        for t in range(T):
            logits_BV = model.logits(model.step(windows_BW[:, t], stream))
            total += F.cross_entropy(logits_BV, windows_BW[:, t + 1].long(), reduction="sum")
    return total.item() / (T * len(windows_BW)) / log(2)


@torch.no_grad()
def bpb_parallel(model: SpectralLM, windows_BW: Tensor) -> float:
    """Score in one forward pass over whole windows: mean bits per byte."""
    T = windows_BW.shape[1] - model.shape.chunk
    total = 0.0
    with scoring(model):
        for rows_BW in torch.split(windows_BW, ROWS_AT_ONCE):
            logits_TBV = model(rows_BW[:, :T])
            target_TB = rows_BW[:, 1 : T + 1].T.long()
            total += F.cross_entropy(logits_TBV.flatten(0, 1), target_TB.flatten(), reduction="sum").item()
    return total / (T * len(windows_BW)) / log(2)


@torch.no_grad()
def bpb_draft(model: SpectralLM, windows_BW: Tensor) -> tuple[float, ...]:
    """Score the chunk head for each offset, the next byte first: mean bits per byte; a drafter's figures, no score."""
    chunk = model.shape.chunk
    T = windows_BW.shape[1] - chunk
    total_O = torch.zeros(chunk, dtype=torch.float64)
    with scoring(model):
        for rows_BW in torch.split(windows_BW, ROWS_AT_ONCE):
            drafts_NBOV = model.draft(model.hidden(rows_BW[:, :T])[::chunk])
            ahead_NBO = rows_BW[:, 1:].unfold(1, chunk, 1)[:, :T:chunk].transpose(0, 1).long()
            loss_NBO = F.cross_entropy(drafts_NBOV.flatten(0, 2), ahead_NBO.flatten(), reduction="none")
            total_O += loss_NBO.view(ahead_NBO.shape).sum((0, 1)).double().cpu()
    return tuple((total_O / (len(windows_BW) * -(-T // chunk)) / log(2)).tolist())


class TextScore(NamedTuple):
    """What a model is worth on one text, in one stream from its first byte to its last."""

    bits_per_byte: float
    predicted: int
    """Bytes: all but the first, before which nothing stands."""


@torch.no_grad()
def score_text(model: SpectralLM, pieces: Iterable[bytes], step_by: int = CONTEXT_BLOCK) -> TextScore:
    """Score a text of any length, in memory that does not grow with it.

    Args:
        model: at the cutoff and taps it was restricted to.
        pieces: the text.
        step_by: bytes read at once, a divisor of 64; 1 is byte by byte.
    """
    device = model.table.weight.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    rest, predicted = torch.empty(0, dtype=torch.uint8), 0
    with scoring(model):
        stream = model.stream(1)

        def score(block_N: Tensor) -> None:
            hidden_WD = model.read(block_N[None, :-1], stream)[:, 0]
            model.advance(stream, len(hidden_WD))
            total.add_(F.cross_entropy(model.logits(hidden_WD), block_N[1:].long(), reduction="sum"))

        for piece in pieces:
            text_N = torch.cat((rest, torch.frombuffer(bytearray(piece), dtype=torch.uint8))).to(device)
            whole = max(0, (len(text_N) - 1) // step_by)
            for at in range(0, whole * step_by, step_by):
                score(text_N[at : at + step_by + 1])
            rest, predicted = text_N[whole * step_by :].cpu(), predicted + whole * step_by
        if len(rest) > 1:
            score(rest.to(device))
            predicted += len(rest) - 1
    return TextScore(total.item() / max(1, predicted) / log(2), predicted)


@contextmanager
def scoring(model: SpectralLM) -> Iterator[None]:
    """Score without dropout and in full precision, then leave the model's mode as it was."""
    training = model.training
    model.eval()
    try:
        with torch.autocast(model.table.weight.device.type, enabled=False):
            yield
    finally:
        model.train(training)
