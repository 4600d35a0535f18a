"""Knobs that choose rows, in a loader that draws ahead; `python -P benchmarks/stamps.py [--curricula N] [--turns N]`.

First, random curricula on random losses, each with a loader of 4 workers that prefetch 4 batches: how many batches were
trained on with another size than the plan's? Under the lead that the formula gives, and with one step less. Then speed:
batches a second of KnobLoader under a knob that stays, against torch's DataLoader with the same fixed batch size, both
under a rule, in turns on the same data, whose rows each take a SHA-256 of 256 KB: by the clock with a worker, and by
processor time without one, which other work on the machine disturbs less. The interval is a bootstrap of the median of
the ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from plateau_rule import loads
from plateau_rule.adapters.base import Rule
from plateau_rule.adapters.rows import count_rows
from plateau_rule.adapters.stamps import KnobLoader
from tests.conformance.loading import Loading, trial

ROOT = Path(__file__).resolve().parent.parent
FIXED = """
name  = "fixed"
lr    = { peak = 1.0, shape = "constant" }
knob  = { batch_size = { ladder = [16] } }
state = [{ name = "only", set = { batch_size = 16 } }]
"""
PREFETCH, ROWS = 4, 800


class Hashed:
    """Rows that cost some work: each the digest of a quarter of a megabyte."""

    content = bytes(1 << 18)

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([*sha256(self.content).digest(), index])


def wrong_batches(curricula: int, spawned: int, less: int) -> dict[str, int]:
    """How many of the batches of so many random curricula had a wrong size."""
    batches = wrong = decisions = 0
    for seed in range(curricula + spawned):
        start = "fork" if seed < curricula else "spawn"
        loading = Loading(4, 4, 1 + seed % 4, persistent=seed % 8 != 0 or start == "spawn", start=start)
        found = trial(seed, loading, less)
        batches, wrong, decisions = batches + found[0], wrong + found[1], decisions + found[2]
    return {"curricula": curricula, "spawned": spawned, "batches": batches, "decisions": decisions, "wrong": wrong}


def batches_a_second(loader: Any, rule: Rule, clock: Callable[[], float]) -> float:
    """One epoch of a loader, whose workers run already, under a rule that takes each batch's loss."""
    count, start = 0, clock()
    for batch in loader:
        rule.shape(batch)
        rule.micro(1.0)
        rule.close()
        count += 1
    return count / (clock() - start)


def speed(turns: int, workers: int) -> dict[str, float]:
    """The rate of the one loader divided by that of the other, in turns: the median and its 95 % interval."""
    clock = perf_counter if workers else process_time
    data: Any = Hashed()
    rule, other = (Rule(loads(FIXED), rows={"batch_size": count_rows}) for _ in range(2))
    said: dict[str, Any] = {"num_workers": workers}
    if workers:
        said |= {"prefetch_factor": PREFETCH, "persistent_workers": True}
    stamped = KnobLoader(DataLoader(data, shuffle=True, **said), rule)
    plain: DataLoader[Any] = DataLoader(data, batch_size=16, shuffle=True, **said)
    rule.begin(0, [{"lr": 1.0}])
    other.begin(0, [{"lr": 1.0}])
    ratios = []
    for turn in range(turns + 1):
        first, second = (stamped, plain) if turn % 2 else (plain, stamped)
        rates = {
            id(each): batches_a_second(each, rule if each is stamped else other, clock) for each in (first, second)
        }
        if turn:  # the first starts the workers
            ratios.append(rates[id(stamped)] / rates[id(plain)])
    chance = Random(0)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    return {"turns": turns, "ratio": statistics.median(ratios), "low": medians[50], "high": medians[1949]}


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curricula", type=int, default=1000)
    parser.add_argument("--spawned", type=int, default=20)
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "stamps.json")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", "This DataLoader will create")
    figures: dict[str, Any] = {
        "speed by processor time, no worker": speed(given.turns, 0),
        "speed by the clock, 1 worker": speed(given.turns, 1),
    }
    for name, ratio in figures.items():
        print(f"KnobLoader / DataLoader, {name}: {ratio}", flush=True)
    figures["one step less"] = wrong_batches(max(10, given.curricula // 20), 0, 1)
    print(f"one step less of lead: {figures['one step less']}", flush=True)
    figures["lead"] = wrong_batches(given.curricula, given.spawned, 0)
    print(f"the lead of the formula: {figures['lead']}", flush=True)
    given.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
