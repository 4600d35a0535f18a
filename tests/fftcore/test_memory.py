"""The memory: what it holds, how it is trained, and that a stream holds the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plateau_rule.fftcore.block import Block, Mixer
from plateau_rule.fftcore.generate import generate, same_bits
from plateau_rule.fftcore.memory import SPAN, Memory, hold
from tests.fftcore.test_model import SMALL, made, random_bytes

WITH_MEMORY = SMALL.model_copy(update={"memory": True, "layers": 4})


def written_out(share_TBD: Tensor, new_TBD: Tensor) -> Tensor:
    """What is held, by its definition."""
    rows = [torch.zeros_like(new_TBD[0])]
    for share_BD, new_BD in zip(share_TBD, new_TBD, strict=True):
        rows.append((1 - share_BD) * rows[-1] + share_BD * new_BD)
    return torch.stack(rows[1:])


def drawn(T: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Shares, some of them 0 and 1, and what is written."""
    torch.manual_seed(T)
    share_TBD = (3 * torch.rand(T, 2, 3, dtype=dtype) - 1).clamp(0, 1)
    return share_TBD.requires_grad_(), torch.randn(T, 2, 3, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("T", [1, 2, SPAN - 1, SPAN, SPAN + 1, 3 * SPAN, 100])
def test_definition(T: int) -> None:
    """It is the recurrence that defines it, and so are its gradients, at any length; shares of 0 and 1 among them."""
    values = drawn(T)
    held_TBD, expected_TBD = hold(*values), written_out(*values)
    assert held_TBD.shape == expected_TBD.shape
    assert torch.allclose(held_TBD, expected_TBD)
    dheld_TBD = torch.randn_like(held_TBD)
    found, expected = (torch.autograd.grad(one, values, dheld_TBD) for one in (held_TBD, expected_TBD))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other)


def test_gradients() -> None:
    """The gradients are those of differences."""
    share_TBD, new_TBD = drawn(2 * SPAN + 3)
    assert torch.autograd.gradcheck(hold, (share_TBD, new_TBD))


@pytest.mark.parametrize("T", [SPAN, SPAN + 3])
def test_the_operation_keeps_its_word(T: int) -> None:
    """To torch it is what it says: it changes no argument, and its shapes, strides and gradients are as registered."""
    torch.library.opcheck(torch.ops.plateau_rule.hold.default, drawn(T))


@torch.no_grad()
def test_a_long_past() -> None:
    """What is held for 2,000 positions is still there, and what is let go at once is gone, in float32."""
    share_TBD, new_TBD = torch.zeros(2001, 1, 2), torch.zeros(2001, 1, 2)
    share_TBD[0], new_TBD[0] = 1, 5
    share_TBD[1000, :, 1] = 1
    held_TBD = hold(share_TBD, new_TBD)
    assert held_TBD[:, 0, 0].eq(5).all()
    assert held_TBD[:1000, 0, 1].eq(5).all()
    assert held_TBD[1000:, 0, 1].eq(0).all()


def test_every_second_block() -> None:
    """Blocks mix in turn by the convolution, which knobs act on, and by a memory; without the switch, none does."""
    kinds = [type(block.mixer) for block in made(WITH_MEMORY).blocks if isinstance(block, Block)]
    assert kinds == [Mixer, Memory, Mixer, Memory]
    assert all(type(block.mixer) is Mixer for block in made(SMALL).blocks if isinstance(block, Block))


@torch.no_grad()
def test_first_memory() -> None:
    """At first what is read has faded to a half within 1 position in the first channel, and 42 in the last."""
    memory = Memory(SMALL)
    left_D = 1 - torch.sigmoid(memory.update.bias)
    halves_D = torch.log(torch.tensor(0.5)) / torch.log(left_D)
    assert halves_D[0].item() == pytest.approx(1)
    assert halves_D[-1].item() == pytest.approx(42, abs=0.5)


@torch.no_grad()
def test_a_closed_gate_opens() -> None:
    """A block that enters later adds 0 to what it reads, and its gate gets a gradient by which it opens."""
    block = made(WITH_MEMORY).blocks[1]
    assert isinstance(block, Block)
    assert isinstance(block.mixer, Memory)
    block.zero_output()
    x_TBD = torch.randn(40, 2, 16)
    assert torch.equal(block(x_TBD), x_TBD)
    with torch.enable_grad():
        block(x_TBD).square().sum().backward()
    gradient = block.mixer.gate.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


@torch.no_grad()
def test_some_bytes_at_once() -> None:
    """Bytes that are read three at once have the logits of bytes that are read one by one, to the bit."""
    shape = WITH_MEMORY.model_copy(update={"d_model": 32})
    model = made(shape)
    assert same_bits(model, 3)
    prompt = bytes(random_bytes(1, 90)[0].tolist())
    assert generate(model, prompt, 300) == generate(model, prompt, 300, drafts=False)


@torch.no_grad()
def test_what_was_only_guessed_is_forgotten() -> None:
    """Bytes that were read and not advanced over leave nothing behind: read again as others, they are as if first."""
    model, bytes_BT = made(WITH_MEMORY), random_bytes(2, 70)
    stream, other = model.stream(2), model.stream(2)
    for t in range(70):
        model.read(255 - bytes_BT[:, t : t + 1], stream)
        assert torch.equal(model.step(bytes_BT[:, t], stream), model.step(bytes_BT[:, t], other))


@torch.no_grad()
def test_held_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under autocast what is held stays in float32: small shares of it would be lost in bfloat16."""
    types: list[torch.dtype] = []

    def noted(share_TBD: Tensor, new_TBD: Tensor) -> Tensor:
        types.extend((share_TBD.dtype, new_TBD.dtype))
        return hold(share_TBD, new_TBD)

    monkeypatch.setattr("plateau_rule.fftcore.memory.hold", noted)
    with torch.autocast("cpu", torch.bfloat16):
        Memory(SMALL)(torch.randn(100, 2, 16))
    assert types == [torch.float32] * 2
