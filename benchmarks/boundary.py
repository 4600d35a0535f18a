"""How often a loss that improves at the stated rate for ever is called flat: `make bench-boundary`.

The boundary is the hardest case: a loss that improves by the rate, 1.25, 1.5 or 2 times the rate at every step, so that
every raise is wrong, and a detector that looks at every step of a long run. Some losses worsen by the rate; some turn,
and worsen from then on as fast as they improved. Rates and thresholds are those that the published rule asks for, 3e-4
a step. Noise is drawn, or is what real logs leave of a running mean of their logarithm, over 401, 1001 or 2001 points,
of which the first ones are left out; each run takes all of it, from a point of its own on, around, in either direction
and of either sign.

Runs are judged by the vectorised detectors, which decide as the controller's. Finished cells are kept: it goes on where
it was cut off.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import numpy as np
from scipy import stats

from plateau_rule.controller.guards import Detector
from plateau_rule.controller.guards.patience import NoNewBest, Patience
from plateau_rule.controller.guards.plateau.halves import Halves
from plateau_rule.controller.guards.plateau.returns import Returns
from plateau_rule.controller.guards.plateau.sure import Sure
from plateau_rule.controller.guards.plateau.trend import Trend
from plateau_rule.sim.batch.guards import depth_of, many
from plateau_rule.sim.batch.history import Floats, History
from plateau_rule.sim.batch.kleene import TRUE
from plateau_rule.sim.curves import NoiseModel, Spikes

ROOT = Path(__file__).resolve().parent.parent
RATE = 3e-4
STEPS, EARLY = 100_000, 20_000
AT_ONCE = 250  # runs whose losses are in memory together
METHODS: dict[str, Callable[[], Detector]] = {
    "sure": lambda: Sure(RATE),
    "sure, alpha 0.01": lambda: Sure(RATE, 0.01),
    "trend": lambda: Trend(RATE),
    "trend, confidence 0.99": lambda: Trend(RATE, 0.99),
    "halves, window 50": lambda: Halves(50, RATE * 25),
    "halves, window 400": lambda: Halves(400, RATE * 200),
    "patience 100, smoothed over 50": lambda: NoNewBest(Patience(steps=100, smooth=50)),
    "returns": lambda: Returns(0.1),
}


class Disturbance(NamedTuple):
    """What is added to the loss, relative to it."""

    name: str
    model: NoiseModel
    spikes: Spikes | None = None
    swing: float = 0.0  # a sinusoid of 200 steps on top

    def factors(self, runs: int, steps: int, rng: np.random.Generator) -> Floats:
        """1 + noise, [step, run]."""
        found = 1.0 + self.model.deviations(runs, steps, rng)
        if self.spikes is not None:
            found += self.spikes.deviations(runs, steps, rng)
        if self.swing:
            found += self.swing * np.sin(2 * np.pi * np.arange(steps) / 200 + rng.uniform(0, 2 * np.pi, (runs, 1)))
        return np.ascontiguousarray(found.T)


NOISES = (
    Disturbance("white 1 %", NoiseModel(0.01)),
    Disturbance("white 3 %", NoiseModel(0.03)),
    Disturbance("white 5 %", NoiseModel(0.05)),
    Disturbance("AR(1) 0.5, 3 %", NoiseModel(0.03, "ar1", 0.5)),
    Disturbance("AR(1) 0.5, 5 %", NoiseModel(0.05, "ar1", 0.5)),
    Disturbance("AR(1) 0.8, 3 %", NoiseModel(0.03, "ar1", 0.8)),
    Disturbance("AR(1) 0.9, 3 %", NoiseModel(0.03, "ar1", 0.9)),
    Disturbance("Student's t, 3 degrees, 3 %", NoiseModel(0.03, "t3")),
    Disturbance("heteroscedastic, 3 %", NoiseModel(0.03, "heteroscedastic")),
    Disturbance("spikes on white 1 %", NoiseModel(0.01), Spikes()),
    Disturbance("spikes on AR(1) 0.5, 3 %", NoiseModel(0.03, "ar1", 0.5), Spikes()),
    Disturbance("sinusoid of 200 steps, 1 %, on white 3 %", NoiseModel(0.03), None, 0.01),
    Disturbance("sinusoid of 200 steps, half of 3 %", NoiseModel(0.03, "periodic")),
)
SILENT = Disturbance("none", NoiseModel(0.0))
LOGS = Path(os.environ.get("PLATEAU_DATA") or ROOT.parent / "shared" / "data") / "logs"


class Residue(NamedTuple):
    """What is left of the logarithm of a real log's losses when a running mean is taken away, relative to the loss."""

    log: str
    window: int  # points of the running mean

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"{Path(self.log).name.split('.')[0]}, less a mean of {self.window} points"

    def factors(self, runs: int, steps: int, rng: np.random.Generator) -> Floats:
        """As those of a Disturbance; `steps` is no more than there are."""
        left = self.left()
        found = np.empty((steps, runs))
        for run in range(runs):
            turned = np.roll(left, rng.integers(len(left))) * rng.choice([-1.0, 1.0])
            found[:, run] = np.exp(turned[:: rng.choice([-1, 1])][:steps])
        return found

    def left(self) -> Floats:
        """The residuals but for the first, where the loss is too curved for its mean; the ends have no mean."""
        from plateau_rule.sim.logs import read

        logs, half = np.log(read(LOGS / self.log).points().loss), self.window // 2
        mean = np.convolve(logs, np.ones(self.window) / self.window, "valid")
        found: Floats = logs[half : half + len(mean)] - mean
        return found[self.window :]


RESIDUES = (
    Residue("text/llmc-gpt2-124M.main.log", 1001),
    Residue("text/modded-nanogpt-2024-10-10_Muon.log-section.txt", 1001),
    Residue("lightning_csv/slm-version_0.metrics.csv", 1001),
    Residue("hf_trainer/whisper-tiny-nbailab.trainer_state.json", 401),
    Residue("text/nanogpt-char-to-token-jnyhr7aj.output.log", 401),
    Residue("text/llmc-gpt2-124M.main.log", 2001),
    Residue("text/modded-nanogpt-2024-10-10_Muon.log-section.txt", 2001),
)


class Boundary(NamedTuple):
    """One course of the loss under one kind of noise, looked at by some methods.

    Attributes:
        noise: what is added to the loss.
        times: the rate at which it improves, in stated rates; it worsens below 0.
        methods: of METHODS.
        runs: how many.
        turn: the step from which it moves as fast the other way; None for never.
    """

    noise: Disturbance | Residue
    times: float
    methods: tuple[str, ...]
    runs: int
    turn: int | None = None

    @property
    def course(self) -> str:
        """What the noiseless loss does, in words."""
        way = "falls" if self.times > 0 else "rises"
        return f"{way} at {abs(self.times):g}x" + ("" if self.turn is None else f", from {self.turn:,} on rises")

    @property
    def steps(self) -> int:
        """How many losses a run has."""
        return len(self.noise.left()) if isinstance(self.noise, Residue) else STEPS

    def losses(self, runs: int, rng: np.random.Generator) -> Floats:
        """Losses [step, run]."""
        steps = self.steps
        at, turn = np.arange(steps), steps if self.turn is None else self.turn
        clean = (1.0 - self.times * RATE) ** np.minimum(at, turn) * (1.0 + self.times * RATE) ** np.maximum(
            at - turn, 0
        )
        return clean[:, None] * self.noise.factors(runs, steps, rng)


def first_raises(make: Callable[[], Detector], losses: Floats) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The number of losses [step, run] after which each run is called flat, infinity for never."""
    runs = losses.shape[1]
    history = History(runs, depth_of(make()))
    detectors = many(make(), history, often=True)
    detectors.enter(np.arange(runs), True)
    found = np.full(runs, np.inf)
    with np.errstate(all="ignore"):
        for step, values in enumerate(losses, 1):
            detectors.push(values, None)
            if history.depth:
                history.push(values, None)
            detectors.settle(None)
            raised = (detectors.verdicts() == TRUE) & np.isinf(found)
            if raised.any():
                found[raised] = step
                if np.isfinite(found).all():
                    break
    return found


def judge(cell: Boundary, seed: int) -> list[dict[str, Any]]:
    """How many runs of a cell each method called flat, within 20,000 losses and within all."""
    raises: dict[str, list[float]] = {name: [] for name in cell.methods}
    name = f"{cell.noise.name}{'' if cell.turn is None else cell.turn}"
    rng = np.random.default_rng([seed, int(100 * abs(cell.times)), cell.times < 0, *map(ord, name)])
    for start in range(0, cell.runs, AT_ONCE):
        losses = cell.losses(min(AT_ONCE, cell.runs - start), rng)
        for name, found in raises.items():
            found += first_raises(METHODS[name], losses).tolist()
    return [
        {"method": name, "noise": cell.noise.name, "course": cell.course, "losses": cell.steps, "runs": cell.runs,
         "early": sum(at <= EARLY for at in found), "ever": sum(at < np.inf for at in found)}
        for name, found in raises.items()
    ]  # fmt: skip


def judged(cell: Boundary, seed: int, out: Path) -> list[dict[str, Any]]:
    """Judge a cell, or find it among those that are finished."""
    words = "".join(letter if letter.isalnum() else "-" for letter in f"{cell.noise.name} {cell.course}")
    path, identity = out / f"{words} {len(cell.methods)}.json", {"seed": seed, "runs": cell.runs, "of": cell.methods}
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["cell"] == json.loads(json.dumps(identity)):
            return kept["rows"]  # type: ignore[no-any-return]  # this file wrote it
    rows = judge(cell, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cell": identity, "rows": rows}, indent=1))
    return rows


def interval(wrong: int, runs: int) -> tuple[float, float]:
    """Clopper and Pearson's 99 % interval of a share."""
    low = float(stats.beta.ppf(0.005, wrong, runs - wrong + 1)) if wrong else 0.0
    return low, float(stats.beta.ppf(0.995, wrong + 1, runs - wrong)) if wrong < runs else 1.0


def cells_of(runs: int) -> list[Boundary]:
    """The cells: `sure` under every noise; worsening, turns, residuals; every method, and larger rates, under a few."""
    few, some = max(1, runs // 20), max(1, runs // 5)
    tried = tuple(noise for noise in NOISES if noise.name in ("white 1 %", "white 3 %", "AR(1) 0.5, 3 %"))
    cells = [Boundary(noise, 1.0, ("sure",), runs) for noise in NOISES]
    cells += [Boundary(noise, -1.0, ("sure",), runs) for noise in tried]
    cells += [Boundary(noise, times, ("sure",), some, 3000) for noise in tried for times in (1.0, 1.1, 2.0)]
    cells += [Boundary(left, 1.0, ("sure", "trend"), max(1, runs // 10)) for left in RESIDUES]
    cells += [Boundary(noise, 1.0, tuple(METHODS)[1:], few) for noise in tried]
    cells += [Boundary(noise, times, ("sure", "trend"), few) for noise in tried for times in (1.25, 1.5, 2.0)]
    return cells + [Boundary(SILENT, times, ("sure", "trend"), 1) for times in (1.0, 1.25, 1.5, 2.0)]


def report(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print one Markdown table, row by row as they come; the rows."""
    kept = []
    print(f"| method | noise | the loss | runs | flat by {EARLY:,} | losses | flat by then | 99 % interval |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        kept.append(row)
        low, high = interval(row["ever"], row["runs"])
        early, ever = (f"{100 * row[key] / row['runs']:.3g} %" for key in ("early", "ever"))
        print(f"| {row['method']} | {row['noise']} | {row['course']} | {row['runs']} | {early} | {row['losses']:,} | "
              f"{ever} | {100 * low:.2g} to {100 * high:.2g} % |", flush=True)  # fmt: skip
    return kept


def available(cells: Iterable[Boundary]) -> list[Boundary]:
    """The cells without those whose log is not here, which are said."""
    kept = []
    for cell in cells:
        if isinstance(cell.noise, Residue) and not (LOGS / cell.noise.log).exists():
            print(f"Skipped: {cell.noise.log} is not in {LOGS}; PLATEAU_DATA names their folder.", file=sys.stderr)
        else:
            kept.append(cell)
    return kept


def main() -> None:
    """Run the cells, print the table, write the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=2000, help="runs in each cell of `sure`")
    options.add_argument("--seed", type=int, default=26, help="seed of the noise")
    options.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    options.add_argument("--fresh", action="store_true", help="forget finished cells")
    options.add_argument("--out", type=Path, default=ROOT / "runs" / "boundary", help="where finished cells are kept")
    options.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "boundary.json")
    given = options.parse_args()
    began = perf_counter()
    if given.fresh:
        shutil.rmtree(given.out, ignore_errors=True)
    with ProcessPoolExecutor(given.jobs) as pool:
        found = pool.map(partial(judged, seed=given.seed, out=given.out), available(cells_of(given.runs)))
        rows = report(row for some in found for row in some)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps({"rate": RATE, "seed": given.seed, "cells": rows}, indent=1) + "\n")
    print(f"\n{perf_counter() - began:.0f} s; figures in {given.json}")


if __name__ == "__main__":
    main()
