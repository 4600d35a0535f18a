"""Continues a text byte by byte, in time per byte that does not depend on how much came before."""

from __future__ import annotations

import torch
from torch import Tensor

from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.fftcore.evaluate import scoring
from plateau_rule.fftcore.model import SpectralLM


@torch.no_grad()
def generate(model: SpectralLM, prompt: bytes, count: int, *, temperature: float = 0.8, seed: int = 0) -> bytes:
    """Return `count` bytes that continue `prompt`.

    Args:
        model: at the cutoff and taps it was restricted to.
        prompt: at least one byte.
        count: bytes to draw.
        temperature: divides the logits; 0 always takes the likeliest byte.
        seed: of the draw.

    Raises:
        NonFiniteLoss: the model's logits are not finite.
    """
    device = model.table.weight.device
    generator = torch.Generator(device).manual_seed(seed)
    drawn: list[Tensor] = []
    with scoring(model):
        streams = model.stream(1)
        for byte in prompt[:-1]:
            model.step(torch.tensor([byte], device=device), streams)
        last_1 = torch.tensor([prompt[-1]], device=device)
        for _ in range(count):
            logits_V = model.logits(model.step(last_1, streams))[0]
            if not torch.isfinite(logits_V).all():  # drawn from, they would leave a GPU unusable
                raise NonFiniteLoss(f"byte {len(drawn)} of what the model writes: its logits are not finite")
            if temperature == 0:
                last_1 = logits_V.argmax(keepdim=True)
            else:
                last_1 = torch.multinomial(torch.softmax(logits_V / temperature, 0), 1, generator=generator)
            drawn.append(last_1)
    return bytes(torch.cat(drawn).tolist()) if drawn else b""
