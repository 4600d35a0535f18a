"""Knobs that choose rows, in a loader that draws ahead; `python -P benchmarks/stamps.py [--curricula N] [--turns N]`.

It goes on where it was cut off, and `--anew` measures all of it again.

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


def wrong_batches(figures: Figures, name: str, curricula: int, spawned: int, less: int) -> None:
    """How many of the batches of so many random curricula had a wrong size, by fork and then by spawn."""
    for start, first, count in (("fork", 0, curricula), ("spawn", 10**6, spawned)):
        key = f"{name}, {start}"
        so_far = figures.told.setdefault(key, {"curricula": 0, "batches": 0, "decisions": 0, "wrong": 0})
        while so_far["curricula"] < count:
            seed = first + so_far["curricula"]
            loading = Loading(4, 4, 1 + seed % 4, persistent=seed % 8 != 0 or start == "spawn", start=start)
            for what, more in zip(("batches", "wrong", "decisions"), trial(seed, loading, less), strict=True):
                so_far[what] += more
            so_far["curricula"] += 1
            if so_far["curricula"] % 10 == 0 or so_far["curricula"] == count:
                figures.write()
        print(f"{key}: {so_far}", flush=True)


class Figures:
    """What was measured so far, in a file.

    Args:
        path: the file.
        anew: whether what it holds is left aside.
    """

    def __init__(self, path: Path, anew: bool) -> None:
        self.path = path
        self.told: dict[str, Any] = json.loads(path.read_text()) if path.exists() and not anew else {}

    def write(self) -> None:
        """Write it down."""
        self.path.write_text(json.dumps(self.told, indent=1) + "\n")


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
    parser.add_argument("--anew", action="store_true")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", "This DataLoader will create")
    figures = Figures(given.out, given.anew)
    for name, workers in (("speed by processor time, no worker", 0), ("speed by the clock, 1 worker", 1)):
        if figures.told.get(name, {}).get("turns") != given.turns:
            figures.told[name] = speed(given.turns, workers)
            figures.write()
        print(f"KnobLoader / DataLoader, {name}: {figures.told[name]}", flush=True)
    wrong_batches(figures, "one step less of lead", max(10, given.curricula // 20), 0, 1)
    wrong_batches(figures, "the lead of the formula", given.curricula, given.spawned, 0)


if __name__ == "__main__":
    main()
