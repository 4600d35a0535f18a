"""Burgers' equation in one dimension, solved exactly, and what the two examples share that train an operator on it.

A wave u steepens into a shock, which viscosity keeps from breaking: u_t + u u_x = nu u_xx, on a circle of length 1.
The operator to be learned takes the wave at time 0 to the wave at time 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plateau_rule import Controller, Curriculum, Run, load

FULL = 512  # points of the grid that errors are measured on
VISCOSITY = 0.004
DEFAULTS = ("runs/examples", "1000", str(FULL))  # what the command line does not say

SCORES = 20  # of a run, at equal shares of it

Waves = NDArray[np.float32]
Point = Mapping[str, Any]
"""A training as it stood after a step: what `plateau probe` and `compare` ask for, with the grid and the loss."""


def make_waves(count: int, seed: int) -> tuple[Waves, Waves]:
    """Random smooth waves, and what becomes of each in a unit of time.

    The substitution of Cole and Hopf turns Burgers' equation into the heat equation, whose solution is one Fourier
    transform away: u = -2 nu phi_x / phi.

    Args:
        count: waves.
        seed: of their random phases and heights.

    Returns:
        Both of shape (count, FULL).
    """
    chance = np.random.default_rng(seed)
    k = np.arange(FULL // 2 + 1)
    heights = np.where((k > 0) & (k <= 8), 1.0 / np.maximum(k, 1), 0.0)
    spectrum = heights * (chance.normal(size=(count, len(k))) + 1j * chance.normal(size=(count, len(k))))
    before = np.fft.irfft(spectrum * FULL / 8, FULL)
    wave = 2j * np.pi * k
    potential = np.fft.irfft(np.fft.rfft(before) / np.where(k, wave, 1), FULL)  # whose slope the wave is
    heat = np.fft.rfft(np.exp(-potential / (2 * VISCOSITY))) * np.exp(VISCOSITY * wave**2)
    after = -2 * VISCOSITY * np.fft.irfft(heat * wave, FULL) / np.fft.irfft(heat, FULL)
    return before.astype(np.float32), after.astype(np.float32)


def on_grid(waves: Waves, points: int) -> Waves:
    """The waves on a coarser grid: every so many points."""
    return waves[:, :: FULL // points]


def share_done(controller: Controller, curriculum: Curriculum) -> float:
    """How much of the run is over: of its cost, or of its steps."""
    run = curriculum.run
    if run.cost is not None:
        return controller.counted["cost"] / run.cost
    return controller.plan.step / ((run.epochs or 1) * (run.steps_per_epoch or 1))


def with_budget(curriculum: Curriculum, budget: float) -> Curriculum:
    """The same curriculum for a run of another cost."""
    run = curriculum.run or Run(cost_per_step=[1])
    return curriculum.model_copy(update={"run": run.model_copy(update={"cost": budget})})


def held_at(grid: int) -> Curriculum:
    """No curriculum: one grid throughout, at the prices and the rate of full-grid.toml."""
    full = load(Path(__file__).with_name("full-grid.toml"))
    only = full.state[0].model_copy(update={"set": {"grid": grid}})
    return full.model_copy(update={"state": [only], "name": f"{grid} points"})


def compare(
    train: Callable[[Curriculum, object, int], list[Point]], picture: str, words: Sequence[str], more: float = 0
) -> Path:
    """Train under the ladder, then from the same weights on one grid throughout; say what came out, and draw it.

    Args:
        train: a training from a curriculum, a budget and a seed.
        picture: its name.
        words: of the command line: a folder, a budget in steps on the full grid, and the grids to train on throughout.
        more: added to the budget of each training without the ladder.
    """
    folder, budget, *grids = [*words, *DEFAULTS[len(words) :]]
    ladder = train(with_budget(load(Path(__file__).with_name("grids.toml")), float(budget)), budget, 0)
    curves = {"grid ladder": ladder}
    for grid in map(int, grids):
        curves[f"{grid} points"] = train(with_budget(held_at(grid), float(budget) + more), budget, 0)
        print(verdict(ladder, curves[f"{grid} points"]))
    print("One seed says little: `plateau compare` takes several")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return draw(curves, Path(folder) / picture)


def draw(curves: dict[str, Sequence[Point]], path: Path) -> Path:
    """Error on the full grid, and the grid trained on, against processor time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    errors, grids = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for name, curve in curves.items():
        seconds = [point["time_s"] for point in curve]
        errors.plot(seconds, [point["score"] for point in curve], marker=".", label=name)
        grids.step(seconds, [point["grid"] for point in curve], where="pre")
    errors.set(yscale="log", ylabel=f"relative error on {FULL} points, held out")
    errors.legend()
    grids.set(yscale="log", xlabel="processor time in seconds", ylabel="points trained on")
    grids.set_yticks(sorted({point["grid"] for curve in curves.values() for point in curve}))
    grids.minorticks_off()
    grids.yaxis.set_major_formatter("{x:.0f}")
    figure.savefig(path, dpi=120)
    return path


def verdict(ladder: Sequence[Point], plain: Sequence[Point]) -> str:
    """What came out, in words that fit it."""
    last, other = ladder[-1], plain[-1]
    ratio = last["score"] / other["score"]
    word = "lower" if ratio < 0.98 else "higher" if ratio > 1.02 else "about the same"
    return (
        f"error on the full grid: {last['score']:.4f} under the ladder ({last['step']} steps, {last['time_s']:.0f} s "
        f"of processor time), {other['score']:.4f} on {other['grid']} points throughout ({other['step']} steps, "
        f"{other['time_s']:.0f} s): {word} with the ladder, {ratio:.2f} times"
    )
