"""The convolution under decays: what it computes, how it is trained, and that nothing overflows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plateau_rule.fftcore import decay, spectral
from plateau_rule.fftcore.block import Block
from plateau_rule.fftcore.generate import same_bits
from tests.fftcore.test_model import SMALL, made

GROUPS = 2
WITH_DECAY = SMALL.model_copy(update={"decay": True})


def decayed(x_TBD: Tensor, decay_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
    """Convolve a sequence under decays: (T, B, D)."""
    T, B, _ = x_TBD.shape
    y_GSNM = decay.convolve_decayed(decay.cut(x_TBD, GROUPS), decay.cut(decay_TBD, GROUPS), kernel_GK)
    return decay.join(y_GSNM, T, B)


def written_out(x_TBD: Tensor, decay_TBD: Tensor, kernel_GK: Tensor) -> Tensor:
    """The same by its definition."""
    T, _, D = x_TBD.shape
    taps_DK, sums_TBD = kernel_GK.repeat_interleave(D // GROUPS, 0), decay_TBD.cumsum(0)
    rows = []
    for t in range(T):
        first = max(0, t + 1 - kernel_GK.shape[1])
        left_LBD = torch.exp(sums_TBD[first : t + 1] - sums_TBD[t]) * x_TBD[first : t + 1]
        rows.append((left_LBD * taps_DK[:, : t + 1 - first].flip(1).T[:, None]).sum(0))
    return torch.stack(rows)


def drawn(T: int, K: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """A sequence, decays and kernels."""
    torch.manual_seed(T)
    x_TBD, decay_TBD = torch.randn(T, 2, 4, dtype=dtype), torch.rand(T, 2, 4, dtype=dtype) / 8
    return x_TBD.requires_grad_(), decay_TBD.requires_grad_(), torch.randn(GROUPS, K, dtype=dtype).requires_grad_()


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
    x_TBD, _, kernel_GK = drawn(150, 48)
    assert torch.allclose(decayed(x_TBD, torch.zeros_like(x_TBD), kernel_GK), spectral.convolve(x_TBD, kernel_GK))


@pytest.mark.parametrize("most", [0.0, 1.0])
def test_nothing_overflows(most: float) -> None:
    """In float32, with the largest decays throughout, a long sequence and its gradients are those of float64."""
    x_TBD, _, kernel_GK = drawn(700, 200, torch.float32)
    values = (x_TBD, torch.full_like(x_TBD, most).requires_grad_(), kernel_GK)
    y_TBD = decayed(*values)
    exact = [value.detach().double().requires_grad_() for value in values]
    expected_TBD = decayed(*exact)
    assert torch.allclose(y_TBD.double(), expected_TBD, rtol=1e-4, atol=1e-4)
    found = torch.autograd.grad(y_TBD, values, torch.ones_like(y_TBD))
    for one, other in zip(found, torch.autograd.grad(expected_TBD, exact, torch.ones_like(expected_TBD)), strict=True):
        assert (one.double() - other).norm() <= 1e-4 * other.norm()


@torch.no_grad()
def test_first_decays() -> None:
    """At first channels forget within 2 to 100 positions, each group's some of them; a decay is at most 1."""
    first_D = decay.decays(decay.first_logits(16))
    assert first_D[0].item() == pytest.approx(1 / 2)
    assert first_D[-1].item() == pytest.approx(1 / 100)
    assert decay.decays(torch.tensor(1e9)).item() == 1


@torch.no_grad()
def test_exact_under_autocast() -> None:
    """A mixer with decays mixes in float32 under autocast as well, to the bit: decays need the range."""
    block = made(WITH_DECAY).blocks[0]
    assert isinstance(block, Block)
    x_TBD, mixer = torch.randn(150, 2, 16), block.mixer
    gain_NBD = mixer.context(x_TBD)
    mixer.context.forward = lambda x_TBD: gain_NBD  # type: ignore[method-assign]  # which is a product in bfloat16
    expected_TBD = mixer(x_TBD)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mixer(x_TBD), expected_TBD)


@torch.no_grad()
def test_some_bytes_at_once() -> None:
    """Bytes that are read three at once have the logits of bytes that are read one by one, to the bit."""
    assert same_bits(made(WITH_DECAY), 3)
