"""How often, and how late, each detector of plateaus is wrong: `python benchmarks/detectors.py [--seeds N] [--jobs N]`.

Every rule looks at every step of seeded curves whose noiseless course is known. A raise is *false* if the noiseless
loss still improves at more than twice the threshold, by the published rule's own statistic (window 50, threshold
0.005); the *delay* counts from the first step at which it improves at less than the threshold; a *miss* is no raise
within 1500 steps of it. `returns` asks no rate and has a truth of its own: a raise is false if the last half of the
noiseless curve brought more than the share asked, and a miss is no raise in four times the time that it takes to less.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from math import inf, isfinite
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any, NamedTuple

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import numpy as np
from numpy.typing import NDArray

from benchmarks._rules import RULES, THRESHOLD, WINDOW, After, Maker, first_raise, halves, returns, sure, trend
from plateau_rule.sim.curves import Array, Kind, NoiseModel, Spikes, exponential, kink, noisy, power

Mask = NDArray[np.bool_]
ROOT = Path(__file__).resolve().parent.parent
LIVE = 100  # first step at which a raise counts
PATIENCE = 1500  # steps after which a raise that did not come is a miss
SHARE = 0.1
CURVES: dict[str, Callable[[Array], Array]] = {
    "exponential, tau 200": partial(exponential, start=3.0, end=1.0, tau=200.0),
    "exponential, tau 500": partial(exponential, start=3.0, end=1.0, tau=500.0),
    "power 0.35": partial(power, start=10.0, end=0.0, exponent=0.35, knee=50.0),
    "power 0.5": partial(power, start=10.0, end=0.0, exponent=0.5, knee=50.0),
    "kink at 1000": partial(kink, start=3.0, rate=6e-4, at=1000.0),
    "LM-like, 10.8 to 3.2": partial(power, start=10.8, end=3.2, exponent=0.9, knee=60.0),
}
SIGMAS, RHOS, SPIKED = (0.01, 0.03, 0.05), (0.0, 0.5), (False, True)


class Cell(NamedTuple):
    """One curve under one kind of noise, on one time scale."""

    curve: str
    noise: NoiseModel
    spiked: bool
    stretch: float

    def losses(self, clean: Array, seeds: int) -> list[list[float]]:
        """Draw noisy losses, the same for every rule."""
        name = [*map(ord, self.curve), int(1e4 * self.noise.sigma), *map(ord, self.noise.kind), int(self.stretch)]
        rng = np.random.default_rng([*name, self.spiked])
        return noisy(np.tile(clean, (seeds, 1)), rng, self.noise, Spikes() if self.spiked else None).tolist()  # type: ignore[no-any-return]


class Found(NamedTuple):
    """What one rule did in one cell."""

    rule: str
    cell: Cell
    runs: int
    false: int
    missed: int
    delay: float  # the median; a miss counts as infinite
    place: float  # the median step of the raise, divided by the stretch


def improvement(clean: Array) -> Array:
    """The published statistic of a noiseless curve at every step, infinite while its window is not full."""
    half, sums = WINDOW // 2, np.concatenate([[0.0], np.cumsum(clean)])
    means = (sums[half:] - sums[:-half]) / half
    found = np.full(len(clean), inf)
    found[WINDOW - 1 :] = 1.0 - means[half:] / means[:-half]
    return found


def share_of_last_half(clean: Array) -> Array:
    """What the last half of the time has brought, as a share of what all of it has, at every step."""
    steps = np.arange(1, len(clean) + 1)
    total = np.maximum.accumulate(clean) - clean
    gain = clean[np.maximum(steps // 2 - 1, 0)] - clean
    return np.where(total > 0, gain / np.where(total > 0, total, 1.0), inf)


def noise_of(sigma: float, rho: float) -> NoiseModel:
    """White noise, or AR(1) with that correlation."""
    return NoiseModel(sigma, "ar1", rho) if rho else NoiseModel(sigma)


def judge(name: str, make: Maker, cell: Cell, losses: Sequence[list[float]], wrong: Mask, under: int) -> Found:
    """Let one rule look at every run of a cell; `wrong`: at which steps a raise is false."""
    raises = [first_raise(make(cell.stretch), run, LIVE) for run in losses]
    false = sum(step is not None and bool(wrong[step]) for step in raises)
    steps = [inf if step is None else step for step in raises]
    return Found(
        name, cell, len(losses), false, raises.count(None), median(steps) - under, median(steps) / cell.stretch
    )


def by_rate(cell: Cell, seeds: int, rules: dict[str, Maker]) -> list[Found]:
    """Judge rules by the rate at which the noiseless curve improves."""
    clean = CURVES[cell.curve](np.arange(4000 * cell.stretch) / cell.stretch)
    rate = improvement(clean) * cell.stretch / THRESHOLD  # in thresholds
    under = int(np.argmax(rate < 1.0))
    losses = cell.losses(clean[: under + PATIENCE], seeds)
    return [judge(name, make, cell, losses, rate > 2.0, under) for name, make in rules.items()]


def by_share(cell: Cell, seeds: int) -> list[Found]:
    """Judge `returns` by the share that the last half of the noiseless curve has brought."""
    clean = CURVES[cell.curve](np.arange(9000 * cell.stretch) / cell.stretch)
    share = share_of_last_half(clean)
    under = int(np.argmax(share < SHARE))
    losses = cell.losses(clean[: 4 * under], seeds)
    return [judge("returns", returns, cell, losses, share > SHARE, under)]


def suite_cell(cell: Cell, seeds: int) -> list[Found]:
    """All rules in one cell; `returns` from a quarter of the runs where the curves are slow."""
    few = max(1, int(seeds / cell.stretch))
    return (by_rate(cell, seeds, RULES) if cell.stretch <= 4 else []) + by_share(cell, few)


def hold_out_cell(cell: Cell, seeds: int) -> list[Found]:
    """The rules of this project under noise that they were not made for."""
    rules: dict[str, Maker] = {name: RULES[name] for name in ("halves, window 50 (published)", "trend", "sure")}
    rules["trend, min_window 320"] = lambda stretch: trend(stretch, min_window=320)
    return by_rate(cell, seeds, rules) + by_share(cell, seeds)


class Bump(NamedTuple):
    """What follows a raise: the loss rises by a share of itself within so many steps, and falls again."""

    size: float
    peak: int
    sigma: float
    learns: bool  # whether the new state has something to learn

    def clean(self) -> Array:
        """The noiseless loss from the raise on."""
        x = np.arange(3000.0) / self.peak
        base = exponential(np.arange(3000.0), 1.6, 1.0, 600.0) if self.learns else np.ones(3000)
        return base * (1.0 + self.size * x * np.exp(1.0 - x))


def cascade_cell(bump: Bump, seeds: int) -> list[tuple[str, Bump, int, int]]:
    """Which rules, fresh after a raise, raise again before the noiseless loss has come to rest."""
    clean = bump.clean()
    moves = np.abs(improvement(clean)) > 2.0 * THRESHOLD
    moves[: WINDOW - 1] = True
    rest = int(np.flatnonzero(moves)[-1]) + 1
    seed = [int(1000 * bump.size), bump.peak, int(1000 * bump.sigma), bump.learns]
    losses = noisy(np.tile(clean, (seeds, 1)), np.random.default_rng(seed), noise_of(bump.sigma, 0.5)).tolist()
    rules = RULES | {"halves, window 50, cooldown 200": lambda stretch: After(halves(stretch), 200), "returns": returns}
    found = []
    for name, make in rules.items():
        raises = [first_raise(make(1.0), run) for run in losses]
        found.append((name, bump, seeds, sum(step is not None and step < rest for step in raises)))
    return found


def silent(seeds: int = 20, steps: int = 40_000) -> list[dict[str, Any]]:
    """How many losses it takes to call a state in which nothing happens a plateau."""
    rows = []
    for sigma, rho in product(SIGMAS, RHOS):
        rng = np.random.default_rng([int(100 * sigma), int(2 * rho), 1])
        losses = noisy(np.full((seeds, steps), 3.0), rng, noise_of(sigma, rho)).tolist()
        for rule, make in (("trend", trend), ("sure", sure), ("returns", returns)):
            raises = [first_raise(make(1.0), run) for run in losses]
            found = median(inf if step is None else step + 1 for step in raises)
            rows.append({"sigma": sigma, "rho": rho, "rule": rule, "losses": finite(found)})
    return rows


def one_look(seeds: int = 200_000) -> list[dict[str, Any]]:
    """What a single look of the published rule is worth: its standard deviation, and how often it fires falsely."""
    rows = []
    for sigma, rho in ((0.03, 0.0), (0.03, 0.5), (0.01, 0.0), (0.01, 0.5)):
        losses = 1.0 + noise_of(sigma, rho).deviations(
            seeds, WINDOW, np.random.default_rng([int(100 * sigma), int(2 * rho)])
        )
        first, second = losses[:, : WINDOW // 2].mean(axis=1), losses[:, WINDOW // 2 :].mean(axis=1)
        deviation = float(((first - second) / first).std())
        falling = (first - second * (1.0 - 2.0 * THRESHOLD)) / first  # improves at twice the threshold
        rows.append(
            {"sigma": sigma, "rho": rho, "deviation": deviation / sigma, "false": float((falling < THRESHOLD).mean())}
        )
    return rows


def real_logs() -> list[dict[str, Any]]:
    """Where rules fire on real logs: the first raise, and how many there are if each starts the rule anew."""
    from plateau_rule.sim.logs import read

    folder = Path(os.environ.get("PLATEAU_DATA") or ROOT.parent / "shared" / "data") / "logs"
    names = ("text/llmc-gpt2-124M.main.log", "text/modded-nanogpt-2024-10-10_Muon.log-section.txt",
             "text/nanogpt-char-to-token-jnyhr7aj.output.log", "hf_trainer/whisper-tiny-nbailab.trainer_state.json",
             "lightning_csv/slm-version_0.metrics.csv")  # fmt: skip
    rows = []
    for name in names:
        if not (folder / name).exists():
            print(f"Skipped: {name} is not in {folder}; PLATEAU_DATA names the folder of real logs.", file=sys.stderr)
            continue
        points = read(folder / name).points()
        losses, smooth = points.loss.tolist(), np.convolve(points.loss, np.ones(50) / 50, "valid")
        for rule, make in (RULES | {"returns": returns}).items():
            raises, start = [], 0
            while (step := first_raise(make(1.0), losses[start:], LIVE)) is not None:
                start += step + 1
                raises.append(start - 1)
            at = raises[0] if raises else None
            rows.append({"log": name, "points": len(losses), "rule": rule, "raises": len(raises), "first": at,
                         "loss": "" if at is None else f"{smooth[max(0, at - 49)]:.3f}"})  # fmt: skip
    return rows


def suite_rows(found: Iterable[Found]) -> list[dict[str, Any]]:
    """Sum cells up: a row for each rule on each time scale."""
    groups: dict[tuple[str, float], list[Found]] = {}
    for one in found:
        groups.setdefault((one.rule, one.cell.stretch), []).append(one)
    return [
        {
            "rule": rule,
            "stretch": stretch,
            "runs": sum(one.runs for one in group),
            "false": sum(one.false for one in group) / sum(one.runs for one in group),
            "worst": max(one.false / one.runs for one in group),
            "missed": sum(one.missed for one in group) / sum(one.runs for one in group),
            "delay": finite(mean(one.delay for one in group)),
            "late": finite(mean(max(0.0, one.delay) for one in group)),
        }
        for (rule, stretch), group in groups.items()
    ]


def finite(steps: float) -> float | None:
    """A delay, or None where half of the runs of some cell never raised."""
    return steps if isfinite(steps) else None


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    cells = [list(map(str, row)) for row in (heads, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    cells.insert(1, ["-" * width for width in widths])
    print(f"\n{title}\n")
    for row in cells:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")


def percent(share: float) -> str:
    """A share, as people read it."""
    return f"{100 * share:.3g} %"


def main() -> None:
    """Run everything, print the tables, write the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=100, help="runs in each cell")
    options.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    options.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "detectors.json")
    given = options.parse_args()
    began = perf_counter()
    noises = [noise_of(sigma, rho) for sigma, rho in product(SIGMAS, RHOS)]
    cells = [Cell(*cell) for cell in product(CURVES, noises, SPIKED, (16.0, 4.0, 1.0))]
    cells.sort(key=lambda cell: -cell.stretch)
    kinds: tuple[Kind, ...] = ("t3", "heteroscedastic", "periodic")
    held = [Cell(curve, NoiseModel(0.03, kind), False, 1.0) for curve, kind in product(CURVES, kinds)]
    bumps = [Bump(*bump) for bump in product((0.02, 0.05, 0.10), (20, 40, 100), (0.01, 0.03), (True, False))]
    with ProcessPoolExecutor(given.jobs) as pool:
        suite = pool.map(partial(suite_cell, seeds=given.seeds), cells)
        hold_out = pool.map(partial(hold_out_cell, seeds=given.seeds), held)
        cascade = pool.map(partial(cascade_cell, seeds=given.seeds), bumps)
        found, out, again = ([one for part in parts for one in part] for parts in (suite, hold_out, cascade))
    results = report(found, out, again)  # type: ignore[arg-type]
    results["seeds"] = given.seeds
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    print(f"\n{perf_counter() - began:.0f} s; figures in {given.json}")


def report(found: list[Found], out: list[Found], again: list[tuple[str, Bump, int, int]]) -> dict[str, Any]:
    """Print all tables; what they hold, for the file."""
    suite = sorted(suite_rows(found), key=lambda row: row["stretch"])
    heads = ("rule", "runs", "false raises", "worst cell", "missed", "mean of median delays", "late ones only")
    noise = "noise 1, 3, 5 %, white or AR(1), with and without spikes, looked at from step 100 at every step"
    table(f"The suite: 6 curves, {noise}", ("time scale", *heads), [(f"{r['stretch']:g}x", *figures(r)) for r in suite])

    scales = (1.0, 4.0, 16.0)
    places: dict[tuple[str, float], list[float]] = {}
    for one in found:
        if one.rule == "returns":
            places.setdefault((one.cell.curve, one.cell.stretch), []).append(one.place)
    table("returns: the median step of the raise, divided by the stretch", ("curve", "1x", "4x", "16x"),
          [(curve, *(f"{median(places[curve, scale]):.0f}" for scale in scales)) for curve in CURVES])  # fmt: skip

    kinds = ("t3", "heteroscedastic", "periodic")
    held = [{"noise": kind, **row} for kind in kinds for row in suite_rows(o for o in out if o.cell.noise.kind == kind)]
    table("Hold-out noise, 3 %: heavy tails (Student t3), a swinging standard deviation, a sinusoid of 200 steps",
          ("noise", *heads), [(row["noise"], *figures(row)) for row in held])  # fmt: skip

    cascade = []
    for rule, learns in dict.fromkeys((name, bump.learns) for name, bump, _, _ in again):
        cells = [(runs, wrong) for name, bump, runs, wrong in again if (name, bump.learns) == (rule, learns)]
        runs, wrong = (sum(counts) for counts in zip(*cells, strict=True))
        cascade.append({"rule": rule, "state": "learns on" if learns else "bumps", "runs": runs, "again": wrong / runs})
    table("Cascades: raises before the noiseless loss is at rest; bumps of 2, 5, 10 % that peak at 20, 40, 100 steps",
          ("rule", "new state", "runs", "second raises"),
          [(row["rule"], row["state"], row["runs"], percent(row["again"])) for row in cascade])  # fmt: skip

    quiet = silent()
    table("A state in which nothing happens: the median number of losses until it is called a plateau",
          ("noise", "rho", "rule", "losses"),
          [(percent(row["sigma"]), row["rho"], row["rule"], row["losses"]) for row in quiet])  # fmt: skip
    looks = one_look()
    table("One look of the published rule", ("noise", "rho", "deviation / sigma", "fires at twice the threshold"),
          [(percent(r["sigma"]), r["rho"], f"{r['deviation']:.3f}", percent(r["false"])) for r in looks])  # fmt: skip
    logs = real_logs()
    table("Real logs: the first raise (point, smoothed loss), and how many if each starts the rule anew",
          ("log", "points", "rule", "first", "loss", "raises"),
          [(r["log"], r["points"], r["rule"], r["first"], r["loss"], r["raises"]) for r in logs])  # fmt: skip
    stops = [{"curve": curve, "stretch": scale, "place": median(steps)} for (curve, scale), steps in places.items()]
    return {"suite": suite, "returns": stops, "hold_out": held, "cascade": cascade, "silent": quiet,
            "one_look": looks, "logs": logs}  # fmt: skip


def figures(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the suite's table."""
    shares = (percent(row[key]) for key in ("false", "worst", "missed"))
    delays = ("none" if row[key] is None else f"{row[key]:.0f}" for key in ("delay", "late"))
    return row["rule"], str(row["runs"]), *shares, *delays


if __name__ == "__main__":
    main()
