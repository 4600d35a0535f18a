"""The rivals of the quality table are fair ones: causal, of the asked size, trained as the model is."""

from __future__ import annotations

from math import log

import pytest
import torch

from benchmarks._hyena import Hyena
from benchmarks._mingru import recur
from benchmarks._rival import MIXERS, Rival, RivalLearner
from plateau_rule.fftcore.config import PRESETS, Config, Model
from plateau_rule.fftcore.data import TextInMemory, Windows
from plateau_rule.fftcore.model import SpectralLM

CONFIG = Config(model=Model(d_model=16, layers=1, seq_len=32, kernel_groups=1, chunk=4), batch_size=4, peak=1e-2)
SMALL = 40_000  # parameters


def text() -> TextInMemory:
    """A text with something to learn."""
    words = bytearray(b"the same words again and again. " * 200)
    return TextInMemory(torch.frombuffer(words, dtype=torch.uint8), "words")


def made(mixer: str, seed: int = 0) -> Rival:
    """A small rival whose every parameter has moved away from where it began, in float64."""
    torch.manual_seed(seed)
    model = Rival(mixer, SMALL, 1, 48).double()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    return model.eval()


@pytest.mark.parametrize("mixer", MIXERS)
@torch.no_grad()
def test_it_is_causal(mixer: str) -> None:
    """A prefix has the logits that the window begins with, so byte by byte scores the same; an edit is read."""
    model = made(mixer)
    bytes_BT = torch.randint(256, (2, 48), dtype=torch.uint8)
    whole_TBV = model(bytes_BT)
    for length in (1, 2, 7, 31, 47):
        torch.testing.assert_close(model(bytes_BT[:, :length]), whole_TBV[:length], rtol=0, atol=1e-10)
    edited_BT = bytes_BT.clone()
    edited_BT[:, 30] ^= 1
    difference_T = (model(edited_BT) - whole_TBV).abs().amax((1, 2))
    assert difference_T[:30].max() < 1e-10
    assert difference_T[30:].min() > 1e-8  # all later positions have read it


@torch.no_grad()
def test_a_leak_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: where a mixer reads the mean of the window as well, a prefix has other logits."""
    model = made("Hyena-like")
    forward = Hyena.forward
    monkeypatch.setattr(Hyena, "forward", lambda self, x_TBD: forward(self, x_TBD) + x_TBD.mean(0))
    bytes_BT = torch.randint(256, (2, 48), dtype=torch.uint8)
    assert (model(bytes_BT[:, :31]) - model(bytes_BT)[:31]).abs().max() > 1e-6


@pytest.mark.parametrize("layers", [2, 4])
@pytest.mark.parametrize("mixer", MIXERS)
def test_its_size(mixer: str, layers: int) -> None:
    """Each rival has the preset's parameters, to one part in a hundred, at both depths that are tried."""
    shape = PRESETS["tiny"].model
    wanted = sum(value.numel() for value in SpectralLM(shape).parameters())
    own = sum(value.numel() for value in Rival(mixer, wanted, layers, shape.seq_len).parameters())
    assert own == pytest.approx(wanted, rel=0.01)


def test_a_size_that_cannot_be() -> None:
    """A size that no width comes near is refused."""
    with pytest.raises(ValueError, match="more than 1,000 parameters at any width"):
        Rival("transformer", 1000, 1, 32)


@pytest.mark.parametrize("mixer", MIXERS)
def test_it_learns_the_same_windows(mixer: str) -> None:
    """Its first loss is 8 bits, it reads the windows that the model reads, and learns them; all of it has gradients."""
    torch.manual_seed(3)
    learner = RivalLearner(Rival(mixer, SMALL, 1, 32), CONFIG, text(), 3)
    loss = learner.loss(learner.windows.batch(0, batch_size=4, seq_len=32).windows_BW[:, :33])
    for name, gradient in zip(
        dict(learner.model.named_parameters()), torch.autograd.grad(loss, list(learner.model.parameters())), strict=True
    ):
        assert gradient.abs().max() > 0, name
    losses = [learner.step(step, 1e-2).item() / log(2) for step in range(60)]
    assert losses[0] == pytest.approx(8.0, abs=0.1)
    assert losses[-1] < 2.5  # their frequencies alone give 3.57
    windows = Windows(text(), 3, 4, torch.device("cpu"))
    own = windows.batch(0, batch_size=4, seq_len=32).windows_BW
    assert torch.equal(own, learner.windows.batch(0, batch_size=4, seq_len=32).windows_BW)


@pytest.mark.parametrize("mixer", MIXERS)
def test_muon_moves_its_matrices(mixer: str) -> None:
    """Muon moves the matrices of its blocks and AdamW the rest, as in the model beside it."""
    learner = RivalLearner(Rival(mixer, SMALL, 1, 32), CONFIG, text(), 0)
    orthogonal = next(group for group in learner.optimizer.param_groups if group.get("orthogonal"))
    names = {
        name for name, value in learner.model.blocks.named_parameters() if name.endswith("weight") and value.dim() == 2
    }
    assert len(orthogonal["params"]) == len(names) > 5
    everything = sum(len(group["params"]) for group in learner.optimizer.param_groups)
    assert everything == len(list(learner.model.parameters()))


def test_recurrence_is_the_definition() -> None:
    """The recurrence is its definition, written out, and has that one's gradients."""
    torch.manual_seed(0)
    share_TBD, new_TBD = torch.rand(9, 2, 3, dtype=torch.float64), torch.randn(9, 2, 3, dtype=torch.float64)
    parts = share_TBD.requires_grad_(), new_TBD.requires_grad_()
    h_BD, rows = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(9):
        h_BD = (1 - share_TBD[t]) * h_BD + share_TBD[t] * new_TBD[t]
        rows.append(h_BD)
    expected_TBD, upstream_TBD = torch.stack(rows), torch.randn(9, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(recur(*parts), expected_TBD)
    found = torch.autograd.grad(recur(*parts), parts, upstream_TBD)
    for one, other in zip(found, torch.autograd.grad(expected_TBD, parts, upstream_TBD), strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_hyena_is_the_definition() -> None:
    """The long convolution by FFT is the sum of each channel's filter over the past, written out."""
    torch.manual_seed(0)
    mixer, x_TBD = Hyena(4, 12).double(), torch.randn(9, 1, 4, dtype=torch.float64)
    projected = torch.cat((mixer.value(x_TBD), mixer.before(x_TBD), mixer.after(x_TBD)), 2)
    value_TBD, before_TBD, after_TBD = mixer.short(projected).chunk(3, 2)
    u_TBD, filters_TD = value_TBD * before_TBD, mixer.filters()
    y_TBD = torch.stack([sum(filters_TD[k] * u_TBD[t - k] for k in range(t + 1)) for t in range(9)])  # type: ignore[misc]
    torch.testing.assert_close(mixer(x_TBD), mixer.out((y_TBD + u_TBD * mixer.skip_D) * after_TBD))
