"""What the guards that measure a metric say of all the values that they have seen."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from math import ceil, isfinite
from operator import add
from typing import Any


def mean(values: list[float]) -> float:
    return float(sum(map(Fraction, values)) / len(values)) if len(values) > 1 else values[0]


def means(values: list[float], size: int) -> list[float]:
    return [mean(values[i : i + size]) for i in range(len(values) - size + 1)]


def measured(word: str, asked: Any, values: list[float], over: Fraction | None, rises: bool) -> Any:
    """True, false or None for unknown; over: values in a gap's stretch, or those that a threshold is for.

    Where more is better the values of all words but levels and gaps have their signs turned.
    """
    if word == "patience":
        best, waited = None, 0
        for value in means(values, asked.smooth):
            better = best is None or best - value > asked.min_delta
            best, waited = (value, 0) if better else (best, waited + 1)
        return None if best is None else waited >= asked.steps
    if word == "gap":
        assert over is not None
        length = max(1, ceil(over))
        size = next(n for n in range(1, length + 1) if length % n == 0 and length // n <= 64)
        blocks = [values[i : i + size] for i in range(0, len(values) - size + 1, size)]
        found = means([reduce(add, [v / size for v in block], 0.0) for block in blocks], length // size)
        return abs(found[-1 - length // size] - found[-1]) <= asked.value if len(values) >= 2 * length else None
    if len(values) < asked.window:
        return None
    if word in ("below", "above"):
        now = mean(values[-asked.window :])
        return now < asked.value if word == "below" else now > asked.value
    half = asked.window // 2
    if word == "diverging":
        found = means(values, asked.window - half)
        best = min(found)
        bound = best * asked.factor if best > 0 else best - best * (asked.factor - 1.0)
        if rises and best < 0:
            bound = -(-best / asked.factor)
        return None if best == 0 else found[-1] >= bound
    older, newer = values[-asked.window :][:half], values[-asked.window :][half:]
    first, second = (reduce(add, part, 0.0) / len(part) for part in (older, newer))
    flat = asked.threshold if over is None else asked.threshold * (asked.window / 2) / float(over)
    known = first != 0 and isfinite(first) and isfinite(second)
    return (first - second) / abs(first) < flat if known else None
