"""The opponent of the speed benchmarks does what was published, no less and no more."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks._published import PublishedLM, PublishedMixer, rolled_mask
from plateau_rule.fftcore.config import Model
from plateau_rule.fftcore.published import ZeroPhaseMixer


def drawn(mixer: PublishedMixer) -> PublishedMixer:
    """The same mixer with other than its first weights."""
    torch.manual_seed(0)
    for value in mixer.parameters():
        torch.nn.init.normal_(value, std=0.5)
    return mixer


def naive(mixer: PublishedMixer, x_BTD: Tensor) -> Tensor:
    """Multiply whole matrices of the Fourier transform, in float64."""
    n, T = mixer.n_fft, x_BTD.shape[1]
    phase_FN = -2j * torch.pi / n * torch.arange(n // 2 + 1)[:, None] * torch.arange(n)[None, :]
    forward_FN = torch.exp(phase_FN.to(torch.complex128))
    weight_F = torch.full((n // 2 + 1,), 2.0 / n, dtype=torch.float64)
    weight_F[0] = weight_F[-1] = 1.0 / n
    kernel_F = forward_FN[:, : len(mixer.kernel_K)] @ mixer.kernel_K.to(torch.complex128)
    pooled_BD = mixer.context(x_BTD.mean(1)).double()
    filter_F = kernel_F * 2 * torch.sigmoid(mixer.gate_F.double()) * mixer.mask_F.double()
    spec_BFD = torch.einsum("fn,bnd->bfd", forward_FN[:, :T], x_BTD.to(torch.complex128))
    spec_BFD = spec_BFD * filter_F[None, :, None] * mixer.gain_D.double()
    spec_BFD = spec_BFD * 2 * torch.sigmoid(pooled_BD)[:, None]
    back_BND = torch.einsum("f,fn,bfd->bnd", weight_F.to(torch.complex128), forward_FN.conj(), spec_BFD)
    return back_BND.real[:, :T]


def test_the_chain_equals_a_naive_reference() -> None:
    """The chain of transforms and products is the published filter, to float32 precision, at every position."""
    mixer, x_BTD = drawn(PublishedMixer(d_model=6, seq_len=40, kernel_len=12, cutoff_bins=36)), torch.randn(3, 40, 6)
    with torch.no_grad():
        torch.testing.assert_close(mixer(x_BTD).double(), naive(mixer, x_BTD), atol=2e-5, rtol=2e-5)


def test_the_chain_equals_the_labelled_reference() -> None:
    """The benchmark's chain and the zero-phase reference of `fftcore`, written apart, compute the same."""
    shape = Model(d_model=6, layers=1, seq_len=1024, kernel_len=16, kernel_groups=1, published=True, zero_phase=True)
    mixer, other = drawn(PublishedMixer(6, 1024, 16, cutoff_bins=300)), ZeroPhaseMixer(shape)
    other.restrict(300, 16)
    x_BTD = torch.randn(2, 1024, 6)
    with torch.no_grad():
        mixer.gain_D.fill_(1.0)
        other.kernel.kernel_GK.copy_(mixer.kernel_K[None])
        other.kernel.gate_F.copy_(mixer.gate_F)
        other.context.project.load_state_dict(mixer.context.state_dict())
        torch.testing.assert_close(mixer(x_BTD).transpose(0, 1), other(x_BTD.transpose(0, 1)), atol=1e-5, rtol=1e-5)


def test_it_sees_the_future() -> None:
    """As published, a byte changes what stands before it: this is an opponent for speed and no model."""
    mixer, x_BTD = drawn(PublishedMixer(4, 32, 8)), torch.randn(1, 32, 4)
    with torch.no_grad():
        before = mixer(x_BTD)[:, :16]
        x_BTD[:, 20] += 1
        assert not torch.equal(before, mixer(x_BTD)[:, :16])


def test_the_mask_rolls_off() -> None:
    """The mask is 1, falls over 32 bins, and is 0 from the cutoff on."""
    mask_F = rolled_mask(100, 201)
    assert (mask_F[:69] == 1).all()
    assert (mask_F[100:] < 1e-6).all()
    assert (mask_F.diff() <= 0).all()


def test_it_trains_as_published() -> None:
    """A window gives the chunk's bytes as targets, dropout is as given, and every parameter has a gradient."""
    model = PublishedLM(d_model=8, layers=2, seq_len=24, kernel_len=8, chunk=4, dropout=0.25)
    window_BW = torch.randint(256, (3, 28), dtype=torch.uint8)
    assert model.draft(window_BW[:, :24]).shape == (3, 4, 256)
    torch.autograd.backward(model.loss(window_BW))
    assert all(value.grad is not None for value in model.parameters())
    drops = [part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)]
    assert drops == [0.25] * 4
