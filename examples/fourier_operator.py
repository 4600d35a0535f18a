"""A Fourier neural operator that is trained on finer and finer grids, in a PyTorch loop.

pip install '.[pytorch,plot]'; python examples/fourier_operator.py

The operator learns what Burgers' equation makes of a wave (examples/burgers.py). A coarse grid is cheap, and shows all
but the sharpest shocks; the grid is refined when the loss has stopped falling. The same training on the full grid
throughout gets the same processor time. Two minutes on two cores; the last line names a picture.

A curriculum may turn `modes` as well, the lowest ones that are mixed, and may watch `error`, the error on the full grid
that comes with each point of the curve. `train` is a trainer for `plateau probe`:
plateau probe examples/grids.toml --trainer examples/fourier_operator.py:train --budget "10 s"
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import process_time
from typing import Any

import torch
from burgers import SCORES, Point, compare, make_waves, on_grid, share_done
from torch import Tensor, nn

from plateau_rule import Controller, Curriculum
from plateau_rule.adapters.pytorch import PlateauRule

BATCH = 16
WIDTH, MODES, LAYERS = 24, 16, 4

Pair = tuple[Tensor, ...]


class FourierLayer(nn.Module):
    """A linear map of each of the lowest modes, beside one of each point."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(MODES, WIDTH, WIDTH, dtype=torch.cfloat) / WIDTH)
        self.point = nn.Conv1d(WIDTH, WIDTH, 1)

    def forward(self, x: Tensor, modes: int) -> Tensor:
        """Map waves to waves, on whatever grid they are: (batch, WIDTH, points)."""
        points = x.shape[-1]
        lowest = torch.fft.rfft(x, norm="forward")[..., :modes]
        mixed = torch.einsum("bik,kio->bok", lowest, self.weight[:modes])
        smooth = torch.fft.irfft(nn.functional.pad(mixed, (0, points // 2 + 1 - modes)), points, norm="forward")
        return smooth + self.point(x)


class Operator(nn.Module):
    """Li et al., "Fourier Neural Operator for Parametric Partial Differential Equations", 2020, in one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Conv1d(1, WIDTH, 1)
        self.layers = nn.ModuleList(FourierLayer() for _ in range(LAYERS))
        self.out = nn.Sequential(nn.Conv1d(WIDTH, 64, 1), nn.GELU(), nn.Conv1d(64, 1, 1))

    def forward(self, waves: Tensor, modes: int | None = None) -> Tensor:
        """Waves at time 0 to waves at time 1, by so many of the lowest modes, or all: (batch, points)."""
        x = self.lift(waves[:, None])
        for layer in self.layers:
            x = x + nn.functional.gelu(layer(x, modes or MODES))
        return self.out(x)[:, 0]


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """The mean over waves of |found - wanted| / |wanted|."""
    return ((found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)).mean()


def train(curriculum: Curriculum, budget: object, seed: int) -> list[Point]:
    """Train once.

    Args:
        curriculum: its knobs are `grid`, the points trained on, and `modes`, those mixed; all, where there is none.
        budget: not needed here: the curriculum's run ends with it.
        seed: of the weights and of the order of the data. The data themselves are always the same.

    Returns:
        The training as it stood at twenty places or fewer, the end among them. The score is the relative error on the
        full grid, on waves that were held out, by the modes in force. Measuring it is not counted as time.
    """
    torch.manual_seed(seed)
    waves, held = (tuple(map(torch.from_numpy, make_waves(*which))) for which in ((1024, 0), (128, 1)))
    return fit(Operator(), waves, held, curriculum, on_grid)


def fit(model: nn.Module, waves: Pair, held: Pair, curriculum: Curriculum, on_grid: Callable[..., Any]) -> list[Point]:
    """Train an operator under a curriculum.

    Args:
        model: called with waves at time 0, and the modes or None.
        waves: at time 0, and at time 1.
        held: the same of waves that are held out.
        curriculum: as `train` has it.
        on_grid: puts waves on a coarser grid.
    """
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-4)
    rule = PlateauRule(optimizer, Controller(curriculum))
    curve: list[Point] = []
    spent = 0.0
    while rule.stop is None:
        begun = process_time()
        step, grid, modes = rule.plan.step, rule.knobs["grid"], rule.knobs.get("modes")
        rows = torch.randint(len(waves[0]), (BATCH,))
        before, after = (on_grid(each[rows], grid) for each in waves)
        loss = relative_error(model(before, modes), after)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        result = rule.observe(loss)
        spent += process_time() - begun
        if rule.stop is not None or share_done(rule.controller, curriculum) >= (len(curve) + 1) / SCORES:
            with torch.no_grad():
                error = float(relative_error(model(held[0], modes), held[1]))
            point = {"step": step + 1, "score": error, "time_s": spent, "grid": grid, "loss": result.loss}
            curve.append(point | rule.controller.counted)
            if rule.stop is None:
                rule.evaluated(error=error)
    rule.end()
    return curve


if __name__ == "__main__":
    torch.set_num_threads(1)  # tensors this small gain nothing by more
    print(compare(train, "fourier_operator.png", sys.argv[1:]))
