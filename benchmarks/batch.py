"""What the batch engine is worth beside a loop over the controller: `python -P benchmarks/batch.py`.

10,000 curves of 2,000 steps, exponentials under 3 % of noise. Both sides take turns in one process, in processor time,
and the figure is the median over the turns. The loop is timed over a sample of the curves, another one at each turn,
and counted up: its curves do not know of each other. Memory is the peak of a process of its own for each number of
curves, whose losses are one curve seen many times, so that they take no room themselves.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

if Path(sys.path[0]) == Path(__file__).resolve().parent:
    del sys.path[0]  # run as a script, benchmarks/controller.py would be taken for the package of that name

import numpy as np
from numpy.typing import NDArray

from plateau_rule import Controller, load
from plateau_rule.sim.batch import Replayed, replay_all
from plateau_rule.sim.curves import NoiseModel, draw, noisy

ROOT = Path(__file__).resolve().parent.parent
CURRICULA = ("plateau", "plateau-trend", "plateau-returns")
RUNS, STEPS, PER_EPOCH = 10_000, 2000, 100
LIMITS = {"cutoff": 1025}
BINDING: dict[str, Any] = {"epochs": STEPS // PER_EPOCH, "steps_per_epoch": PER_EPOCH}
CURVES = (5_000, 10_000, 20_000, 40_000)
WORKERS = (1, 2, 3)

PEAK = """
import resource
import numpy as np
from benchmarks.batch import BINDING, LIMITS, STEPS, losses
from plateau_rule import load
from plateau_rule.sim.batch import replay_all
many = np.broadcast_to(losses(1), ({curves}, STEPS))
replay_all(load("{name}"), many, LIMITS, workers=1, **BINDING)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def losses(runs: int) -> NDArray[np.float64]:
    """Curves [run, step]."""
    rng = np.random.default_rng(0)
    return noisy(draw("exponential", runs, STEPS, rng).clean, rng, NoiseModel(0.03))


def looped(name: str, curves: NDArray[np.float64]) -> float:
    """Processor time for one curve in a loop over the controller, in seconds."""
    curriculum, rows = load(name), curves.tolist()
    began = process_time()
    for row in rows:
        observe = Controller(curriculum, LIMITS, **BINDING).observe
        for loss in row:
            observe(loss)
    return (process_time() - began) / len(rows)


def speed(name: str, curves: NDArray[np.float64], turns: int, sampled: int) -> dict[str, Any]:
    """The engine beside the loop."""
    found = replay_all(load(name), curves, LIMITS, workers=1, **BINDING)
    batch, loop = [], []
    for turn in range(turns):
        began = process_time()
        replay_all(load(name), curves, LIMITS, workers=1, **BINDING)
        batch.append(process_time() - began)
        loop.append(looped(name, curves[turn * sampled : (turn + 1) * sampled]) * len(curves))
    ratios = [one / other for one, other in zip(loop, batch, strict=True)]
    return {
        "curriculum": name,
        "transitions": len(found.decisions),
        "batch_s": median(batch),
        "loop_s": median(loop),
        "ratio": median(ratios),
        "ratios": [min(ratios), max(ratios)],
    }


def peak_mib(name: str, curves: int) -> float:
    """The most memory that a process takes which replays so many curves, in MiB."""
    code = PEAK.format(name=name, curves=curves)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout) / (1024 if sys.platform == "linux" else 1024 * 1024)


def same(one: Replayed, other: Replayed) -> bool:
    """Whether two results are equal to the bit."""
    columns = zip(vars(one.decisions).values(), vars(other.decisions).values(), strict=True)
    ends = zip((one.ended_step, one.final_state), (other.ended_step, other.final_state), strict=True)
    return all(np.array_equal(mine, theirs, equal_nan=True) for mine, theirs in (*columns, *ends))


def main() -> int:
    """Time, measure and compare; print the tables, write the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=7)
    options.add_argument("--sampled", type=int, default=20, help="curves of the loop in a turn")
    options.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "batch.json")
    given = options.parse_args()
    # First, while this process is small: on Linux a process inherits the peak of the one that started it.
    memory = {name: [peak_mib(name, count) for count in CURVES] for name in CURRICULA}
    curves = losses(RUNS)
    rows = [speed(name, curves, given.turns, given.sampled) for name in CURRICULA]
    print(f"| {RUNS:,} curves of {STEPS:,} steps | transitions | batch, s | loop, s | ratio | lowest | highest |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        low, high = row["ratios"]
        print(
            f"| {row['curriculum']} | {row['transitions']:,} | {row['batch_s']:.2f} | {row['loop_s']:.1f} | "
            f"{row['ratio']:.0f} | {low:.0f} | {high:.0f} |"
        )
    print(f"\nThe loop over {given.sampled} curves a turn, {given.turns} turns; processor time, one process.\n")
    print("| peak memory, MiB | " + " | ".join(f"{count:,} curves" for count in CURVES) + " |")
    print("| --- |" + " --- |" * len(CURVES))
    for name, peaks in memory.items():
        print(f"| {name} | " + " | ".join(f"{peak:.0f}" for peak in peaks) + " |")
    few, alike = curves[:1500], {}
    for name in CURRICULA:
        first, *others = (replay_all(load(name), few, LIMITS, workers=many, **BINDING) for many in WORKERS)
        alike[name] = all(same(first, other) for other in others)
    print(f"\nThe same to the bit with {', '.join(map(str, WORKERS))} workers: {alike}")
    figures = {"speed": rows, "curves": CURVES, "peak_mib": memory, "same_for_workers": alike}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\nFigures in {given.json}")
    return 0 if all(alike.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
