"""The convolution under decays: what it computes, how it is trained, and that nothing overflows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plateau_rule.fftcore import decay, spectral
from plateau_rule.fftcore.block import Block, Mixer
from plateau_rule.fftcore.generate import same_bits
from tests.fftcore.test_model import SMALL, made

GROUPS = 2
WITH_DECAY = SMALL.model_copy(update={"decay": True})


def decayed(x_TBD: Tensor, logits_TBD: Tensor, gate_TBD: Tensor, gain_NBD: Tensor, kernel_GK: Tensor) -> Tensor:
    """Convolve a sequence under decays and gates: (T, B, D)."""
    T, B, _ = x_TBD.shape
    x_GSNM, logits_GSNM, gate_GSNM = (decay.cut(value_TBD, GROUPS) for value_TBD in (x_TBD, logits_TBD, gate_TBD))
    gain_G1NM = decay.cut(gain_NBD.repeat_interleave(64, 0)[:T], GROUPS)[:, :1]
    return decay.join(decay.convolve_decayed(x_GSNM, logits_GSNM, gate_GSNM, gain_G1NM, kernel_GK), T, B)


def written_out(x_TBD: Tensor, logits_TBD: Tensor, gate_TBD: Tensor, gain_NBD: Tensor, kernel_GK: Tensor) -> Tensor:
    """The same by its definition."""
    T, _, D = x_TBD.shape
    taps_DK, sums_TBD = kernel_GK.repeat_interleave(D // GROUPS, 0), torch.sigmoid(logits_TBD).cumsum(0)
    rows = []
    for t in range(T):
        first = max(0, t + 1 - kernel_GK.shape[1])
        left_LBD = torch.exp(sums_TBD[first : t + 1] - sums_TBD[t]) * x_TBD[first : t + 1]
        y_BD = (left_LBD * taps_DK[:, : t + 1 - first].flip(1).T[:, None]).sum(0)
        rows.append(y_BD * gate_TBD[t] * gain_NBD[t // 64])
    return torch.stack(rows)


def drawn(T: int, K: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """A sequence, logits of decays, gates, gains and kernels."""
    torch.manual_seed(T)
    shapes = ((T, 2, 4), (T, 2, 4), (T, 2, 4), (-(-T // 64), 2, 4), (GROUPS, K))
    values = [torch.randn(shape, dtype=dtype) for shape in shapes]
    values[1] -= 2
    return tuple(value.requires_grad_() for value in values)


@pytest.mark.parametrize(("T", "K"), [(1, 5), (64, 10), (70, 65), (200, 1), (150, 129), (260, 140)])
def test_definition(T: int, K: int) -> None:
    """It is the sum that defines it, and so are its gradients, at any length and any number of taps."""
    values = drawn(T, K)
    y_TBD, expected_TBD = decayed(*values), written_out(*values)
    assert torch.allclose(y_TBD, expected_TBD)
    dy_TBD = torch.randn_like(y_TBD)
    found, expected = (torch.autograd.grad(one, values, dy_TBD) for one in (y_TBD, expected_TBD))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other)


def test_gradients() -> None:
    """The gradients are those of differences."""
    assert torch.autograd.gradcheck(decayed, drawn(67, 4))


@torch.no_grad()
def test_nothing_fades_without_decays() -> None:
    """Where all decays are 0 it is the plain convolution."""
    x_TBD, logits_TBD, _, gain_NBD, kernel_GK = drawn(150, 48)
    y_TBD = decayed(x_TBD, logits_TBD - 1e9, torch.ones_like(x_TBD), torch.ones_like(gain_NBD), kernel_GK)
    assert torch.allclose(y_TBD, spectral.convolve(x_TBD, kernel_GK))


@pytest.mark.parametrize("logit", [-1e9, 1e9])
def test_nothing_overflows(logit: float) -> None:
    """In float32, with the largest decays throughout, a long sequence and its gradients are those of float64."""
    x_TBD, logits_TBD, *others = drawn(700, 200, torch.float32)
    values = (x_TBD, torch.full_like(logits_TBD, logit).requires_grad_(), *others)
    y_TBD = decayed(*values)
    exact = [value.detach().double().requires_grad_() for value in values]
    expected_TBD = decayed(*exact)
    assert torch.allclose(y_TBD.double(), expected_TBD, rtol=1e-4, atol=1e-4)
    found = torch.autograd.grad(y_TBD, values, torch.ones_like(y_TBD))
    for one, other in zip(found, torch.autograd.grad(expected_TBD, exact, torch.ones_like(expected_TBD)), strict=True):
        assert (one.double() - other).norm() <= 1e-4 * other.norm()


@torch.no_grad()
def test_first_decays() -> None:
    """At first channels forget within 2 to 100 positions."""
    first_D = torch.sigmoid(decay.first_logits(16))
    assert first_D[0].item() == pytest.approx(1 / 2)
    assert first_D[-1].item() == pytest.approx(1 / 100)


@torch.no_grad()
def test_exact_under_autocast() -> None:
    """A mixer with decays mixes in float32 under autocast as well, to the bit: decays need the range."""
    block = made(WITH_DECAY).blocks[0]
    assert isinstance(block, Block)
    x_TBD, mixer = torch.randn(150, 2, 16), block.mixer
    assert isinstance(mixer, Mixer)
    gain_NBD = mixer.context(x_TBD)
    mixer.context.forward = lambda x_TBD: gain_NBD  # type: ignore[method-assign]  # which is a product in bfloat16
    expected_TBD = mixer(x_TBD)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mixer(x_TBD), expected_TBD)


@torch.no_grad()
def test_some_bytes_at_once() -> None:
    """Bytes that are read three at once have the logits of bytes that are read one by one, to the bit."""
    assert same_bits(made(WITH_DECAY), 3)
