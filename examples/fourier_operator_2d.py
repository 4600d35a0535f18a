"""The operator of fourier_operator.py in two dimensions: a trainer for `plateau probe` and `compare`.

pip install '.[pytorch,compare]'
plateau probe examples/grids-2d.toml --trainer examples/fourier_operator_2d.py:train --budget "20 s"

A flow that has a potential obeys Burgers' equation, u_t + (u . grad) u = nu laplace u, on a torus; it, too, is solved
exactly by the substitution of Cole and Hopf. The knobs are `grid`, the points a side, and `modes`, those mixed along
each axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from burgers import Point, Waves
from fourier_operator import fit
from torch import Tensor, nn

from plateau_rule import Curriculum

FULL = 64  # points a side, of the grid that errors are measured on
VISCOSITY = 0.02
WIDTH, MODES, LAYERS = 16, 8, 3


def make_flows(count: int, seed: int) -> tuple[Waves, Waves]:
    """Random smooth flows, and what becomes of each in half a unit of time.

    Args:
        count: flows.
        seed: of their random phases and heights.

    Returns:
        Both of shape (count, 2, FULL, FULL): the two components of the velocity.
    """
    chance = np.random.default_rng(seed)
    k = np.fft.fftfreq(FULL, 1 / FULL)[:, None], np.arange(FULL // 2 + 1.0)[None]
    length = np.hypot(*k)
    heights = np.where((length > 0) & (length <= 4), 1.0 / np.maximum(length, 1) ** 2, 0.0)
    noise = np.fft.rfft2(chance.normal(size=(count, FULL, FULL)))
    slopes = [2j * np.pi * along for along in k]
    potential = np.fft.irfft2(noise * heights * 3, (FULL, FULL))  # whose gradient the flow is
    heat = np.exp(-(potential - potential.min((1, 2), keepdims=True)) / (2 * VISCOSITY))
    decay = np.exp(-VISCOSITY * (2 * np.pi * length) ** 2 / 2)

    def gradient(spectrum: Any) -> list[Any]:
        return [np.fft.irfft2(spectrum * slope, (FULL, FULL)) for slope in slopes]

    later = np.fft.rfft2(heat) * decay
    before = np.stack(gradient(np.fft.rfft2(potential)), 1)
    after = -2 * VISCOSITY * np.stack(gradient(later), 1) / np.fft.irfft2(later, (FULL, FULL))[:, None]
    return before.astype(np.float32), after.astype(np.float32)


def on_grid(flows: Tensor, points: int) -> Tensor:
    """The flows on a coarser grid: every so many points along each axis."""
    return flows[..., :: FULL // points, :: FULL // points]


class FourierLayer(nn.Module):
    """A linear map of each of the lowest modes, beside one of each point."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2 * MODES, MODES, WIDTH, WIDTH, dtype=torch.cfloat) / WIDTH)
        self.point = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x: Tensor, modes: int) -> Tensor:
        """Map flows to flows, on whatever grid they are: (batch, WIDTH, points, points)."""
        spectrum = torch.fft.rfft2(x, norm="forward")
        rows = [*range(modes), *range(-modes, 0)]  # waves that run either way along the first axis
        mixed = torch.zeros_like(spectrum)
        mixed[:, :, rows, :modes] = torch.einsum(
            "bikl,klio->bokl", spectrum[:, :, rows, :modes], self.weight[rows, :modes]
        )
        return torch.fft.irfft2(mixed, x.shape[-2:], norm="forward") + self.point(x)


class Operator(nn.Module):
    """Flows at time 0 to flows at time 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Conv2d(2, WIDTH, 1)
        self.layers = nn.ModuleList(FourierLayer() for _ in range(LAYERS))
        self.out = nn.Sequential(nn.Conv2d(WIDTH, 32, 1), nn.GELU(), nn.Conv2d(32, 2, 1))

    def forward(self, flows: Tensor, modes: int | None = None) -> Tensor:
        """By so many of the lowest modes along each axis, or all: (batch, 2, points, points)."""
        x = self.lift(flows)
        for layer in self.layers:
            x = x + nn.functional.gelu(layer(x, modes or MODES))
        return flows + self.out(x)


def train(curriculum: Curriculum, budget: object, seed: int) -> list[Point]:
    """Train once, as `train` in fourier_operator.py does.

    Args:
        curriculum: its knobs are `grid` and, if it has it, `modes`.
        budget: not needed here: the curriculum's run ends with it.
        seed: of the weights and of the order of the data. The data themselves are always the same.
    """
    torch.manual_seed(seed)
    flows, held = (tuple(map(torch.from_numpy, make_flows(*which))) for which in ((512, 0), (32, 1)))
    return fit(Operator(), flows, held, curriculum, on_grid)
