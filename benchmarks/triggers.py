"""How often, and how late, triggers that know more are wrong: `python -P benchmarks/triggers.py [--seeds N]`.

*The rate's floor*: the expected loss of stochastic gradient descent on a quadratic of 64 directions, whose gradients
are noisy, under the rate that the curriculum itself sets; epochs of 400 or 6,400 steps say how long that stays high. A
raise is *false* if a fall of the rate to a tenth, within 400 steps and held for 400 more, would still bring more than
4 %: twice what the threshold of 2 % in 1,000 steps allows.

*The target*: a held-out score that stands still while the training loss goes on falling, or stands still as well. A
raise is false if the next three evaluations would still bring more than twice `min_delta`.

*The price*: a loss that falls by a power law in each state. A raise is false if it still falls by more than 4 % for
1,000 units of cost.

*Late* counts from the first time at which a raise would not have been false. Curves are judged without their noise.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import product
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import numpy as np
from numpy.typing import NDArray

from plateau_rule import Controller, load

RESULTS = Path(__file__).resolve().parent / "results"
Floats = NDArray[np.float64]
EPOCH = 400  # steps
LIMITS = {"cutoff": 1025}
NOISES = ((0.01, 0.0), (0.01, 0.5), (0.03, 0.0), (0.03, 0.5))  # relative deviation; correlation of neighbours
APART = 100  # steps between places that are judged
CURVATURE = 1.0 / np.arange(1.0, 65.0)
PEAK = 0.1  # of the quadratic's rate
FLOORS = {"held up by 30 % at the peak": 2.5, "not held up": 0.0}  # variance of the gradients' noise
WORTH = 0.04


def controller_of(name: str, epochs: int = 50, epoch: int = EPOCH) -> Controller:
    """A shipped curriculum in a run of short epochs."""
    return Controller(load(name), LIMITS, epochs=epochs, steps_per_epoch=epoch)


def deviations(sigma: float, rho: float, count: int, seed: Sequence[int]) -> Floats:
    """Relative noise of losses."""
    white = np.random.default_rng(seed).normal(size=count)
    for place in range(1, count) if rho else ():
        white[place] = rho * white[place - 1] + (1 - rho * rho) ** 0.5 * white[place]
    return 1.0 + sigma * white


# The rate's floor


def step(errors: Floats, rate: float, variance: float) -> Floats:
    """One step of the expected squared errors along each direction; `rate` as a share of the peak."""
    eta = PEAK * rate
    return (1 - eta * CURVATURE) ** 2 * errors + eta**2 * variance * CURVATURE


def loss_of(errors: Floats) -> Floats:
    """The loss."""
    loss: Floats = 1.0 + 0.5 * (CURVATURE * errors).sum(-1)
    return loss


def left(errors: Floats, rates: Floats, variance: float) -> Floats:
    """What a fall of the rate to a tenth would still bring, as a share of the loss, at each of some places."""
    before = loss_of(errors)
    for i in range(2 * EPOCH):
        share = np.maximum(0.1, rates + (0.1 - rates) * min(1.0, (i + 1) / EPOCH))
        eta = PEAK * share[:, None]
        errors = (1 - eta * CURVATURE) ** 2 * errors + eta**2 * variance * CURVATURE
    return 1.0 - loss_of(errors) / before


def raise_under_its_rate(
    name: str, variance: float, epoch: int, noise: tuple[float, float], seed: int
) -> tuple[bool, float]:
    """Whether the first raise is false, and how many steps late it is; infinite where there is none."""
    controller, most = controller_of(name, epoch=epoch), 40_000
    noisy = deviations(*noise, most, [seed, int(1000 * noise[0]), int(10 * noise[1]), int(variance)])
    errors = np.full(len(CURVATURE), 2.0)
    peak, seen, rates = controller.machine.peak, list[Floats](), list[float]()
    for place in range(most):
        rate = controller.plan.lr / peak
        if place % APART == 0:
            seen.append(errors)
            rates.append(rate)
        decision = controller.observe(float(loss_of(errors) * noisy[place]))
        errors = step(errors, rate, variance)
        if decision is not None and decision.raises:
            found = left(np.array([*seen, errors]), np.array([*rates, rate]), variance)
            wrong = np.flatnonzero(found > WORTH)
            right_from = 0 if not len(wrong) else APART * (int(wrong[-1]) + 1)
            return bool(found[-1] > WORTH), float(max(0, place - right_from))
    return False, inf


def of_the_rate(seeds: int) -> list[dict[str, Any]]:
    """Rules that raise by the loss, with and without an eye on the rate."""
    rows = []
    for epoch, (floor, variance), name in product((EPOCH, 16 * EPOCH), FLOORS.items(), RULES):
        runs = [raise_under_its_rate(name, variance, epoch, noise, seed) for noise in NOISES for seed in range(seeds)]
        rows.append({"loss": f"{floor}; epochs of {epoch}", "rule": name, **judged(runs)})
    return rows


RULES = ("plateau", "plateau-trend", "plateau-returns", "plateau-low-rate", "plateau-after-decay")


def judged(runs: list[tuple[bool, float]]) -> dict[str, Any]:
    """How many raises are false, how many never came, and how late those are that are right."""
    late = [late for false, late in runs if not false and late < inf]
    missed = sum(late == inf for _, late in runs)
    return {
        "runs": len(runs),
        "false": sum(false for false, _ in runs) / len(runs),
        "missed": missed / len(runs),
        "late": median(late) if late else None,
    }


# The target


def raise_by_target(name: str, still: bool, sigma: float, seed: int) -> tuple[bool, float]:
    """Whether the first raise is false, and how many evaluations late it is."""
    controller, epochs, delta = controller_of(name), 40, 0.005
    times = np.arange(epochs * EPOCH)
    target = 1.2 + np.exp(-np.arange(1, epochs + 4) / 3.0)
    training = 1.0 + 2.0 * (np.exp(-times / (3.0 * EPOCH)) if still else (1.0 + times / EPOCH) ** -0.5)
    noisy = training * deviations(0.02, 0.0, len(times), [seed, int(still)])
    scores = target * deviations(sigma, 0.0, len(target), [seed, int(1e5 * sigma), 2])
    brings = target[:-3] - target[3:]  # in the next three evaluations
    right_from = int(np.argmax(brings < delta))
    for place in range(len(times)):
        epoch = place // EPOCH
        decision = controller.observe(float(noisy[place]))
        if (place + 1) % EPOCH == 0 and decision is None:
            decision = controller.evaluated(val_bpb_target=float(scores[epoch]))
        if decision is not None:
            return bool(brings[epoch] > 2 * delta), float(max(0, epoch - right_from))
    return False, inf


def of_the_target(seeds: int) -> list[dict[str, Any]]:
    """A rule that asks for the score at the target, and one that knows the training loss alone."""
    rows = []
    for still, name in product((False, True), ("plateau-trend", "plateau-returns", "plateau-on-target")):
        runs = [raise_by_target(name, still, sigma, seed) for sigma in (0.0005, 0.002) for seed in range(2 * seeds)]
        said = "stands still as well" if still else "goes on falling"
        rows.append({"training loss": said, "rule": name, **judged(runs)})
    return rows


# The price


def raise_by_price(name: str, price: float, sigma: float, seed: int) -> tuple[bool, float]:
    """Whether the raise from the rung of this price is false, and how much cost it is late."""
    places, most = {0.25: 0, 0.5: 1, 1.0: 2}, 60_000
    controller = controller_of(name, epochs=200)
    for _ in range(places[price]):  # up to this rung, by losses of which each state is flat at once
        while controller.observe(3.0 + 1e-9 * (controller.plan.step % 2)) is None:
            pass
    times = np.arange(most)
    clean = 1.0 + 2.0 * (1.0 + times / 300.0) ** -0.5
    noisy = clean * deviations(sigma, 0.0, most, [seed, int(1e3 * sigma), places[price]])
    falls = -np.gradient(clean) / clean * 1000.0 / price  # for 1,000 units of cost
    right_from = int(np.argmax(falls < WORTH / 2))
    for place in range(most):
        if controller.observe(float(noisy[place])) is not None:
            return bool(falls[place] > WORTH), float(max(0, place - right_from) * price)
    return False, inf


def of_the_price(seeds: int) -> list[dict[str, Any]]:
    """A bar for each unit of cost, and one for each step."""
    rows = []
    for price, name in product((0.25, 0.5, 1.0), ("plateau-trend", "plateau-per-cost")):
        runs = [raise_by_price(name, price, sigma, seed) for sigma in (0.01, 0.03) for seed in range(seeds)]
        rows.append({"price": price, "rule": name, **judged(runs)})
    return rows


def table(rows: list[dict[str, Any]], unit: str) -> None:
    """Print rows as Markdown."""
    first = next(iter(rows[0]))
    print(f"\n| {first} | rule | false raises | no raise | late ({unit}) |\n|---|---|---|---|---|")
    for row in rows:
        late = "" if row["late"] is None else f"{row['late']:.0f}"
        print(f"| {row[first]} | `{row['rule']}` | {row['false']:.0%} | {row['missed']:.0%} | {late} |")


def main() -> None:
    """Judge all rules, print the tables and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=25, help="of each noise")
    seeds = parser.parse_args().seeds
    found = {"rate": of_the_rate(seeds), "target": of_the_target(seeds), "price": of_the_price(seeds)}
    for rows, unit in zip(found.values(), ("steps", "evaluations", "cost"), strict=True):
        table(rows, unit)
    (RESULTS / "triggers.json").write_text(json.dumps({"seeds": seeds, **found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
