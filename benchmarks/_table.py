"""The tables of benchmarks/quality.py and benchmarks/rivals.py: statistics over seeds, beside a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

SPLITS = ("validation", "test")


def rows(taken: Mapping[str, Mapping[int, Mapping[str, Any]]], baseline: str) -> list[dict[str, Any]]:
    """Return a row for each name: mean and standard deviation of its runs' scores over the seeds.

    Args:
        taken: runs by name and seed.
        baseline: a name; each row says, for both splits, the mean difference to it, seed by seed, and its deviation.
    """
    told = []
    for name, by_seed in taken.items():
        one = next(iter(by_seed.values()))
        row: dict[str, Any] = {"name": name, "seeds": len(by_seed)}
        row |= {key: one[key] for key in ("peak", "weight_decay", "steps", "parameters")}
        row["seconds"] = mean(run["seconds"] for run in by_seed.values())
        for split in SPLITS:
            row[split] = mean_and_deviation([run[split]["stream"] for run in by_seed.values()])
            row[f"{split}_beside"] = mean_and_deviation(differences(by_seed, taken[baseline], split))
        told.append(row)
    return told


def differences(
    by_seed: Mapping[int, Mapping[str, Any]], baseline: Mapping[int, Mapping[str, Any]], split: str
) -> list[float]:
    """Return by how many bits per byte runs are worse than those of a baseline, at each seed that both have."""
    return [run[split]["stream"] - baseline[seed][split]["stream"] for seed, run in by_seed.items() if seed in baseline]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of some values and their standard deviation, 0 of a single one."""
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def show(of_text: Sequence[Mapping[str, Any]], title: str, baseline: str) -> None:
    """Print a table."""
    bits, run = ("bits/byte, validation", "test", "beside the preset"), ("seeds", "steps", "seconds", "parameters")
    columns = (*bits, *run, "peak", "decay")
    print("\n| " + " | ".join((title, *columns)) + " |\n" + "| --- " * (len(columns) + 1) + "|")
    for row in of_text:
        scores = [in_bits(row[key], row["seeds"]) for key in SPLITS]
        beside = "" if row["name"] == baseline else in_bits(row["test_beside"], row["seeds"], "+")
        size = (f"{row['seeds']}", f"{row['steps']:,}", f"{row['seconds']:.0f}", f"{row['parameters']:,}")
        rates = (f"{row['peak']:g}", f"{row['weight_decay']:g}")
        print("| " + " | ".join((row["name"], *scores, beside, *size, *rates)) + " |")


def in_bits(figure: tuple[float, float], seeds: int, sign: str = "") -> str:
    """Spell a mean, and the deviation where there is one."""
    return f"{figure[0]:{sign}.3f}" + (f" ± {figure[1]:.3f}" if seeds > 1 else "")
