"""How often a period is seen where there is none, and where there is one: `python -P benchmarks/periods.py [--runs N]`.

Where there is none: twelve kinds of noise around five courses, 300, 1,000 and 3,000 losses. Where there is one: losses
that improve at twice the rate of a `trend`, with a sinusoid of 200 losses; beside it, how often that `trend`, by its
windows of 160 and by ones that cover the period, calls them flat.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from plateau_rule.controller.guards.plateau.trend import Trend
from plateau_rule.sim.curves import Array, NoiseModel, Spikes, exponential, kink, power
from plateau_rule.sim.periods import period_of

ROOT = Path(__file__).resolve().parent.parent
LENGTHS, REPEAT = (300, 1000, 3000), 200
SIGMA = 0.02
Generator = np.random.Generator


def walk(runs: int, count: int, rng: Generator) -> Array:
    """Random walks that end some three standard deviations of the other noises away."""
    return np.asarray(rng.standard_normal((runs, count)).cumsum(axis=1) * 3 * SIGMA / count**0.5)


def of(model: NoiseModel, scale: Callable[[int], Array] | None = None) -> Callable[[int, int, Generator], Array]:
    """Noise of a model, louder or softer along the way."""
    return lambda runs, count, rng: model.deviations(runs, count, rng) * (1.0 if scale is None else scale(count))


def spiky(runs: int, count: int, rng: Generator) -> Array:
    """Correlated noise with spikes."""
    return NoiseModel(SIGMA, "ar1", 0.5).deviations(runs, count, rng) + Spikes().deviations(runs, count, rng)


NOISES: dict[str, Callable[[int, int, Generator], Array]] = {
    "white": of(NoiseModel(SIGMA)),
    **{f"AR {rho}": of(NoiseModel(SIGMA, "ar1", rho)) for rho in (0.5, 0.8, 0.9, 0.95)},
    "heavy tails": of(NoiseModel(SIGMA, "t3")),
    "waxing and waning": of(NoiseModel(SIGMA), lambda count: 1 + 0.5 * np.sin(6 * np.pi * np.arange(count) / count)),
    "dying": of(NoiseModel(SIGMA), lambda count: np.geomspace(5.0, 0.5, count)),
    "AR 0.8, growing": of(NoiseModel(SIGMA, "ar1", 0.8), lambda count: np.geomspace(0.3, 3.0, count)),
    "spikes": spiky,
    "random walk": walk,
    "random walk and white": lambda runs, count, rng: walk(runs, count, rng) + NOISES["white"](runs, count, rng),
}


def courses(count: int) -> Iterator[tuple[str, Array]]:
    """Courses without noise."""
    t = np.arange(float(count))
    yield "flat", np.full(count, 3.0)
    yield "power", power(t, 10.0, 0.0, 0.35, 50.0)
    yield "exponential", exponential(t, 3.0, 1.0, count / 8)
    yield "kink", kink(t, 3.0, 1e-3, count / 3)
    yield "stairs", 3 - 0.5 * (t > count / 4) - 0.5 * (t > count / 2) - 0.3 * (t > 0.8 * count)


def false_alarms(runs: int, seed: int) -> Iterator[dict[str, object]]:
    """One row a noise and length."""
    for number, (name, noise) in enumerate(NOISES.items()):
        for count in LENGTHS:
            deviations = noise(runs, count, np.random.default_rng([seed, number, count]))
            seen = {
                course: sum(period_of(clean * np.exp(each)) is not None for each in deviations)
                for course, clean in courses(count)
            }
            yield {"noise": name, "losses": count, "runs": runs * len(seen), "seen": sum(seen.values()), **seen}


def deceived(losses: Array, rate: float, min_window: int) -> bool:
    """Whether a `trend` ever calls them flat."""
    trend = Trend(rate, min_window=min_window)
    for loss in losses.tolist():
        trend.push(loss)
        if trend.verdict():
            return True
    return False


def sightings(runs: int, seed: int) -> Iterator[dict[str, object]]:
    """One row a sinusoid and length: how often it is seen, and how often a `trend` is deceived by it."""
    for number, (rate, sigma, rho, swing) in enumerate(
        ((3e-4, 0.01, 0.0, 0.03), (3e-4, 0.03, 0.5, 0.02), (3e-4, 0.03, 0.5, 0.03), (6e-5, 0.01, 0.0, 0.005))
    ):
        for count in (1000, 1400, 2000, 4000):
            rng = np.random.default_rng([seed, number, count])
            model = NoiseModel(sigma, "ar1", rho) if rho else NoiseModel(sigma)
            t = np.arange(count)
            waves = swing * np.sin(2 * np.pi * (t / REPEAT + rng.uniform(size=(runs, 1))))
            losses = 3 * np.exp(-2 * rate * t) * (1 + model.deviations(runs, count, rng) + waves)
            found = [period_of(each) for each in losses]
            yield {
                "noise": f"{'white' if not rho else f'AR {rho}'} {sigma:.0%}", "swing": swing, "rate": rate,
                "losses": count, "runs": runs,
                "seen": sum(each is not None and abs(each.losses / REPEAT - 1) < 0.05 for each in found),
                "deceived at 160": sum(deceived(each, rate, 160) for each in losses),
                "deceived at 200": sum(deceived(each, rate, 200) for each in losses),
            }  # fmt: skip


def main() -> None:
    """Print both tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=200, help="of each noise, course and length")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tables: dict[str, list[dict[str, object]]] = {}
    for name, rows in (("none", false_alarms(given.runs, given.seed)), ("one", sightings(given.runs, given.seed))):
        tables[name] = []
        for row in rows:
            tables[name].append(row)
            print(*(f"{key} {value}" for key, value in row.items()), sep=", ", flush=True)
    (ROOT / "benchmarks" / "results" / "periods.json").write_text(json.dumps(tables, indent=2) + "\n")


if __name__ == "__main__":
    main()
