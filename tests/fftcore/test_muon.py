"""The optimizer: orthogonal moves for matrices, AdamW's for all else, and none for a step that is left out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from plateau_rule.fftcore.muon import Muon, orthogonalise


def parameters(seed: int = 0) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices, square, wide and tall, and other parameters."""
    torch.manual_seed(seed)
    shapes = ((16, 16), (8, 32), (32, 8), (16, 16))
    return [nn.Parameter(torch.randn(shape)) for shape in shapes], [nn.Parameter(torch.randn(7))]


def with_gradients(values: list[nn.Parameter], seed: int) -> None:
    """Give each parameter a gradient."""
    generator = torch.Generator().manual_seed(seed)
    for value in values:
        value.grad = torch.randn(value.shape, generator=generator)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 40), (1, 1, 5)])
def test_orthogonalised(shape: tuple[int, int, int]) -> None:
    """Singular values come near 1, singular vectors stay: times the original, the result is symmetric and positive."""
    matrices_NRC = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found_NRC = orthogonalise(matrices_NRC)
    singular = torch.linalg.svdvals(found_NRC)
    assert 0.4 < singular.min() <= singular.max() < 1.3
    product_NRR = found_NRC @ matrices_NRC.mT
    torch.testing.assert_close(product_NRR, product_NRR.mT, rtol=0, atol=1e-3)
    assert torch.linalg.eigvalsh(product_NRR).min() > 0


def test_moves_are_those_of_the_library() -> None:
    """Steps are those of torch.optim.Muon at the scale of AdamW, which iterates in bfloat16, and of AdamW itself."""
    matrices, others = parameters()
    theirs, their_others = parameters()
    mine = Muon(matrices, [{"params": others, "weight_decay": 0.0}], weight_decay=0.1)
    muon = torch.optim.Muon(theirs, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(their_others, weight_decay=0.0)
    optimizers: tuple[torch.optim.Optimizer, ...] = (mine, muon, adamw)
    for step in range(3):
        with_gradients([*matrices, *others], step)
        with_gradients([*theirs, *their_others], step)
        for one in optimizers:
            for group in one.param_groups:
                group["lr"] = 0.05
            one.step()
    for found, expected in zip([*matrices, *others], [*theirs, *their_others], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-3)


@pytest.mark.parametrize("value", [1.0, float("nan"), float("inf")])
def test_a_step_left_out(value: float) -> None:
    """A step that is left out changes no bit of a parameter or of what is remembered, whatever its gradients."""
    matrices, others = parameters()
    optimizer = Muon(matrices, [{"params": others, "weight_decay": 0.0}], weight_decay=0.1)
    with_gradients([*matrices, *others], 0)
    optimizer.step()

    def all_of_it() -> list[Tensor]:
        moments = [kept[key] for kept in optimizer.state.values() for key in kept if key != "step"]
        return [tensor.detach().clone() for tensor in [*matrices, *others, *moments]]

    before = all_of_it()
    with_gradients([*matrices, *others], 1)
    for parameter in [*matrices, *others]:
        assert parameter.grad is not None
        parameter.grad.mul_(value)
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    for found, expected in zip(all_of_it(), before, strict=True):
        assert torch.equal(found, expected)
