"""What the controller costs at every step, beside two schedulers of torch: `python benchmarks/controller.py`.

All contestants take turns in one process, a few thousand steps each; the figures are medians over the turns, of
processor time. The shipped curriculum looks at its plateau when an epoch closes, which none does here; the others look
at every step, which is the dearest way. None of them is ever raised.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from math import exp
from pathlib import Path
from statistics import median
from time import process_time

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, this file would be taken for the package of the same name

import torch

from plateau_rule import Controller, Curriculum, load, loads

ROOT = Path(__file__).resolve().parent.parent
STEPS = 5000  # in a turn
MEMORY_STEPS = 1_000_000
CURRICULUM = """
name = "timed"
[run]
epochs = 1
steps_per_epoch = 1000000000
[lr]
peak = 2e-4
floor = 0.1
length = "30000 steps"
[knob.cutoff]
ladder = [128, 256]
[[state]]
name = "easy"
set = {{ cutoff = 128 }}
[[state]]
name = "hard"
set = {{ cutoff = 256 }}
[[transition]]
from = "easy"
to = "hard"
guards = [{{ plateau = {{ {plateau} }} }}, {{ min_step = 1000000000000 }}]
actions = ["lr_restart"]
"""
PLATEAUS = {
    "halves, window 50": "window = 50",
    "halves, window 5000": "window = 5000",
    "trend": 'method = "trend"',
    "sure": 'method = "sure", min_window = 240',  # a file's epoch, which is the default, is a billion steps here
    "returns": 'method = "returns"',
}
Turn = Callable[[list[float]], None]


def observe_and_plan(curriculum: Curriculum, read_plan: bool) -> Turn:
    """A controller, with or without its plan being read."""
    controller = Controller(curriculum, epochs=1, steps_per_epoch=10**9)

    def both(losses: list[float]) -> None:
        observe = controller.observe
        for loss in losses:
            observe(loss)
            _ = controller.plan

    def one(losses: list[float]) -> None:
        observe = controller.observe
        for loss in losses:
            observe(loss)

    return both if read_plan else one


def two_schedulers() -> Turn:
    """What one would write instead: a rate that is cut on a plateau, and one that restarts."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=10**9)
    cosine = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 30_000)

    def turn(losses: list[float]) -> None:
        for loss in losses:
            plateau.step(loss)
            cosine.step()

    return turn


def memory_growth(curriculum: Curriculum) -> int:
    """Bytes by which a controller grows between its 10,000th step and its last."""
    controller, losses = Controller(curriculum), noisy_losses(10_000)
    tracemalloc.start()
    for loss in losses:
        controller.observe(loss)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(MEMORY_STEPS // len(losses) - 1):
        for loss in losses:
            controller.observe(loss)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return grown


def noisy_losses(count: int) -> list[float]:
    """An exponential under 3 % of noise."""
    rng = random.Random(0)
    return [(1.0 + 2.0 * exp(-i / 3000)) * (1.0 + rng.gauss(0, 0.03)) for i in range(count)]


def main() -> None:
    """Time everything, print the table, write the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--turns", type=int, default=41)
    options.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "controller.json")
    given = options.parse_args()
    warnings.simplefilter("ignore")  # torch wants optimizer.step() before a scheduler's
    schedulers = "ReduceLROnPlateau + CosineAnnealingWarmRestarts"
    contestants: dict[str, Turn] = {schedulers: two_schedulers()}
    curricula = {name: loads(CURRICULUM.format(plateau=plateau)) for name, plateau in PLATEAUS.items()}
    every = {"plateau.toml as shipped": load("plateau"), **curricula}
    contestants |= {f"observe + plan, {name}": observe_and_plan(one, True) for name, one in every.items()}
    contestants |= {f"observe, {name}": observe_and_plan(one, False) for name, one in every.items()}
    losses, seconds = noisy_losses(STEPS), {name: list[float]() for name in contestants}
    for turn in range(given.turns + 2):
        for name, take in contestants.items():
            began = process_time()
            take(losses)
            if turn >= 2:  # the first ones fill windows
                seconds[name].append(process_time() - began)
    rows = []
    for name, found in seconds.items():
        ratio = median(one / other for one, other in zip(found, seconds[schedulers], strict=True))
        rows.append({"what": name, "microseconds": 1e6 * median(found) / STEPS, "ratio": ratio})
    short, long = (seconds[f"observe + plan, halves, window {window}"] for window in (50, 5000))
    figures = {
        "steps": rows,
        "window_5000_to_50": median(one / other for one, other in zip(long, short, strict=True)),
        "memory": {name: memory_growth(one) for name, one in curricula.items()},
    }
    report(figures, rows)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\nFigures in {given.json}")


def report(figures: dict[str, object], rows: list[dict[str, object]]) -> None:
    """Print the tables."""
    print("| each step | microseconds | steps a second | ratio to torch's two |")
    print("| --- | --- | --- | --- |")
    for row in rows:
        microseconds = float(str(row["microseconds"]))
        print(f"| {row['what']} | {microseconds:.2f} | {1e6 / microseconds:,.0f} | {row['ratio']:.2f} |")
    print(f"\nWindow 5000 to window 50: {figures['window_5000_to_50']:.2f}")
    print(f"Growth in bytes from step 10,000 to step {MEMORY_STEPS:,}: {figures['memory']}")


if __name__ == "__main__":
    main()
