"""What experiments print: tables, sentences, TOML to paste, and the same as data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from plateau_rule.controller.language.writing import dumps
from plateau_rule.trials.compare import Compared
from plateau_rule.trials.compare import verdict as comparison_verdict
from plateau_rule.trials.curve import AXES, LABELS, RISE, Curve, rise
from plateau_rule.trials.probe import Probed, advice, seed_spread
from plateau_rule.trials.statistics import PairedDifference


def mean_and_spread(curves: Sequence[Curve]) -> str:
    """Scores at the end, over the seeds."""
    scores = np.array([curve.last for curve in curves])
    if count := int((~np.isfinite(scores)).sum()):
        return f"not finite on {count} of {len(scores)}"
    margin = seed_spread(curves)
    return f"{scores.mean():.4f}" + (f" ± {margin:.4f}" if isfinite(margin) else "")


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns below each other, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            word.ljust(width) if i == 0 else word.rjust(width)
            for i, (word, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def print_probe(probed: Probed, written: Sequence[Path], trainer: str) -> None:
    """Print what a probe has found, by a trainer; its ladder and rungs were written into files."""
    name, seeds = probed.rungs.curriculum.name, len(probed.curves[0])
    print(f"{name}: {len(probed.curves)} rungs, each held for {probed.budget}, {seeds} seed{'s' * (seeds > 1)}")
    print()
    rows = [["rung", "a step", "steps", "score at the end", "behind the best by"]]
    for place, curves in enumerate(probed.curves):
        took = "" if probed.prices is None else f"{probed.prices.step_s[place] * 1000:.3g} ms"
        behind = "" if place == probed.best else _margin(probed.end[place])
        steps = f"{np.mean([curve.spent['step'][-1] for curve in curves]):,.0f}"
        rows.append([probed.named(place), took, steps, mean_and_spread(curves), behind])
    for line in in_columns(rows):
        print(line)
    print()
    for line in advice(probed):
        print(line)
    if probed.prices is not None and not probed.prices.units_s and probed.axis == "cost":
        print("\nPrices of a step, as measured here, to be pasted into the file:\n")
        print(prices_as_toml(probed), end="")
    if probed.crossings:
        print("\nThe ladder:\n")
        print(dumps(probed.ladder()), end="")
        words = ["plateau", "compare", *map(str, written), "--trainer", trainer, "--budget", str(probed.budget)]
        print(f"\nWhether it pays, a comparison says: {shlex.join(words)}")


def prices_as_toml(probed: Probed) -> str:
    """The prices of the ladder's rungs, as a file says them."""
    lines = []
    for name, knob in probed.rungs.curriculum.knob.items():
        if knob.cost is not None:
            prices = ", ".join(f"{price:g}" for price in knob.cost)
            lines.append(f"[knob.{name}]\ncost = [{prices}]\n")
    return "".join(lines)


def _margin(found: PairedDifference) -> str:
    if not isfinite(found.mean):
        return "-"
    return f"{found.mean:.4f}" + (f" ± {found.spread:.4f}" if isfinite(found.spread) else "")


def number(value: float) -> float | None:
    """A number as JSON has it."""
    return value if isfinite(value) else None


def curve_as_data(curve: Curve) -> dict[str, list[float | None]]:
    """A curve as lists by axis."""
    axes: dict[str, list[float | None]] = {
        axis: [float(each) for each in curve.spent[axis]] for axis in AXES if axis in curve.spent
    }
    return {**axes, "score": [number(float(score)) for score in curve.score]}


def probe_as_data(probed: Probed) -> dict[str, Any]:
    """What a probe has found, for programs."""
    return {
        "curriculum": probed.rungs.curriculum.name,
        "budget": str(probed.budget),
        "axis": probed.axis,
        "rungs": [
            {
                "knobs": probed.knobs(place),
                "step_s": None if probed.prices is None else probed.prices.step_s[place],
                "score": [number(curve.last) for curve in curves],
                "behind": number(probed.end[place].mean),
                "spread": number(probed.end[place].spread),
                "curves": [curve_as_data(curve) for curve in curves],
            }
            for place, curves in enumerate(probed.curves)
        ],
        "start": probed.start + 1,
        "raises": [
            {
                "to": crossing.rung + 1,
                "from": crossing.over + 1,
                "at": crossing.begin,
                "by_seed": list(crossing.by_seed),
            }
            for crossing in probed.crossings
        ],
        "advised": None if probed.diverged else probed.best + 1,
        "advice": advice(probed),
        "prices": {name: knob.cost for name, knob in probed.rungs.curriculum.knob.items() if knob.cost is not None},
        "ladder": dumps(probed.ladder()) if probed.crossings else None,
    }


def print_comparison(compared: Compared) -> None:
    """Print what a comparison has found: one table, one sentence."""
    first = compared.names[0]
    print(f"{len(compared.names)} curricula, {compared.budget} each, {compared.seeds} seed{'s' * (compared.seeds > 1)}")
    print()
    axes = compared.axes
    rows = [["curriculum", *(LABELS[axis] for axis in axes), "score at the end", f"more than {first}", "p"]]
    for place, (name, curves) in enumerate(zip(compared.names, compared.curves, strict=True)):
        spent = [f"{np.mean([curve.spent[axis][-1] for curve in curves]):,.5g}" for axis in axes]
        found = compared.differences[place - 1] if place else None
        held = ["", ""] if found is None else [_margin(found), f"{found.p:.2g}" if isfinite(found.p) else ""]
        rows.append([name, *spent, mean_and_spread(curves), *held])
    for line in in_columns(rows):
        print(line)
    print()
    print(comparison_verdict(compared))
    if rise(curve for curves in compared.curves for curve in curves):
        print(RISE)
    if len(compared.differences) > 1 and any(isfinite(found.p) for found in compared.differences):
        print(f"p: paired t-tests, corrected for {len(compared.differences)} comparisons (Holm)")


def comparison_as_data(compared: Compared) -> dict[str, Any]:
    """What a comparison has found, for programs."""
    rows = []
    for place, (name, curves) in enumerate(zip(compared.names, compared.curves, strict=True)):
        found = compared.differences[place - 1] if place else None
        held = (
            None
            if found is None
            else {
                "mean": number(found.mean),
                "spread": number(found.spread),
                "p_holm": number(found.p),
                "larger_than_spread": found.is_larger_than_spread,
            }
        )
        score = [number(curve.last) for curve in curves]
        rows.append({"name": name, "score": score, "more": held, "curves": [curve_as_data(curve) for curve in curves]})
    return {"budget": str(compared.budget), "curricula": rows, "verdict": comparison_verdict(compared)}
