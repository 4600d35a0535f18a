"""The convolution and its band limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import log10
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from plateau_rule.fftcore import spectral, toeplitz
from plateau_rule.fftcore.config import LONGEST_KERNEL, Model

FLOAT64, FLOAT32 = (torch.float64, 1e-12), (torch.float32, 2e-6)
WAYS = (
    (64, False),
    (64, True),
    (128, True),
)  # positions in a block; groups together or not: a CPU's first, a GPU's last


def random_problem(seed: int, T: int, B: int, width: int, G: int, K: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """An input (T, B, G · width) and kernels (G, K), both asking for gradients."""
    generator = torch.Generator().manual_seed(seed)
    x_TBD = torch.randn(T, B, G * width, dtype=dtype, generator=generator)
    kernel_GK = torch.randn(G, K, dtype=dtype, generator=generator)
    return x_TBD.requires_grad_(), kernel_GK.requires_grad_()


@contextmanager
def way_of(block: int, together: bool) -> Iterator[None]:
    """Compute on the CPU in one of the `WAYS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(toeplitz.BLOCK_BYTES, "cpu", block)
        patch.setitem(toeplitz.TOGETHER, "cpu", together)
        yield


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the matrix products that are taken.

    Args:
        counts: to which it adds, by their names.
    """

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry an operation out."""
        name = func.overloadpacket.__name__
        if name.endswith("mm"):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-300))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    T=st.one_of(st.integers(1, 10), st.integers(60, 70), st.integers(100, 300)),
    B=st.integers(1, 3),
    width=st.integers(1, 3),
    G=st.integers(1, 4),
    K=st.one_of(st.integers(1, 5), st.integers(30, 35), st.integers(63, 66), st.sampled_from([128, 129, 600, 1024])),
    precision=st.sampled_from([FLOAT64, FLOAT32]),
    way=st.sampled_from(WAYS),
)
def test_convolution_is_that_of_the_fft(
    seed: int, T: int, B: int, width: int, G: int, K: int, precision: tuple[torch.dtype, float], way: tuple[int, bool]
) -> None:
    """For any size, in a CPU's way and in a GPU's, products and both gradients are those of the FFT reference."""
    dtype, tolerance = precision
    x_TBD, kernel_GK = random_problem(seed, T, B, width, G, K, dtype)
    upstream_TBD = torch.randn(x_TBD.shape, dtype=dtype, generator=torch.Generator().manual_seed(seed + 1))
    exact = [value.detach().double().requires_grad_() for value in (x_TBD, kernel_GK)]
    slow_TBD = spectral.convolve_by_fft(*exact)
    with way_of(*way):
        fast_TBD = spectral.convolve(x_TBD, kernel_GK)
        fast = torch.autograd.grad(fast_TBD, (x_TBD, kernel_GK), upstream_TBD)
    slow = torch.autograd.grad(slow_TBD, exact, upstream_TBD.double())
    for found, expected in zip((fast_TBD, *fast), (slow_TBD, *slow), strict=True):
        assert relative(found.detach(), expected.detach()) <= tolerance


def test_convolution_is_the_definition() -> None:
    """The reference is the sum of taps times earlier inputs, written out."""
    x_TBD, kernel_GK = random_problem(0, 9, 2, 2, 2, 4, torch.float64)
    found_TBD = spectral.convolve_by_fft(x_TBD, kernel_GK)
    for t in range(9):
        for d in range(4):
            expected_B = sum(kernel_GK[d // 2, lag] * x_TBD[t - lag, :, d] for lag in range(4) if lag <= t)
            torch.testing.assert_close(found_TBD[t, :, d], expected_B, rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("T", "K"), [(5, 3), (70, 9), (130, 70)])
def test_convolution_gradients(T: int, K: int, way: tuple[int, bool]) -> None:
    """Both gradients are those that finite differences show."""
    x_TBD, kernel_GK = random_problem(1, T, 1, 1, 2, K, torch.float64)
    with way_of(*way):
        assert torch.autograd.gradcheck(spectral.convolve, (x_TBD, kernel_GK), fast_mode=True)


@pytest.mark.parametrize("way", WAYS)
def test_only_what_is_asked_for(way: tuple[int, bool]) -> None:
    """A frozen kernel or a frozen input costs no gradient and changes nothing about the other's."""
    x_TBD, kernel_GK = random_problem(2, 80, 2, 2, 2, 16, torch.float64)
    with way_of(*way):
        both = torch.autograd.grad(spectral.convolve(x_TBD, kernel_GK).sum(), (x_TBD, kernel_GK))
        (alone,) = torch.autograd.grad(spectral.convolve(x_TBD, kernel_GK.detach()).sum(), x_TBD)
        assert torch.equal(alone, both[0])
        (alone,) = torch.autograd.grad(spectral.convolve(x_TBD.detach(), kernel_GK).sum(), kernel_GK)
        assert torch.equal(alone, both[1])


def gated_problem(seed: int, T: int, B: int, W: int, G: int, K: int) -> tuple[Tensor, ...]:
    """What `convolve_gated` takes but for `hold`, which is 16: all in float64, asking for gradients."""
    x_TBD, kernel_GK = random_problem(seed, T, B, W, G, K, torch.float64)
    generator = torch.Generator().manual_seed(seed)
    shapes = ((G, W, W), (G, 1, W), (-(-T // 16), B, G * W))
    others = (torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes)
    return x_TBD, kernel_GK, *others


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    T=st.one_of(st.integers(1, 20), st.integers(60, 70), st.integers(100, 200)),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 5, 64, 128, 600])),
    way=st.sampled_from(WAYS),
)
def test_gated_convolution_is_the_definition(
    seed: int, T: int, sizes: tuple[int, int, int, int], way: tuple[int, bool]
) -> None:
    """For any size, the convolution under its gates, and all five gradients, are those of the parts, multiplied."""
    given_tensors = x_TBD, kernel_GK, weight_GWW, bias_G1W, gain_RBD = gated_problem(seed, T, *sizes)
    G, W, _ = weight_GWW.shape
    gate_TBGW = torch.einsum("tbgw,gwv->tbgv", x_TBD.view(T, -1, G, W), weight_GWW) + bias_G1W[:, 0]
    gain_TBD = torch.stack([gain_RBD[t // 16] for t in range(T)])
    slow_TBD = spectral.convolve_by_fft(x_TBD, kernel_GK) * gate_TBGW.flatten(2) * gain_TBD
    upstream_TBD = torch.randn(slow_TBD.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    with way_of(*way):
        fast_TBD = spectral.convolve_gated(x_TBD, kernel_GK, weight_GWW, bias_G1W, gain_RBD, 16)
        fast = torch.autograd.grad(fast_TBD, given_tensors, upstream_TBD)
    slow = torch.autograd.grad(slow_TBD, given_tensors, upstream_TBD)
    for found, expected in zip((fast_TBD, *fast), (slow_TBD, *slow), strict=True):
        assert relative(found.detach(), expected.detach()) <= 1e-12


@pytest.mark.parametrize("way", WAYS)
def test_gated_convolution_by_another_input(way: tuple[int, bool]) -> None:
    """A gate that reads something else than what is convolved: the product and all six gradients are the parts'."""
    x_TBD, kernel_GK, weight_GWW, bias_G1W, gain_RBD = gated_problem(3, 70, 2, 3, 2, 9)
    seen_TBD = torch.randn_like(x_TBD).requires_grad_()
    given_tensors = x_TBD, kernel_GK, weight_GWW, bias_G1W, gain_RBD, seen_TBD
    gate_TBD = spectral.map_groups(seen_TBD, weight_GWW, bias_G1W)
    slow_TBD = spectral.convolve_by_fft(x_TBD, kernel_GK) * gate_TBD * gain_RBD.repeat_interleave(16, 0)[:70]
    upstream_TBD = torch.randn_like(x_TBD)
    with way_of(*way):
        fast_TBD = spectral.convolve_gated(x_TBD, kernel_GK, weight_GWW, bias_G1W, gain_RBD, 16, seen_TBD)
        fast = torch.autograd.grad(fast_TBD, given_tensors, upstream_TBD)
    slow = torch.autograd.grad(slow_TBD, given_tensors, upstream_TBD)
    for found, expected in zip((fast_TBD, *fast), (slow_TBD, *slow), strict=True):
        assert relative(found.detach(), expected.detach()) <= 1e-12


@pytest.mark.parametrize("way", WAYS)
def test_gated_convolution_gradients(way: tuple[int, bool]) -> None:
    """All gradients of the convolution under its gates are those that finite differences show."""
    gated = partial(spectral.convolve_gated, hold=16)
    with way_of(*way):
        assert torch.autograd.gradcheck(gated, gated_problem(1, 70, 1, 2, 2, 9), fast_mode=True)


@pytest.mark.parametrize(("cutoff_bins", "taps"), [(1, 1), (20, 16), (128, 48), (512, 128), (1025, 128)])
def test_groups_together(cutoff_bins: int, taps: int) -> None:
    """At any cutoff and number of taps, all groups in one product give the values and gradients of each for itself."""
    x_TBD, _, *others = gated_problem(5, 200, 2, 4, 4, 1)
    kernel = spectral.SpectralKernel(4, 128).double()
    kernel.restrict(cutoff_bins, taps)
    gated: Callable[..., Tensor] = partial(spectral.convolve_gated, hold=16)

    def taken(block: int, together: bool) -> list[Tensor]:
        with way_of(block, together):
            y_TBD = gated(x_TBD, kernel(), *others)
            return [y_TBD.detach(), *torch.autograd.grad(y_TBD.sin().sum(), (x_TBD, *kernel.parameters(), *others))]

    apart = taken(64, together=False)
    for block in (64, 128):
        for found, expected in zip(taken(block, together=True), apart, strict=True):
            assert relative(found, expected) <= 1e-12


def test_infinite_values_stay_in_their_group() -> None:
    """Groups whose sequences lie one behind the other in a product do not meet: no value of one reaches another."""
    x_TBD, kernel_GK = random_problem(8, 100, 2, 2, 3, 16, torch.float32)
    broken_TBD = x_TBD.detach().clone()
    broken_TBD[:, :, 2:4] = torch.inf
    with way_of(64, together=True):
        y_TBD, found_TBD = spectral.convolve(x_TBD, kernel_GK), spectral.convolve(broken_TBD, kernel_GK)
    assert torch.equal(found_TBD[:, :, :2], y_TBD[:, :, :2])
    assert torch.equal(found_TBD[:, :, 4:], y_TBD[:, :, 4:])


def test_one_product_a_step() -> None:
    """All groups together take one batched product forward and two back, and three more for a linear map."""
    plain, (x_TBD, kernel_GK, *others) = Counter[str](), gated_problem(6, 200, 2, 4, 4, 128)
    gated = Counter[str]()
    gate: Callable[..., Tensor] = partial(spectral.convolve_gated, hold=16)
    with way_of(128, together=True):
        with Products(plain):
            torch.autograd.grad(spectral.convolve(x_TBD, kernel_GK).sum(), (x_TBD, kernel_GK))
        with Products(gated):
            y_TBD = gate(x_TBD, kernel_GK, *others)
            torch.autograd.grad(y_TBD.sum(), (x_TBD, kernel_GK, *others))
    assert plain == {"bmm": 3}
    assert gated == {"bmm": 4, "baddbmm": 2}


def test_long_kernels() -> None:
    """A kernel of 600 taps gives what its definition says, gradients included."""
    x_TBD, kernel_GK = random_problem(3, 40, 1, 1, 1, 600, torch.float64)
    y_TBD = spectral.convolve(x_TBD, kernel_GK)
    torch.autograd.backward(y_TBD.sum())
    assert kernel_GK.grad is not None
    torch.testing.assert_close(y_TBD[-1, 0, 0], (kernel_GK[0, :40].flip(0) * x_TBD[:, 0, 0]).sum(), rtol=1e-12, atol=0)
    torch.testing.assert_close(kernel_GK.grad[0, :40].flip(0), x_TBD[:, 0, 0].cumsum(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_bfloat16(way: tuple[int, bool]) -> None:
    """Under autocast the products run in bfloat16, near those in float32, and the kernel's gradient is float32."""
    x_TBD, kernel_GK = random_problem(4, 150, 2, 4, 2, 32, torch.float32)
    expected_TBD = spectral.convolve(x_TBD, kernel_GK)
    with torch.autocast("cpu", torch.bfloat16), way_of(*way):
        y_TBD = spectral.convolve(x_TBD, kernel_GK)
    assert y_TBD.dtype == torch.bfloat16
    assert relative(y_TBD.detach().float(), expected_TBD.detach()) < 0.02
    with way_of(*way):
        (gradient_GK,) = torch.autograd.grad(y_TBD.float().square().sum(), kernel_GK)
    (expected_GK,) = torch.autograd.grad(expected_TBD.square().sum(), kernel_GK)
    assert gradient_GK.dtype == torch.float32
    assert relative(gradient_GK, expected_GK) < 0.03


Convolve = Callable[[Tensor, Tensor], Tensor]


def is_causal(convolve: Convolve, seed: int, T: int, K: int, position: int) -> bool:
    """Whether changing the input at one position changes no bit of the output before it."""
    x_TBD, kernel_GK = random_problem(seed, T, 2, 2, 2, K, torch.float32)
    changed_TBD = x_TBD.detach().clone()
    changed_TBD[position] += 100
    return torch.equal(convolve(x_TBD, kernel_GK)[:position], convolve(changed_TBD, kernel_GK)[:position])


KERNEL_LENGTHS = st.one_of(st.integers(1, 130), st.integers(500, 600), st.sampled_from([1000, 1024]))


@given(seed=st.integers(0, 2**32), T=st.integers(2, 200), K=KERNEL_LENGTHS, way=st.sampled_from(WAYS), data=st.data())
@settings(max_examples=60)
def test_convolution_is_causal_to_the_bit(
    seed: int, T: int, K: int, way: tuple[int, bool], data: st.DataObject
) -> None:
    """With kernels of any length, changing the input at one position changes no bit of the output before it."""
    with way_of(*way):
        assert is_causal(spectral.convolve, seed, T, K, data.draw(st.integers(0, T - 1)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("T", [1, 63, 64, 130, 200])
def test_a_prefix_is_the_beginning(T: int, way: tuple[int, bool]) -> None:
    """What is made of a window's beginning is the beginning of what is made of the window, to the bit."""
    x_TBD, kernel_GK, weight_GWW, bias_G1W, gain_RBD = (value.detach() for value in gated_problem(9, 256, 2, 8, 4, 128))
    gated: Callable[..., Tensor] = partial(spectral.convolve_gated, hold=16)
    with way_of(*way):
        whole_TBD = gated(x_TBD, kernel_GK, weight_GWW, bias_G1W, gain_RBD)
        begun_TBD = gated(x_TBD[:T], kernel_GK, weight_GWW, bias_G1W, gain_RBD[: -(-T // 16)])
    assert torch.equal(begun_TBD, whole_TBD[:T])


@pytest.mark.parametrize("K", [16, 600])
def test_causality_by_fft_is_not_to_the_bit(K: int) -> None:
    """Canary: the same kernels by FFT are causal only up to rounding, and the comparison shows it."""
    assert not is_causal(spectral.convolve_by_fft, 0, 200, K, 150)


# The band limit


def energy_above(kernels_GK: Tensor, cutoff_bins: int) -> float:
    """Mean share of the kernels' energy above a cutoff, in dB."""
    power_GF = torch.fft.rfft(kernels_GK.double(), spectral.N_FFT).abs().square()
    power_GF[:, 1:-1] *= 2
    return 10 * log10((power_GF[:, cutoff_bins:].sum(1) / power_GF.sum(1)).mean())


@pytest.mark.parametrize(
    ("cutoff_bins", "white_db", "decaying_db", "cut_db"),
    [(128, -44, -38, -20), (256, -48, -42, -23), (512, -52, -46, -26)],
)
def test_energy_above_the_cutoff(cutoff_bins: int, white_db: float, decaying_db: float, cut_db: float) -> None:
    """White kernels keep −44, −48 and −52 dB above the cutoffs, kernels that decay over 24 taps −38, −42 and −46.

    Multiplying white ones by the mask and cutting them to their taps leaves −20, −23 and −26.
    """
    white_GK = torch.randn(64, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    decaying_GK = white_GK * torch.exp(-torch.arange(128) / 24)
    limit_KK = spectral.band_limit(cutoff_bins, 128, 128)
    mask_KK = spectral.symmetric_toeplitz(torch.fft.irfft(spectral.cutoff_mask(cutoff_bins), spectral.N_FFT)[:128])
    assert energy_above(white_GK @ limit_KK, cutoff_bins) == pytest.approx(white_db, abs=1)
    assert energy_above(decaying_GK @ limit_KK, cutoff_bins) == pytest.approx(decaying_db, abs=1)
    assert energy_above(white_GK @ mask_KK, cutoff_bins) == pytest.approx(cut_db, abs=1)


def test_band_limit_is_the_minimiser() -> None:
    """The limited kernel minimises its distance to the kernel plus μ times the energy above the cutoff."""
    kernel_K = torch.randn(32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    above_F = 1 - spectral.cutoff_mask(200)
    above_F[1:-1] *= 2

    def objective(u_K: Tensor) -> Tensor:
        power_F = torch.fft.rfft(u_K, spectral.N_FFT).abs().square() / spectral.N_FFT
        total: Tensor = (u_K - kernel_K).square().sum() + spectral.MU * (above_F * power_F).sum()
        return total

    limited_K = (spectral.band_limit(200, 32, 32) @ kernel_K).requires_grad_()
    (slope_K,) = torch.autograd.grad(objective(limited_K), limited_K)
    assert slope_K.abs().max() < 1e-9


@pytest.mark.parametrize("taps", [1, 16, 128])
def test_full_cutoff_changes_nothing(taps: int) -> None:
    """At the full cutoff the limit is the identity on the taps in use, exactly."""
    expected_KK = torch.diag((torch.arange(128) < taps).double())
    assert torch.equal(spectral.band_limit(spectral.BINS, taps, 128), expected_KK)


def test_longest_kernel() -> None:
    """The longest kernel that a model may have has lags that do not wrap around in the reference; longer is refused."""
    assert LONGEST_KERNEL == spectral.N_FFT // 2
    limit_KK = spectral.band_limit(200, LONGEST_KERNEL, LONGEST_KERNEL)
    assert torch.linalg.eigvalsh(limit_KK).min() > 0
    with pytest.raises(ValueError, match=r"kernel_len 1025 is more than 1024: .* would wrap around"):
        Model(d_model=8, layers=1, seq_len=8, kernel_len=LONGEST_KERNEL + 1)


@pytest.mark.parametrize(
    ("cutoff_bins", "taps", "db"),
    [(1025, 16, 0), (512, 128, 0), (128, 128, -1), (128, 16, -32), (33, 128, -39), (16, 128, -57), (64, 32, -38)],
)
def test_pass_band(cutoff_bins: int, taps: int, db: float) -> None:
    """What docs/model.md says of the pass band: low cutoffs and few taps damp all frequencies, not only the high."""
    assert spectral.pass_band_db(cutoff_bins, taps) == pytest.approx(db, abs=0.6)
    white_GK = torch.randn(2000, taps, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    limited_GK = white_GK @ spectral.band_limit(cutoff_bins, taps, taps)
    measured = 10 * log10(limited_GK.sum(1).square().mean() / white_GK.sum(1).square().mean())
    assert spectral.pass_band_db(cutoff_bins, taps) == pytest.approx(measured, abs=0.5)


@pytest.mark.parametrize("cutoff_bins", [1, 20, 128, 1024, 1025])
@pytest.mark.parametrize("taps", [1, 16, 48])
def test_only_the_taps_in_use(cutoff_bins: int, taps: int) -> None:
    """At any cutoff a kernel restricted to its first taps has these alone, and learns nothing behind them."""
    kernel = spectral.SpectralKernel(2, 48)
    kernel.restrict(cutoff_bins, taps)
    taps_GK = kernel()
    assert torch.isfinite(taps_GK).all()
    assert taps_GK.shape == (2, taps)
    torch.autograd.backward(taps_GK.square().sum())
    assert kernel.kernel_GK.grad is not None
    assert torch.equal(kernel.kernel_GK.grad[:, taps:], torch.zeros(2, 48 - taps))


def test_knobs_move_in_place() -> None:
    """Moving the knobs allocates no buffer anew, and moving them back gives the same taps to the bit."""
    kernel = spectral.SpectralKernel(2, 64)
    places = {name: buffer.data_ptr() for name, buffer in kernel.named_buffers()}
    first_GK = kernel()
    kernel.restrict(128, 16)
    assert not torch.equal(kernel(), first_GK)
    kernel.restrict(spectral.BINS, 64)
    assert torch.equal(kernel(), first_GK)
    assert {name: buffer.data_ptr() for name, buffer in kernel.named_buffers()} == places


def test_frequency_gate() -> None:
    """The gate over frequency shapes the taps as its zero-phase filter would, cut to the kernel's taps."""
    kernel = spectral.SpectralKernel(1, 32).double()
    kernel.restrict(spectral.BINS, 32)
    with torch.no_grad():
        kernel.gate_F.copy_(torch.randn(spectral.BINS, generator=torch.Generator().manual_seed(0)))
    gate_F = 2 * torch.sigmoid(kernel.gate_F)
    spectrum_GF = torch.fft.rfft(kernel.kernel_GK, spectral.N_FFT) * gate_F
    expected_GK = torch.fft.irfft(spectrum_GF, spectral.N_FFT)[:, :32]
    torch.testing.assert_close(kernel(), expected_GK, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("bins", "cycles"), [(128, 1 / 16), (512, 1 / 4), (1025, 1 / 2)])
def test_cycles_per_byte(bins: int, cycles: float) -> None:
    """A cutoff of 128 bins is a sixteenth of a cycle per byte, whatever the input's length."""
    assert spectral.cycles_per_byte(bins) == cycles


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_convolution_on_gpu(dtype: torch.dtype) -> None:
    """On a GPU the block products and their gradients are those of the FFT reference."""
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 0.03}[dtype]
    x_TBD, kernel_GK = random_problem(5, 700, 3, 8, 4, 128, torch.float64)
    slow_TBD = spectral.convolve_by_fft(x_TBD, kernel_GK)
    slow = torch.autograd.grad(slow_TBD.square().sum(), (x_TBD, kernel_GK))
    there = [value.detach().to("cuda", dtype).requires_grad_() for value in (x_TBD, kernel_GK)]
    fast_TBD = spectral.convolve(there[0], there[1])
    fast = torch.autograd.grad(
        fast_TBD.float().square().sum() if dtype != torch.float64 else fast_TBD.square().sum(), there
    )
    for found, expected in zip((fast_TBD, *fast), (slow_TBD, *slow), strict=True):
        assert relative(found.detach().double().cpu(), expected.detach()) <= tolerance


@pytest.mark.gpu
def test_gated_convolution_on_gpu() -> None:
    """On a GPU the convolution under its gates, and all five gradients, are those of the CPU in float64."""
    here = gated_problem(7, 300, 2, 8, 4, 128)
    there = [value.detach().cuda().requires_grad_() for value in here]
    gated: Callable[..., Tensor] = partial(spectral.convolve_gated, hold=16)
    slow_TBD, fast_TBD = gated(*here), gated(*there)
    slow = torch.autograd.grad(slow_TBD.square().sum(), here)
    fast = torch.autograd.grad(fast_TBD.square().sum(), there)
    for found, expected in zip((fast_TBD, *fast), (slow_TBD, *slow), strict=True):
        assert relative(found.detach().cpu(), expected.detach()) <= 1e-12
