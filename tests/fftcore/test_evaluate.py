"""Bits per byte, in two ways that must agree, and the alarm where they do not."""

from __future__ import annotations

from math import log

import pytest
import torch
import torch.nn.functional as F

from plateau_rule.fftcore.config import Config, Model
from plateau_rule.fftcore.data import held_out, read_text
from plateau_rule.fftcore.errors import LeakError
from plateau_rule.fftcore.evaluate import Score, bpb_draft, bpb_parallel, bpb_stream, evaluate
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.model import SpectralLM
from tests.fftcore.test_model import SMALL, made

LEARNING = Model(d_model=32, layers=1, seq_len=64, kernel_len=32, kernel_groups=4, chunk=8)


def trained(shape: Model, steps: int) -> tuple[SpectralLM, Learner]:
    """A model after a few steps on the default text, at a low cutoff."""
    learner = Learner(Config(model=shape, batch_size=8), read_text(None), 0, torch.device("cpu"), heads_only=False)
    learner.turn({"cutoff": 256})
    for step in range(steps):
        learner.step(step, 1e-2)
    return learner.model, learner


AS_PUBLISHED = LEARNING.model_copy(update={"published": True, "kernel_groups": 1})


def test_the_alarm_goes_off() -> None:
    """The published model as it was, trained for a moment, is refused as a leak: it is better than it really is."""
    model, learner = trained(AS_PUBLISHED.model_copy(update={"zero_phase": True}), 40)
    with pytest.raises(LeakError, match=r"leak: .* over whole windows, .* as a stream"):
        evaluate(model, learner.epoch_windows_BW)
    assert bpb_parallel(model, learner.epoch_windows_BW) < bpb_stream(model, learner.epoch_windows_BW) - 0.02


def test_the_alarm_goes_off_within_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that sees the next byte of what it reads at once is refused, though both its scores agree."""
    model, read, hidden = made(SMALL), SpectralLM.read, SpectralLM.hidden

    def peeking(self: SpectralLM, bytes_BW: torch.Tensor, *given: object) -> torch.Tensor:
        hidden_WBD = read(self, bytes_BW, *given)  # type: ignore[arg-type]
        hidden_WBD[:-1] += 30 * self.table.weight[bytes_BW.T.long()[1:]]
        return hidden_WBD

    def peeking_too(self: SpectralLM, bytes_BT: torch.Tensor) -> torch.Tensor:
        hidden_TBD = hidden(self, bytes_BT)
        for start in range(0, len(hidden_TBD), 64):
            hidden_TBD[start : start + 63] += 30 * self.table.weight[bytes_BT.T.long()[start + 1 : start + 64]]
        return hidden_TBD

    monkeypatch.setattr(SpectralLM, "read", peeking)
    monkeypatch.setattr(SpectralLM, "hidden", peeking_too)
    windows_BW = held_out(read_text(None), "validation", 3, 128 + SMALL.chunk)
    with pytest.raises(LeakError, match=r"leak: .* in blocks, .* byte by byte"):
        evaluate(model, windows_BW)


@pytest.mark.parametrize("shape", [LEARNING, AS_PUBLISHED])
def test_no_alarm_for_a_causal_model(shape: Model) -> None:
    """Our model, and the published one made causal, score the same in both ways, and have learned something."""
    model, learner = trained(shape, 150)
    score = evaluate(model, learner.epoch_windows_BW)
    assert score.stream == pytest.approx(score.parallel, abs=1e-4)
    assert score.stream < 5


@pytest.mark.parametrize(
    ("stream", "parallel", "leaks"),
    [
        (5.22, 1.07, True), (8.0, 7.97, True), (7.9, 7.89, False), (1.03, 1.0, True), (1e8, 1.0, True),
        (126359094.8199, 126359103.0252, False), (126.0, 120.0, True), (float("nan"), 1.0, False),
        (float("inf"), 1e30, False),
    ],
)  # fmt: skip
def test_what_counts_as_a_leak(stream: float, parallel: float, leaks: bool) -> None:
    """Up to 8 bits a leak is a difference of 0.02 bits, beyond that in proportion; what is not finite is none."""
    assert Score(stream, parallel).leaks == leaks


@torch.no_grad()
def test_bits_are_the_definition() -> None:
    """Bits per byte are the mean negative log-likelihood of each next byte, in bits."""
    model = made(SMALL)
    windows_BW = held_out(read_text(None), "validation", 3, 40 + SMALL.chunk)
    log_TBV = F.log_softmax(model(windows_BW[:, :40]), -1)
    bits = [-log_TBV[t, b, windows_BW[b, t + 1].long()].item() / log(2) for t in range(40) for b in range(3)]
    assert bpb_parallel(model, windows_BW) == pytest.approx(sum(bits) / len(bits))
    assert bpb_stream(model, windows_BW) == pytest.approx(sum(bits) / len(bits))
    assert bpb_stream(model, windows_BW, 1) == pytest.approx(sum(bits) / len(bits))


@torch.no_grad()
def test_draft_bits_by_offset() -> None:
    """The chunk head's bits are told for each offset; their mean is its loss at phase 0."""
    model = made(SMALL)
    windows_BW = held_out(read_text(None), "validation", 3, 40 + SMALL.chunk)
    bits = bpb_draft(model, windows_BW)
    assert len(bits) == SMALL.chunk
    assert sum(bits) / len(bits) == pytest.approx(model.losses(windows_BW, 0)[1].item() / log(2))


def test_scoring_leaves_the_mode() -> None:
    """A model in training is scored without dropout and is in training afterwards."""
    torch.manual_seed(0)
    model = SpectralLM(SMALL, dropout=0.5).train()
    windows_BW = held_out(read_text(None), "validation", 2, 20 + SMALL.chunk)
    assert bpb_parallel(model, windows_BW) == bpb_parallel(model, windows_BW)
    assert model.training
