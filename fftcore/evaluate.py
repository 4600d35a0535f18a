"""What a model is worth in bits per byte: read as a stream, and in one forward pass to see that nothing leaks."""

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
CHECKED_WINDOWS = 2  # that are read byte by byte as well


class Score(NamedTuple):
    """Bits per byte on the same bytes, every position of every window scored."""

    stream: float
    """Read as a stream through the ring buffers: the model's score."""
    parallel: float
    """In one forward pass over whole windows, or otherwise many at once."""

    @property
    def leaks(self) -> bool:
        """Whether the two differ by more than rounding; never where one is not finite, which is told apart from it."""
        if not (isfinite(self.stream) and isfinite(self.parallel)):
            return False
        return abs(self.stream - self.parallel) > LEAK_BITS * max(1.0, min(self) / GUESSING_BITS)

    def refuse_leak(self, several: str, few: str = "byte by byte") -> None:
        """Raise LeakError where it leaks.

        Args:
            several: how the bytes of `parallel` were read.
            few: and those of `stream`.
        """
        if self.leaks:
            raise LeakError(
                f"leak: {self.parallel:.4f} bits per byte {several}, {self.stream:.4f} {few} on the same bytes, "
                f"and at most {LEAK_BITS} may lie between them: the model sees bytes that it is asked to predict"
            )


def evaluate(model: SpectralLM, windows_BW: Tensor) -> Score:
    """Score a model in both ways, and its first windows byte by byte, which shows that reading in blocks is no leak.

    Args:
        model: left as it was, in training mode or not.
        windows_BW: bytes, (B, T + chunk), on the model's device; bytes 1 … T are predicted.

    Raises:
        LeakError: two of these differ by more than 0.02 bits per byte; where both are worse than guessing, at 8 bits,
            by more than that share of them.
    """
    score = Score(bpb_stream(model, windows_BW), bpb_parallel(model, windows_BW))
    score.refuse_leak("over whole windows", "as a stream")
    first_BW = windows_BW[:CHECKED_WINDOWS]
    Score(bpb_stream(model, first_BW, 1), bpb_stream(model, first_BW)).refuse_leak("in blocks")
    return score


@torch.no_grad()
def bpb_stream(model: SpectralLM, windows_BW: Tensor, step_by: int = CONTEXT_BLOCK) -> float:
    """Score through the ring buffers, as generation would: mean bits per byte.

    Args:
        model: left as it was, in training mode or not.
        windows_BW: bytes, (B, T + chunk), on the model's device; bytes 1 … T are predicted.
        step_by: bytes read at once, a divisor of 64; 1 is byte by byte.
    """
    T = windows_BW.shape[1] - model.shape.chunk
    with scoring(model):
        stream = model.stream(len(windows_BW))
        total = torch.zeros((), dtype=torch.float64, device=windows_BW.device)
        for t in range(0, T, step_by):
            end = min(T, t + step_by)
            logits_WBV = model.logits(model.read(windows_BW[:, t:end], stream))
            model.advance(stream, end - t)
            target_WB = windows_BW[:, t + 1 : end + 1].T.long()
            total += F.cross_entropy(logits_WBV.flatten(0, 1), target_WB.flatten(), reduction="sum")
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
